"""optimize() of a model on the GPU: its logits are the module's own, and from the second call on a graph gives them."""

import numpy as np
import pytest

from npresnet import features, nn, optimize, to_device, use
from npresnet.backend import tf32
from npresnet.nn import initialize

from ..support import fake_cupy, laws
from ..support.shallow import shallow

NETWORKS = [("resnet18", {}, 32), ("resnet20", {}, 32), ("resnet20", {"shortcut": "B"}, 32), ("plain20", {}, 32)]
LARGE = [("resnet50", {}, 64), ("resnext50_32x4d", {}, 32), ("preresnet110", {}, 32)]


def drawn(name, **options):
    """A shallow network whose batch norms do something, in eval mode."""
    model, rng = initialize(shallow(name, num_classes=7, **options)), np.random.default_rng(1)
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            for array in (module.weight, module.bias, module.running_mean):
                array.value = array.value + rng.uniform(-0.2, 0.2, array.value.shape).astype(np.float32)
    return model.eval()


@pytest.mark.parametrize("name, options, side", [*NETWORKS, *(pytest.param(*n, marks=pytest.mark.slow) for n in LARGE)])
def test_the_engines_logits_are_the_modules(cupy, name, options, side):
    model, rng = drawn(name, **options), np.random.default_rng(0)
    engine = optimize(to_device(model, "cuda"))
    for _ in range(3):  # launches, a graph captured, the graph again
        x = rng.standard_normal((2, 3, side, side)).astype(np.float32)
        with use("numpy"):
            due = model.astype(np.float64)(x.astype(np.float64))
        laws.assert_close(engine(cupy.asarray(x)).get(), due.astype(np.float32), 2e-5)
    assert engine.plan.graph is not None and "captured" in str(engine.plan) and "relu" in str(engine.plan)


@pytest.mark.parametrize("after", [None, "maxpool", "layer1.0", "layer4"])
def test_the_engines_features_are_the_modules(cupy, after):
    model, x = drawn("resnet18"), np.random.default_rng(0).standard_normal((2, 3, 32, 32)).astype(np.float32)
    engine = optimize(to_device(model, "cuda"))
    with use("numpy"):
        due, logits = features(model, x, after), model(x)
    for _ in range(2):
        laws.assert_close(engine.features(cupy.asarray(x), after).get(), due, 2e-5)
        laws.assert_close(engine(cupy.asarray(x)).get(), logits, 2e-5)


@pytest.mark.parametrize("dtype", ["float16", "float32", "tf32"])
@pytest.mark.parametrize("shape", [(2, 3, 10, 13), (1, 5, 9, 11)])
def test_every_algorithm_for_a_convolution(cupy, monkeypatch, dtype, shape):
    """Whichever is the fastest, the answer is the same."""
    from npresnet.engine.gpu import convolutions

    branch = nn.Sequential(nn.Conv2d(64, 32, 3, padding=1, bias=True), nn.ReLU(), nn.Conv2d(32, 64, 1))
    stem, tail = nn.Conv2d(shape[1], 64, 3, stride=2, padding=1), nn.Conv2d(64, 48, 5, padding=2, groups=2, bias=True)
    model = initialize(nn.Sequential(stem, nn.Residual(branch, nn.Identity()), nn.ReLU(), tail))
    x = np.random.default_rng(0).standard_normal(shape).astype(np.float32)
    with use("numpy"):
        due = model.astype(np.float64)(x.astype(np.float64))
    real, names, counts, index = "float16" if dtype == "float16" else "float32", set(), [1], 0
    while index < max(counts):
        monkeypatch.setattr(
            convolutions,
            "autotune",
            lambda cupy, runs, index=index: (counts.append(len(runs)), min(index, len(runs) - 1))[1],
        )
        with tf32(dtype == "tf32"):
            engine = optimize(to_device(model.astype(real), "cuda"))
        found = engine(cupy.asarray(x.astype(real))).get()
        laws.assert_close(found, due.astype(real), {"float16": 5e-3, "tf32": 5e-3, "float32": 2e-6}[dtype])
        names |= {step.algorithm for step in engine.plan.steps}
        index += 1
    assert {"columns 3x3 relu", "columns 5x5", "product + shortcut relu"} <= names
    tiles = {name.split()[2] for name in names if name.startswith("implicit GEMM")}
    assert len({tile.split("/")[0] for tile in tiles}) == (4 if dtype == "float32" else 6)
    assert any("/" in tile for tile in tiles), "no blocks that share a sum"


