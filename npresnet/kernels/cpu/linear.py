"""The classifier: three products with few rows, of matrices that are not laid out anew."""

import numpy as np

from ...backend import Array, Pullback
from ...ops.linear import linear
from .arrays import empty, is_float32
from .codegen.jit import inlined
from .codegen.vector import floats
from .layout import contiguous
from .program.entry_point import Address, Pair, entry_point, run

ROWS = 8               # of the result in a work item: they stay in the cache while those of b pass by
COLUMNS = 16           # a cache line
TERMS = 32             # of a sum that is kept apart


def supports(x, w, b=None) -> bool:
    """A batch in float32, contiguous."""
    return is_float32(x, w) and (b is None or is_float32(b)) and x.ndim == w.ndim == 2 and len(x) > 1 \
        and x.shape[1] == w.shape[1] and (b is None or b.shape == w.shape[:1]) and min(x.shape + w.shape) > 0 \
        and all(a is None or a.flags.c_contiguous for a in (x, w, b))


@linear.register("numba", supports)
def linear_numba(x: Array, w: Array, b: Array | None = None) -> tuple[Array, Pullback]:
    """Equals :func:`npresnet.ops.linear`.

    Saves: x, w.
    """
    (n, d), m, biased = x.shape, len(w), b is not None
    turned, y = empty((d, m)), empty((n, m))
    run(transpose.launch(-(-d // COLUMNS), w, (m, d), turned),
        multiply.launch(-(-n // ROWS), x, (d, 1), (n, d), turned, m, b, y))                 # Y = X Wᵀ + 1 bᵀ

    def pullback(dy, skip=()):
        dy, made = contiguous(dy), {"x": empty((n, d)), "w": empty((m, d)), "b": empty((1, m))}
        launches = {
            "x": multiply.launch(-(-n // ROWS), dy, (m, 1), (n, m), w, d, None, made["x"]),     # dX = dY W
            "w": multiply.launch(-(-m // ROWS), dy, (1, m), (m, n), x, d, None, made["w"]),     # dW = dYᵀ X
            "b": multiply.launch(1, np.ones(n, np.float32), (n, 1), (1, n), dy, m, None, made["b"]),
        }
        wanted = [name for name in launches if name not in skip and (biased or name != "b")]
        if wanted:
            run(*[launches[name] for name in wanted])
        dx, dw, db = (made[name] if name in wanted else None for name in launches)
        return dx, dw, None if db is None else db[0]

    return y, pullback


@entry_point
def transpose(item, work, w: Address, shape: Pair, out: Address):
    """A few columns of w (m, d) as rows of (d, m)."""
    m, d = shape
    for i in range(m):
        row = floats(w + i * d * 4, d)
        for j in range(item * COLUMNS, min(d, (item + 1) * COLUMNS)):
            floats(out + j * m * 4, m)[i] = row[j]


@entry_point
def multiply(item, work, a: Address, strides: Pair, shape: Pair, b: Address, width: int, start: Address, out: Address):
    """ROWS rows of A B, plus ``start`` where it is given; A of ``shape`` with ``strides`` in floats, B contiguous.

    Sums of TERMS products are added up: one long sum would lose a digit.
    """
    first, last, one = item * ROWS, min(shape[0], (item + 1) * ROWS), np.float32(1)
    for i in range(first, last):
        row = floats(out + i * width * 4, width)
        row[:] = 0
        if start != 0:
            _add(one, floats(start, width), row)
    short = np.empty((ROWS, width), np.float32)
    for block in range(0, shape[1], TERMS):
        short[:] = 0
        for j in range(block, min(shape[1], block + TERMS)):
            values = floats(b + j * width * 4, width)
            for i in range(first, last):
                _add(floats(a + (i * strides[0] + j * strides[1]) * 4, 1)[0], values, short[i - first])
        for i in range(first, last):
            _add(one, short[i - first], floats(out + i * width * 4, width))


@inlined
def _add(factor, values, out):
    for k in range(len(out)):
        out[k] += factor * values[k]
