"""Networks on integers of 8 bits: calibrated from a float model, or read from torchvision's quantized files."""

from .calibrate import quantize
from .file import holds_quantized, load_quantized, save_quantized
from .network import QuantizedNetwork
from .observers import OBSERVERS
from .report import Report, compare

__all__ = [
    "OBSERVERS",
    "QuantizedNetwork",
    "Report",
    "compare",
    "holds_quantized",
    "load_quantized",
    "quantize",
    "save_quantized",
]
