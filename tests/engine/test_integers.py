"""The engine on levels of 8 bits gives the bits that the network gives, by every road that this processor can take."""

import numpy as np
import pytest
from llvmlite import binding, ir

import npresnet
from npresnet import nn
from npresnet.kernels.cpu.codegen.dot import ROADS, roads
from npresnet.quantized import QuantizedNetwork
from npresnet.quantized.float_step import INPUT
from npresnet.quantized.steps import Add, Kept, Weighted
from tests.quantized.test_quantized import NETWORKS, images, lively

quantized_engine = pytest.importorskip("npresnet.engine.cpu.quantized")
integers = pytest.importorskip("npresnet.engine.cpu.integers")


def engine(network, road=None):
    return quantized_engine.QuantizedEngine(network, threads=2, road=road)


# --- random layers ----------------------------------------------------------------------------------------------------


def scale(rng):
    """Any size; now and then one by which nearly all sums saturate, or none reaches a level."""
    return float(np.float32(10 ** rng.choice([rng.uniform(-3, 1), rng.uniform(-30, 30)], p=[0.9, 0.1])))


def zero_point(rng):
    """At the ends of the range as often as within it."""
    return int(rng.choice([0, 255, 128, rng.integers(256)]))


def weighted(rng, name, read, shape, window, x_scale):
    """A layer whose results lie all over the levels, mostly."""
    weight = rng.choice([rng.integers(-128, 128, shape), rng.choice([-128, 127], shape)], p=[0.8, 0.2]).astype(np.int8)
    each = rng.uniform(0.5, 2, shape[0]).astype(np.float32) * np.float32(scale(rng))
    spread = float(np.sqrt(weight[0].size) * 73 * 74 * each.mean() * x_scale)
    y_scale = max(spread / 100, 1e-37) if rng.random() < 0.9 else scale(rng)
    bias = (rng.standard_normal(shape[0]) * spread * rng.choice([0, 1])).astype(np.float32)
    return Weighted(
        name, (read,), min(y_scale, 1e37), zero_point(rng), bool(rng.integers(2)), weight, each, bias, window
    )


def random_window(rng):
    side = int(rng.choice([1, 1, 3, 3, 2, 5]))
    stride, dilation = int(rng.choice([1, 1, 2, 3])), int(rng.choice([1, 1, 2]))
    return (side, side), {"stride": stride, "padding": int(rng.integers(0, side + 1)), "dilation": dilation}


