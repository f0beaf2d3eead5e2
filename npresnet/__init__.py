"""npresnet: the whole ResNet family in NumPy, every gradient written by hand.

    model = npresnet.load_model("resnet50-0676ba61.pth")
    logits = model(npresnet.preprocess("photo.jpg", model))

The names below load their module when they are first used, so that importing the package is quick.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:  # for editors and type checkers; at run time each name is loaded when it is first used
    from .analysis.cam import grad_cam as grad_cam
    from .analysis.features import features as features
    from .analysis.summary import summary as summary
    from .backend import array_namespace as array_namespace
    from .backend import to_device as to_device
    from .backend import use as use
    from .data import preprocess as preprocess
    from .engine import optimize as optimize
    from .models import list_models as list_models
    from .nn import freeze_batch_norm as freeze_batch_norm
    from .quantized import load_quantized as load_quantized
    from .quantized import quantize as quantize
    from .quantized import save_quantized as save_quantized
    from .verify.gradcheck import gradcheck as gradcheck
    from .weights import WeightsError as WeightsError
    from .weights import load_weights as load_weights
    from .weights import read_weights as read_weights
    from .weights import save_weights as save_weights
    from .zoo import create_model as create_model
    from .zoo import load_model as load_model

__version__ = "0.1.0"

_HOME = {
    "WeightsError": "weights",
    "array_namespace": "backend",
    "create_model": "zoo",
    "features": "analysis.features",
    "freeze_batch_norm": "nn",
    "grad_cam": "analysis.cam",
    "gradcheck": "verify.gradcheck",
    "list_models": "models",
    "load_model": "zoo",
    "load_quantized": "quantized",
    "load_weights": "weights",
    "optimize": "engine",
    "preprocess": "data",
    "quantize": "quantized",
    "read_weights": "weights",
    "save_quantized": "quantized",
    "save_weights": "weights",
    "summary": "analysis.summary",
    "to_device": "backend",
    "use": "backend",
}

__all__ = sorted(_HOME)  # pyright: ignore[reportUnsupportedDunderAll]    # it reads the imports above


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module 'npresnet' has no attribute {name!r}")
    value = getattr(import_module(f"npresnet.{_HOME[name]}"), name)
    globals()[name] = value  # the next access does not come here
    return value


def __dir__() -> list[str]:
    return sorted(set(globals()) | set(_HOME))
