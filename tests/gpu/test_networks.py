"""Whole networks on the CUDA kernels: PyTorch's stored answers, training in every precision, and looking inside."""

from dataclasses import replace

import numpy as np
import pytest

from npresnet import create_model, ops, to_device, use
from npresnet.analysis.cam import grad_cam
from npresnet.analysis.features import features
from npresnet.backend import tf32
from npresnet.nn import initialize
from npresnet.training import Trainer
from npresnet.training.precision import make_precision
from npresnet.verify.golden import verify

from ..support import fake_cupy
from ..support.drawn import drawn_source, small_model
from ..training.test_resume import RICH

OPS = "conv2d batch_norm_train batch_norm_eval max_pool2d avg_pool2d relu softmax_cross_entropy linear".split()


@pytest.mark.parametrize("only", [f"{op}-*" for op in OPS] + ["resnet20"])
def test_pytorchs_stored_answers(cupy, only):
    report = verify("cupy", only)
    assert report, str(report)
    launched = fake_cupy.launched if cupy is fake_cupy.MODULE else True
    assert launched or only.startswith("linear"), "the answers came from a reference"


@pytest.mark.slow
def test_all_of_pytorchs_stored_answers(cupy):
    if cupy is fake_cupy.MODULE:
        pytest.skip("needs a GPU: kernels on the host take half an hour")
    report = verify("cupy")
    assert report, str(report)


@pytest.mark.parametrize("name", ["float32", "tf32", "float16"])
def test_a_step_in_every_precision(cupy, name):
    """Its gradients are those of float32 to the precision's roundings, and nothing comes back to the host."""
    rng = np.random.default_rng(0)
    x, labels = rng.standard_normal((8, 3, 16, 16)).astype(np.float32), rng.integers(0, 5, 8)
    model = initialize(create_model("resnet20", num_classes=5, depths=(1, 1, 1))).train()
    there = to_device(model, "cuda").train()
    x_there, labels_there = cupy.asarray(x), cupy.asarray(labels)
    precision = make_precision(name, there)
    fake_cupy.transfers.clear()
    logits, pullback = precision.logits_vjp(x_there)
    _, loss_pullback = ops.softmax_cross_entropy(logits, labels_there)
    pullback(loss_pullback(precision.scale))
    assert fake_cupy.transfers == [] and logits.dtype == np.float32
    with use("numpy"):
        logits, pullback = model.logits_vjp(x, input_grad=False)
        pullback(ops.softmax_cross_entropy(logits, labels)[1]())
    due = dict(model.named_parameters())
    for key, parameter in there.named_parameters():
        error = np.linalg.norm(parameter.grad.get() / precision.scale - due[key].grad)
        assert parameter.grad.dtype == np.float32
        assert error <= (0.02 if name == "float32" else 0.3) * np.linalg.norm(due[key].grad) + 1e-3, key


def test_bfloat16_runs_where_cupy_has_it(cupy):
    pytest.importorskip("ml_dtypes", reason="no GPU library brought ml_dtypes along")
    if cupy is fake_cupy.MODULE:
        pytest.skip("needs a GPU: NumPy's functions do not keep to bfloat16")
    there = to_device(initialize(create_model("resnet20", num_classes=5)), "cuda").train()
    logits, pullback = make_precision("bfloat16", there).logits_vjp(cupy.ones((4, 3, 32, 32), dtype=np.float32))
    pullback(logits)
    assert all(bool(cupy.isfinite(parameter.grad).all()) for parameter in there.parameters())


@pytest.mark.parametrize("precision", ["float32", pytest.param("float16", marks=pytest.mark.slow)])
def test_the_training_loop(cupy, precision):
    source = drawn_source()
    recipe = replace(RICH, epochs=1, precision=precision)
    host, there = (Trainer(to_device(small_model(), device), recipe, source) for device in ("cpu", "cuda"))
    with use("numpy"):
        row = host.fit()[0]
    assert there.fit()[0]["train_loss"] == pytest.approx(row["train_loss"], rel=1e-2 if precision == "float32" else 0.1)


def test_looking_inside(cupy):
    x = np.random.default_rng(0).standard_normal((1, 3, 32, 32), np.float32)
    model = initialize(create_model("resnet20"))
    there, x_there = to_device(model, "cuda"), cupy.asarray(x)
    with use("numpy"):
        pairs = [
            (features(there, x_there, ["layer2"])["layer2"], features(model, x, ["layer2"])["layer2"]),
            (grad_cam(there, x_there, [3], after="layer3"), grad_cam(model, x, [3], after="layer3")),
        ]
    for found, due in pairs:
        np.testing.assert_allclose(found.get(), due, atol=1e-4 * abs(due).max())


def test_tf32_is_a_choice_of_the_engine_when_it_is_made(cupy):
    from npresnet import optimize

    model = to_device(create_model("resnet20"), "cuda")
    with tf32():
        engine = optimize(model)
    assert engine.tf32 and not optimize(model).tf32
