"""Reads, recognises, writes and downloads weights, without any framework and without trusting a file."""

from ..formats.errors import WeightsError
from ..formats.unpickle.unpickle import unpickle
from .catalogue import CATALOGUE, find
from .checkpoint import Checkpoint
from .download import download
from .export import export_weights
from .export_onnx import save_onnx
from .load import load_weights
from .read import read_weights
from .recognise import recognise
from .recognition import Recognition
from .save import save_weights

__all__ = [
    "CATALOGUE",
    "Checkpoint",
    "Recognition",
    "WeightsError",
    "download",
    "export_weights",
    "find",
    "load_weights",
    "read_weights",
    "recognise",
    "save_onnx",
    "save_weights",
    "unpickle",
]
