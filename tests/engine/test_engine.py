"""The engine computes what the model computes, whatever the model, the batch and the size."""

import copy
import os
import pickle
import subprocess
import sys
import threading
import warnings
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

pytest.importorskip("numba")

from npresnet import nn, optimize
from npresnet.backend import use
from npresnet.engine import Engine
from npresnet.engine.buffers import LiveRange, assign
from npresnet.engine.graph import fuse, lower
from npresnet.models import build

BOUND = 1e-4  # of the largest logit


def filled(model, seed=0):
    """The model with weights that keep every layer's scale, and batch norms that do something."""
    rng = np.random.default_rng(seed)
    for name, array in model.named_arrays():
        shape = array.value.shape
        if name.endswith("running_var"):
            array.value = rng.uniform(0.5, 1.5, shape).astype(np.float32)
        elif len(shape) > 1:
            array.value = (rng.standard_normal(shape) * (2 / np.prod(shape[1:])) ** 0.5).astype(np.float32)
        elif name.endswith("weight"):
            array.value = rng.uniform(0.5, 1, shape).astype(np.float32)
        elif shape:
            array.value = (0.1 * rng.standard_normal(shape)).astype(np.float32)
    return model


def images(n=1, h=32, w=32, c=3, seed=1):
    x = np.random.default_rng(seed).standard_normal((n, c, h, w)).astype(np.float32)
    x.flags.writeable = False
    return x


def truth(model, x):
    with use("numpy"):
        return model.astype(np.float64)(x.astype(np.float64))


def agrees(model, *batches):
    engine = optimize(model)
    assert isinstance(engine, Engine)
    for x in batches:
        y, wanted = engine(x), truth(model, x)
        assert y.shape == wanted.shape and y.dtype == np.float32
        assert abs(y - wanted).max() < BOUND * abs(wanted).max()
    return engine


IMAGENET = ["resnet18", "resnet50", "resnext50_32x4d", "plain18", "preresnet18", "preresnet50"]
DEEP = [
    "resnet34",
    "resnet101",
    "resnet152",
    "resnext101_32x8d",
    "resnext101_64x4d",
    "wide_resnet50_2",
    "wide_resnet101_2",
]


@pytest.mark.parametrize("name", IMAGENET)
def test_imagenet_models(name):
    agrees(filled(build(name)), images(2, 64, 64))


@pytest.mark.slow
@pytest.mark.parametrize("name", DEEP)
def test_deep_imagenet_models(name):
    agrees(filled(build(name)), images(1, 64, 64))


@pytest.mark.parametrize("name", ["resnet20", "plain20", "preresnet110"])
def test_cifar_models(name):
    agrees(filled(build(name)), images(3))


@pytest.mark.parametrize("shortcut", ["A", "A-appended", "B", "C"])
def test_every_shortcut(shortcut):
    agrees(filled(build("resnet20", shortcut=shortcut)), images(2))


@pytest.mark.parametrize("options", [{"dialect": "paper"}, {"conv_bias": True}, {"num_classes": 7, "in_channels": 1}])
def test_dialects(options):
    agrees(filled(build("resnet50", **options)), images(1, 64, 64, options.get("in_channels", 3)))


@pytest.mark.parametrize(
    "name, options",
    [
        ("resnet18", {"norm": "group"}),
        ("resnet18", {"norm": "group", "stem": "deep", "avg_down": True, "activation": "silu"}),
        ("resnet20", {"norm": "group", "norm_groups": 1, "activation": "leaky_relu"}),
        ("resnet20", {"norm": "group", "norm_groups": 16, "shortcut": "B"}),
        ("preresnet18", {"norm": "group", "activation": "gelu"}),
        ("plain20", {"activation": "leaky_relu", "negative_slope": 0.3}),
    ],
    ids=str,
)
def test_group_norms_and_activations(name, options):
    agrees(filled(build(name, **options)), images(3, 40, 36), images(1, 33, 32))


def test_group_norms_of_odd_channels_and_on_the_image_itself():
    layers = nn.GroupNorm(1, 6), nn.GELU(), nn.Conv2d(6, 36, 1), nn.GroupNorm(3, 36), nn.ReLU(), nn.MaxPool2d(2, 2)
    model = nn.Sequential(*layers, nn.GroupNorm(36, 36), nn.SiLU(), nn.GlobalAvgPool2d(), nn.LeakyReLU(), nn.GELU())
    agrees(filled(model), images(2, 9, 11, 6))
    with pytest.raises(ValueError, match="takes images"):
        optimize(nn.Sequential(nn.GlobalAvgPool2d(), nn.GroupNorm(1, 3)))(images())


