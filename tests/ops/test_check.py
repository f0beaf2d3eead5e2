"""Wrong arguments: each op and each layer answers with one line that names the argument, whichever backend runs."""

from functools import partial

import numpy as np
import pytest

from npresnet import nn, ops
from npresnet.backend import use
from npresnet.ops.winograd import winograd_conv2d

from .. import laws
from ..cases import CASES


def full(*shape):
    return np.ones(shape, np.float32)


X, W, C, Z, LABELS = full(2, 8, 6, 6), full(16, 8, 3, 3), full(8), full(2, 3), np.array([0, 2])
conv, pool, mean = partial(ops.conv2d, X, W), partial(ops.max_pool2d, X), partial(ops.avg_pool2d, X)
norm, norm_eval = partial(ops.batch_norm_train, X, C, C), partial(ops.batch_norm_eval, X, C, C, C, C)
loss = partial(ops.softmax_cross_entropy, Z)
step = partial(ops.momentum_step, C, C, C, 0.1)

NOT_SIZES = (0, -1, 2**31, 2.0, 0.5, None, "2", True, np.array([2, 2]), (1, 2, 3), (2, 1.5), (0, 1), {}, float("nan"))
NOT_PADDINGS = (-1, 2**31, 0.5, None, "same", "valid", True, (1, -1), ((0, 1), (2, -1)), (1, 2, 3), ((1, 2, 3), 0),
                np.ones(2))
NOT_NUMBERS = ("1e-5", None, float("nan"), float("inf"), -float("inf"), True, [0.1], np.array(0.1), 1j)
NOT_FLAGS = (1, "yes", None, 0.0)
NOT_ARRAYS = (None, 1.0, "x", [[1.0]])

TABLE = [
    *((f, name, NOT_SIZES) for f, name in (
        (conv, "stride"), (conv, "dilation"), (partial(pool, 2), "stride"), (partial(pool, stride=2), "kernel"),
        (partial(pool, 2, stride=2), "dilation"), (partial(mean, 2), "stride"), (partial(mean, stride=1), "kernel"),
        (partial(ops.subsample, X), "stride"), (nn.Subsample, "stride"), (partial(nn.Conv2d, 8, 8), "kernel"),
        (partial(nn.Conv2d, 8, 8, 3), "stride"), (partial(nn.Conv2d, 8, 8, 3), "dilation"),
        (partial(nn.MaxPool2d, 2), "stride"), (partial(nn.AvgPool2d, stride=2), "kernel"),
        (partial(ops.same_padding, (6, 6), 3), "stride"), (partial(ops.Window.of, 3), "dilation"))),
    *((f, "padding", NOT_PADDINGS) for f in (
        conv, partial(pool, 2, stride=2), partial(mean, 2, stride=2), partial(ops.zero_pad2d, X), nn.ZeroPad2d,
        partial(winograd_conv2d, X, W), partial(ops.batch_norm_relu_conv2d, X, C, C, W, eps=0))),
    *((f, "padding", [p for p in NOT_PADDINGS if not isinstance(p, str) or p != "same"]) for f in (
        partial(nn.Conv2d, 8, 8, 3), partial(nn.MaxPool2d, 2, 2))),
    *((f, "groups", (0, -1, 2.0, None, "2", True, (1, 1))) for f in (conv, partial(nn.Conv2d, 8, 8, 3))),
    (conv, "groups", (3,)), *((partial(nn.Conv2d, c, f, 3), "groups", (2,)) for c, f in ((8, 9), (9, 8))),
    *((f, name, (-1, 1.5, None, "1", True)) for f, name in (
        (partial(ops.zero_pad_channels, X, after=0), "before"), (partial(nn.ZeroPadChannels, before=0), "after"),
        (partial(nn.Conv2d, filters=8, kernel=3), "channels"), (partial(nn.Conv2d, 8, kernel=3), "filters"),
        (nn.BatchNorm2d, "channels"), (partial(nn.Linear, 3), "outputs"), (partial(nn.Linear, outputs=3), "inputs"))),
    *((f, "eps", (*NOT_NUMBERS, -1e-5)) for f in (norm, norm_eval, partial(nn.BatchNorm2d, 8),
                                                  partial(ops.batch_norm_relu, X, C, C))),
    (partial(nn.BatchNorm2d, 8), "momentum", [v for v in NOT_NUMBERS if v is not None]),
    (partial(ops.moving_statistics, C, C, C, C), "momentum", NOT_NUMBERS), (step, "momentum", NOT_NUMBERS),
    (partial(step, momentum=0.9), "decay", NOT_NUMBERS),
    (partial(ops.momentum_step, C, C, C, momentum=0), "lr", NOT_NUMBERS),
    (partial(loss, LABELS), "label_smoothing", (*NOT_NUMBERS, -0.1, 1.5, np.float32(2))),
    (loss, "labels", ([0, 1], (0, 1), 1, None, "01", np.array([0, 3]), np.array([-1, 0]), np.array([0.0, 1.0]),
                      np.array([True, False]), np.array([0]), np.array([[0, 1]]))),
    *((f, name, NOT_FLAGS) for f, name in (
        (partial(pool, 2, stride=2), "ceil_mode"), (partial(mean, 2, stride=2), "count_include_pad"),
        (partial(step, momentum=0.9), "nesterov"), (partial(nn.Conv2d, 8, 8, 3), "bias"),
        (partial(nn.BatchNorm2d, 8), "unbiased"), (partial(nn.AvgPool2d, 2, 2), "ceil_mode"))),
    (partial(ops.cast, X), "dtype", (None, int, "float13", np.complex64)),
    (partial(winograd_conv2d, X, W), "tile", (3, 0, None, "4", [4])),
]
CALLS = [(f, name, value) for f, name, values in TABLE for value in values]


