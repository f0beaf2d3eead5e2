"""The gate's two ops: against PyTorch, at the ends of the number line, and as a factor of a product."""

import numpy as np
import pytest

from npresnet import ops
from npresnet.models.squeeze import SqueezeExcite

from ..support import oracles

rng = np.random.default_rng(3)


def adjoint(f, inputs, tol=1e-7):
    """<u, Jv> = <J'u, v> in float64, one argument at a time."""
    y, pullback = f(*inputs)
    u = rng.standard_normal(y.shape)
    grads = pullback(u)
    for i, grad in enumerate(grads if isinstance(grads, tuple) else (grads,)):
        v, h = rng.standard_normal(inputs[i].shape), 1e-6
        ahead, behind = ([x + sign * h * v if j == i else x for j, x in enumerate(inputs)] for sign in (1, -1))
        jv = (f(*ahead)[0] - f(*behind)[0]) / (2 * h)
        assert abs((u * jv).sum() - (grad * v).sum()) <= tol * np.linalg.norm(u) * np.linalg.norm(v)


def test_sigmoid():
    x = np.array([-1000, -20, -1, 0, 1, 20, 1000], np.float32)
    with np.errstate(all="raise", under="ignore"):
        s, pullback = ops.sigmoid(x)
    with np.errstate(over="ignore"):
        np.testing.assert_allclose(s, 1 / (1 + np.exp(-x.astype(np.float64))), rtol=1e-6)
    assert s.dtype == np.float32 and pullback(s).dtype == np.float32
    adjoint(ops.sigmoid, [rng.standard_normal((3, 4))])


def test_scale_channels():
    x, s = rng.standard_normal((2, 3, 4, 5)), rng.standard_normal((2, 3))
    x.flags.writeable = s.flags.writeable = False
    y, _ = ops.scale_channels(x, s)
    for n, c, p, q in np.ndindex(*x.shape):
        assert y[n, c, p, q] == s[n, c] * x[n, c, p, q]
    adjoint(ops.scale_channels, [x, s])
    with pytest.raises(ValueError, match="scale_channels takes"):
        ops.scale_channels(x, s.T)


def test_squeeze_and_excitation_is_a_product_rule():
    block = SqueezeExcite(32).astype(np.float64)
    for parameter in block.parameters():
        parameter.value = rng.standard_normal(parameter.value.shape)
    x = rng.standard_normal((2, 32, 3, 3))
    np.testing.assert_array_equal(block(x), block.vjp(x)[0])
    adjoint(block.vjp, [x])
    y, pullback = block.vjp(x, input_grad=False)
    assert pullback(y) is None and block.fc1.weight.grad is not None


def test_squeeze_and_excitation_equals_timm():
    torch = oracles.torch()
    oracles.torchvision_models()  # which timm imports
    timm = pytest.importorskip("timm.layers")
    theirs = timm.SqueezeExcite(64).double()
    ours = SqueezeExcite(64).astype(np.float64)
    ours.load_state_dict({key: value.numpy() for key, value in theirs.state_dict().items()})
    x = torch.randn(2, 64, 5, 6, dtype=torch.float64, requires_grad=True)
    expected = theirs(x)
    expected.backward(torch.ones_like(expected) * x.detach())
    y, pullback = ours.vjp(x.detach().numpy())
    np.testing.assert_allclose(y, expected.detach().numpy(), rtol=1e-12, atol=1e-12)
    np.testing.assert_allclose(pullback(x.detach().numpy()), x.grad.numpy(), rtol=1e-10, atol=1e-10)
    for key, parameter in ours.named_parameters():
        np.testing.assert_allclose(parameter.grad, theirs.get_parameter(key).grad.numpy(), rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("x, w", [((2, 7), (1, 1, 2)), ((2, 7), (1, 2, 3)), ((2, 7), (3,)), ((2, 7, 1), (1, 1, 3))])
def test_a_convolution_of_channels_says_what_it_takes(x, w):
    with pytest.raises(ValueError, match=r"^conv_channels takes x \(N, C\) and w \(1, 1, k\) with an odd k, not "):
        ops.conv_channels(np.zeros(x), np.zeros(w))