def test_the_fastest_is_measured(cupy):
    from npresnet.engine.gpu.autotune import autotune

    if cupy is not fake_cupy.MODULE:
        x, small = cupy.ones(2**26, dtype=np.float32), cupy.ones(8, dtype=np.float32)
        runs = [lambda a=a: cupy.sqrt(a, out=a) for a in (x, small, x)]
        assert autotune(cupy, runs) == 1
        return

    def taking(milliseconds):
        def run(*_):
            fake_cupy.Event.now += milliseconds

        return fake_cupy.recorded(run)

    assert autotune(cupy, [taking(3), taking(1), taking(2)]) == 1
    assert autotune(cupy, [None]) == 0  # no choice: nothing is run


def test_each_size_has_its_graph_and_results_stay_what_they_were(cupy):
    model, rng = drawn("resnet20"), np.random.default_rng(0)
    engine = optimize(to_device(model, "cuda"))
    batches = [rng.standard_normal((n, 3, side, side)).astype(np.float32) for n, side in ((1, 32), (3, 32), (2, 40))]
    first = [engine(cupy.asarray(x)) for x in batches]
    for _ in range(2):
        again = [engine(cupy.asarray(x)) for x in batches]
    with use("numpy"):
        for x, one, other in zip(batches, first, again):
            due = model(x)
            laws.assert_close(one.get(), due, 2e-5)
            laws.assert_close(other.get(), due, 2e-5)


def test_another_stream_waits_until_the_buffers_are_free(cupy):
    engine, x = optimize(to_device(drawn("resnet20"), "cuda")), np.random.default_rng(0).standard_normal((2, 3, 32, 32))
    x, streams = cupy.asarray(x.astype(np.float32)), [cupy.cuda.Stream(non_blocking=True) for _ in range(2)]
    due, found = engine(x).get(), []
    for stream in streams * 3:
        with stream:
            found.append(engine(x))
    for stream in streams:
        stream.synchronize()
    for y in found:
        laws.assert_close(y.get(), due, 1e-6)
    if cupy is fake_cupy.MODULE:
        assert [[what for what, _ in stream.met] for stream in streams] == [["wait", "record"] * 3] * 2
        assert len({id(event) for stream in streams for _, event in stream.met}) == 1


def test_what_has_no_launch_runs_as_the_module_it_is(cupy):
    model = drawn("resnet20", squeeze=True)
    x = np.random.default_rng(0).standard_normal((2, 3, 32, 32)).astype(np.float32)
    engine = optimize(to_device(model, "cuda"))
    with use("numpy"):
        due = model(x)
    for _ in range(3):
        laws.assert_close(engine(cupy.asarray(x)).get(), due, 2e-5)
    assert engine.plan.graph is None and "not captured" in str(engine.plan)


def test_halves(cupy):
    model, x = drawn("resnet20"), np.random.default_rng(0).standard_normal((2, 3, 32, 32)).astype(np.float16)
    engine = optimize(to_device(model.astype(np.float16), "cuda"))
    with use("numpy"):
        due = model(x.astype(np.float32))
    y = engine(cupy.asarray(x)).get()
    assert y.dtype == np.float16 and np.abs(y - due).max() < 0.02 * np.abs(due).max()


def test_nothing_comes_back_to_the_host(cupy):
    engine = optimize(to_device(drawn("resnet20"), "cuda"))
    x = cupy.asarray(np.zeros((1, 3, 32, 32), np.float32))
    engine(x)
    fake_cupy.transfers.clear()
    for _ in range(3):
        engine(x)
    assert fake_cupy.transfers == []


def test_images_of_the_host_or_of_another_dtype_raise_with_the_cure(cupy):
    engine = optimize(to_device(drawn("resnet20"), "cuda"))
    with pytest.raises(TypeError, match=r"to_device\(images, 'cuda'\)"):
        engine(np.zeros((1, 3, 32, 32), np.float32))
    with pytest.raises(TypeError, match=r"float32, not .* float64"):
        engine(cupy.zeros((1, 3, 32, 32)))


def test_a_model_in_training_is_refused(cupy):
    with pytest.raises(ValueError, match=r"model.eval\(\)"):
        optimize(to_device(drawn("resnet20").train(), "cuda"))
