"""The fast road for a finished model: fold, fuse, choose an algorithm for each layer, run."""

from .cpu.engine import Engine
from .optimize import compiled, optimize

__all__ = ["Engine", "compiled", "optimize"]
