"""Random shapes through every kernel and through the engine, beside their references, for as long as one likes.

    python -m tests.scripts.random_shapes --minutes 30 [--seed 0] [--walls]

Say in the environment how memory is to behave: GLIBC_TUNABLES=glibc.malloc.perturb=85 overwrites what is freed,
glibc.malloc.mmap_threshold=2048 unmaps it, MALLOC_ARENA_MAX=1 NUMBA_NUM_THREADS=8 lets threads take it from each other;
--walls puts the kernels' arrays between closed pages, see :mod:`.walls`.
Ends with status 1 at the first difference, whose seed it names.
"""

import argparse
import sys
from collections import Counter
from time import monotonic

import numpy as np

from npresnet import nn, ops, optimize, use

from ..support.walls import build

BOUND = 1e-4  # of the largest value; F(4x4, 3x3) and long sums over channels come near 2e-5
CHANNELS = [1, 3, 8, 16, 24, 32, 48, 64, 96]


def draw(rng, *shape):
    return rng.standard_normal(shape, np.float32)


def in_some_order(rng, x):
    """x, or the same values with another order of the axes in memory."""
    order = rng.permutation(x.ndim) if rng.random() < 0.3 else [0, 2, 3, 1] if rng.random() < 0.6 else range(x.ndim)
    order = list(order)
    return np.ascontiguousarray(x.transpose(order)).transpose(np.argsort(order))


def images(rng, channels=None):
    c = channels or int(rng.choice(CHANNELS))
    return draw(rng, int(rng.integers(2, 6)), c, *(int(s) for s in rng.integers(1, 40, 2)))


