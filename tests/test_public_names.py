"""Every public name answers arguments that cannot be with one clear line of the type it documents."""

import re

import numpy as np
import pytest

import npresnet
from npresnet import WeightsError, nn
from npresnet.models import DIALECTS

X = np.zeros((1, 3, 32, 32), np.float32)
CLEAR = re.compile(r"[^\n]{15,400}")
RAW = (
    "has no attribute",
    "unsupported operand",
    "not iterable",
    "not subscriptable",
    "missing 1 required",
    "damaged",
    "cannot be interpreted",
    "unhashable",
    "not callable",
    "not supported between",
    "os.PathLike",
)
NOT_A_MODEL = (None, 3, "resnet20", {}, nn.Linear, np.zeros(3))
NOT_A_PATH = (3, 1.5, True, [], ["a"], b"a.npz", nn.ReLU())


@pytest.fixture(scope="module")
def model():
    return npresnet.create_model("resnet20")


def create(bad):
    return lambda model: npresnet.create_model("resnet20", **bad)


def cases():
    """(the name, what is called, the exception's type) for every argument that cannot be."""
    for bad in (None, "", 18, ["resnet18"], {}, "resnet5O", b"resnet20", nn.ReLU()):
        yield "create_model", lambda model, bad=bad: npresnet.create_model(bad), ValueError
    for name in ("num_classes", "in_channels"):
        for bad in (-1, 2.5, 10.0, "10", True, [3], float("nan")):
            yield "create_model", create({name: bad}), ValueError
    yield "create_model", create({"in_channels": 0}), ValueError
    for bad in (-1, "a", 1.5, True, [1]):
        yield "create_model", create({"seed": bad}), ValueError
    for bad in (3, "", ["keras"], "tensorflow", "keras"):
        yield "create_model", create({"dialect": bad}), ValueError
    for name in ("eps", "momentum"):
        for bad in (-1, 2, "1", None, float("nan"), float("inf"), True):
            yield "create_model", create({name: bad}), ValueError
    for name in ("conv_bias", "unbiased", "softmax", "squeeze", "zero_init_residual"):
        for bad in ("no", 2, None, []):
            yield "create_model", create({name: bad}), ValueError
    for bad in (0, -1, "32", 1.5, None, True):
        yield (
            "create_model",
            lambda model, bad=bad: npresnet.create_model("resnet50", stem="deep", stem_width=bad),
            ValueError,
        )
    for bad in (
        {"width": 0},
        {"groups": 3},
        {"depths": ()},
        {"shortcut": None},
        {"shortcut": ["A"]},
        {"pool": "mean"},
        {"stem": "bare"},
        {"stem_stride": 3},
        {"depths": (1, 1, 0)},
        {"preprocessing": "imagenet"},
        {"stride_in": "last"},
    ):
        yield "create_model", create(bad), ValueError
    for name in ("plain20", "preresnet18"):
        yield "create_model", lambda model, name=name: npresnet.create_model(name, zero_init_residual=True), ValueError
    yield (
        "create_model",
        lambda model: npresnet.create_model("resnet20", weights=model.state_dict(), zero_init_residual=True),
        ValueError,
    )
    for bad in (*NOT_A_PATH, "", "no such file.npz", "a\0b", ".", {1: np.ones(2)}):
        yield "create_model", create({"weights": bad}), WeightsError
    for bad in (*NOT_A_PATH, None, "", "no such file.npz", "a\0b", "."):
        yield "load_quantized", lambda model, bad=bad: npresnet.load_quantized(bad), WeightsError
    for bad in (*NOT_A_MODEL, nn.ReLU()):
        yield "save_quantized", lambda model, bad=bad: npresnet.save_quantized(bad, "a.npz"), WeightsError
    for bad in NOT_A_MODEL:
        yield "quantize", lambda model, bad=bad: npresnet.quantize(bad, X), TypeError
    for bad in (None, 3, [], X[0], X[:0], [X, None], X.astype(int), X * np.nan):
        yield "quantize", lambda model, bad=bad: npresnet.quantize(model, bad), ValueError
    for bad in ({"observer": "best"}, {"observer": None}, {"observer": []}, {"bits": 4}, {"bits": "8"}, {"bits": None}):
        yield "quantize", lambda model, bad=bad: npresnet.quantize(model, X, **bad), ValueError
    for bad in (3, "", ["ema"], b"ema"):
        yield "load_model", lambda model, bad=bad: npresnet.load_model(select=bad), WeightsError
        yield "create_model", create({"select": bad}), ValueError
    for bad in (*NOT_A_PATH, {}, "", "no such file.npz", "a\0b", "."):
        yield "load_model", lambda model, bad=bad: npresnet.load_model(bad), WeightsError
        yield "read_weights", lambda model, bad=bad: npresnet.read_weights(bad), WeightsError
        if not isinstance(bad, dict):
            yield "load_weights", lambda model, bad=bad: npresnet.load_weights(model, bad), WeightsError
    yield "read_weights", lambda model: npresnet.read_weights(None), WeightsError
    for bad in NOT_A_MODEL:
        yield "load_weights", lambda model, bad=bad: npresnet.load_weights(bad, model.state_dict()), WeightsError
        if not isinstance(bad, dict):
            yield "save_weights", lambda model, bad=bad: npresnet.save_weights(bad, "a.npz"), WeightsError
        yield "freeze_batch_norm", lambda model, bad=bad: npresnet.freeze_batch_norm(bad), TypeError
        yield "summary", lambda model, bad=bad: npresnet.summary(bad), TypeError
        yield "grad_cam", lambda model, bad=bad: npresnet.grad_cam(bad, X, [1]), TypeError
        yield "features", lambda model, bad=bad: npresnet.features(bad, X), TypeError
        yield "optimize", lambda model, bad=bad: npresnet.optimize(bad), TypeError
        yield "gradcheck", lambda model, bad=bad: npresnet.gradcheck(bad, X), TypeError
    for bad in (3, None, ("nope",), (3,), ""):
        yield (
            "load_weights",
            lambda model, bad=bad: npresnet.load_weights(model, model.state_dict(), reset=bad),
            WeightsError,
        )
    for bad in (*NOT_A_PATH, None, "", ".", "a.txt", "none/a.npz", "a\0.npz"):
        yield "save_weights", lambda model, bad=bad: npresnet.save_weights(model, bad), WeightsError
    for bad in (3, ["a"], "ab", {"a": 1}, {1: "a"}, {"a": "\ud800"}):
        yield "save_weights", lambda model, bad=bad: npresnet.save_weights(model, "a.npz", metadata=bad), WeightsError
    for bad in ({}, {"a": "text"}, {"a": None}, {"a": [[1], [1, 2]]}, {"\ud800": np.ones(1)}, {3: np.ones(1)}):
        yield "save_weights", lambda model, bad=bad: npresnet.save_weights(bad, "a.safetensors"), WeightsError
    for bad in (None, 3, "tpu", "", "cuda:x", "cuda:-1", ["cpu"]):
        yield "to_device", lambda model, bad=bad: npresnet.to_device(model, bad), ValueError
    for bad in (None, 3, "a", [1], {}):
        yield "to_device", lambda model, bad=bad: npresnet.to_device(bad, "cpu"), TypeError
    for bad in (None, 3, "torch", []):
        yield "use", lambda model, bad=bad: npresnet.use(bad).__enter__(), ValueError
    for bad in (None, 1, [99], [-1], ["cat"], [1, 2], [1.5]):
        yield "grad_cam", lambda model, bad=bad: npresnet.grad_cam(model, X, bad), ValueError
    for bad in ("nope", 3, "fc", ""):
        yield "grad_cam", lambda model, bad=bad: npresnet.grad_cam(model, X, [1], after=bad), ValueError
    for bad in ("nope", 3, ""):
        yield "features", lambda model, bad=bad: npresnet.features(model, X, bad), ValueError
    for bad in (None, 3, [], np.zeros((4, 4, 3))):
        yield "features", lambda model, bad=bad: npresnet.features(model, bad), ValueError
    yield "gradcheck", lambda model: npresnet.gradcheck(model), TypeError
    yield "optimize", lambda model: npresnet.optimize(model, threads=0), ValueError
    for bad in (224, None, (3, 32, 32), (0, 3, 32, 32), (1, 3, -1, 32), (1, 3, 32.5, 32), "1x3x32x32", (1, 5, 32, 32)):
        yield "summary", lambda model, bad=bad: npresnet.summary(model, bad), ValueError
    for bad in (None, 3, "nope", []):
        yield "preprocess", lambda model, bad=bad: npresnet.preprocess(np.zeros((4, 4, 3), np.uint8), bad), ValueError
    for bad in (None, 3, [], np.zeros((0, 4, 3), np.uint8), np.zeros((4, 4, 3)), np.array([object()])):
        yield "preprocess", lambda model, bad=bad: npresnet.preprocess(bad, model), ValueError


