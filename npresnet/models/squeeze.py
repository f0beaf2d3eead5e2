"""Channel attention: each channel is scaled by a factor computed from the means of all channels.

[SE] Hu, Shen & Sun 2018, Squeeze-and-excitation networks, arXiv:1709.01507
[E]  Wang et al. 2020, ECA-Net, arXiv:1910.03151
"""

from math import log2

from .. import ops
from ..backend import Array, Pullback
from ..nn import ChannelConv, Conv2d, Module, ReLU, Sequential
from ..nn.module import once


class ChannelGate(Module):
    """y = s · x  with  s = sigmoid(f(mean(x)))

    x is read twice, as the factor and through its means, and collects both results: the product rule,

        dx = s · dy + (∂s/∂x)ᵀ (Σ_{p,q} dy · x)
    """

    def excite(self) -> Module:
        """f, from the means (N, C, 1, 1) to numbers of the same shape."""
        raise NotImplementedError

    def __call__(self, x: Array) -> Array:
        mean, _ = ops.global_avg_pool2d(x)
        z = self.excite()(mean[:, :, None, None])
        s, _ = ops.sigmoid(z[:, :, 0, 0])
        return ops.scale_channels(x, s)[0]

    def vjp(self, x: Array, input_grad: bool = True) -> tuple[Array, Pullback]:
        mean, mean_pullback = ops.global_avg_pool2d(x)
        z, excite_pullback = self.excite().vjp(mean[:, :, None, None], input_grad)
        s, sigmoid_pullback = ops.sigmoid(z[:, :, 0, 0])
        y, scale_pullback = ops.scale_channels(x, s)

        def pullback(dy):
            dx, ds = scale_pullback(dy)
            dmean = excite_pullback(sigmoid_pullback(ds)[:, :, None, None])
            return dx + mean_pullback(dmean[:, :, 0, 0]) if input_grad else None

        return y, once(pullback)


def squeezed_channels(channels: int, ratio: float = 0.0) -> int:
    """The part ``ratio`` of the channels; of 0 a sixteenth to the nearest multiple of 8 from 8 on, as in timm."""
    return max(1, round(channels * ratio)) if ratio else max(8, int(channels / 16 + 4) // 8 * 8)


class SqueezeExcite(ChannelGate):
    """f = W₂ σ(W₁ ·)                                                                            [SE] Eq. 2–4

    Channels are squeezed to the part ``ratio`` of them, see squeezed_channels(); W₁ and W₂ are 1×1 convolutions.
    """

    def __init__(self, channels: int, ratio: float = 0.0):
        squeezed = squeezed_channels(channels, ratio)
        self.fc1 = Conv2d(channels, squeezed, 1, bias=True)
        self.relu = ReLU()
        self.fc2 = Conv2d(squeezed, channels, 1, bias=True)

    def excite(self) -> Module:
        return Sequential(self.fc1, self.relu, self.fc2)


class EfficientAttention(ChannelGate):
    """f: a convolution of k weights along the channels, k the odd number at or above (log₂ C + 1)/2, at least 3.

    As in timm; [E] §3.2 takes the odd number nearest to it.
    """

    def __init__(self, channels: int):
        half = int((log2(channels) + 1) / 2)
        self.conv = ChannelConv(max(3, half if half % 2 else half + 1))

    def excite(self) -> Module:
        return self.conv
