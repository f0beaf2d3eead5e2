"""The first tutorial's second construction: ResNet-50 without a single class.

Each function takes an image and the arrays, by their state-dict keys, and returns ``(y, pullback)``; ``pullback(dy)``
returns dx and adds the arrays' gradients to ``grads``.  Two ways of composing carry everything, written out where they
happen: pullbacks run in reverse (the chain rule), and a sum hands its cotangent to both sides (the sum rule).
``keras-tutorial-a`` builds the same network of modules; both give the same numbers, bit for bit.
"""

from .. import ops

EPS = 1e-3                                               # Keras's default


def conv_norm(x, arrays, grads, conv, norm, stride=1, act=True):
    """σ(BN(w ⋆ x)), or without σ: TensorFlow's 'same' padding, running statistics."""
    w, gamma, beta = arrays[f"{conv}.weight"], arrays[f"{norm}.weight"], arrays[f"{norm}.bias"]
    padding = ops.same_padding(x.shape[2:], w.shape[2:], stride)
    y, conv_pullback = ops.conv2d(x, w, stride=stride, padding=padding)
    y, norm_pullback = ops.batch_norm_eval(y, gamma, beta, arrays[f"{norm}.running_mean"],
                                           arrays[f"{norm}.running_var"], eps=EPS)
    y, act_pullback = ops.relu(y) if act else (y, lambda dy: dy)

    def pullback(dy):
        dy, dgamma, dbeta = norm_pullback(act_pullback(dy))
        dx, dw, _ = conv_pullback(dy)
        add(grads, {f"{conv}.weight": dw, f"{norm}.weight": dgamma, f"{norm}.bias": dbeta})
        return dx

    return y, pullback


def bottleneck(x, arrays, grads, name, stride=1, lead=False):
    """σ(F(x) + S(x)): S projects in the leading block of a stage, and is the identity elsewhere."""
    def part(x, conv, norm, *options, **more):
        return conv_norm(x, arrays, grads, f"{name}.{conv}", f"{name}.{norm}", *options, **more)

    identity, s_pullback = part(x, "downsample.0", "downsample.1", stride, act=False) if lead else (x, lambda dy: dy)
    y, pullback1 = part(x, "conv1", "bn1")
    y, pullback2 = part(y, "conv2", "bn2", stride)
    y, pullback3 = part(y, "conv3", "bn3", act=False)
    y, act_pullback = ops.relu(y + identity)

    def pullback(dy):
        dy = act_pullback(dy)
        return pullback1(pullback2(pullback3(dy))) + s_pullback(dy)      # dx = F′ᵀ dy + S′ᵀ dy

    return y, pullback


def deep_resnet(x, arrays, grads=None, depths=(3, 4, 6, 3)):
    """The scores of ResNet-50, and their pullback.

    ``arrays`` is ``model.state_dict()`` of a "keras-tutorial-a" network; ``grads``, a dict, receives the gradients.
    Shapes: x (N, C, H, W) → (N, K).
    """
    grads = {} if grads is None else grads
    pullbacks = []

    def then(result):
        y, pullback = result
        pullbacks.append(pullback)
        return y

    x = then(conv_norm(x, arrays, grads, "conv1", "bn1", stride=2))
    x = then(ops.max_pool2d(x, 3, stride=2, padding=ops.same_padding(x.shape[2:], 3, 2)))
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


def add(grads, new):
    """Gradients accumulate: an array read twice collects two."""
    for name, grad in new.items():
        grads[name] = grad if name not in grads else grads[name] + grad
