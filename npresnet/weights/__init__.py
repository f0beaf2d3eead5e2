"""Reading and writing checkpoints without any framework, and without trusting them."""

from .errors import WeightsError
from .read import read_weights
from .checkpoint import Checkpoint
