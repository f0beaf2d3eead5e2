"""Options and empty batches of the layers, as PyTorch's own have them."""

import numpy as np
import pytest

from npresnet import WeightsError, create_model, load_model, nn, ops, optimize, save_weights, use
from npresnet.backend import load_kernels
from npresnet.weights import save_onnx

from ..support import oracles
from ..support.modules import fill

RNG = np.random.default_rng(0)
X = RNG.standard_normal((3, 4, 6, 5))
EMPTY = X[:0]


def pair_of(**options):
    """A batch norm in float64 and PyTorch's, with the same numbers."""
    torch = oracles.torch()
    ours, theirs = fill(nn.BatchNorm2d(4, **options)).astype(np.float64), torch.nn.BatchNorm2d(4, **options).double()
    theirs.load_state_dict({key: torch.tensor(array) for key, array in ours.state_dict().items()})
    return ours, theirs


def assert_same_state(ours, theirs):
    assert list(ours.state_dict()) == list(theirs.state_dict())
    for key, tensor in theirs.state_dict().items():
        np.testing.assert_allclose(ours.state_dict()[key], tensor.numpy(), rtol=1e-12, err_msg=key)


@pytest.mark.parametrize("momentum", [0.3, None])
@pytest.mark.parametrize("affine, track_running_stats", [(False, True), (True, False), (False, False), (True, True)])
def test_batch_norms_are_pytorch_s(affine, track_running_stats, momentum):
    torch = oracles.torch()
    ours, theirs = pair_of(affine=affine, track_running_stats=track_running_stats, momentum=momentum)
    for training, x in [(True, X), (True, EMPTY), (True, 2 * X + 1), (False, X), (False, EMPTY)]:
        ours.train(training), theirs.train(training), ours.zero_grad(), theirs.zero_grad()
        images = torch.tensor(x, requires_grad=True)
        y, pullback = ours.vjp(x)
        due = theirs(images)
        due.backward(torch.tensor(x**2))
        np.testing.assert_allclose(y, due.detach().numpy(), rtol=0, atol=1e-12)
        np.testing.assert_allclose(pullback(x**2), images.grad.numpy(), rtol=0, atol=1e-11)
        for name, parameter in ours.named_parameters():
            np.testing.assert_allclose(parameter.grad, getattr(theirs, name).grad.numpy(), rtol=0, atol=1e-11)
        assert_same_state(ours, theirs)


@pytest.mark.parametrize("dtype", [np.float16, np.float32])
@pytest.mark.parametrize("track_running_stats", [True, False])
def test_images_of_16_bits_are_normalized_in_float32(dtype, track_running_stats):
    norm = nn.BatchNorm2d(4, affine=False, track_running_stats=track_running_stats).train()
    x = X.astype(dtype)
    for training in (True, False):
        y, pullback = norm.train(training).vjp(x)
        due, due_pullback = nn.BatchNorm2d.vjp(norm, x.astype(np.float32))
        assert y.dtype == dtype and pullback(y).dtype == dtype
        np.testing.assert_allclose(y, due, atol=1e-3 if dtype == np.float16 else 1e-6)
        due_pullback(due)


