"""The command line.  Each subcommand is a module here: its docstring is the help, ``run(args)`` gives the exit status.

0: done, or yes.   1: the answer is no.   2: bad usage or bad input, told in one line on standard error.
Subcommands import what they need when they run, so that ``npresnet --help`` is quick.
"""

import argparse
import logging
import os
import sys
import warnings
from contextlib import contextmanager
from importlib import import_module

from .. import __version__
from ..printer import escaped, note

COMMANDS = ("classify", "evaluate", "summary", "diff", "convert", "download", "train", "gradcheck", "verify", "cam",
            "bench")
INTERRUPTED, BROKEN_PIPE = 130, 141                                  # 128 + the number of the signal, as shells say it


class Parser(argparse.ArgumentParser):
    """Bad usage is one line, like every other error."""

    def error(self, message):
        self.exit(2, escaped(f"{self.prog}: {shortened(message)} (see {self.prog} --help)") + "\n")


def parser() -> argparse.ArgumentParser:
    """The whole command line."""
    top = Parser("npresnet", description="The ResNet family in NumPy: classify, evaluate, look inside, convert.",
                 epilog="npresnet COMMAND --help tells more about each.")
    top.add_argument("--version", action="version", version=f"npresnet {__version__}")
    commands = top.add_subparsers(dest="command", metavar="COMMAND", required=True)
    for name in COMMANDS:
        module = import_module(f"{__name__}.{name}")
        first, _, rest = module.__doc__.strip().partition("\n")
        command = commands.add_parser(name, help=first, description=f"{first}\n{rest}", epilog=module.EXAMPLES,
                                      formatter_class=argparse.RawDescriptionHelpFormatter)
        module.add_arguments(command)
        command.set_defaults(run=module.run)
    return top


def main(argv=None) -> int:
    """Run one command line and return its exit status."""
    if hasattr(sys.stdout, "reconfigure"):
        sys.stdout.reconfigure(errors="backslashreplace")            # a file's name may hold any bytes
    try:
        with quiet():
            status = run(argv)
        sys.stdout.flush()                                           # a closed pipe shows here and not at exit
        return status
    except KeyboardInterrupt:
        return complain("interrupted", INTERRUPTED)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())   # the flush at exit must not fail again
        return BROKEN_PIPE
    except (ValueError, OSError, MemoryError, ImportError) as error:
        return complain(one_line(error), 2)


def run(argv) -> int:
    """Parse, and hand over to the subcommand."""
    try:
        args = parser().parse_args(argv)
    except SystemExit as stop:                                       # --help, --version, bad usage
        return stop.code or 0
    refuse_empty(args)
    return args.run(args)


def refuse_empty(args):
    """No name and no path is empty; taken for "not given", an empty --out would lose a whole run."""
    for option, value in vars(args).items():
        if value == "" or (isinstance(value, list) and "" in value):
            raise ValueError(f"{option.replace('_', '-')}: the name or the path is empty")


@contextmanager
def quiet():
    """Without Pillow's log and warnings about damaged images, which would come before the one line of ours."""
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


def complain(message, status) -> int:
    """Say it on standard error."""
    note(f"npresnet: {message}")
    return status


def one_line(error, limit=500) -> str:
    """An error in one line: ``file: reason`` for the system's own; of a long list of lines the first few."""
    if os.environ.get("NPRESNET_TRACEBACK"):
        raise error                                                  # for whoever looks for a bug in this package
    if isinstance(error, OSError) and error.filename is not None:
        return f"{os.fsdecode(error.filename)}: {error.strerror}"
    lines = [" ".join(line.split()) for line in str(error).splitlines()]
    text = "; ".join(lines[:4] + ["…"] * (len(lines) > 4)) or type(error).__name__
    return shortened(text, limit)


def shortened(text, limit=500) -> str:
    """The text without its middle, where it is long."""
    return text if len(text) <= limit else f"{text[:limit - 100]} … {text[-100:]}"
