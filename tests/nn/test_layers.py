"""Each layer is its op with stored arrays, and batch norm keeps count."""

import numpy as np
import pytest

from npresnet import ops
from npresnet.nn import (
    GELU,
    AdaptiveAvgPool2d,
    AvgPool2d,
    BatchNorm2d,
    BlurPool2d,
    ChannelConv,
    ConstantPad2d,
    Conv2d,
    GlobalAvgPool2d,
    GroupNorm,
    LeakyReLU,
    Linear,
    MaxPool2d,
    ReLU,
    Sequential,
    SiLU,
    Softmax,
    Subsample,
    ZeroPad2d,
    ZeroPadChannels,
    freeze_batch_norm,
)

from ..support.modules import IMAGE, TABLE, fill, made

RNG = np.random.default_rng(0)
X = RNG.standard_normal((3, 4, 6, 5))
Z = RNG.standard_normal((3, 5))


@pytest.mark.parametrize(
    "make, op",
    [
        (lambda: ReLU(), lambda x: ops.relu(x)),
        (lambda: LeakyReLU(), lambda x: ops.leaky_relu(x, negative_slope=0.01)),
        (lambda: LeakyReLU(0.3), lambda x: ops.leaky_relu(x, negative_slope=0.3)),
        (lambda: GELU(), lambda x: ops.gelu(x)),
        (lambda: SiLU(), lambda x: ops.silu(x)),
        (lambda: GlobalAvgPool2d(), lambda x: ops.global_avg_pool2d(x)),
        (lambda: Subsample(stride=(2, 3)), lambda x: ops.subsample(x, (2, 3))),
        (lambda: ZeroPadChannels(before=1, after=2), lambda x: ops.zero_pad_channels(x, 1, 2)),
        (lambda: ZeroPad2d(padding=((1, 0), (2, 3))), lambda x: ops.zero_pad2d(x, ((1, 0), (2, 3)))),
        (lambda: ConstantPad2d(((1, 0), (2, 3))), lambda x: ops.zero_pad2d(x, ((1, 0), (2, 3)))),
        (lambda: ConstantPad2d(1, -2.0), lambda x: ops.constant_pad2d(x, 1, value=-2.0)),
        (lambda: BlurPool2d(stride=(1, 2)), lambda x: ops.blur_pool2d(x, stride=(1, 2))),
        (lambda: AdaptiveAvgPool2d((4, 2)), lambda x: ops.adaptive_avg_pool2d(x, (4, 2))),
        (lambda: MaxPool2d(3, 2), lambda x: ops.max_pool2d(x, 3, stride=2, padding=0)),
        (
            lambda: MaxPool2d(3, 2, 1, dilation=2, ceil_mode=True),
            lambda x: ops.max_pool2d(x, 3, stride=2, padding=1, dilation=2, ceil_mode=True),
        ),
        (lambda: MaxPool2d(3, 2, "same"), lambda x: ops.max_pool2d(x, 3, stride=2, padding=((0, 1), (1, 1)))),
        (
            lambda: AvgPool2d(2, (1, 2), 1, count_include_pad=False),
            lambda x: ops.avg_pool2d(x, 2, stride=(1, 2), padding=1, count_include_pad=False),
        ),
        (lambda: AvgPool2d((2, 3), 2, "same"), lambda x: ops.avg_pool2d(x, (2, 3), stride=2, padding=((0, 0), (1, 1)))),
    ],
)
def test_a_function_is_its_op(make, op):
    layer = make()
    y, pullback = layer.vjp(X)
    wanted, wanted_pullback = op(X)
    np.testing.assert_array_equal(y, wanted)
    np.testing.assert_array_equal(pullback(2 * y), wanted_pullback(2 * y))
    assert layer.parameters() == [] and layer.state_dict() == {}


def test_softmax_is_its_op():
    y, pullback = Softmax().vjp(Z)
    np.testing.assert_array_equal(y, ops.softmax(Z)[0])
    np.testing.assert_array_equal(pullback(Z), ops.softmax(Z)[1](Z))


