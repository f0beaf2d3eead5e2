"""Wrong arguments: each op answers with one line that names the argument, whichever backend runs."""

import re
from functools import partial

import numpy as np
import pytest

from npresnet import ops
from npresnet.backend import use
from npresnet.ops import check, rules
from npresnet.ops.winograd import winograd_conv2d

from ..support import laws
from ..support.cases import CASES
from ..support.wrong import (
    NOT_ARRAYS,
    NOT_COUNTS,
    NOT_FLAGS,
    NOT_GROUPS,
    NOT_NUMBERS,
    NOT_PADDINGS,
    NOT_SIZES,
    full,
    spoken,
    unspoken,
)

X, W, C, Z, LABELS = full(2, 8, 6, 6), full(16, 8, 3, 3), full(8), full(2, 3), np.array([0, 2])
conv, pool, mean = partial(ops.conv2d, X, W), partial(ops.max_pool2d, X), partial(ops.avg_pool2d, X)
norm, norm_eval = partial(ops.batch_norm_train, X, C, C), partial(ops.batch_norm_eval, X, C, C, C, C)
loss = partial(ops.softmax_cross_entropy, Z)
step = partial(ops.momentum_step, C, C, C, 0.1)

TABLE = [
    *(
        (f, name, NOT_SIZES)
        for f, name in (
            (conv, "stride"),
            (conv, "dilation"),
            (partial(pool, 2), "stride"),
            (partial(pool, stride=2), "kernel"),
            (partial(pool, 2, stride=2), "dilation"),
            (partial(mean, 2), "stride"),
            (partial(mean, stride=1), "kernel"),
            (partial(ops.subsample, X), "stride"),
            (partial(ops.adaptive_avg_pool2d, X), "output_size"),
            (partial(ops.same_padding, (6, 6), 3), "stride"),
            (partial(ops.same_padding, (6, 6), stride=1), "kernel"),
            (partial(ops.same_padding, (6, 6), 3, 1), "dilation"),
            (partial(ops.Window.of, 3), "dilation"),
        )
    ),
    *(
        (f, "padding", NOT_PADDINGS)
        for f in (
            conv,
            partial(pool, 2, stride=2),
            partial(mean, 2, stride=2),
            partial(ops.zero_pad2d, X),
            partial(ops.constant_pad2d, X),
            partial(winograd_conv2d, X, W),
            partial(ops.batch_norm_relu_conv2d, X, C, C, W, eps=0),
        )
    ),
    (partial(ops.same_padding, kernel=3, stride=1), "size", (-1, 1.5, None, "6", True, (1, 2, 3), (2, -1))),
    (conv, "groups", (*NOT_GROUPS, 3)),
    (partial(ops.zero_pad_channels, X, after=0), "before", NOT_COUNTS),
    (partial(ops.zero_pad_channels, X, before=0), "after", NOT_COUNTS),
    *((f, "eps", (*NOT_NUMBERS, -1e-5)) for f in (norm, norm_eval, partial(ops.batch_norm_relu, X, C, C))),
    (partial(ops.moving_statistics, C, C, C, C), "momentum", NOT_NUMBERS),
    (step, "momentum", NOT_NUMBERS),
    (partial(step, momentum=0.9), "decay", NOT_NUMBERS),
    (partial(ops.momentum_step, C, C, C, momentum=0), "lr", NOT_NUMBERS),
    (partial(loss, LABELS), "label_smoothing", (*NOT_NUMBERS, -0.1, 1.5, np.float32(2))),
    (
        loss,
        "labels",
        (
            [0, 1],
            (0, 1),
            1,
            None,
            "01",
            np.array([0, 3]),
            np.array([-1, 0]),
            np.array([0.0, 1.0]),
            np.array([True, False]),
            np.array([0]),
            np.array([[0, 1]]),
        ),
    ),
    (partial(ops.constant_pad2d, X, 1), "value", ("1", None, True, [0.1], np.array(0.1), 1j, float("nan"))),
    (partial(loss, LABELS), "weight", (1.0, [1.0] * 3, "3", full(2), full(3, 1), full(3).astype(int))),
    (partial(loss, LABELS), "ignore_index", (1.5, "1", True, [1], -(2**31), 2**31)),
    (partial(loss, LABELS), "reduction", ("average", "Mean", "", None, 1, ["mean"], np.ones(2), "x" * 1000)),
    *(
        (f, name, NOT_FLAGS)
        for f, name in (
            (partial(pool, 2, stride=2), "ceil_mode"),
            (partial(mean, 2, stride=2), "count_include_pad"),
            (partial(step, momentum=0.9), "nesterov"),
        )
    ),
    (partial(ops.cast, X), "dtype", (None, int, "float13", np.complex64)),
    (partial(winograd_conv2d, X, W), "tile", (3, 0, None, "4", [4])),
]


