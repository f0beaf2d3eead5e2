"""The command line.  Each subcommand is a module here, named in COMMANDS: its docstring is the help text, EXAMPLES
what stands below the options, ``add_arguments(parser)`` declares them, and ``run(args)`` returns the exit status.

0: done, or yes.   1: the answer is no.   2: bad usage or bad input, reported in one line on standard error.
Subcommands import what they need when they run, so that ``npresnet --help`` is quick.
"""

import argparse
import difflib
import io
import logging
import os
import re
import sys
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib import import_module
from typing import NoReturn

from .. import __version__
from ..printer import escaped, note

COMMANDS = (
    "classify",
    "features",
    "cam",
    "explore",
    "evaluate",
    "train",
    "models",
    "summary",
    "diff",
    "download",
    "convert",
    "quantize",
    "gradcheck",
    "verify",
    "bench",
)
OPTION = re.compile(r"(?<![\w-])--[a-z][a-z-]*")  # in a usage
EXPECTED = (ValueError, OSError, MemoryError, ImportError)  # what a user can mend
INTERRUPTED, BROKEN_PIPE = 130, 141  # 128 + the number of the signal, as shells say it


class Parser(argparse.ArgumentParser):
    """An ArgumentParser that reports bad usage in one line, like every other error."""

    def error(self, message: str) -> NoReturn:
        self.exit(2, escaped(f"{self.prog}: {shortened(message)} (see {self.prog} --help)") + "\n")


def parser(command: str | None = None) -> Parser:
    """The parser of the command line; with ``command``, only that subcommand has its options."""
    top = Parser(
        "npresnet",
        description="The ResNet family in NumPy: classify images, evaluate, train, inspect, convert checkpoints.",
        epilog="npresnet COMMAND --help describes each command.",
    )
    top.add_argument("--version", action="version", version=f"npresnet {__version__}")
    commands = top.add_subparsers(dest="command", metavar="COMMAND", required=True)
    for name in COMMANDS:
        module = import_module(f"{__name__}.{name}")
        text = (module.__doc__ or "").strip()
        added = commands.add_parser(
            name,
            help=text.partition("\n")[0],
            description=text,
            epilog=module.EXAMPLES,
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )
        added.set_defaults(run=module.run)
        if command in (None, name):
            module.add_arguments(added)
    return top


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command line, by default that of the process, and return its exit status."""
    open_closed_streams()
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")  # a file's name may hold any bytes
    try:
        with quiet():
            status = run(sys.argv[1:] if argv is None else argv)
        sys.stdout.flush()  # a closed pipe shows here and not at exit
        return status
    except KeyboardInterrupt:
        return complain("interrupted", INTERRUPTED)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # the flush at exit must not fail again
        return BROKEN_PIPE
    except EXPECTED as error:
        return complain(one_line(error), 2)


def open_closed_streams() -> None:
    """Connect a standard stream that the caller closed with nothing, so that no other file takes its number."""
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, mode, encoding="utf-8"))  # noqa: SIM115, as long as the process


def run(argv: Sequence[str]) -> int:
    """Parse the arguments and run the subcommand."""
    command = next((word for word in argv if not word.startswith("-")), "")
    try:
        if command and command not in COMMANDS:
            Parser("npresnet").error(
                f"no command {command!r}{nearest(command, COMMANDS) or '; they are ' + ', '.join(COMMANDS)}"
            )
        args, unknown = parser(command).parse_known_args(argv)
        if unknown:
            Parser(f"npresnet {command}").error(unknown_words(command, unknown))
    except SystemExit as stop:  # --help, --version, bad usage
        return int(stop.code or 0)
    refuse_empty(args)
    return args.run(args)


def unknown_words(command: str, words: Sequence[str]) -> str:
    """What is wrong with words of the command line that no option or argument takes."""
    option = next((word.partition("=")[0] for word in words if word.startswith("-")), None)
    if option is None:
        return f"takes no further argument, such as {words[0]!r}"
    return f"no option {option}{nearest(option, OPTION.findall(usage(command)))}"


def usage(command: str) -> str:
    """A subcommand's options as its help shows them in brackets, on one line."""
    shown = Parser(f"npresnet {command}")
    import_module(f"{__name__}.{command}").add_arguments(shown)
    return " ".join(shown.format_usage().split())


def nearest(word: str, known: Sequence[str]) -> str:
    """The question whether the known word that is most like ``word`` was meant, or nothing where none is like it."""
    found = difflib.get_close_matches(word, known, 1)
    return f"; did you mean {found[0]}?" if found else ""


def refuse_empty(args: argparse.Namespace) -> None:
    """Raise ValueError for an empty name or path; taken for "not given", an empty --out would lose a whole run."""
    for option, value in vars(args).items():
        if value == "" or (isinstance(value, list) and "" in value):
            raise ValueError(f"{option.replace('_', '-')}: the name or the path is empty")


@contextmanager
def quiet() -> Iterator[None]:
    """Silence Pillow's log and warnings about damaged images, and print every other warning in one line."""
    log = logging.getLogger("PIL")
    level = log.level
    log.setLevel(logging.CRITICAL + 1)
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", module="PIL")
            warnings.showwarning = lambda message, *_: note(f"npresnet: warning: {one_line(message)}")
            yield
    finally:
        log.setLevel(level)


def complain(message: str, status: int) -> int:
    """Print a message on standard error; returns ``status``."""
    note(f"npresnet: {message}")
    return status


def one_line(error: BaseException | str, limit: int = 500) -> str:
    """An error or a warning in one line: ``file: reason`` for the system's own; of many lines the first four."""
    if os.environ.get("NPRESNET_TRACEBACK") and isinstance(error, BaseException):
        raise error  # to find a bug in this package
    if isinstance(error, OSError) and error.filename is not None:
        return f"{os.fsdecode(error.filename)}: {error.strerror}"
    lines = [" ".join(line.split()) for line in str(error).splitlines()]
    text = "; ".join(lines[:4] + ["…"] * (len(lines) > 4)) or type(error).__name__
    return shortened(text, limit)


def shortened(text: str, limit: int = 500) -> str:
    """The text, without its middle where it is longer than ``limit``."""
    return text if len(text) <= limit else f"{text[: limit - 100]} … {text[-100:]}"
