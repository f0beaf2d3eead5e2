"""Training: optimisers, schedules, recipes and the loop, so exact that a killed run goes on bit for bit."""

from ..data.batches import Batch, Batches
from ..data.dataset import Source, split
from ..data.open_dataset import open_source
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

__all__ = ["RECIPES", "SCHEDULES", "SGD", "AdamW", "Average", "Batch", "Batches", "CapturedStep", "Recipe", "Source",
           "Stopped", "Trainer", "TrainingError", "Watch", "clip_gradients", "gradient_norm", "open_source", "predict",
           "read_checkpoint", "recipe", "restore", "split"]