def random_network(rng):
    """(network, images): a convolution, and something behind it."""
    groups = int(rng.choice([1, 1, 1, 2, 4]))
    c, f = (groups * int(rng.integers(1, 40 // groups)) for _ in range(2))
    kernel, window = random_window(rng)
    x_scale = scale(rng)
    size = rng.integers(kernel[0] * 2, 14, 2)
    first = weighted(rng, "a", INPUT, (f, c // groups, *kernel), {**window, "groups": groups}, x_scale)
    steps = [first]
    behind = rng.choice(["nothing", "sum", "sum of two", "pool", "mean", "shortcut", "relu"])
    if behind.startswith("sum"):
        second = weighted(rng, "b", "a", (f, f, 1, 1), {}, first.scale)
        steps += [second, Add("sum", ("b", "a"), second.scale + first.scale, zero_point(rng), bool(rng.integers(2)))]
        if behind == "sum of two":
            steps[-1:] = [weighted(rng, "c", "a", (f, f, 1, 1), {"padding": 0}, first.scale)]
            steps += [Add("sum", ("b", "c"), steps[-1].scale, zero_point(rng), False)]
    elif behind == "pool":
        steps += [Kept("pool", ("a",), nn.MaxPool2d(kernel=3, stride=2, padding=1))]
    elif behind == "mean":
        steps += [Kept("mean", ("a",), nn.GlobalAvgPool2d())]
        steps += [weighted(rng, "fc", "mean", (int(rng.integers(1, 30)), f), {}, first.scale)]
    elif behind == "shortcut":
        steps += [Kept("subsample", ("a",), nn.Subsample(stride=2))]
        steps += [Kept("channels", ("subsample",), nn.ZeroPadChannels(before=1, after=2))]
    elif behind == "relu":
        steps += [Kept("relu", ("a",), nn.ReLU())]
    z = zero_point(rng)
    levels = rng.integers(0, 256, (int(rng.integers(1, 4)), c, *size))
    x = (levels - z).astype(np.float32) * np.float32(x_scale)
    return QuantizedNetwork(steps, x_scale, z), x


def compare(seeds, road):
    kinds = set()
    for seed in seeds:
        network, x = random_network(np.random.default_rng(seed))
        found, expected = engine(network, road)(x), network(x)
        np.testing.assert_array_equal(found, expected, err_msg=f"random_network(np.random.default_rng({seed}))")
        kinds |= {len(np.unique(expected)) > 1}
    assert kinds >= {True}, "all results were of one level"


@pytest.mark.filterwarnings("ignore:(overflow|invalid value|divide by zero):RuntimeWarning")  # of scales beyond float32
@pytest.mark.parametrize("road", roads())
def test_random_layers(road):
    compare(range(150), road)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:(overflow|invalid value|divide by zero):RuntimeWarning")  # of scales beyond float32
@pytest.mark.parametrize("road", roads())
def test_ten_thousand_random_layers(road):
    compare(range(1000, 11000), road)


def test_this_processor_can_take_its_roads():
    assert roads()[-1] == "plain"
    assert roads({"avx2": True})[-2:] == ["avx2", "plain"]
    with pytest.raises(ValueError, match=r"cannot take the road 'neon'"):
        quantized_engine.QuantizedEngine(random_network(np.random.default_rng(0))[0], road="neon")


@pytest.mark.parametrize("road", [name for name in roads() if name != "plain"])
def test_no_pair_of_products_saturates(road):
    """Two products of 255 and −128 or 127 have no place in 16 bits: there ``vpmaddubsw`` would saturate."""
    weight = np.repeat(np.array([-128, 127], np.int8), 8).reshape(16, 1, 1, 1) * np.ones((1, 64, 1, 1), np.int8)
    step = Weighted(
        "a", (INPUT,), 64 * 255.0, 128, False, weight, np.ones(16, np.float32), np.zeros(16, np.float32), {}
    )
    network, x = QuantizedNetwork([step], 1.0, 0), np.full((1, 64, 4, 4), 255, np.float32)
    y = engine(network, road)(x)[0, :, 0, 0] / step.scale
    np.testing.assert_array_equal(y, np.repeat([-128, 127], 8))


# --- networks ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", NETWORKS)
def test_networks(name):
    model = lively(npresnet.create_model(name, num_classes=10, **NETWORKS[name]))
    size = 32 if name in ("resnet20", "plain20") else 70
    network = npresnet.quantize(model, images(4, size))
    x = images(5, size, seed=3)
    np.testing.assert_array_equal(npresnet.optimize(network)(x), network(x))


@pytest.fixture(scope="module")
def network():
    return npresnet.quantize(lively(npresnet.create_model("resnet20")), images(8))


def test_a_model_is_quantized_on_the_way(network):
    model = lively(npresnet.create_model("resnet20"))
    found = npresnet.optimize(model, precision="int8", images=images(8))
    np.testing.assert_array_equal(found(images(3, seed=5)), network(images(3, seed=5)))
    with pytest.raises(ValueError, match="needs images="):
        npresnet.optimize(model, precision="int8")
    with pytest.raises(ValueError, match="must be one of 'float32', 'bfloat16', 'int8', not 'int4'"):
        npresnet.optimize(model, precision="int4")
    with pytest.raises(ValueError, match="this network is quantized"):
        npresnet.optimize(network, precision="float32")


def test_a_plan_says_what_runs_in_what(network):
    engine = npresnet.optimize(network)
    engine(images(1))
    lines = str(engine.plan).splitlines()
    assert all(roads()[0] in line for line in lines if "conv" in line)
    assert f"int8 by {roads()[0]}" in repr(engine)


def test_memory_is_a_quarter(network):
    model, x = lively(npresnet.create_model("resnet20")), images(32)
    engines = [npresnet.optimize(model), npresnet.optimize(network)]
    for engine in engines:
        engine(x)
    floats, integers = engines
    assert integers.plan.arena_bytes < 0.3 * floats.plan.arena_bytes
    assert integers.weight_bytes < 0.3 * 4 * sum(a.value.size for a in model.parameters())


def test_features_are_real_numbers(network):
    engine, x = npresnet.optimize(network), images(2)
    results = {step.name: q for step, q in network.run(x)}
    for layer, step in {"layer1": "layer1.2.add", "layer2.0": "layer2.0.add", None: "avgpool"}.items():
        q = results[step]
        np.testing.assert_array_equal(engine.features(x, layer), npresnet.ops.dequantize(*q))


def test_only_results_that_a_step_computes_are_read():
    """A convolution whose sum, or whose max-pool, is a part of it gives that one's result, and no other's."""
    model, x = lively(npresnet.create_model("resnet18", num_classes=10)), images(2, 64)
    network = npresnet.quantize(model, x)
    engine, results = npresnet.optimize(network), {step.name: q for step, q in network.run(x)}
    read = []
    for name, q in results.items():
        try:
            found = engine.features(x, name)
        except ValueError as error:
            assert f"joins {name} with the layers that follow" in str(error)
            continue
        np.testing.assert_array_equal(found, npresnet.ops.dequantize(*q), err_msg=name)
        read.append(name)
    assert {"maxpool", "layer1.0.conv1", "layer1.0.add", "avgpool", "fc"} <= set(read)
    assert not {"conv1", "layer1.0.conv2"} & set(read)
    for name in ("input", "nowhere"):
        with pytest.raises(ValueError, match=f"no layer {name}"):
            engine.features(x, name)
    with pytest.raises(TypeError, match="one layer at a time"):
        engine.features(x, ["layer1", "layer2"])
    found = npresnet.features(engine, x, ["layer1", "layer2"])
    np.testing.assert_array_equal(found["layer2"], engine.features(x, "layer2"))


def test_probabilities_stay_probabilities():
    model = npresnet.create_model("resnet50", dialect="keras", width=8, depths=(1, 1))
    x = images(4, 64)
    assert model.scoring() is not model
    engine = npresnet.optimize(model, precision="int8", images=x)
    np.testing.assert_allclose(engine(x).sum(1), 1, rtol=1e-5)
    np.testing.assert_array_equal(engine.logits(x), npresnet.quantize(model, x)(x))


def _signed_bytes(builder, acc, x, w):
    """What NEON's sdot makes of x with its first bits turned: Σ (x − 128) · w."""
    vector = ir.VectorType(ir.IntType(32), 4)
    flip = ir.Constant(vector, [0x80808080 - 2**32] * 4)
    x, right = builder.xor(x, flip), ir.Constant(vector, [24] * 4)
    for k in range(4):
        left = ir.Constant(vector, [24 - 8 * k] * 4)
        level, weight = (builder.ashr(builder.shl(v, left), right) for v in (x, w))
        acc = builder.add(acc, builder.mul(level, weight))
    return acc


def test_a_road_may_take_levels_less_128(monkeypatch):
    """As NEON's does, which this processor may not have."""
    like_neon = ROADS["neon_dot"]._replace(features=(), four=_signed_bytes)
    assert like_neon.shift == 128
    monkeypatch.setitem(ROADS, "like_neon", like_neon)
    compare(range(60), "like_neon")


def test_llvm_has_neons_instruction():
    module = ir.Module()
    vector = ir.VectorType(ir.IntType(32), 4)
    function = ir.Function(module, ir.FunctionType(vector, [vector] * 3), "sum")
    builder = ir.IRBuilder(function.append_basic_block())
    builder.ret(ROADS["neon_dot"].four(builder, *function.args))
    binding.initialize_all_targets()
    binding.initialize_all_asmprinters()
    target = binding.Target.from_triple("aarch64-linux-gnu").create_target_machine(features="+dotprod")
    assert "\tsdot\t" in target.emit_assembly(binding.parse_assembly(str(module)))


def test_every_road_has_a_name_of_its_own_on_disk():
    from npresnet.kernels.cpu.quantized.convolution import kernels

    names = [kernel.__name__ for road in roads() for kernel in kernels(road)]
    assert len(set(names)) == len(names) == 3 * len(roads()) <= 3 * len(ROADS)


# --- Winograd's convolution of integers -------------------------------------------------------------------------------


def random_squares(rng):
    """A convolution of 3×3 that F(m×m, 3×3) can compute, with or without a residual sum."""
    c, f, size = int(rng.integers(17, 33)), int(rng.integers(1, 33)), rng.integers(3, 15, 2)
    padding, x_scale, z = int(rng.integers(0, 3)), scale(rng), zero_point(rng)
    square = weighted(rng, "a", INPUT, (f, c, 3, 3), {"padding": padding}, x_scale)
    steps = [square]
    if rng.random() < 0.5:
        other = weighted(rng, "b", INPUT, (f, c, 3, 3), {"padding": padding}, x_scale)
        steps = [other, square, Add("sum", ("a", "b"), square.scale + other.scale, zero_point(rng), False)]
    x = (rng.integers(0, 256, (int(rng.integers(1, 4)), c, *size)) - z).astype(np.float32) * np.float32(x_scale)
    return QuantizedNetwork(steps, x_scale, z), x


@pytest.mark.parametrize("road", roads())
def test_winograd(road, monkeypatch):
    monkeypatch.setattr(integers.IntegerConvolution, "_winograd_pays", integers.IntegerConvolution._winograd_is_exact)
    ran = 0
    for seed in range(60):
        network, x = random_squares(np.random.default_rng(seed))
        quantized = engine(network, road)
        np.testing.assert_array_equal(quantized(x), network(x), err_msg=f"seed {seed}")
        ran += "F(4x4)" in str(quantized.plan)
    assert ran >= 50


def test_filters_whose_sums_winograd_cannot_give_are_convolved_directly(monkeypatch):
    """128 channels of weight 127: a sum may be 128·9·127·255 = 3.7e7, past 2²⁵."""
    monkeypatch.setattr(integers.IntegerConvolution, "_winograd_pays", integers.IntegerConvolution._winograd_is_exact)
    for value, algorithm in ((127, "direct"), (100, "winograd F(4x4)")):
        weight, one = np.full((16, 128, 3, 3), value, np.int8), np.ones(16, np.float32)
        step = Weighted("a", (INPUT,), 1e6, 0, False, weight, one, 0 * one, {"padding": 1})
        network, x = QuantizedNetwork([step], 1.0, 0), np.full((1, 128, 6, 6), 255, np.float32)
        quantized = engine(network)
        np.testing.assert_array_equal(quantized(x), network(x))
        assert algorithm in str(quantized.plan)


@pytest.mark.parametrize("channels", [1, 3, 6])
@pytest.mark.parametrize("layer", [
    nn.MaxPool2d(kernel=3, stride=2, padding=1), nn.AvgPool2d(kernel=2, stride=2, padding=0), nn.ReLU(),
    nn.Subsample(stride=2), nn.ZeroPadChannels(before=1, after=4), nn.GlobalAvgPool2d(),
], ids=lambda layer: type(layer).__name__)  # fmt: skip
def test_networks_may_begin_with_a_layer_that_keeps_the_scale(layer, channels):
    network = QuantizedNetwork([Kept("first", (INPUT,), layer)], 1.0, 7)
    x = np.random.default_rng(0).integers(-7, 249, (2, channels, 9, 9)).astype(np.float32)
    np.testing.assert_array_equal(engine(network)(x), network(x))
