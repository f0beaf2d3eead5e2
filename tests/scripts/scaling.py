"""What another thread and a larger batch bring on an idle machine: ``python -m tests.scripts.scaling [MODEL]``.

The gain of all threads over one stands beside that of a large matrix product by OpenBLAS, measured in turns.
"""

import os
import subprocess
import sys
from statistics import median
from time import perf_counter

import numpy as np

from npresnet import create_model, optimize
from npresnet.bench.cpu import cores
from npresnet.cli.arguments import usual_size

PRODUCT = """
import sys, numpy as np
from time import perf_counter
a = np.random.default_rng(0).standard_normal((3000, 3000), np.float32)
for line in sys.stdin:
    start = perf_counter(); a @ a; print(perf_counter() - start, flush=True)
"""


def product(threads):
    """A call that gives the seconds of a 3000 x 3000 product in another process with so many threads."""
    count = {name: str(threads) for name in ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS")}
    child = subprocess.Popen(
        [sys.executable, "-c", PRODUCT],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, **count},
    )

    def seconds():
        child.stdin.write("go\n")
        child.stdin.flush()
        return float(child.stdout.readline())

    return seconds


def engine(model, x, threads):
    run = optimize(model, threads=threads)

    def seconds():
        start = perf_counter()
        run(x)
        return perf_counter() - start

    return seconds


def medians(runs, rounds):
    """The median seconds of each, in turns of two calls of which the second counts."""
    times = [[(run(), run())[1] for run in runs] for _ in range(rounds)]
    return [median(column) for column in zip(*times)]


def main(name="resnet18", rounds=9):
    model, threads, rng = create_model(name), cores(), np.random.default_rng(0)
    images = rng.standard_normal((128, model.spec.in_channels, *usual_size(model))).astype(np.float32)
    one, all_, product_one, product_all = medians(
        [engine(model, images[:8], 1), engine(model, images[:8], threads), product(1), product(threads)], rounds
    )
    print(
        f"{name}, batch 8: {1e3 * one:.1f} ms on 1 thread, {1e3 * all_:.1f} ms on {threads}: gain {one / all_:.3f}; "
        f"a matrix product gains {product_one / product_all:.3f}; ratio {one / all_ * product_all / product_one:.3f}"
    )
    sizes = [8, 16, 32, 64, 128]
    for size, seconds in zip(sizes, medians([engine(model, images[:n], threads) for n in sizes], max(3, rounds // 3))):
        print(f"{name}, batch {size}: {1e3 * seconds / size:.2f} ms an image")


if __name__ == "__main__":
    main(*sys.argv[1:])