def convolution(rng):
    """(op, arrays, static, which arrays are images)"""
    x, kernel = images(rng), tuple(int(k) for k in rng.integers(1, 4, 2)) if rng.random() < 0.3 else (3, 3)
    static = {
        "stride": tuple(int(s) for s in rng.integers(1, 3, 2)) if rng.random() < 0.4 else 1,
        "padding": tuple(tuple(int(p) for p in rng.integers(0, 3, 2)) for _ in range(2)),
    }
    groups = int(rng.choice([g for g in (1, 1, 1, 2, 4, 8) if x.shape[1] % g == 0]))
    f = int(rng.choice(CHANNELS)) // groups * groups or groups
    w = draw(rng, f, x.shape[1] // groups, *kernel)
    return ops.conv2d, [x, w] + [draw(rng, f)] * (rng.random() < 0.5), static | {"groups": groups}


def norm(rng):
    x = images(rng)
    vectors = [draw(rng, x.shape[1]), draw(rng, x.shape[1])]
    op = [ops.batch_norm_train, ops.batch_norm_relu, ops.batch_norm_add_relu, ops.batch_norm_relu_conv2d][
        rng.integers(4)
    ]
    more = {
        ops.batch_norm_add_relu: lambda: [draw(rng, *x.shape)],
        ops.batch_norm_relu_conv2d: lambda: [draw(rng, int(rng.choice(CHANNELS)), x.shape[1], 3, 3)],
    }
    window = {"padding": 1, "stride": int(rng.integers(1, 3))} if op is ops.batch_norm_relu_conv2d else {}
    return op, [x, *vectors, *more.get(op, list)()], {"eps": 1e-2, **window}


def group_norm(rng):
    x = images(rng)
    groups = int(rng.choice([g for g in (1, 2, 3, 4, 8, 16, 32) if x.shape[1] % g == 0]))
    return ops.group_norm, [x, draw(rng, x.shape[1]), draw(rng, x.shape[1])], {"groups": groups, "eps": 1e-2}


def pool(rng):
    kernel = int(rng.integers(1, 4))
    return (
        ops.max_pool2d,
        [images(rng)],
        {"kernel": kernel, "stride": int(rng.integers(1, 4)), "padding": int(rng.integers(0, kernel // 2 + 1))},
    )


def small(rng):
    x = images(rng)
    op = [ops.add, ops.relu, ops.leaky_relu, ops.gelu, ops.silu][rng.integers(5)]
    return op, [x, draw(rng, *x.shape)] if op is ops.add else [x], {}


def possible(arrays, static):
    """Whether a window fits the images."""
    filters = [a for a in arrays[1:] if a.ndim == 4]
    kernel = static.get("kernel", filters[0].shape[2:] if filters else 1)
    window = ops.Window.of(kernel, padding=static.get("padding", 0))
    return all(size + sum(p) >= k for size, p, k in zip(arrays[0].shape[2:], window.padding, window.kernel))


def both(rng, op, arrays, static):
    """The results and cotangents of the kernel and of the reference."""
    arrays = [in_some_order(rng, a) if a.ndim == 4 and a.shape[2:] != (3, 3) else a for a in arrays]
    dy, found = None, []
    for backend in ("numba", "numpy"):
        with use(backend):
            y, pullback, *extras = op(*arrays, **static)
            dy = in_some_order(rng, draw(rng, *y.shape)) if dy is None else dy
            gradients = pullback(dy)
        gradients = gradients if isinstance(gradients, tuple) else (gradients,)
        found.append([y, *gradients, *(extras[0] if extras else ())])
    return zip(*found, strict=True)


def off_kinks(op, arrays, static):
    """Whether rounding cannot decide which way a ReLU goes in any of the values."""
    if "relu" not in op.__name__ or "batch_norm" not in op.__name__:
        return True
    with use("numpy"):
        z = ops.batch_norm_train(*arrays[:3], eps=static["eps"])[0]
    return bool((abs(z + (arrays[3] if op is ops.batch_norm_add_relu else 0)) > 1e-5).all())


def network(rng):
    """A chain of a few layers with the engine's features, and images for it."""
    x = images(rng)
    layers, c = [], x.shape[1]
    for _ in range(rng.integers(1, 5)):
        f, k = int(rng.choice(CHANNELS)), int(rng.choice([1, 3, 3, 5]))
        groups = int(rng.choice([g for g in (1, 1, 2, 4, 8) if c % g == f % g == 0]))
        norm = nn.BatchNorm2d(f) if rng.random() < 0.7 else nn.GroupNorm(int(rng.choice([1, f])), f, 0.1)
        layers += [nn.Conv2d(c, f, k, stride=int(rng.integers(1, 3)), padding=k // 2, groups=groups), norm]
        layers += [[nn.ReLU(), nn.ReLU(), nn.LeakyReLU(0.2), nn.GELU(), nn.SiLU()][rng.integers(5)]] * (
            rng.random() < 0.7
        )
        c = f
    model = nn.Sequential(*layers).eval()
    for name, parameter in model.named_parameters():
        scale = 1 / np.prod(parameter.value.shape[1:]) ** 0.5
        parameter.value = draw(rng, *parameter.value.shape) * np.float32(scale if "bias" not in name else 1)
    return model, x


def differs(got, due):
    return got is not None and not abs(got - due).max(initial=0) <= BOUND * max(abs(due).max(initial=0), 1e-3)


def one(seed):
    """What was tried with this seed, and whether it differed."""
    rng = np.random.default_rng(seed)
    if seed % 4 == 0:
        model, x = network(rng)
        with use("numpy"):
            due = model(x)
        engine = optimize(model, threads=int(rng.integers(1, 4)))
        return "engine", any(differs(engine(x), due) for _ in range(2))
    op, arrays, static = (convolution, norm, group_norm, pool, small)[rng.choice(5, p=[0.4, 0.3, 0.1, 0.1, 0.1])](rng)
    if not possible(arrays, static) or not off_kinks(op, arrays, static):
        return "skipped", False
    return op.__name__, any(differs(got, due) for got, due in both(rng, op, arrays, static))


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--minutes", type=float, default=1)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--walls", action="store_true")
    options, tried = parser.parse_args(), Counter()
    walls = build()[0] if options.walls else None
    end, seed = monotonic() + 60 * options.minutes, options.seed
    while monotonic() < end:
        what, wrong = one(seed)
        tried[what] += 1
        if walls:
            walls.stand()
        if wrong:
            sys.exit(f"{what} differs from its reference: --seed {seed}")
        seed += 1
    print(f"no difference in {tried.total()} calls:", ", ".join(f"{name} {n}" for name, n in tried.most_common()))


if __name__ == "__main__":
    main()