CASES = list(cases())
WITHOUT_A_CHECK = {"WeightsError", "list_models", "array_namespace"}  # no argument, or asked at every operation


@pytest.mark.parametrize("name", sorted(set(npresnet.__all__) - WITHOUT_A_CHECK))
def test_arguments_that_cannot_be_are_answered_in_one_line(name, model, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    calls = [(call, kind) for other, call, kind in CASES if other == name]
    assert calls, f"no case for {name}"
    for number, (call, kind) in enumerate(calls):
        with pytest.raises(kind) as caught:
            call(model)
            pytest.fail(f"case {number} of {name} was taken")
        message = str(caught.value)
        assert CLEAR.fullmatch(message) and not any(words in message for words in RAW), (number, message)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    "call, kind",
    [
        (lambda m: m.train("no"), ValueError),
        (lambda m: m.train(None), ValueError),
        (lambda m: m.astype(None), TypeError),
        (lambda m: m.astype(int), TypeError),
        (lambda m: m.astype(complex), TypeError),
        (lambda m: m.load_state_dict(None), TypeError),
        (lambda m: m.load_state_dict([]), TypeError),
        (lambda m: m.load_state_dict(m), TypeError),
        (lambda m: m.load_state_dict("a.pth"), TypeError),
        (lambda m: nn.Sequential(1), TypeError),
        (lambda m: nn.Sequential(nn.ReLU(), None), TypeError),
        (lambda m: nn.Sequential(nn.ReLU), TypeError),
        (lambda m: nn.Residual(None, nn.Identity()), TypeError),
        (lambda m: nn.initialize(None), TypeError),
        (lambda m: nn.zero_last_gamma({}), TypeError),
    ],
)
def test_a_module_answers_in_one_line_too(call, kind, model):
    with pytest.raises(kind) as caught:
        call(model)
    assert CLEAR.fullmatch(str(caught.value)) and not any(words in str(caught.value) for words in RAW)
    assert not model.training


def test_what_can_be_meant_is_taken():
    model = npresnet.create_model(
        "resnet20",
        num_classes=np.int64(4),
        in_channels=np.int32(1),
        eps=np.float32(0.5),
        momentum=1,
        unbiased=np.False_,
        seed=np.uint8(3),
    )
    assert model.spec.options == {"eps": 0.5, "momentum": 1.0, "unbiased": False}
    assert all(type(model.spec.options[key]) in (float, bool) for key in model.spec.options)
    assert (type(model.spec.num_classes), model.spec.num_classes, model.spec.in_channels) == (int, 4, 1)
    assert model.layer1[0] is model.layer1.layers()[0] and model.layer3[-1] is model.layer3.layers()[2]
    assert set(DIALECTS) >= {"torchvision", "keras"}


def test_tensors_of_torch_are_a_state_dict(model):
    torch = pytest.importorskip("torch")
    state = {key: torch.from_numpy(np.asarray(array + 1)) for key, array in model.state_dict().items()}
    again = npresnet.create_model("resnet20")
    again.load_state_dict(state)
    for key, array in again.state_dict().items():
        np.testing.assert_array_equal(array, state[key].numpy())