def test_a_group_norm_takes_in_the_shortcut_and_the_relu():
    nodes = fuse(lower(filled(build("resnet18", norm="group"))))
    kinds = [node.kind for node in nodes]
    assert kinds == ["input", "conv", "group_norm", "max_pool", *["conv", "group_norm"] * 19, "mean", "conv"]
    assert sum(len(node.inputs) == 2 for node in nodes if node.kind == "group_norm") == 8
    assert sum(node.floor == 0 for node in nodes if node.kind == "group_norm") == 17  # all but the projections'
    nodes = fuse(lower(filled(build("resnet18", activation="gelu"))))
    assert not any(node.floor == 0 for node in nodes) and [node.kind for node in nodes].count("gelu") == 17


def test_any_batch_and_any_size_after_one_optimize():
    sizes = images(1), images(5), images(2, 33, 47), images(1, 16, 20), images(5, seed=2)
    engine = agrees(filled(build("resnet20")), *sizes)
    assert engine.plan.n == 5


def test_large_images_and_a_batch_in_several_parts():
    agrees(filled(build("resnet18")), images(9, 96, 80), images(1, 224, 224))


def test_batch_split_into_parts_gives_the_same_numbers_as_one_by_one():
    model = filled(build("resnet18", num_classes=10))
    engine, x = optimize(model), images(19, 64, 64)
    y = engine(x)
    for i in (0, 8, 18):
        np.testing.assert_allclose(y[i : i + 1], engine(x[i : i + 1]), atol=1e-4 * abs(y).max())


def test_odd_channels_dilation_padding_and_unknown_layers():
    model = nn.Sequential(
        nn.Conv2d(5, 24, (3, 5), (2, 1), ((0, 1), (2, 2)), bias=True),
        nn.BatchNorm2d(24),
        nn.ReLU(),
        nn.AvgPool2d(2, 2),
        nn.ZeroPad2d(padding=1),
        nn.Conv2d(24, 40, 3, 1, "same", dilation=2),
        nn.ReLU(),
        nn.Residual(nn.Sequential(nn.Conv2d(40, 40, 3, padding=1, groups=5), nn.BatchNorm2d(40)), nn.Identity()),
        nn.MaxPool2d(3, 2, 1, ceil_mode=True),
        nn.BatchNorm2d(40),
        nn.Conv2d(40, 8, 1, 2),
        nn.GlobalAvgPool2d(),
        nn.Linear(8, 3),
        nn.Softmax(),
    )
    agrees(filled(model), images(2, 33, 29, 5))


def test_steps_that_read_the_image_itself():
    agrees(filled(nn.Sequential(nn.BatchNorm2d(3), nn.ReLU(), nn.Conv2d(3, 16, 3, padding=1))), images(2, 9, 9))
    agrees(filled(nn.Sequential(nn.MaxPool2d(2, 2), nn.GlobalAvgPool2d())), images(2, 9, 9))
    agrees(filled(nn.Sequential(nn.Residual(nn.Conv2d(3, 3, 3, padding=1), nn.Identity()))), images(2, 9, 9))
    agrees(nn.Identity(), images(2, 9, 9))


def test_batch_norms_residuals_and_relus_are_fused():
    nodes = fuse(lower(filled(build("resnet18"))))
    kinds = [node.kind for node in nodes]
    assert kinds == ["input", *["conv"] * 20, "mean", "conv"]
    assert nodes[1].pool and sum(len(node.inputs) == 2 for node in nodes) == 8
    assert all(node.floor == 0 for node in nodes[1:] if node.kind == "conv" and "conv" in node.name)


def test_the_model_and_its_arrays_are_left_alone():
    model = filled(build("resnet20"))
    before = {key: array.copy() for key, array in model.state_dict().items()}
    x = images(2)
    copy = x.copy()
    engine = optimize(model)
    engine(x)
    np.testing.assert_array_equal(x, copy)
    for key, array in model.state_dict().items():
        np.testing.assert_array_equal(array, before[key])


