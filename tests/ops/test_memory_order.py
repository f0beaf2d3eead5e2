"""Any shape, option and memory order: the laws again, where hypothesis looks for trouble."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from ..support import laws, loops
from ..support.cases import CASES, Case, conv

small = st.integers(1, 3)
size = st.tuples(st.integers(1, 7), st.integers(1, 7))
side = st.tuples(st.integers(0, 2), st.integers(0, 2))
pairs = st.one_of(small, st.tuples(small, small))
padding = st.one_of(st.integers(0, 2), st.tuples(st.integers(0, 2), st.integers(0, 2)), st.tuples(side, side))
layouts = st.lists(st.sampled_from(sorted(laws.LAYOUTS)), min_size=6, max_size=6)
dtypes = st.sampled_from([np.float32, np.float64])


@st.composite
def convolutions(draw):
    groups, image, kernel = draw(small), draw(size), draw(st.tuples(small, small))
    static = {"stride": draw(pairs), "padding": draw(padding), "dilation": draw(pairs), "groups": groups}
    channels, filters = groups * draw(st.integers(1, 2)), groups * draw(st.integers(1, 2))
    case = conv(
        "any",
        (draw(st.integers(0, 3)), channels, *image),
        (filters, channels // groups, *kernel),
        bias=draw(st.booleans()),
        workspace=draw(st.sampled_from([None, 1, 1000])),
        **static,
    )
    return case if _fits(image, kernel, static) else conv("any", (1, 2, 3, 4), (2, 2, 1, 1))


@st.composite
def pools(draw):
    image, kernel, stride = draw(size), draw(st.tuples(small, small)), draw(pairs)
    p = tuple(tuple(min(q, k // 2) for q in draw(side)) for k in kernel)
    static = {"kernel": kernel, "stride": stride, "padding": p, "ceil_mode": draw(st.booleans())}
    op = draw(st.sampled_from(["max_pool2d", "avg_pool2d"]))
    static |= {"dilation": draw(pairs)} if op == "max_pool2d" else {"count_include_pad": draw(st.booleans())}
    fits = _fits(image, kernel, {"dilation": 1, **static})
    return Case(op, "any", {"x": (draw(st.integers(0, 2)), 2, *image)}, static if fits else {"kernel": 1, "stride": 1})


def _fits(image, kernel, static):
    """Every output sees a pixel, and there is one: a dilated window in a small padded image may step over them all."""
    statics = (loops.pair(static[key]) for key in ("stride", "padding", "dilation"))
    axes = [loops.Axis(*axis, ceil_mode=static.get("ceil_mode", False)) for axis in zip(image, kernel, *statics)]
    return all(axis.outputs and all(any(axis.taps(p)) for p in range(axis.outputs)) for axis in axes)


@given(case=st.one_of(convolutions(), pools()))
def test_any_window_obeys_the_laws(case):
    laws.value_is_the_sum(case)
    laws.pullback_is_the_adjoint(case)
    laws.purity(case)


@given(case=st.one_of(convolutions(), pools(), st.sampled_from(CASES)), layouts=layouts, dtype=dtypes)
def test_memory_order_is_free(case, layouts, dtype):
    laws.memory_order_is_free(laws.reference(case), case, iter(layouts), dtype)