@pytest.mark.parametrize(
    "make",
    [
        lambda t: (nn.Conv2d(4, 6, 3, 2, 1, bias=True), t.Conv2d(4, 6, 3, 2, 1)),
        lambda t: (nn.Conv2d(4, 6, 3, padding="same", bias=True), t.Conv2d(4, 6, 3, padding="same")),
        lambda t: (nn.Conv2d(4, 6, 3, 2, padding="valid", bias=True), t.Conv2d(4, 6, 3, 2, padding="valid")),
        lambda t: (nn.GroupNorm(2, 4), t.GroupNorm(2, 4)),
        lambda t: (nn.ReLU(), t.ReLU()),
        lambda t: (nn.GELU(), t.GELU()),
        lambda t: (nn.SiLU(), t.SiLU()),
        lambda t: (nn.LeakyReLU(0.2), t.LeakyReLU(0.2)),
        lambda t: (nn.MaxPool2d(3, 2, 1), t.MaxPool2d(3, 2, 1)),
        lambda t: (nn.AvgPool2d(3, 2, 1), t.AvgPool2d(3, 2, 1)),
        lambda t: (nn.AdaptiveAvgPool2d((4, 3)), t.AdaptiveAvgPool2d((4, 3))),
        lambda t: (nn.ConstantPad2d(1, 2.0), t.ConstantPad2d(1, 2.0)),
        lambda t: (nn.ZeroPad2d(1), t.ZeroPad2d(1)),
        lambda t: (
            nn.Sequential(nn.GlobalAvgPool2d(), nn.Linear(4, 5)),
            t.Sequential(t.AdaptiveAvgPool2d(1), t.Flatten(), t.Linear(4, 5)),
        ),
        lambda t: (
            nn.Sequential(nn.GlobalAvgPool2d(), nn.Softmax()),
            t.Sequential(t.Flatten(2), t.AvgPool1d(30), t.Flatten(), t.Softmax(1)),
        ),
    ],
)
@pytest.mark.parametrize("batch", [0, 3])
def test_layers_are_pytorch_s_also_without_an_image(make, batch):
    torch = oracles.torch()
    ours, theirs = make(torch.nn)
    ours, theirs, x = fill(ours).astype(np.float64), theirs.double(), X[:batch]
    theirs.load_state_dict(
        dict(zip(theirs.state_dict(), (torch.tensor(a) for a in ours.state_dict().values()), strict=True))
    )
    y, pullback = ours.vjp(x)
    images = torch.tensor(x, requires_grad=True)
    due = theirs(images)
    np.testing.assert_allclose(y, due.detach().numpy(), rtol=0, atol=1e-12)
    assert ours.output_shape(x) == y.shape
    dy = RNG.standard_normal(y.shape)
    due.backward(torch.tensor(dy))
    np.testing.assert_allclose(pullback(dy), images.grad.numpy(), rtol=0, atol=1e-12)
    for parameter, tensor in zip(ours.parameters(), theirs.parameters()):
        np.testing.assert_allclose(parameter.grad, tensor.grad.numpy(), rtol=0, atol=1e-12)


@pytest.mark.parametrize(
    "layer",
    [nn.BlurPool2d(stride=2), nn.Subsample(stride=2), nn.ZeroPadChannels(before=1, after=2), nn.ChannelConv(3)],
    ids=str,
)
def test_layers_that_pytorch_lacks_take_no_image_too(layer):
    x = EMPTY if type(layer) is not nn.ChannelConv else EMPTY[:, :, :1, :1]
    y, pullback = layer.astype(np.float64).vjp(x)
    assert y.shape == layer.output_shape(x) and len(y) == 0 and pullback(y).shape == x.shape


@pytest.mark.parametrize("backend", ["numpy", "numba"])
@pytest.mark.parametrize("training", [False, True])
def test_a_network_takes_no_image(backend, training):
    model = create_model("resnet20", width=16).train(training)
    with use(backend):
        y, pullback = model.vjp(np.zeros((0, 3, 8, 8), np.float32))
        dx = pullback(y)
    assert y.shape == (0, 10) and dx.shape == (0, 3, 8, 8)
    assert all(not p.grad.any() for p in model.parameters())
    assert (model.bn1.running_var.value == 1).all() and model.bn1.num_batches_tracked.value == training


@pytest.mark.parametrize("affine, track_running_stats", [(False, True), (True, False), (False, False)])
@pytest.mark.parametrize("training", [False, True])
def test_fused_neighbours_keep_the_options(affine, track_running_stats, training):
    norm = fill(nn.BatchNorm2d(16, affine=affine, track_running_stats=track_running_stats))
    x = RNG.standard_normal((2, 16, 6, 5)).astype(np.float32)
    layers = norm, nn.ReLU(), fill(nn.Conv2d(16, 16, 3, padding="same"))
    found = []
    for backend in ("numpy", "numba"):
        model = nn.Sequential(*layers).copy().train(training)
        with use(backend):
            y, pullback = model.vjp(x)
            found.append((y, pullback(y), *(p.grad for p in model.parameters()), *model.state_dict().values()))
    for one, other in zip(*found, strict=True):
        np.testing.assert_allclose(one, other, rtol=0, atol=2e-5 * abs(one).max(initial=1))


def test_what_a_compiled_kernel_lacks_is_left_to_the_reference():
    """Asked of the kernels themselves: a GPU's cannot run here, but say what they serve."""
    for backend in ("numba", "cupy"):
        load_kernels(backend)
    x, c = np.ones((2, 16, 4, 4), np.float32), np.ones(16, np.float32)
    for op, statics in ((ops.batch_norm_train, {}), (ops.batch_norm_relu, {}), (ops.group_norm, {"groups": 2})):
        for backend, supports in op.supports.items():
            assert supports(x, c, c, eps=0.1, **statics), (op.__name__, backend)
            for given in ((None, None), (None, c), (c, None)):
                assert not supports(x, *given, eps=0.1, **statics), (op.__name__, backend)
    for name in ("batch_norm_train_cast", "batch_norm_eval"):
        statistics = (c, c) if name == "batch_norm_eval" else ()
        supports = getattr(ops, name).supports["cupy"]
        assert supports(x, c, c, *statistics, eps=0.1)
        assert not any(supports(x, *given, *statistics, eps=0.1) for given in ((None, None), (None, c), (c, None)))
    supports, z, labels = ops.softmax_cross_entropy.supports["cupy"], np.ones((2, 3), np.float32), np.array([0, 1])
    assert supports(z, labels) and supports(z, labels, None, label_smoothing=0.1, reduction="mean")
    assert not supports(z, labels, np.ones(3, np.float32)) and not supports(z[:0], labels[:0])
    for options in ({"ignore_index": -100}, {"reduction": "sum"}, {"reduction": "none"}):
        assert not supports(z, labels, **options)


