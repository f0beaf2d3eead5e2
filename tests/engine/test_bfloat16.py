"""The engine in bfloat16: sums of whole numbers bit for bit, real networks as near as PyTorch's, by every road."""

import os
import subprocess
import sys

import numpy as np
import pytest
from llvmlite import binding, ir

import npresnet
from npresnet import nn, ops
from npresnet.engine.bfloat16 import lower_to_bfloat16
from npresnet.kernels.cpu.codegen.bfloat16 import ROADS
from npresnet.kernels.cpu.codegen.dot import roads
from npresnet.kernels.cpu.codegen.vector import LANES
from npresnet.ops.bfloat16 import bfloat16_bits, from_bfloat16_bits
from tests.quantized.test_quantized import NETWORKS, images, lively
from tests.support import oracles, torch_networks

engine = pytest.importorskip("npresnet.engine.cpu.bfloat16").Bfloat16Engine
ABLE = roads(known=ROADS)


def rounded(x):
    return from_bfloat16_bits(bfloat16_bits(x)).astype(np.float64)


# --- random layers on whole numbers, whose sums are exact in float32 in any order -------------------------------------


def whole(rng, shape, largest):
    return rng.integers(-largest, largest + 1, shape).astype(np.float32)


def conv(rng, c, f, kernel, **static):
    layer = nn.Conv2d(c, f, kernel, bias=bool(rng.integers(2)), **static)
    layer.weight.value = whole(rng, layer.weight.value.shape, 3)
    if layer.bias is not None:
        layer.bias.value = whole(rng, f, 100)
    return layer


def norm(rng, c):
    """A batch norm that doubles, turns, or leaves out, and shifts by a whole number."""
    layer = nn.BatchNorm2d(c, eps=0.0)
    layer.weight.value = rng.choice([-1, 1, 2, 0], c).astype(np.float32)
    layer.bias.value = whole(rng, c, 100)
    layer.running_mean.value, layer.running_var.value = np.zeros(c, np.float32), np.ones(c, np.float32)
    return layer


