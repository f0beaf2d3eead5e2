"""Training: optimisers, schedules, recipes and the loop, so exact that a killed run goes on bit for bit."""

import warnings

from ..data.batches import Batch, Batches
from ..data.dataset import Dataset, split
from ..data.open_dataset import open_dataset
from .checkpoint import read_checkpoint, restore
from .cuda_step import CapturedStep
from .ema import Average
from .gradients import TrainingError, clip_gradients, gradient_norm
from .optim import SGD, AdamW
from .predict import predict
from .progress import Stopped, Watch
from .recipes import RECIPES, Recipe, recipe
from .schedules import SCHEDULES
from .trainer import Trainer

__all__ = [
           "RECIPES",
           "SCHEDULES",
           "SGD",
           "AdamW",
           "Average",
           "Batch",
           "Batches",
           "CapturedStep",
           "Dataset",
           "Recipe",
           "Stopped",
           "Trainer",
           "TrainingError",
           "Watch",
           "clip_gradients",
           "gradient_norm",
           "open_dataset",
           "predict",
           "read_checkpoint",
           "recipe",
           "restore",
           "split",
]

_RENAMED = {"Source": "Dataset", "open_source": "open_dataset"}


def __getattr__(name: str):
    if name not in _RENAMED:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    warnings.warn(f"{__name__}.{name} is now called {_RENAMED[name]}", DeprecationWarning, stacklevel=2)
    return globals()[_RENAMED[name]]