def test_running_statistics_that_are_not_there_cannot_be_frozen():
    model = nn.Sequential(nn.BatchNorm2d(3), nn.BatchNorm2d(3, track_running_stats=False))
    with pytest.raises(
        ValueError, match=r"without running statistics \(track_running_stats=False\) has none to freeze"
    ):
        nn.freeze_batch_norm(model)
    assert not model[0].frozen and model[0].weight.trainable
    norm = nn.freeze_batch_norm(nn.BatchNorm2d(4, affine=False)).astype(np.float64).train()
    np.testing.assert_array_equal(norm(X), norm.eval()(X))


def test_a_last_norm_without_a_gamma_stays_as_it_is():
    class Block(nn.Sequential):
        last_norm = nn.BatchNorm2d(3, affine=False)

    assert nn.zero_last_gamma(Block()).last_norm.weight is None


def test_the_engine_runs_norms_without_gamma_and_refuses_those_that_follow_the_batch():
    def network(**options):
        return nn.Sequential(
            fill(nn.Conv2d(3, 8, 3, stride=2, padding="same_lower")),
            fill(nn.BatchNorm2d(8, **options)),
            nn.ReLU(),
            nn.ConstantPad2d(((1, 0), (0, 2)), 0.5),
            nn.MaxPool2d(3, 2, "same"),
            fill(nn.Conv2d(8, 8, 2, padding="valid")),
            fill(nn.BatchNorm2d(8, **options)),
            nn.AdaptiveAvgPool2d((2, 3)),
            nn.MaxPool2d(2, 1, "same_lower"),
        )

    x, model = RNG.standard_normal((2, 3, 13, 16)).astype(np.float32), network(affine=False)
    due = model.astype(np.float64)(x.astype(np.float64))
    np.testing.assert_allclose(optimize(model)(x), due, rtol=0, atol=1e-5 * abs(due).max())
    with pytest.raises(ValueError, match=r"^a batch norm of this model has no running statistics"):
        optimize(network(track_running_stats=False))


@pytest.mark.parametrize("fold", [False, True])
def test_norms_without_gamma_are_written_as_onnx(fold, tmp_path):
    runtime = pytest.importorskip("onnxruntime")
    model = nn.Sequential(
        fill(nn.Conv2d(3, 4, 4, stride=2, padding="same_lower")), fill(nn.BatchNorm2d(4, affine=False)), nn.ReLU()
    )
    x = RNG.standard_normal((2, 3, 7, 8)).astype(np.float32)
    session = runtime.InferenceSession(save_onnx(model, tmp_path / "norm.onnx", fold=fold))
    np.testing.assert_allclose(session.run(None, {"images": x})[0], model(x), rtol=0, atol=1e-5)
    follower = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4, track_running_stats=False))
    with pytest.raises(WeightsError, match="running statistics"):
        save_onnx(follower, tmp_path / "none.onnx", fold=fold)
    assert not (tmp_path / "none.onnx").exists()


def test_what_no_file_of_weights_describes_is_refused(tmp_path):
    for replaced, kept in [(nn.BatchNorm2d(16, affine=False), False), (nn.BatchNorm2d(16), True)]:
        model = create_model("resnet20")
        model.bn1 = replaced
        if kept:
            model.avgpool = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.GlobalAvgPool2d())
            model.conv1 = fill(nn.Conv2d(3, 16, 3, padding="same_lower"))
            save_weights(model, tmp_path / "model.safetensors")
            x = RNG.standard_normal((1, 3, 8, 8)).astype(np.float32)
            np.testing.assert_array_equal(load_model(tmp_path / "model.safetensors")(x), model(x))
        else:
            with pytest.raises(WeightsError, match=r"bn1 has other arrays than a BatchNorm2d has"):
                save_weights(model, tmp_path / "model.safetensors")