@pytest.mark.parametrize(
    "make, static",
    [
        (lambda: Conv2d(4, 6, 3), {}),
        (
            lambda: Conv2d(4, 6, (3, 2), (2, 1), (1, 2), (1, 3), 2, True),
            {"stride": (2, 1), "padding": (1, 2), "dilation": (1, 3), "groups": 2},
        ),
        (lambda: Conv2d(4, 6, 3, stride=2, padding="same", bias=True), {"stride": 2, "padding": ((0, 1), (1, 1))}),
        (lambda: Conv2d(4, 6, 2, stride=1, padding="same", dilation=3), {"padding": ((1, 2), (1, 2)), "dilation": 3}),
    ],
)
def test_a_convolution_is_its_op(make, static):
    layer = fill(make()).astype(np.float64)
    bias = layer.bias and layer.bias.value
    y, pullback = layer.vjp(X)
    wanted, wanted_pullback = ops.conv2d(X, layer.weight.value, bias, **static)
    np.testing.assert_array_equal(y, wanted)
    dx, dw, db = wanted_pullback(y)
    np.testing.assert_array_equal(pullback(y), dx)
    np.testing.assert_array_equal(layer.weight.grad, dw)
    if bias is not None:
        np.testing.assert_array_equal(layer.bias.grad, db)


def test_fresh_layers_allocate_zeros_of_pytorch_s_shapes():
    conv = Conv2d(4, 6, (3, 5), groups=2, bias=True)
    assert (conv.stride, conv.padding, conv.dilation) == (1, 0, 1)
    shapes = {name: (array.value.shape, array.value.dtype) for name, array in conv.named_arrays()}
    assert shapes == {"weight": ((6, 2, 3, 5), np.float32), "bias": ((6,), np.float32)}
    assert list(Conv2d(4, 6, 3).state_dict()) == ["weight"]
    assert list(Linear(3, 5, bias=False).state_dict()) == ["weight"]
    shapes = {name: (array.value.shape, array.value.dtype) for name, array in Linear(3, 5).named_arrays()}
    assert shapes == {"weight": ((5, 3), np.float32), "bias": ((5,), np.float32)}
    assert not any(a.any() for layer in (conv, Linear(3, 5)) for a in layer.state_dict().values())


def test_a_fresh_batch_norm():
    norm = BatchNorm2d(3)
    state = norm.state_dict()
    assert list(state) == ["weight", "bias", "running_mean", "running_var", "num_batches_tracked"]
    assert [a.tolist() for a in state.values()] == [[1] * 3, [0] * 3, [0] * 3, [1] * 3, 0]
    assert [a.dtype for a in state.values()] == [np.float32] * 4 + [np.int64]
    assert state["num_batches_tracked"].shape == ()
    assert (norm.eps, norm.momentum, norm.unbiased, norm.frozen, norm.training) == (1e-5, 0.1, True, False, False)


@pytest.mark.parametrize("unbiased", [True, False])
def test_running_statistics_move_as_in_pytorch(unbiased):
    norm = fill(BatchNorm2d(4, momentum=0.3, unbiased=unbiased)).astype(np.float64).train()
    mean, var = norm.running_mean.value, norm.running_var.value
    m = 3 * 6 * 5
    for step in range(1, 3):
        x, old = X + step, [norm.running_mean.value, norm.running_var.value]
        kept = [np.copy(a) for a in old]
        norm(x)
        mean = 0.7 * mean + 0.3 * x.mean(axis=(0, 2, 3))
        var = 0.7 * var + 0.3 * x.var(axis=(0, 2, 3)) * (m / (m - 1) if unbiased else 1)
        np.testing.assert_allclose(norm.running_mean.value, mean, rtol=1e-14)
        np.testing.assert_allclose(norm.running_var.value, var, rtol=1e-14)
        np.testing.assert_array_equal(old, kept)  # the old arrays are nobody's to write to
        count = norm.num_batches_tracked.value
        assert count == step and count.dtype == np.int64 and isinstance(count, np.ndarray)


def test_without_a_momentum_the_statistics_are_means_over_all_batches():
    norm, batches = BatchNorm2d(4, momentum=None).astype(np.float64).train(), [X, X + 1, 3 * X]
    for x in batches:
        norm(x)
    m = X.size // 4
    mean, var = (np.mean([f(x, axis=(0, 2, 3)) for x in batches], axis=0) for f in (np.mean, np.var))
    np.testing.assert_allclose(norm.running_mean.value, mean, rtol=1e-13)
    np.testing.assert_allclose(norm.running_var.value, var * m / (m - 1), rtol=1e-13)


@pytest.mark.parametrize("momentum", [0.1, None])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_statistics_keep_their_dtype(dtype, momentum):
    norm = BatchNorm2d(4, momentum=momentum).astype(dtype).train()
    norm(X.astype(dtype))
    assert norm.running_mean.value.dtype == norm.running_var.value.dtype == dtype