@pytest.mark.parametrize("backend", ["numpy", "numba"])
def test_each_wrong_argument_is_named(backend):
    with use(backend):
        found = unspoken(TABLE)
    assert not found, "\n".join(map(str, found))
    assert sum(len(values) for *_, values in TABLE) > 200


WITHOUT_SHAPES = {"all_reduce_sum", "relu", "leaky_relu", "gelu", "silu", "sigmoid", "cast"}


@pytest.mark.parametrize("backend", ["numpy", "numba"])
@pytest.mark.parametrize("name", sorted(laws.OPS))
def test_what_is_no_array_or_of_other_dimensions_raises(name, backend):
    case = next(case for case in CASES if case.op == name)
    arrays, constants = case.draw(np.float32)
    for argument in arrays:
        for bad in (*NOT_ARRAYS, *(() if name in WITHOUT_SHAPES else (full(7), full(1, 1, 1, 1, 1)))):
            if argument in ("b", "gamma", "beta") and bad is None:
                continue
            with use(backend), pytest.raises((TypeError, ValueError)) as caught:
                laws.run(laws.OPS[name], case, arrays | {argument: bad}, constants)
            assert spoken(caught.value, ""), (argument, bad, caught.value)


@pytest.mark.parametrize("backend", ["numpy", "numba"])
def test_names_that_a_pullback_cannot_skip_raise(backend):
    with use(backend):
        pullbacks = [
            ops.conv2d(X, W)[1],
            norm(eps=0.1)[1],
            ops.linear(full(2, 4), full(3, 4))[1],
            ops.batch_norm_add_relu(X, C, C, X, eps=0.1)[1],
        ]
    dys = full(2, 16, 4, 4), X, full(2, 3), X
    for pullback, dy in zip(pullbacks, dys):
        with pytest.raises(ValueError, match=r"skip must name arguments among x, .*, not X, weight"):
            pullback(dy, skip={"weight", "X"})
        for bad in ("x", None, 1):
            with pytest.raises(TypeError, match="skip must be a set of names"):
                pullback(dy, skip=bad)
        assert pullback(dy, skip=["x"])[0] is None


@pytest.mark.parametrize("dy", [1.0, None, [1.0]])
def test_a_dy_that_is_no_array_raises(dy):
    with pytest.raises(ValueError, match="dy must have the shape of y"):
        ops.sigmoid(X)[1](dy)
    if dy != 1.0:
        with pytest.raises(TypeError, match="dy of a loss must be a number"):
            loss(LABELS)[1](dy)


@pytest.mark.parametrize("backend", ["numpy", "numba"])
@pytest.mark.parametrize("groups", [1, 2])
def test_a_convolution_of_no_channels_is_its_bias(groups, backend):
    x, w, b = full(2, 0, 6, 6), full(16, 0, 3, 3), np.arange(16, dtype=np.float32)
    with use(backend):
        y, pullback = ops.conv2d(x, w, b, groups=groups)
        dx, dw, db = pullback(y)
    np.testing.assert_array_equal(y, np.broadcast_to(b[:, None, None], (2, 16, 4, 4)))
    assert dx.shape == x.shape and dw.shape == w.shape
    np.testing.assert_allclose(db, 32 * b)
    with use(backend), pytest.raises(ValueError, match="at least one filter"):
        ops.conv2d(x, full(0, 0, 3, 3))


