"""Training: optimisers, schedules, recipes and the loop, so exact that a killed run goes on bit for bit."""

import warnings
from typing import Any

from ..data.batches import Batch, Batches
from ..data.dataset import Dataset, split
from ..data.open_dataset import open_dataset
from .callbacks import Callback, Stopped
from .checkpoint import read_checkpoint, restore
from .cuda_step import CapturedStep
from .ema import EMA
from .evaluate import predict
from .gradients import TrainingError, clip_gradients, gradient_norm
from .optim import LAMB, SGD, AdamW
from .recipes import RECIPES, Recipe, recipe
from .schedules import SCHEDULES
from .trainer import Trainer

__all__ = [
    "EMA",
    "LAMB",
    "RECIPES",
    "SCHEDULES",
    "SGD",
    "AdamW",
    "Batch",
    "Batches",
    "Callback",
    "CapturedStep",
    "Dataset",
    "Recipe",
    "Stopped",
    "Trainer",
    "TrainingError",
    "clip_gradients",
    "gradient_norm",
    "open_dataset",
    "predict",
    "read_checkpoint",
    "recipe",
    "restore",
    "split",
]

RENAMED = {  # former names, which still work, with a warning
    "Average": "EMA",
    "Source": "Dataset",
    "Watch": "Callback",
    "open_source": "open_dataset",
}


def __getattr__(name: str) -> Any:
    if name not in RENAMED:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    warnings.warn(f"{__name__}.{name} is now called {RENAMED[name]}", DeprecationWarning, stacklevel=2)
    return globals()[RENAMED[name]]
