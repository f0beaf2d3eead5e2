"""The two theorems that carry a ResNet: the chain rule and the sum rule."""

from .. import ops
from .layers import BatchNorm2d, Conv2d, ReLU
from .module import Module, needs_module, once


class Identity(Module):
    """y = x;  dx = dy."""

    def __call__(self, x):
        return x

    def vjp(self, x, input_grad=True):
        return x, lambda dy: dy if input_grad else None


class Chain(Module):
    """y = fₖ(… f₁(x)), the parts f₁ … fₖ being ``layers()``.

    Its derivative is the product fₖ′ ⋯ f₁′, so its pullback runs the parts' pullbacks in reverse:

        dx = f₁′ᵀ ( ⋯ fₖ′ᵀ dy)                                                the chain rule
    """

    def layers(self):
        """The parts in the order they run: here, every child in the order it was assigned."""
        return tuple(self.children().values())

    def __call__(self, x):
        for layer in joined(self.layers(), x):
            x = layer(x)
        return x

    def vjp(self, x, input_grad=True):
        pullbacks, wanted = [], input_grad
        for layer in joined(self.layers(), x):
            x, pullback = record(layer, x, wanted)
            wanted = wanted or layer.trainable               # what comes later must send something back
            pullbacks.append(pullback)

        def pullback(dy):
            while pullbacks:                                 # popping frees what a part saved once it is used
                dy = pullbacks.pop()(dy)
            return dy if input_grad else None

        return x, once(pullback)

    def logits(self, x):
        return self.scoring()(x)

    def logits_vjp(self, x, input_grad=True):
        return self.scoring().vjp(x, input_grad)

    def scoring(self):
        """The chain up to its scores: this one, or where it ends in a softmax what comes before."""
        parts = in_a_row(self)
        return Sequential(*parts[:-1]) if parts and parts[-1].after_scores else self


def in_a_row(layer) -> list:
    """The layers that run one after another, those of chains inside included; an Identity is none."""
    if isinstance(layer, Identity):
        return []
    if type(layer).__call__ is not Chain.__call__:      # no chain, or one that does something of its own
        return [layer]
    return [part for inner in layer.layers() for part in in_a_row(inner)]


class Sequential(Chain):
    """A chain whose parts are named "0", "1", …"""

    def __init__(self, *layers):
        for layer in layers:
            needs_module(layer, "a chain")
        vars(self).update({str(i): layer for i, layer in enumerate(layers)})

    def __getitem__(self, index):
        return self.layers()[index]


class Residual(Module):
    """y = F(x) + S(x):  [R1] Eq. 1 where the shortcut S is the identity, Eq. 2 where it is a projection.

    The sum hands dy to both paths; x, read by both, collects both answers:

        dx = F′ᵀ dy + S′ᵀ dy                                              the sum rule, cf. [R2] Eq. 5

    With S the identity, S′ᵀ dy is dy itself: the gradient reaches x whatever F does.
    [R1] He et al. 2015, arXiv:1512.03385        [R2] He et al. 2016, arXiv:1603.05027
    """

    def __init__(self, branch, shortcut):
        for path in (branch, shortcut):
            needs_module(path, "a residual block")
        self.branch, self.shortcut = branch, shortcut

    def __call__(self, x):
        return self.join(self.branch(x), self.shortcut(x))[0]

    def vjp(self, x, input_grad=True):
        f, f_pullback = record(self.branch, x, input_grad)
        s, s_pullback = record(self.shortcut, x, input_grad)
        y, join_pullback = self.join(f, s)

        def pullback(dy):
            df, ds = join_pullback(dy)
            df, ds = f_pullback(df), s_pullback(ds)
            return ops.add(df, ds)[0] if input_grad else None

        return y, once(pullback)

    def join(self, f, s):
        """The op where the paths meet."""
        return ops.add(f, s)


def record(module, x, input_grad):
    """``module.vjp(x)``; or the bare value, saving nothing, where no gradient is wanted at or before it."""
    if input_grad or module.trainable:
        return module.vjp(x, input_grad)
    return module(x), lambda dy: None


class NormReLU(Module):
    """A batch norm in training and the ReLU behind it, in one op."""

    def __init__(self, norm):
        self.norm = norm

    def vjp(self, x, input_grad=True):
        return self.norm.by_batch(ops.batch_norm_relu, x, input_grad=input_grad)


class NormReLUConv(Module):
    """A batch norm in training, the ReLU and the convolution behind it, in one op."""

    def __init__(self, norm, conv):
        self.norm, self.conv = norm, conv

    def vjp(self, x, input_grad=True):
        return self.norm.by_batch(ops.batch_norm_relu_conv2d, x, input_grad=input_grad, **self.conv.window(x),
                                  after={"w": self.conv.weight, "b": self.conv.bias})


class ResidualReLU(Residual):
    """y = σ(F(x) + S(x)), F ending in a batch norm in training: its end, the sum and the ReLU in one op."""

    def __init__(self, residual):
        *before, self.norm = residual.branch.layers()
        super().__init__(Sequential(*before), residual.shortcut)

    def join(self, f, s):
        return self.norm.by_batch(ops.batch_norm_add_relu, f, s)


def joined(layers, x):
    """The same parts; where kernels do neighbours in fewer passes over x, or keep less of it, these are one."""
    if not ops.batch_norm_relu.has_faster(x):
        return layers
    parts = []
    for layer in layers:
        before = parts[-1] if parts else None
        if type(layer) is ReLU and _batchwise(before):
            parts[-1] = NormReLU(before)
        elif type(layer) is ReLU and type(before) is Residual and _batchwise(_end(before.branch)):
            parts[-1] = ResidualReLU(before)
        elif type(layer) is Conv2d and type(before) is NormReLU and ops.batch_norm_relu_conv2d.has_faster(x):
            parts[-1] = NormReLUConv(before.norm, layer)
        else:
            parts.append(layer)
    return parts


def _end(branch):
    return branch.layers()[-1] if isinstance(branch, Chain) else None


def _batchwise(layer) -> bool:
    return type(layer) is BatchNorm2d and layer.batchwise
