"""The first tutorial's second construction: ResNet-50 without a single class.

Each function takes images and the arrays by their state-dict keys, and returns ``(y, pullback)``; ``pullback(dy)``
returns dx and adds the arrays' gradients to ``grads``.  Functions are composed in two ways, written out where they
occur: pullbacks run in reverse order (the chain rule), and a sum passes dy to both terms (the sum rule).
``keras-tutorial-a`` builds the same network of modules; both give the same numbers, bit for bit.
"""

from .. import ops
from ..backend import Array, Pullback

EPS = 1e-3  # Keras's default


def conv_norm(
    x: Array, arrays: dict[str, Array], grads: dict[str, Array], conv: str, norm: str, stride: int = 1, act: bool = True
) -> tuple[Array, Pullback]:
    """σ(BN(w ⋆ x)), or without σ: TensorFlow's 'same' padding, running statistics."""
    w, gamma, beta = arrays[f"{conv}.weight"], arrays[f"{norm}.weight"], arrays[f"{norm}.bias"]
    y, conv_pullback = ops.conv2d(x, w, stride=stride, padding="same")
    y, norm_pullback = ops.batch_norm_eval(
        y, gamma, beta, arrays[f"{norm}.running_mean"], arrays[f"{norm}.running_var"], eps=EPS
    )
    y, act_pullback = ops.relu(y) if act else (y, lambda dy: dy)

    def pullback(dy):
        dy, dgamma, dbeta = norm_pullback(act_pullback(dy))
        dx, dw, _ = conv_pullback(dy)
        add(grads, {f"{conv}.weight": dw, f"{norm}.weight": dgamma, f"{norm}.bias": dbeta})
        return dx

    return y, pullback


def bottleneck(
    x: Array, arrays: dict[str, Array], grads: dict[str, Array], name: str, stride: int = 1, lead: bool = False
) -> tuple[Array, Pullback]:
    """σ(F(x) + S(x)): S is a projection in the first block of a stage (``lead``), and the identity elsewhere."""

    def part(x: Array, conv: str, norm: str, stride: int = 1, act: bool = True) -> tuple[Array, Pullback]:
        return conv_norm(x, arrays, grads, f"{name}.{conv}", f"{name}.{norm}", stride, act)

    identity, s_pullback = part(x, "downsample.0", "downsample.1", stride, act=False) if lead else (x, lambda dy: dy)
    y, pullback1 = part(x, "conv1", "bn1")
    y, pullback2 = part(y, "conv2", "bn2", stride)
    y, pullback3 = part(y, "conv3", "bn3", act=False)
    y, act_pullback = ops.relu(y + identity)

    def pullback(dy):
        dy = act_pullback(dy)
        return pullback1(pullback2(pullback3(dy))) + s_pullback(dy)  # dx = F′ᵀ dy + S′ᵀ dy

    return y, pullback


def deep_resnet(
    x: Array, arrays: dict[str, Array], grads: dict[str, Array] | None = None, depths: tuple[int, ...] = (3, 4, 6, 3)
) -> tuple[Array, Pullback]:
    """The scores of ResNet-50, and their pullback.

    ``arrays`` is ``model.state_dict()`` of a "keras-tutorial-a" network; ``grads``, a dict, receives the gradients.
    Shapes: x (N, C, H, W) → (N, K).
    """
    grads = {} if grads is None else grads
    pullbacks: list[Pullback] = []

    def then(result: tuple[Array, Pullback]) -> Array:
        """y of (y, pullback), with the pullback kept."""
        y, pullback = result
        pullbacks.append(pullback)
        return y

    x = then(conv_norm(x, arrays, grads, "conv1", "bn1", stride=2))
    x = then(ops.max_pool2d(x, 3, stride=2, padding="same"))
    for stage, depth in enumerate(depths, start=1):
        for block in range(depth):
            stride = 2 if stage > 1 and block == 0 else 1
            x = then(bottleneck(x, arrays, grads, f"layer{stage}.{block}", stride, lead=block == 0))
    x = then(ops.global_avg_pool2d(x))
    y, head_pullback = ops.linear(x, arrays["fc.weight"], arrays["fc.bias"])

    def pullback(dy):
        dy, dw, db = head_pullback(dy)
        add(grads, {"fc.weight": dw, "fc.bias": db})
        while pullbacks:
            dy = pullbacks.pop()(dy)
        return dy

    return y, pullback


def add(grads: dict[str, Array], new: dict[str, Array]) -> None:
    """Add gradients to those that are there: an array used twice gets the sum of two."""
    for name, grad in new.items():
        grads[name] = grad if name not in grads else grads[name] + grad