@pytest.mark.parametrize("backend", ["numpy", "numba"])
@pytest.mark.parametrize("size", [8, 8192])
def test_steps_of_arrays_of_other_shapes_raise(size, backend):
    w, other = full(size), full(1)
    with use(backend):
        for arrays in ((w, other, w), (w, w, other), (other, w, None)):
            with pytest.raises(ValueError, match=r"one shape is needed, but w is \(\d+,\), g is \(\d+,\)"):
                ops.momentum_step(*arrays, 0.1, momentum=0.9)
        for i in range(4):
            arrays = [other if j == i else w for j in range(4)]
            with pytest.raises(ValueError, match="one shape is needed, but running_mean is"):
                ops.moving_statistics(*arrays, momentum=0.1)


@pytest.mark.parametrize("backend", ["numpy", "numba"])
@pytest.mark.parametrize("size", [8, 8192])
def test_steps_of_what_are_no_floats_raise(size, backend):
    w, bad = full(size), (full(size).tolist(), "text", 3.0, full(size).astype(int), full(size).astype(complex))
    with use(backend):
        for other in bad:
            for arrays in ((w, other, w), (w, w, other), (other, w, None)):
                with pytest.raises(TypeError, match=r"must be an array|floating-point arrays are needed"):
                    ops.momentum_step(*arrays, 0.1, momentum=0.9)
            for i in range(4):
                with pytest.raises(TypeError, match=r"must be an array|floating-point arrays are needed"):
                    ops.moving_statistics(*(other if j == i else w for j in range(4)), momentum=0.1)


@pytest.mark.parametrize("backend", ["numpy", "numba"])
def test_a_number_of_numpy_does_not_widen_the_result(backend):
    wide, w = np.float64(0.1), full(8192)
    with use(backend):
        found = [
            norm(eps=wide)[0],
            norm_eval(eps=wide)[0],
            loss(LABELS, label_smoothing=wide)[0],
            *ops.momentum_step(w, w, w, wide, momentum=wide, decay=wide),
            *ops.moving_statistics(C, C, C, C, momentum=wide, correction=wide),
        ]
    assert {a.dtype for a in found} == {X.dtype}


def test_sizes_are_integers_of_any_kind():
    due = ops.conv2d(X, W, stride=2, padding=1, groups=1)[0]
    for kind in (np.int8, np.int64, np.uint16):
        np.testing.assert_array_equal(ops.conv2d(X, W, stride=[kind(2)] * 2, padding=kind(1), groups=kind(1))[0], due)


@pytest.mark.parametrize(
    "name, call",
    [
        ("zero_pad2d", lambda x: ops.zero_pad2d(x, 1)),
        ("constant_pad2d", lambda x: ops.constant_pad2d(x, 1)),
        ("adaptive_avg_pool2d", lambda x: ops.adaptive_avg_pool2d(x, 1)),
        ("zero_pad_channels", lambda x: ops.zero_pad_channels(x, 1, 1)),
        ("subsample", lambda x: ops.subsample(x, 2)),
        ("global_avg_pool2d", ops.global_avg_pool2d),
        ("winograd_conv2d", lambda x: winograd_conv2d(x, W)),
    ],
)
def test_what_are_no_images_is_said_by_shape(name, call):
    for shape in ((8, 6, 6), (2, 8, 6, 6, 1), ()):
        with pytest.raises(ValueError, match=rf"^{name} takes images \(N, C, H, W\), not {re.escape(str(shape))}$"):
            call(np.ones(shape, np.float32))


@pytest.mark.parametrize("kernel", [(0, 3), (3, 0)])
def test_a_filter_has_a_tap(kernel):
    for filters, channels in ((1, 1), (4, 8)):
        with pytest.raises(ValueError, match="at least one filter of at least one tap"):
            ops.conv2d(full(2, channels, 6, 6), full(filters, channels, *kernel))


