"""Which lines of the weights readers a folder of inputs reaches.

python -m tests.fuzz.lines FOLDER …
"""

import sys
from inspect import CO_OPTIMIZED
from pathlib import Path

from npresnet import formats

from .target import read

FOLDER = Path(formats.__file__).parent


def lines_inside(code):
    """The lines of the functions in a module's or class's code, and of those within them."""
    for constant in code.co_consts:
        if hasattr(constant, "co_lines"):
            if constant.co_flags & CO_OPTIMIZED:  # a function's
                yield from {line for *_, line in constant.co_lines() if line} - {constant.co_firstlineno}
            yield from lines_inside(constant)


def reached(paths):
    """{file: lines} that ran while the inputs were read."""
    found = {}

    def trace(frame, event, arg):
        lines = found.setdefault(frame.f_code.co_filename, set())

        def local(frame, event, arg):
            lines.add(frame.f_lineno)
            return local

        return local if str(FOLDER) in frame.f_code.co_filename else None

    for path in paths:
        data = path.read_bytes()
        sys.settrace(trace)
        try:
            read(data)
        finally:
            sys.settrace(None)
    return found


def main(folders):
    found = reached([path for folder in folders for path in Path(folder).iterdir()])
    total = missed = 0
    for path in sorted(FOLDER.rglob("*.py")):
        wanted = set(lines_inside(compile(path.read_text(), str(path), "exec")))
        missing = sorted(wanted - found.get(str(path), set()))
        total, missed = total + len(wanted), missed + len(missing)
        reach = f"{len(wanted) - len(missing):4} of {len(wanted):4}"
        print(f"{path.relative_to(FOLDER)!s:28} {reach}   not reached: {missing}")
    print(f"{total - missed} of {total} lines, {1 - missed / total:.1%}")


if __name__ == "__main__":
    main(sys.argv[1:])