def spoken(error, name):
    """Whether an error is one line of ours that names the argument."""
    text = str(error)
    return type(error) in (ValueError, TypeError) and "\n" not in text and name in text and "npresnet" in origin(error)


def origin(error):
    at = error.__traceback__
    while at.tb_next:
        at = at.tb_next
    return at.tb_frame.f_code.co_filename


@pytest.mark.parametrize("backend", ["numpy", "numba"])
def test_each_wrong_argument_is_named(backend):
    unspoken = []
    for function, name, value in CALLS:
        try:
            with use(backend):
                function(**{name: value})
            unspoken.append((getattr(function, "func", function).__name__, name, value, "taken"))
        except Exception as error:
            if not spoken(error, name):
                unspoken.append((getattr(function, "func", function).__name__, name, value, repr(error)))
    assert not unspoken, "\n".join(map(str, unspoken))
    assert len(CALLS) > 300


WITHOUT_SHAPES = {"relu", "sigmoid", "cast"}


@pytest.mark.parametrize("backend", ["numpy", "numba"])
@pytest.mark.parametrize("name", sorted(laws.OPS))
def test_what_is_no_array_or_of_other_dimensions_raises(name, backend):
    case = next(case for case in CASES if case.op == name)
    arrays, constants = case.draw(np.float32)
    for argument in arrays:
        for bad in (*NOT_ARRAYS, *(() if name in WITHOUT_SHAPES else (full(7), full(1, 1, 1, 1, 1)))):
            if argument == "b" and bad is None:
                continue
            with use(backend), pytest.raises((TypeError, ValueError)) as caught:
                laws.run(laws.OPS[name], case, arrays | {argument: bad}, constants)
            assert spoken(caught.value, ""), (argument, bad, caught.value)


@pytest.mark.parametrize("backend", ["numpy", "numba"])
def test_names_that_a_pullback_cannot_skip_raise(backend):
    with use(backend):
        pullbacks = [ops.conv2d(X, W)[1], norm(eps=0.1)[1], ops.linear(full(2, 4), full(3, 4))[1],
                     ops.batch_norm_add_relu(X, C, C, X, eps=0.1)[1]]
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
        found = [norm(eps=wide)[0], norm_eval(eps=wide)[0], loss(LABELS, label_smoothing=wide)[0],
                 *ops.momentum_step(w, w, w, wide, momentum=wide, decay=wide),
                 *ops.moving_statistics(C, C, C, C, momentum=wide, correction=wide)]
    assert {a.dtype for a in found} == {X.dtype}


LAYERS = [nn.Conv2d(8, 8, 3), nn.Conv2d(8, 8, 3, padding="same"), nn.BatchNorm2d(8), nn.BatchNorm2d(8).train(),
          nn.Linear(8, 3), nn.ReLU(), nn.Softmax(), nn.GlobalAvgPool2d(), nn.MaxPool2d(3, 2),
          nn.MaxPool2d(3, 2, "same"), nn.AvgPool2d(3, 2, "same"), nn.ZeroPad2d(padding=1), nn.Subsample(stride=2)]


@pytest.mark.parametrize("layer", LAYERS, ids=str)
@pytest.mark.parametrize("x", [None, 3, "text", [[1.0]], X.astype(int), X[0], X[0, 0, 0], X[..., None]], ids=str)
def test_a_layer_says_what_it_takes(layer, x):
    if type(layer) is nn.ReLU and getattr(x, "dtype", None) == np.float32:
        return
    with pytest.raises((TypeError, ValueError), match=r"array|takes"):
        layer(x)


def test_a_batch_norm_of_no_channels_trains():
    norm = nn.BatchNorm2d(0).train()
    y, pullback = norm.vjp(full(2, 0, 3, 3))
    assert y.shape == pullback(y).shape == (2, 0, 3, 3) and norm.num_batches_tracked.value == 1


def test_sizes_are_integers_of_any_kind():
    due = ops.conv2d(X, W, stride=2, padding=1, groups=1)[0]
    for kind in (np.int8, np.int64, np.uint16):
        np.testing.assert_array_equal(ops.conv2d(X, W, stride=[kind(2)] * 2, padding=kind(1), groups=kind(1))[0], due)


@pytest.mark.parametrize("make", [lambda: nn.MaxPool2d(3, 2, dilate=2), lambda: nn.Subsample(), lambda: nn.ReLU(x=1)])
def test_options_that_a_layer_lacks_raise_when_it_is_made(make):
    with pytest.raises(TypeError, match=r"dilate|stride|x"):
        make()