def test_evaluation_uses_running_statistics_and_leaves_them():
    norm = fill(BatchNorm2d(4, eps=0.2)).astype(np.float64)
    before = {key: np.copy(a) for key, a in norm.state_dict().items()}
    y, pullback = norm.vjp(X)
    s = norm.state_dict()
    wanted, _ = ops.batch_norm_eval(X, s["weight"], s["bias"], s["running_mean"], s["running_var"], eps=0.2)
    np.testing.assert_array_equal(y, wanted)
    pullback(y)
    norm(X)
    for key, array in before.items():
        np.testing.assert_array_equal(norm.state_dict()[key], array)


def test_one_value_per_channel_raises_and_leaves_the_statistics():
    norm = fill(BatchNorm2d(4)).astype(np.float64).train()
    before = {key: np.copy(a) for key, a in norm.state_dict().items()}
    with pytest.raises(ValueError, match="one value per channel"):
        norm(np.ones((1, 4, 1, 1)))
    for key, array in before.items():
        np.testing.assert_array_equal(norm.state_dict()[key], array)
    assert norm.eval()(np.ones((1, 4, 1, 1))).shape == (1, 4, 1, 1)


def test_two_values_per_channel_suffice():
    norm = BatchNorm2d(1, momentum=1.0).astype(np.float64).train()
    norm(np.array([1.0, 3.0]).reshape(2, 1, 1, 1))
    assert norm.running_mean.value == 2 and norm.running_var.value == 2  # unbiased: ((-1)² + 1²) / 1


def test_a_frozen_batch_norm_survives_train():
    model = fill(Sequential(Conv2d(4, 4, 3), BatchNorm2d(4), Sequential(BatchNorm2d(4)))).astype(np.float64)
    reference = model.map_arrays(np.copy)
    assert freeze_batch_norm(model) is model
    before = {key: np.copy(a) for key, a in model.state_dict().items()}
    model.train()
    y, pullback = model.vjp(X)
    np.testing.assert_array_equal(y, reference.eval()(X))
    pullback(y)
    for key, array in before.items():
        np.testing.assert_array_equal(model.state_dict()[key], array)
    grads = {key: parameter.grad for key, parameter in model.named_parameters()}
    assert grads.pop("0.weight") is not None
    assert all(grad is None for grad in grads.values())
    trainable = {key: parameter.trainable for key, parameter in model.named_parameters()}
    assert trainable == {key: key == "0.weight" for key in trainable}


def test_a_group_norm_is_its_op_in_both_modes():
    norm = fill(GroupNorm(2, 4, eps=0.2)).astype(np.float64)
    assert list(norm.state_dict()) == ["weight", "bias"]
    wanted, wanted_pullback = ops.group_norm(X, norm.weight.value, norm.bias.value, groups=2, eps=0.2)
    for training in (False, True):
        norm.zero_grad()
        y, pullback = norm.train(training).vjp(X)
        np.testing.assert_array_equal(y, wanted)
        found = pullback(2 * y), norm.weight.grad, norm.bias.grad
        for array, due in zip(found, wanted_pullback(2 * y), strict=True):
            np.testing.assert_array_equal(array, due)


def test_a_group_norm_keeps_float32_between_16_bit_images():
    norm = fill(GroupNorm(2, 4))
    y, pullback = norm.vjp(X.astype(np.float16))
    assert y.dtype == pullback(y).dtype == np.float16 and norm.weight.grad.dtype == np.float32


def test_groups_that_do_not_divide_the_channels_raise_when_the_layer_is_made():
    with pytest.raises(ValueError, match="must divide its 4 channels, not 3"):
        GroupNorm(3, 4)


def test_a_network_without_norms_has_none_to_freeze():
    model = Sequential(Conv2d(4, 4, 1), ReLU())
    assert freeze_batch_norm(model) is model and model[0].weight.trainable


def test_group_norms_have_no_statistics_to_freeze():
    with pytest.raises(ValueError, match="group norms, which keep no statistics to freeze; set trainable"):
        freeze_batch_norm(Sequential(Conv2d(4, 4, 1), GroupNorm(2, 4)))
    both = freeze_batch_norm(Sequential(BatchNorm2d(4), GroupNorm(2, 4)))
    assert both[0].frozen and both[1].weight.trainable