@pytest.mark.parametrize(
    "model",
    [nn.Conv2d(3, 16, 3), nn.Conv2d(3, 5, 3), nn.ReLU(), nn.GlobalAvgPool2d(), nn.AvgPool2d(3, 3), nn.Identity()],
    ids=lambda model: type(model).__name__,
)
@pytest.mark.parametrize("n", [1, 2])
def test_a_result_is_never_overwritten(model, n):
    engine, x = optimize(filled(model)), images(n, 3, 3).copy()
    y = engine(x)
    kept = y.copy()
    engine(images(n, 3, 3, seed=5))
    np.testing.assert_array_equal(y, kept)
    assert not any(np.shares_memory(y, own) for own in (x, *engine._buffers._arrays))


def test_threads_may_share_an_engine():
    engine = optimize(filled(build("resnet20")))
    batches = [images(2 + k % 3, seed=k) for k in range(8)]
    wanted, got = [engine(x) for x in batches], [None] * 8

    def work(k):
        got[k] = engine(batches[k])

    threads = [threading.Thread(target=work, args=(k,)) for k in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for a, b in zip(got, wanted):
        np.testing.assert_array_equal(a, b)


def test_requests_of_a_service_get_the_answers_they_would_get_alone():
    engine = optimize(filled(build("resnet20")), threads=2)
    batches = [images(1 + k % 4, 32 - 8 * (k % 2), seed=k) for k in range(25)]
    wanted = [engine(x) for x in batches]
    with ThreadPoolExecutor(8) as pool:
        got = list(pool.map(lambda k: engine(batches[k % 25]), range(200)))
    for k, y in enumerate(got):
        np.testing.assert_array_equal(y, wanted[k % 25])
    own = [y.__array_interface__["data"][0] for y in got]
    assert len(set(own)) == 200  # none is the memory of another


def test_an_engine_says_what_it_is():
    engine = optimize(build("resnet20"), threads=2)
    assert repr(engine) == f"CpuEngine(resnet20, numba, 2 threads, {len(engine.nodes)} steps)"
    assert repr(optimize(nn.Sequential(nn.ReLU()), threads=1)) == "CpuEngine(Sequential, numba, 1 thread, 3 steps)"


def test_engines_may_run_side_by_side():
    engines, x = [optimize(filled(build("resnet20"), seed), threads=3) for seed in range(4)], images(3)
    wanted = [engine(x) for engine in engines]
    with ThreadPoolExecutor(4) as pool:
        runs = [pool.submit(engine, x) for _ in range(10) for engine in engines]
    for k, run in enumerate(runs):
        np.testing.assert_array_equal(run.result(), wanted[k % 4])


@pytest.mark.parametrize("threads", [1, 2, 7])
def test_the_number_of_threads_does_not_change_the_sums(threads):
    model, x = filled(build("resnet18", num_classes=10)), images(2, 64, 64)
    y, wanted = optimize(model, threads=threads)(x), truth(model, x)
    assert abs(y - wanted).max() < BOUND * abs(wanted).max()


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_an_engine_survives_a_fork():
    engine, x = optimize(filled(build("resnet20")), threads=2), images(2)
    wanted = engine(x)
    child = os.fork()
    if child == 0:
        os._exit(not np.array_equal(engine(x), wanted))
    assert os.waitpid(child, 0)[1] == 0


def test_a_softmax_at_the_end_is_kept_apart():
    model, x = filled(build("resnet20", softmax=True)), images(2)
    engine = agrees(model, x)
    with use("numpy"):
        wanted = model.logits(x)
    assert abs(engine.logits(x) - wanted).max() < BOUND * abs(wanted).max()


@pytest.mark.parametrize("tail", [[nn.Softmax()], [nn.Sequential(nn.Softmax()), nn.Identity()], []])
def test_logits_are_the_models_whatever_ends_it(tail):
    model, x = nn.Sequential(nn.GlobalAvgPool2d(), *tail), images(2)
    engine = optimize(model)
    np.testing.assert_allclose(engine.logits(x), model.logits(x), rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(engine(x), model(x), rtol=1e-5, atol=1e-6)


def test_plan_prints_as_a_table():
    engine = optimize(filled(build("resnet18")), profile=True)
    engine(images(1, 64, 64))
    table = str(engine.plan)
    assert len(table.splitlines()) > 22 and "winograd" in table and "layer4.1.conv2" in table and "%" in table


@pytest.mark.parametrize(
    "x, error, words",
    [
        (np.zeros((1, 3, 8, 8)), TypeError, "float32"),
        (np.zeros((3, 8, 8), np.float32), ValueError, r"\(N, 3, H, W\)"),
        (np.zeros((1, 4, 8, 8), np.float32), ValueError, "3"),
        (np.zeros((2, 3, 0, 8), np.float32), ValueError, r"no pixel in these images: \(2, 3, 0, 8\)"),
        (np.zeros((2, 3, 8, 0), np.float32), ValueError, "no pixel in these images"),
    ],
)
def test_bad_inputs_are_refused(x, error, words):
    with pytest.raises(error, match=words):
        optimize(build("resnet20"))(x)


def test_training_mode_is_refused():
    with pytest.raises(ValueError, match=r"eval\(\)"):
        optimize(build("resnet20").train())


def test_without_numba_the_model_itself_runs(monkeypatch):
    monkeypatch.setitem(sys.modules, "numba", None)
    model = build("resnet20")
    with pytest.warns(UserWarning, match="numba"):
        assert optimize(model) is model


def test_where_numba_is_not_installed_the_model_itself_runs_and_a_gpu_has_its_engine():
    code = """
import sys, warnings
sys.modules |= dict.fromkeys(("numba", "llvmlite", "scipy"))
import npresnet, npresnet.engine.gpu.engine
model = npresnet.create_model("resnet20")
with warnings.catch_warnings(record=True) as caught:
    assert npresnet.optimize(model) is model and "numba" in str(caught[0].message)
"""
    done = subprocess.run([sys.executable, "-W", "always", "-c", code], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr


def test_results_live_together_never_share_memory():
    rng = np.random.default_rng(0)
    ranges = {
        k: LiveRange(int(size), int(a), int(a + d))
        for k, (size, a, d) in enumerate(
            zip(rng.integers(1, 1000, 60), rng.integers(0, 40, 60), rng.integers(0, 8, 60))
        )
    }
    offsets, total = assign(ranges)
    for a, first in ranges.items():
        assert offsets[a] + first.nbytes <= total
        for b, second in ranges.items():
            together = first.start <= second.end and second.start <= first.end
            apart = offsets[a] + first.nbytes <= offsets[b] or offsets[b] + second.nbytes <= offsets[a]
            assert a == b or apart or not together
    assert total < sum(result.nbytes for result in ranges.values()) / 2


def test_no_warnings():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        optimize(filled(build("resnet20")))(images(2))


def test_no_images_have_no_scores():
    model = filled(build("resnet20"))
    x = np.zeros((0, 3, 8, 8), np.float32)
    np.testing.assert_array_equal(optimize(model)(x), model(x), strict=True)


@pytest.mark.parametrize("threads", [0, -1])
def test_a_number_of_threads_is_positive(threads):
    with pytest.raises(ValueError, match="threads is how many"):
        optimize(filled(build("resnet20")), threads=threads)


@pytest.mark.parametrize("function", [copy.copy, copy.deepcopy, pickle.dumps])
def test_an_engine_is_not_copied(function):
    with pytest.raises(TypeError, match=r"copy the model and optimize\(\) the copy"):
        function(optimize(filled(build("resnet20"))))


def double(module):
    """The module with a vjp of its own, which gives twice the value."""
    plain = module.vjp

    def vjp(x, input_grad=True):
        y, pullback = plain(x, input_grad)
        return 2 * y, lambda dy: pullback(2 * dy)

    module.vjp = vjp
    return module


@pytest.mark.parametrize(
    "change",
    [
        lambda model: double(model.conv1),
        lambda model: double(model.layer1[0].bn1),
        lambda model: double(model.relu),
        lambda model: vars(model.relu).update(op=lambda x: (2 * x, lambda dy: 2 * dy)),
    ],
)
def test_a_layer_that_was_given_its_own_vjp_or_op_is_run_as_it_is(change):
    model = filled(build("resnet20"))
    usual = optimize(model)(images())
    change(model)
    x = images()
    np.testing.assert_allclose(optimize(model)(x), model(x), rtol=1e-3, atol=1e-3 * abs(usual).max())
    assert abs(optimize(model)(x) - usual).max() > 1e-2 * abs(usual).max()
