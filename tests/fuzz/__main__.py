"""Coverage-guided fuzzing of the weights readers with Atheris, which is libFuzzer.

    python -m tests.fuzz -runs=1000000 FOLDER tests/fuzz/corpus     # inputs that reach new code are kept in FOLDER
    python -m tests.fuzz --reader=npz -runs=1000000 FOLDER          # one reader, from its own seeds (READERS in target)

All other options are libFuzzer's (-help=1).  It ends with status 0 after so many runs, and otherwise with the finding's
traceback and the input in a file crash-…, which ``python -m tests.fuzz crash-…`` runs again.
"""

import codecs
import random
import resource
import sys
import warnings

import atheris

with atheris.instrument_imports(
    include=["npresnet.formats", "npresnet.weights", "npresnet.quantized", "npresnet.data", "PIL", "tarfile"]
):
    from PIL import ImageCms  # noqa: F401

    from npresnet import weights  # noqa: F401
    from npresnet.data import cifar  # noqa: F401
    from npresnet.quantized import file  # noqa: F401

from .mutate import mutate
from .seeds import CORPUS
from .target import READERS, Watch, watched

ADDRESS_SPACE = 4 * 2**30
outcomes = {"arrays": 0, "errors": 0}


def mutated(data, max_size, seed):
    def bend(part):
        return atheris.Mutate(part, len(part) + 16)

    return mutate(data, random.Random(seed), bend)[:max_size]


def main():
    resource.setrlimit(resource.RLIMIT_AS, (ADDRESS_SPACE, ADDRESS_SPACE))
    arguments = [argument for argument in sys.argv[1:] if not argument.startswith("--reader=")]
    name = next((argument[9:] for argument in sys.argv[1:] if argument.startswith("--reader=")), None)
    seeds, reader = READERS[name or "weights"]
    paths = sorted(CORPUS.glob(seeds))
    for path in paths:  # what is imported lazily, is imported now
        reader(path.read_bytes())
    for encoding in ("raw-unicode-escape", "latin1", "ascii", "utf-32-le", "utf-32-be"):
        codecs.lookup(encoding)
    warnings.simplefilter("ignore")  # which would open a source file to quote from it
    watch = Watch()

    def once(data):
        found = watched(data, watch, reader)
        outcomes["errors" if found is None else "arrays"] += 1
        if watch.count % 10_000 == 0:
            print(f"outcomes: {outcomes}", file=sys.stderr)

    options = ["-max_len=16384", "-mutate_depth=1", "-rss_limit_mb=1024", "-timeout=60"]
    if name:
        options.append("-seed_inputs=" + ",".join(map(str, paths)))
    atheris.Setup([sys.argv[0], *options, *arguments], once, custom_mutator=mutated)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