@pytest.mark.parametrize(
    "name", ["conv with every option", "batch norm", "batch norm in training", "linear", "group norm"]
)
@pytest.mark.parametrize("frozen", ["weight", "bias"])
def test_a_frozen_parameter_gets_no_gradient(name, frozen):
    module, x = made(name)
    copy = module.map_arrays(np.copy)
    getattr(module, frozen).trainable = False
    y, pullback = module.vjp(x)
    _, copy_pullback = copy.vjp(x)
    np.testing.assert_array_equal(pullback(y), copy_pullback(y))
    other = "bias" if frozen == "weight" else "weight"
    assert getattr(module, frozen).grad is None
    np.testing.assert_array_equal(getattr(module, other).grad, getattr(copy, other).grad)


@pytest.mark.parametrize("name", ["conv with every option", "linear"])
def test_a_frozen_parameter_costs_nothing(name, monkeypatch):
    module, x = made(name)
    op_name = "conv2d" if name.startswith("conv") else "linear"
    op, asked = getattr(ops, op_name), []

    def spy(*args, **kwargs):
        y, pullback = op(*args, **kwargs)
        return y, lambda dy, skip: asked.append(set(skip)) or pullback(dy, skip=skip)

    monkeypatch.setattr(ops, op_name, spy)
    for trainable, input_grad, skipped in [
        ((True, True), True, set()),
        ((False, True), True, {"w"}),
        ((True, False), False, {"b", "x"}),
        ((False, False), False, {"w", "b", "x"}),
    ]:
        module.weight.trainable, module.bias.trainable = trainable
        y, pullback = module.vjp(x, input_grad)
        pullback(y)
        assert asked.pop() == skipped


def test_other_dtypes_raise_with_the_cure():
    model = Sequential(Conv2d(4, 4, 3), ReLU())
    with pytest.raises(TypeError, match="astype"):
        model(X)


@pytest.mark.parametrize("training", [True, False])
def test_a_batch_norm_takes_halves_and_keeps_its_own_arrays_in_float32(training):
    layer, x = BatchNorm2d(4).train(training), X.astype(np.float16)
    y, pullback = layer.vjp(x)
    assert y.dtype == pullback(y).dtype == np.float16 and layer.weight.grad.dtype == np.float32
    assert {array.value.dtype for _, array in layer.named_arrays()} == {np.dtype(np.float32), np.dtype(np.int64)}
    for other in (np.float64, np.int8):
        with pytest.raises(TypeError, match="astype"):
            layer(X.astype(other))


NORMS = {  # name of its op: a function that makes it
    "batch_norm_eval": lambda: BatchNorm2d(4),
    "batch_norm_train": lambda: BatchNorm2d(4).train(),
    "batch_norm_train of gamma alone": lambda: BatchNorm2d(4, track_running_stats=False),
    "batch_norm_train of statistics alone": lambda: BatchNorm2d(4, affine=False).train(),
    "group_norm": lambda: GroupNorm(2, 4),
}


@pytest.mark.parametrize("name", NORMS)
@pytest.mark.parametrize("images, arrays, casts", [(16, 16, False), (16, 32, True), (32, 32, False), (64, 64, False)])
def test_a_norm_casts_images_of_16_bits_unless_its_own_arrays_are(name, images, arrays, casts, monkeypatch):
    assert ran_by(NORMS[name]().astype(f"float{arrays}"), images, monkeypatch) == name.split()[0] + "_cast" * casts


@pytest.mark.parametrize("images, casts", [(16, True), (32, False), (64, False)])
def test_a_norm_without_arrays_casts_images_of_16_bits(images, casts, monkeypatch):
    norm = BatchNorm2d(4, affine=False, track_running_stats=False)
    assert ran_by(norm, images, monkeypatch) == "batch_norm_train" + "_cast" * casts


def ran_by(norm, bits, monkeypatch):
    """The name of the op by which a norm runs images of so many bits."""
    ran = []
    for name in ("batch_norm_eval", "batch_norm_train", "group_norm"):
        for op in (getattr(ops, name), getattr(ops, name + "_cast")):
            monkeypatch.setattr(ops, op.__name__, lambda *a, op=op, **k: ran.append(op.__name__) or op(*a, **k))
    norm(X.astype(f"float{bits}"))
    (name,) = ran
    return name


