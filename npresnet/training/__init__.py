"""Training: optimisers, schedules, recipes and the loop, so exact that a killed run goes on bit for bit."""

from .ema import Average
from ..data.batches import Batch, Batches
from .cuda_step import CapturedStep
from .checkpoint import read_checkpoint, restore
from .gradients import TrainingError, clip_gradients, gradient_norm
from .trainer import Trainer
from ..data.open_dataset import open_source
from .optim import SGD, AdamW
from .predict import predict
from .recipes import RECIPES, Recipe, recipe
from .schedules import SCHEDULES
from ..data.dataset import Source, split
from .progress import Stopped, Watch

__all__ = ["RECIPES", "SCHEDULES", "SGD", "AdamW", "Average", "Batch", "Batches", "CapturedStep", "Recipe", "Source",
           "Stopped", "Trainer", "TrainingError", "Watch", "clip_gradients", "gradient_norm", "open_source", "predict",
           "read_checkpoint", "recipe", "restore", "split"]
