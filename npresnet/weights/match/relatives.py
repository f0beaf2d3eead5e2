"""Networks that are near to the family, and not of it: told by names and arrays that only they have."""

import re

from ...formats.errors import WeightsError, quoted
from ...models.structure import Shapes
from .layers import Layer
from .names import split_role, tail

RELATIVES = {  # what the network is → a part of a layer's path
    "Res2Net": r"\.\d+\.convs\.\d+$",
    "ResNeSt": r"conv2\.(fc1|bn0)$",
    "SKNet (selective kernels)": r"conv2\.(attn|paths)\.",
    "CLIP's ResNet, which ends in attention pooling": r"(^|\.)attnpool\.",
    "a ResNet with CBAM": r"(^|\.)(ca|sa|cbam\w*|spatial_att\w*|channel_att\w*|ChannelGate|SpatialGate)\.",
    "a ResNet with blur pooling (anti-aliased)": r"(^|\.)(filt|blur\w*)$",
    "iResNet, whose activations are PReLU": r"(^|\.)prelu\d*$",
    "a Fixup ResNet, without norms": r"(^|\.)bias[12][ab]$",
    "BiT, a ResNet of standardised weights and group norms": r"(^|[./])(standardized_conv2d|root[./]conv)$",
    "a network under spectral normalisation": r"\.weight_u$",
    "a network with low-rank adapters (LoRA), to be merged into its weights first": r"(^|\.)lora_\w+",
    "TF-slim's ResNet, which strides in the last block of a stage": r"unit_\d+/bottleneck_v[12]/",
}


def refuse_relatives(layers: list[Layer], shapes: Shapes) -> None:
    """Raise WeightsError for such a network, or for one of other than two dimensions."""
    keys = [key for layer in layers for key in layer.keys.values() if shapes[key] != ()]
    for path in dict.fromkeys(split_role(key)[0] for key in keys):
        for name, pattern in RELATIVES.items():
            if re.search(pattern, tail(path)):
                raise WeightsError(f"this is {name}, and not of the family: it holds {quoted(path)}")
    kernels = [len(shape) for shape in shapes.values()]
    planar = any(layer.kind == "conv" and layer.kernel > 1 for layer in layers)
    for axes in (5, 3):
        if kernels.count(axes) >= 5 and not planar:
            raise WeightsError(
                f"its convolutions have {axes - 2} dimensions (their kernels {axes} axes); images have two"
            )
