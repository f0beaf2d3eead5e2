"""The table of options over commands, as docs/commands.md holds it.

python -m tests.scripts.commands > docs/commands.md
"""

import re
from importlib import import_module

from npresnet.cli import COMMANDS, Parser, usage

HEAD = """# Commands and their options

`npresnet COMMAND --help` describes each command. An option has one name and one meaning in every command that has it.
This table is written by `python -m tests.scripts.commands`, and a test holds it to the commands. `npresnet train` also
has an option for every field of its recipe, which `npresnet train --help` lists.

| Option | Commands |
| --- | --- |
"""
OPTION = re.compile(r"(?<![\w-])(--[a-z][a-z-]*)(?: ([A-Z{][\w{},]*))?")


def options(command: str) -> dict[str, str]:
    """The options that a command's usage shows, and the name of each one's value ("" for a switch)."""
    return dict(OPTION.findall(usage(command)))


def recipe_fields() -> set[str]:
    """The options of ``train`` that change a field of its recipe alone."""
    parser = Parser("recipe")
    import_module("npresnet.cli.train").add_recipe_arguments(parser)
    return set(dict(OPTION.findall(re.sub(r"\s+", " ", parser.format_usage()))))


def table() -> str:
    """The page."""
    found: dict[str, dict[str, list[str]]] = {}
    hidden = recipe_fields()
    for command in COMMANDS:
        for option, value in options(command).items():
            if command != "train" or option not in hidden or option in found:
                found.setdefault(option, {}).setdefault(value, []).append(command)
    rows = [
        f"| `{f'{option} {value}'.strip()}` | {', '.join(commands)} |"
        for option, values in sorted(found.items())
        for value, commands in values.items()
    ]
    return HEAD + "\n".join(rows) + "\n"


if __name__ == "__main__":
    print(table(), end="")
