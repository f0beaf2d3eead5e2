"""Squeeze and excitation: each channel is scaled by a factor computed from the means of all channels.

[SE] Hu, Shen & Sun 2018, Squeeze-and-excitation networks, arXiv:1709.01507
"""

from .. import ops
from ..backend import Array, Pullback
from ..nn import Conv2d, Module, ReLU
from ..nn.module import once


class SqueezeExcite(Module):
    """y = s · x  with  s = sigmoid(W₂ σ(W₁ mean(x)))                                            [SE] Eq. 2–4

    x is read twice, as the factor and through its means, and collects both results: the product rule,

        dx = s · dy + (∂s/∂x)ᵀ (Σ_{p,q} dy · x)

    Channels are squeezed to a sixteenth, rounded to a multiple of 8 as in timm, and W₁, W₂ are its 1×1 convolutions.
    """

    def __init__(self, channels: int):
        squeezed = max(8, int(channels / 16 + 4) // 8 * 8)
        self.fc1 = Conv2d(channels, squeezed, 1, bias=True)
        self.relu = ReLU()
        self.fc2 = Conv2d(squeezed, channels, 1, bias=True)

    def __call__(self, x: Array) -> Array:
        mean, _ = ops.global_avg_pool2d(x)
        z = self.fc2(self.relu(self.fc1(mean[:, :, None, None])))
        s, _ = ops.sigmoid(z[:, :, 0, 0])
        return ops.scale_channels(x, s)[0]

    def vjp(self, x: Array, input_grad: bool = True) -> tuple[Array, Pullback]:
        mean, mean_pullback = ops.global_avg_pool2d(x)
        z, fc1_pullback = self.fc1.vjp(mean[:, :, None, None], input_grad)
        z, relu_pullback = self.relu.vjp(z)
        z, fc2_pullback = self.fc2.vjp(z)
        s, sigmoid_pullback = ops.sigmoid(z[:, :, 0, 0])
        y, scale_pullback = ops.scale_channels(x, s)

        def pullback(dy):
            dx, ds = scale_pullback(dy)
            dz = sigmoid_pullback(ds)[:, :, None, None]
            dmean = fc1_pullback(relu_pullback(fc2_pullback(dz)))
            return dx + mean_pullback(dmean[:, :, 0, 0]) if input_grad else None

        return y, once(pullback)