def test_a_sum_takes_two_arrays():
    with pytest.raises(TypeError, match=r"^b must be an array, not None$"):
        ops.add(X, None)


@pytest.mark.parametrize("x", [X.astype(int), X.astype(complex)])
def test_a_cast_is_from_a_precision_of_floats(x):
    with pytest.raises(TypeError, match=r"^floating-point arrays are needed, but x is "):
        ops.cast(x, np.float32)


def test_the_largest_integer_and_what_a_string_cannot_be():
    for kind in (int, np.int64):
        assert check.integer(kind(2**31 - 1), "groups", 1) == 2**31 - 1
    with pytest.raises(ValueError, match=r"^groups must be at most 2147483647, not 2147483648$"):
        check.integer(2**31, "groups", 1)
    with pytest.raises(ValueError, match=r"^padding must be .* or one of 'valid', 'same', 'same_lower', not 'some'$"):
        check.padding("some")
    for word in check.PADDINGS:
        assert check.padding(word) == word
        with pytest.raises(TypeError, match=rf"^padding must be an integer, not '{word}'$"):
            ops.zero_pad2d(X, word)
    with pytest.raises(TypeError, match=r"^stride must be an integer, not '22'$"):
        check.pair("22", "stride")


@pytest.mark.parametrize("padding", [(-1, 0), (0, -1), ((-1, 0), (0, 0)), ((0, 0), (0, -1))])
def test_a_frame_is_nowhere_negative(padding):
    with pytest.raises(ValueError, match=r"^padding must be at least 0, not -1$"):
        check.frame(padding)


@pytest.mark.parametrize("rule", [check.array, check.class_numbers])
def test_an_array_that_cannot_be_read_is_named(rule):
    class Refused:
        def __array__(self, *args, **kwargs):
            raise ValueError

    with pytest.raises(TypeError, match=r"^labels is a Refused that NumPy cannot read"):
        rule(Refused(), "labels")


def test_arguments_are_checked_by_the_rule_for_their_name():
    rules.arguments(stride=2, bias=True)
    with pytest.raises(ValueError, match=r"^stride must be at least 1, not 0$"):
        rules.arguments(stride=0, bias=True)


def test_an_argument_too_many_raises():
    with pytest.raises(TypeError):
        ops.relu(X, X)
    with pytest.raises(TypeError):
        ops.relu(X, X, X)


def test_a_number_lies_where_it_should():
    with pytest.raises(ValueError, match=r"^label_smoothing must lie in 0 … 1, not 2$"):
        check.number(2, "label_smoothing", 0, 1)
    with pytest.raises(ValueError, match=r"^eps must be finite and at least 0, not -1$"):
        check.number(-1, "eps", 0)
    for least, most in ((0, 1), (0, np.inf)):
        assert check.number(0, "a", least, most) == 0 and check.number(1, "a", least, most) == 1


def test_a_long_or_unprintable_value_is_shown_by_its_type():
    assert check.shown("x" * 58) == repr("x" * 58) and check.shown("x" * 59) == "a str"
    assert check.shown("a\x1b") == repr("a\x1b") and check.shown(Unprintable()) == "a Unprintable"


class Unprintable:
    def __repr__(self):
        return "two\nlines"


class Elsewhere:
    """An array of no dimension on another device, as CuPy has them."""

    shape = ()


def test_a_number_on_a_gpu_is_not_looked_at(monkeypatch):
    monkeypatch.setattr(check, "array_namespace", lambda value: np if type(value) is not Elsewhere else "cupy")
    rate, labels = Elsewhere(), Elsewhere()
    assert check.number(rate, "lr") is rate and check.class_numbers(labels, "labels") is labels
    Elsewhere.shape = (1,)
    with pytest.raises(TypeError, match=r"^lr must be a number, not "):
        check.number(rate, "lr")
    for value in (np.array(0.1), np.ones(1), [0.1]):
        with pytest.raises(TypeError, match=r"^lr must be a number, not "):
            check.number(value, "lr")
    with pytest.raises(TypeError, match=r"^labels must be an array of integers, not a list"):
        check.class_numbers([1], "labels")
