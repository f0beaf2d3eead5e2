"""Where in a file torchvision's quantized network stands: as it is, or in what people put around a state dict."""

from collections.abc import Mapping
from typing import Any, NamedTuple

from ..formats.errors import WeightsError, quoted
from ..formats.state import Layer
from ..formats.torch.quantized import QuantizedTensor
from ..models.classifier import Classifier
from ..nn import Conv2d
from ..weights.find_state import holders, strip_prefixes
from ..weights.match.choose import AVERAGES
from ..weights.recorded import convolution, parts_by_path

FIRST = "conv1.weight"
IMAGES = ("quant.scale", "conv1_input_scale_0")  # of a network that was converted in eager mode, and in FX graph mode
CURE = "save the state_dict() of a network of torchvision, quantized and converted"


class Quantized(NamedTuple):
    """A state dict's entries, and path → what a layer is, where the file is a whole pickled network."""

    entries: Mapping[Any, Any]
    layers: Mapping[str, Layer]


def find_quantized(tree: Any) -> Quantized | None:
    """The entries of the one quantized network in the tree; None where no array is quantized.

    A state dict may lie in dictionaries, under a name such as "state_dict" or "model", its keys may carry the prefix of
    DataParallel or of torch.compile, and a whole pickled or scripted network is the state dict that it would give.
    Raises WeightsError where there are several, none of them called an average, or one of other names.
    """
    places = {path: holder for path, holder in holders(tree).items() if is_quantized(holder)}
    if not places:
        return None
    found = {path: without_prefix(holder) for path, holder in places.items()}
    whole = [path for path, state in found.items() if FIRST in state.entries and state.entries.keys() & set(IMAGES)]
    if not whole:
        raise WeightsError(f"holds quantized arrays, but no {FIRST!r} with {IMAGES[0]!r} or {IMAGES[1]!r}; {CURE}")
    kept = [path for path in whole if not AVERAGES.search(".".join(path))] or whole
    if len(kept) > 1:
        names = ", ".join(quoted(".".join(path)) for path in kept[:6])
        raise WeightsError(f"holds {len(kept)} quantized networks, {names}; save one of them alone")
    return found[kept[0]]


def is_quantized(holder: Mapping[Any, Any]) -> bool:
    """Whether it has names, and an entry is a quantized tensor; a classifier's pair has none."""
    named = all(type(key) is str for key in holder)
    return named and any(isinstance(value, QuantizedTensor) for value in holder.values())


def without_prefix(holder: Mapping[Any, Any]) -> Quantized:
    """The entries without the prefixes that all of them carry."""
    entries, dropped = strip_prefixes(dict(holder), [])
    layers = getattr(holder, "layers", {})
    return Quantized(entries, {path.removeprefix(dropped): layer for path, layer in layers.items()})


def check_windows(layers: Mapping[str, Layer], model: Classifier) -> None:
    """Raise WeightsError where a whole network's convolutions are not those of the model, which shapes cannot show."""
    for path, part in parts_by_path(model).items():
        layer = layers.get(path)
        if isinstance(part, Conv2d) and layer and layer.options.get("groups", part.groups) != part.groups:
            raise WeightsError(f"{quoted(path)} has {layer.options['groups']} groups, not {part.groups}")
        if isinstance(part, Conv2d) and layer and (differs := convolution(path, part, layer)):
            options = differs[0]["options"]
            raise WeightsError(
                f"{quoted(path)} has the stride {options['stride']}, padding {options['padding']} and dilation "
                f"{options['dilation']}, which torchvision's has not"
            )