def random_model(rng):
    """(model, images): a convolution, and something behind it."""
    groups = int(rng.choice([1, 1, 1, 2, 4]))
    c, f = (groups * int(rng.integers(1, 40 // groups)) for _ in range(2))
    side, size = int(rng.choice([1, 1, 3, 3, 2, 5])), rng.integers(10, 16, 2)
    window = {"stride": int(rng.choice([1, 1, 2, 3])), "dilation": int(rng.choice([1, 1, 2]))}
    parts = [conv(rng, c, f, side, padding=int(rng.integers(0, side + 1)), groups=groups, **window)]
    parts += [norm(rng, f)] * int(rng.integers(2)) + [nn.ReLU()] * int(rng.integers(2))
    behind = rng.choice(["nothing", "sum", "pool", "mean", "shortcut", "affine", "scores", "gelu", "group norm"])
    if behind == "sum":
        branch = [conv(rng, f, f, 1), nn.ReLU()][: int(rng.integers(1, 3))]
        parts += [nn.Residual(nn.Sequential(*branch), nn.Identity()), *[nn.ReLU()] * int(rng.integers(2))]
    elif behind == "pool":
        parts += [nn.MaxPool2d(kernel=3, stride=2, padding=1)]
    elif behind in ("mean", "scores"):
        parts += [nn.GlobalAvgPool2d()]
        if behind == "scores":
            head = nn.Linear(f, int(rng.integers(1, 30)))
            head.weight.value = whole(rng, head.weight.value.shape, 1)
            parts += [head]
    elif behind == "shortcut":
        parts += [nn.Subsample(stride=2), nn.ZeroPadChannels(before=1, after=2)]
    elif behind == "affine":
        parts += [nn.MaxPool2d(kernel=2, stride=1, padding=1), norm(rng, f), *[nn.ReLU()] * int(rng.integers(2))]
    elif behind == "gelu":
        parts += [nn.GELU(), conv(rng, f, 3, 1)]
    elif behind == "group norm":
        parts += [nn.GroupNorm(1, f)]
    return nn.Sequential(*parts).eval(), whole(rng, (int(rng.integers(1, 4)), c, *size), 128)


def by_definition(model, x):
    """The steps of the graph by the ops in float64, each result rounded once: (result, tolerance)."""
    nodes, found, tolerance = lower_to_bfloat16(model), {}, 0
    for node in nodes:
        read = [found[other] for other in node.inputs]
        if node.kind == "input":
            y = x.astype(np.float64)
        elif node.kind in ("narrow", "widen"):
            y = rounded(read[0])
        elif node.kind in ("call", "gelu", "group_norm"):
            y, tolerance = node.module(read[0].astype(np.float32)).astype(np.float64), 2**-7
        else:
            y = _float64(node, read)
            if node.kind == "conv" and node.is_linear:  # of means, which are no whole numbers
                tolerance = 2**-20
            assert tolerance or np.abs(y).max(initial=0) < 2**24
        found[node] = rounded(y) if node.bits != 32 and node.kind not in ("input", "call", "gelu", "group_norm") else y
    return found[nodes[-1]], tolerance


def _float64(node, read):
    x, module = read[0], node.module
    if node.kind == "conv":
        w, b = rounded(node.weight), node.bias.astype(np.float64)
        if node.is_linear:
            y = ops.linear(x, w[..., 0, 0], b)[0]
        else:
            static = {name: getattr(module, name) for name in ("stride", "padding", "dilation", "groups")}
            y = ops.conv2d(x, w, b, **static)[0]
        y = y + read[1] if len(read) > 1 else y
    elif node.kind == "affine":
        y = x * node.weight[:, None, None].astype(float) + node.bias[:, None, None].astype(float)
    elif node.kind == "add":
        y = read[0] + read[1]
    elif node.kind == "subsample":
        y = x if module is None else module(x)
        y = np.pad(y, ((0, 0), (node.before, node.after), (0, 0), (0, 0)))
    else:
        y = module(x)
    y = np.maximum(y, 0) if node.floor == 0 else y
    return node.pool(y) if node.pool else y


def compare(seeds, road):
    kinds, right = set(), 0
    for seed in seeds:
        model, x = random_model(np.random.default_rng(seed))
        found, (expected, tolerance) = engine(model, 2, road=road)(x), by_definition(model, x)
        message = f"random_model(np.random.default_rng({seed}))"
        np.testing.assert_allclose(found, expected, 0, tolerance * np.abs(expected).max(), err_msg=message)
        right += tolerance == 0 and len(np.unique(expected)) > 1
        kinds |= {node.kind for node in lower_to_bfloat16(model)}
    assert kinds > {"conv", "max_pool", "mean", "subsample", "affine", "add", "gelu", "group_norm", "widen"}
    assert right > len(seeds) / 2


@pytest.mark.parametrize("road", ABLE)
def test_random_layers(road):
    compare(range(250), road)


@pytest.mark.slow
@pytest.mark.parametrize("road", ABLE)
def test_ten_thousand_random_layers(road):
    compare(range(1000, 11000), road)


def test_halves_of_a_step_go_to_the_even_one():
    """Sums of whole numbers between 256 and 512, of which a bfloat16 holds every second."""
    model = nn.Sequential(nn.Conv2d(2, 1, 1, bias=False)).eval()
    model[0].weight.value = np.ones((1, 2, 1, 1), np.float32)
    x = np.stack([np.full(256, 256.0), np.arange(256.0)])[None, :, None].astype(np.float32)
    found = npresnet.optimize(model, precision="bfloat16")(x)[0, 0, 0]
    np.testing.assert_array_equal(found, 2 * np.rint((256 + np.arange(256)) / 2))


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_what_is_no_number_goes_the_way_it_goes_in_the_model(value):
    rng = np.random.default_rng(3)
    parts = [conv(rng, 3, 16, 3, padding=1), nn.ReLU(), nn.MaxPool2d(kernel=3, stride=2, padding=1)]
    model = nn.Sequential(*parts, nn.MaxPool2d(kernel=2, stride=1, padding=0)).eval()
    x = whole(rng, (1, 3, 12, 12), 9)
    x[0, 1, 4, 5] = value
    with np.errstate(invalid="ignore"):
        expected = rounded(model(x))
    np.testing.assert_array_equal(engine(model, 1)(x), expected)


# --- networks ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", NETWORKS)
def test_networks(name):
    model = lively(npresnet.create_model(name, num_classes=10, **NETWORKS[name]))
    x = images(6, 32 if name in ("resnet20", "plain20") else 70, seed=3)
    found, expected = npresnet.optimize(model, precision="bfloat16")(x), model(x)
    assert found.dtype == np.float32
    assert np.corrcoef(found.ravel(), expected.ravel())[0, 1] > 0.99
    again = npresnet.optimize(model, threads=1, precision="bfloat16")(x)
    np.testing.assert_array_equal(found, again)


@pytest.mark.parametrize("name", ["resnet20", "resnet18"])
def test_scores_are_nearer_than_those_of_pytorch_in_bfloat16(name):
    """Which rounds behind every convolution, batch norm, sum and ReLU; here all four are one step."""
    torch, model = oracles.torch(), lively(npresnet.create_model(name))
    x = images(8, 32 if name == "resnet20" else 64, seed=4)
    expected = model(x)

    def error(scores):
        return np.sqrt(np.mean((scores - expected) ** 2)) / expected.std()

    state = {key: torch.from_numpy(np.array(value)) for key, value in model.state_dict().items()}
    short = {key: value.bfloat16() if value.is_floating_point() else value for key, value in state.items()}
    with torch.no_grad():
        theirs = torch_networks.oracle(model)(short, torch.from_numpy(x).bfloat16(), False).float().numpy()
    assert error(npresnet.optimize(model, precision="bfloat16")(x)) < error(theirs) < 0.2


def test_memory_is_a_half():
    model, x = lively(npresnet.create_model("resnet20")), images(32)
    engines = [npresnet.optimize(model), npresnet.optimize(model, precision="bfloat16")]
    for one in engines:
        one(x)
    floats, halves = engines
    assert halves.plan.arena_bytes < 0.6 * floats.plan.arena_bytes
    assert halves.weight_bytes < 0.6 * 4 * sum(a.value.size for a in model.parameters())


def test_features_and_the_plan():
    model, x = lively(npresnet.create_model("resnet20")), images(2)
    one = npresnet.optimize(model, precision="bfloat16")
    for layer in (None, "layer1", "layer2.0"):
        found, expected = one.features(x, layer), npresnet.features(model, x, layer)
        assert found.dtype == np.float32
        np.testing.assert_array_equal(found, rounded(found))
        np.testing.assert_allclose(found, expected, atol=0.03 * np.abs(expected).max())
    one(x)
    lines = str(one.plan).splitlines()
    assert all(ABLE[0] in line for line in lines if "conv" in line)
    assert f"bfloat16 by {ABLE[0]}" in repr(one)


def test_what_cannot_run_in_bfloat16_is_refused():
    model = lively(npresnet.create_model("resnet20"))
    with pytest.raises(ValueError, match=r"must be one of 'float32', 'bfloat16', 'int8', not 'float16'"):
        npresnet.optimize(model, precision="float16")
    with pytest.raises(ValueError, match="this network is quantized"):
        npresnet.optimize(npresnet.quantize(model, images(4)), precision="bfloat16")
    with pytest.raises(ValueError, match=r"cannot take the road 'neon'"):
        engine(model, road="neon")


def test_without_the_engine_bfloat16_is_refused(monkeypatch):
    monkeypatch.setattr("npresnet.engine.without_numba", lambda: "Numba is not there")
    with pytest.raises(ValueError, match="needs the engine, which cannot run here: Numba is not there"):
        npresnet.optimize(npresnet.create_model("resnet20"), precision="bfloat16")


def test_scores_change_their_width_too():
    """Heads of several layers, and a sum that ends in a linear layer."""
    x = images(2)
    hidden = lambda *more: nn.Sequential(nn.Linear(64, 32), *more, nn.Linear(32, 10))  # noqa: E731
    for head in (hidden(nn.ReLU()), hidden(), hidden(nn.GELU()), nn.Sequential(nn.ReLU(), nn.Softmax()), summed_head()):
        model = lively(npresnet.create_model("resnet20"))
        model.fc = filled(head)
        found, expected = npresnet.optimize(model.eval(), precision="bfloat16")(x), model(x)
        assert found.shape == expected.shape
        np.testing.assert_allclose(found, expected, atol=0.03 * np.abs(expected).max())


def summed_head():
    return nn.Sequential(nn.Residual(nn.Linear(64, 64), nn.Identity()), nn.Linear(64, 10))


def filled(head):
    rng = np.random.default_rng(1)
    for parameter in head.parameters():
        parameter.value = rng.standard_normal(parameter.value.shape, np.float32) / 8
    return head


def test_a_sum_of_scores_at_the_end():
    model = filled(nn.Sequential(nn.GlobalAvgPool2d(), nn.Residual(nn.Linear(3, 3), nn.Identity()))).eval()
    x = images(4)
    np.testing.assert_allclose(engine(model, 1)(x), model(x), atol=0.02)


# --- instructions that this processor may not have --------------------------------------------------------------------


def test_this_processor_can_take_its_roads():
    assert ABLE[-1] == "multiply_add"
    assert roads({}, ROADS) == ["multiply_add"]
    assert roads({"bf16": True}, ROADS) == ["neon_bf16", "multiply_add"]


def _four_lanes(builder, acc, x, w):
    """What NEON's bfdot makes of four lanes of whole numbers: the sum of two products, added."""
    upper, sixteen = (ir.Constant(x.type, [number] * 4) for number in (-(2**16), 16))
    for half in (lambda v: builder.and_(v, upper), lambda v: builder.shl(v, sixteen)):
        a, b = (builder.bitcast(half(v), acc.type) for v in (x, w))
        acc = builder.fadd(acc, builder.fmul(a, b))
    return acc


def test_a_road_may_take_a_part_of_a_vector(monkeypatch):
    """As NEON's instruction does where vectors are longer."""
    monkeypatch.setitem(ROADS, "four_lanes", ROADS["neon_bf16"]._replace(features=(), sum=_four_lanes))
    compare(range(80), "four_lanes")


@pytest.mark.parametrize(
    ("road", "triple", "features", "instruction"),
    [
        ("avx512_bf16", "x86_64-linux-gnu", "+avx512f,+avx512bf16", "vdpbf16ps"),
        ("neon_bf16", "aarch64-linux-gnu", "+bf16", "bfdot"),
    ],
)
def test_llvm_has_the_instruction(road, triple, features, instruction):
    module, lanes = ir.Module(), ROADS[road].lanes
    sums, elements = (ir.VectorType(kind, lanes) for kind in (ir.FloatType(), ir.IntType(32)))
    function = ir.Function(module, ir.FunctionType(sums, [sums, elements, elements]), "sum")
    builder = ir.IRBuilder(function.append_basic_block())
    builder.ret(ROADS[road].sum(builder, *function.args))
    binding.initialize_all_targets()
    binding.initialize_all_asmprinters()
    target = binding.Target.from_triple(triple).create_target_machine(features=features)
    lines = target.emit_assembly(binding.parse_assembly(str(module))).splitlines()
    assert sum(f"\t{instruction}\t" in line for line in lines) == 1
    assert not any("call" in line or "\tbl\t" in line for line in lines)


COMPILE = """
from numba import njit, types
from npresnet.kernels.cpu.bfloat16.convolution import kernels

for kernel in kernels("avx512_bf16"):
    integers = [types.UniTuple(types.int64, width) if width else types.int64 for width in kernel.widths.values()]
    compiled = njit(error_model="numpy", no_cpython_wrapper=True, no_cfunc_wrapper=True)(kernel.function)
    compiled.compile(types.void(types.int64, types.int64, *integers))
    print(*compiled.inspect_asm().values())
"""


@pytest.mark.skipif(LANES != 16, reason="compiles for AVX-512, whose vectors are twice as long as this processor's")
def test_the_inner_loop_is_one_instruction_for_each_vector_of_sums(tmp_path):
    """Compiled for a processor that multiplies bfloat16: 6 rows of 4 vectors, no more computed, nothing spilled."""
    for_another = {
        "NUMBA_CPU_NAME": "cooperlake",
        "NUMBA_CPU_FEATURES": "+avx512f,+avx512bw,+avx512vl,+avx512bf16,+fma",
    }
    environment = os.environ | for_another | {"NUMBA_CACHE_DIR": str(tmp_path)}
    done = subprocess.run([sys.executable, "-c", COMPILE], env=environment, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    loops = [block.split("jne")[0] for block in done.stdout.split("\n.L") if "vdpbf16ps" in block]
    names = [[line.split()[0] for line in loop.splitlines()[1:] if line.strip()] for loop in loops]
    wide = [loop for loop in names if loop.count("vbroadcastss") == 6 and loop.count("vdpbf16ps") == 24]
    assert len(wide) == 3
    for loop in wide:
        vectors = [name.replace("vmovupd", "vmovups") for name in loop if name.startswith("v")]
        assert sorted(vectors) == ["vbroadcastss"] * 6 + ["vdpbf16ps"] * 24 + ["vmovups"] * 4
        assert loop.count("prefetcht0") == 4