@pytest.mark.parametrize("options", [{}, {"affine": False}, {"eps": 0.2}])
def test_the_affine_map_of_a_batch_norm_is_what_it_does_in_evaluation(options):
    norm = fill(BatchNorm2d(4, **options))
    a, b = norm.affine_map()
    assert a.dtype == b.dtype == np.float64
    due = norm.astype(np.float64)(X)
    np.testing.assert_allclose(a[:, None, None] * X + b[:, None, None], due, rtol=0, atol=1e-13 * abs(due).max())


def test_a_batch_norm_that_follows_the_batch_has_no_affine_map():
    with pytest.raises(ValueError, match=r"without running statistics \(track_running_stats=False\) follows the batch"):
        BatchNorm2d(4, track_running_stats=False).affine_map()


@pytest.mark.parametrize("kernel", [1, 3])
def test_a_convolution_along_the_channels_is_its_op(kernel):
    layer, x = fill(ChannelConv(kernel)).astype(np.float64), X[:, :, :1, :1]
    y, pullback = layer.vjp(x)
    wanted, wanted_pullback = ops.conv_channels(x[:, :, 0, 0], layer.weight.value)
    np.testing.assert_array_equal(y, wanted[:, :, None, None])
    dx, dw = wanted_pullback(wanted)
    np.testing.assert_array_equal(pullback(y), dx[:, :, None, None])
    np.testing.assert_array_equal(layer.weight.grad, dw)
    for larger in (X[:, :, :2, :1], X[:, :, :1, :2]):
        with pytest.raises(ValueError):
            layer(larger)


@pytest.mark.parametrize("name", TABLE)
def test_a_layer_knows_the_shape_of_its_output(name):
    module, x = made(name, np.float32)
    others = [(*x.shape[:2], 9, 6), (*x.shape[:2], 7, 12)] if x.shape == IMAGE else []
    for shape in (x.shape, *others):
        x = np.broadcast_to(np.float32(0), shape)
        assert module.output_shape(x) == module(x).shape


def test_multiply_accumulates_are_a_filter_for_each_output():
    y = np.zeros((3, 6, 2, 5))
    assert Conv2d(4, 6, (3, 2), groups=2).macs(y) == (3 * 6 * 2 * 5) * (4 // 2 * 3 * 2)
    assert Linear(5, 7).macs(np.zeros((3, 7))) == 3 * 7 * 5
    assert ChannelConv(5).macs(np.zeros((3, 7, 1, 1))) == 3 * 7 * 5
    assert MaxPool2d(2, 2).macs(y) == ReLU().macs(y) == BatchNorm2d(6).macs(y) == 0


def test_what_slides_over_an_image_has_a_window():
    assert Conv2d(4, 6, (3, 2)).window_size() == (3, 2) and MaxPool2d(3, 2).window_size() == (3, 3)
    assert BlurPool2d(stride=2).window_size() == (3, 3) and ChannelConv(5).window_size() == (5,)
    assert AvgPool2d((2, 1), 2).window_size() == (2, 1) and Linear(5, 7).window_size() == ReLU().window_size() == ()


def test_what_a_pullback_keeps():
    x, y = np.zeros((2, 4, 6, 6)), np.zeros((2, 4, 3, 3))
    norm, frozen = BatchNorm2d(4), freeze_batch_norm(BatchNorm2d(4))
    for layer in (Conv2d(4, 4, 3), Linear(4, 4), ChannelConv(3), frozen, GELU(), SiLU()):
        assert layer.keeps(x, y) is x and layer.bytes_kept(x, y) == 0
    for layer in (ReLU(), LeakyReLU(), Softmax()):
        assert layer.keeps(x, y) is y and layer.bytes_kept(x, y) == 0
    for layer, size in ((norm, 4 * x.size), (GroupNorm(2, 4), 4 * x.size), (MaxPool2d(2, 2), y.size)):
        assert layer.keeps(x, y) is None and layer.bytes_kept(x, y) == size
    assert AvgPool2d(2, 2).keeps(x, y) is None and AvgPool2d(2, 2).bytes_kept(x, y) == 0


@pytest.mark.parametrize(
    "layer, x, message",
    [
        (Conv2d(4, 6, 3, groups=2), X[:, :3], "it reads 4 channels"),
        (GroupNorm(2, 4), X[:, :2], "it reads 4 channels"),
        (ChannelConv(3), X, "it reads single pixels"),
        (Linear(5, 7), Z[:, :4], "it reads 5 features"),
    ],
)
def test_a_shape_that_cannot_pass_raises(layer, x, message):
    with pytest.raises(ValueError, match=message):
        layer.output_shape(x)
