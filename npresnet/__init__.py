"""npresnet: the whole ResNet family in NumPy, every gradient written by hand.

    model = npresnet.load_model("resnet50-0676ba61.pth")
    logits = model(npresnet.preprocess("photo.jpg", model))

The names below load their module when they are first used, so that importing the package is quick.
"""

from importlib import import_module

__version__ = "0.1.0"

_HOME = {
    "WeightsError": "weights", "array_namespace": "backend", "create_model": "zoo", "freeze_batch_norm": "nn",
    "grad_cam": "analysis.cam", "gradcheck": "verify.gradcheck", "list_models": "models", "load_model": "zoo",
    "load_weights": "weights", "optimize": "engine", "preprocess": "data", "read_weights": "weights",
    "save_weights": "weights", "summary": "analysis.summary", "to_device": "backend", "use": "backend",
}

__all__ = sorted(_HOME)


def __getattr__(name):
    if name not in _HOME:
        raise AttributeError(f"module 'npresnet' has no attribute {name!r}")
    value = getattr(import_module(f"npresnet.{_HOME[name]}"), name)
    globals()[name] = value     # the next access does not come here
    return value


def __dir__():
    return sorted(set(globals()) | set(_HOME))
