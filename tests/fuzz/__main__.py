"""Coverage-guided fuzzing of the weights readers with Atheris, which is libFuzzer.

    python -m tests.fuzz -runs=1000000 FOLDER tests/fuzz/corpus     # inputs that reach new code are kept in FOLDER

All options are libFuzzer's (-help=1).  It ends with status 0 after so many runs, and otherwise with the finding's
traceback and the input in a file crash-…, which ``python -m tests.fuzz crash-…`` runs again.
"""

import random
import resource
import sys

import atheris

with atheris.instrument_imports(include=["npresnet.weights"]):
    import npresnet.weights

from .mutate import mutate
from .seeds import CORPUS
from .target import Watch, watched

ADDRESS_SPACE = 4 * 2**30
outcomes = {"arrays": 0, "errors": 0}


def mutated(data, max_size, seed):
    def bend(part):
        return atheris.Mutate(part, len(part) + 16)
    return mutate(data, random.Random(seed), bend)[:max_size]


def main():
    resource.setrlimit(resource.RLIMIT_AS, (ADDRESS_SPACE, ADDRESS_SPACE))
    watch = Watch()
    for path in sorted(CORPUS.iterdir()):                        # what is imported lazily, is imported now
        watch.on = False
        npresnet.weights.read_weights(path)

    def once(data):
        found = watched(data, watch)
        outcomes["errors" if found is None else "arrays"] += 1
        if watch.count % 10_000 == 0:
            print(f"outcomes: {outcomes}", file=sys.stderr)
    options = ["-max_len=16384", "-mutate_depth=1", "-rss_limit_mb=1024", "-timeout=60"]
    atheris.Setup([sys.argv[0], *options, *sys.argv[1:]], once, custom_mutator=mutated)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
