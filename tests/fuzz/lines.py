"""Which lines of the weights readers a folder of inputs reaches.

    python -m tests.fuzz.lines FOLDER …
"""

import sys
from inspect import CO_OPTIMIZED
from pathlib import Path

from npresnet import weights

from .target import read

READERS = ("bounds", "checkpoint", "errors", "hdf5", "hdf5_attributes", "hdf5_file", "hdf5_objects", "keras",
           "literals", "machine", "metadata", "npz", "opcodes", "read", "safetensors", "tar_archive", "tensors",
           "torch_globals", "torch_legacy", "torch_tar", "torch_zip", "unpickle", "zip_archive")
FOLDER = Path(weights.__file__).parent


def lines_inside(code):
    """The lines of the functions in a module's or class's code, and of those within them."""
    for constant in code.co_consts:
        if hasattr(constant, "co_lines"):
            if constant.co_flags & CO_OPTIMIZED:                 # a function's
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
    for name in READERS:
        path = FOLDER / f"{name}.py"
        wanted = set(lines_inside(compile(path.read_text(), str(path), "exec")))
        missing = sorted(wanted - found.get(str(path), set()))
        total, missed = total + len(wanted), missed + len(missing)
        print(f"{name:16} {len(wanted) - len(missing):4} of {len(wanted):4}   not reached: {missing}")
    print(f"{total - missed} of {total} lines, {1 - missed / total:.1%}")


if __name__ == "__main__":
    main(sys.argv[1:])
