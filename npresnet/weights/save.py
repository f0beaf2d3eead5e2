"""save_weights: arrays, and what is known about them, in a container that others read too."""

import json
import zipfile
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from ..nn import Module
from ..formats.atomic import replacing
from ..formats.errors import WeightsError, checked_path, describing, printable, shown
from .metadata import KEY, model_metadata, parse_metadata
from .recognise import from_metadata
from ..formats.safetensors import DTYPES as SAFETENSORS_DTYPES
from ..formats.tensors import DTYPES
from ..formats.torch.write import write_pth
from ..formats.zip_archive import is_plain

TORCH_NAMES = {np.dtype(code): name for name, code in DTYPES.items() if name != "bfloat16"}
MAX_DIMENSIONS = 32                                              # that the readers take
SAFETENSORS_NAMES = {name: code for code, name in SAFETENSORS_DTYPES.items()}


def save_weights(model, path, *, metadata: Mapping[str, str] | None = None) -> Path:
    """Write a model's arrays, or a mapping name → array, to ``path``; its suffix chooses the container.

    .safetensors   the metadata is the header's __metadata__
    .npz           … entries of text, such as "npresnet"
    .pth, .pt      … attributes, such as ``npresnet``, of the OrderedDict that torch.load(path, weights_only=True)
                   returns, so that it stays a plain state dict for load_state_dict

    A model brings its metadata along (its spec, preprocessing and class names), and so does a Checkpoint; ``metadata``
    adds to it.  The file is there whole or not at all.  Raises WeightsError.
    """
    path = checked_path(path)
    with describing(path):
        if not isinstance(model, (Mapping, Module)):
            raise WeightsError(f"a model or a mapping name → array is written, not a {type(model).__name__}")
        if not isinstance(metadata, (Mapping, type(None))):
            raise WeightsError("metadata map strings to strings")
        arrays = model if isinstance(model, Mapping) else model.state_dict()
        texts = dict(getattr(model, "metadata", None) or {}) if isinstance(model, Mapping) else told(model, arrays)
        texts |= metadata or {}
        if not path.parent.is_dir():
            raise WeightsError(f"there is no folder {path.parent}; make it first")
        if any(type(text) is not str for item in texts.items() for text in item):
            raise WeightsError("metadata map strings to strings")
        lone = next((text for item in (*texts.items(), arrays) for text in item if not is_text(text)), None)
        if lone is not None:
            raise WeightsError(f"{shown(lone)} holds half a character (a lone surrogate), which no file can")
        writer = WRITERS.get(path.suffix.lower())
        if writer is None:
            raise WeightsError(f"weights are written as {', '.join(WRITERS)}, not {path.suffix!r}; change the suffix")
        if not arrays:
            raise WeightsError("there is no array to write")
        arrays = {name: plain(name, value) for name, value in arrays.items()}
        with replacing(path) as file:
            writer(file, arrays, texts)
    return path


def told(model, arrays):
    """A model's metadata, which load_model must be able to believe."""
    texts = model_metadata(model)
    if texts:
        from_metadata(parse_metadata(texts[KEY]), {name: np.shape(array) for name, array in arrays.items()})
    return texts


def is_text(value):
    """Whether it can be written, where it is text at all."""
    return type(value) is not str or value.encode("utf-8", "replace") == value.encode("utf-8", "surrogatepass")


def plain(name, value):
    """On the CPU, in C order, little-endian."""
    try:
        array = np.asarray(value.get() if hasattr(value, "get") else value)
    except (TypeError, ValueError, RuntimeError) as error:
        raise WeightsError(f"{shown(name)} is no array: {printable(error)}") from None
    if type(name) is not str or array.dtype.newbyteorder("=") not in TORCH_NAMES:
        raise WeightsError(f"{name!r} is an array of {array.dtype}; only named arrays of numbers are written")
    if array.ndim > MAX_DIMENSIONS:
        raise WeightsError(f"{name!r} has {array.ndim} dimensions; up to {MAX_DIMENSIONS} are written")
    return array.astype(array.dtype.newbyteorder("<"), order="C", copy=False)


def write_safetensors(file, arrays, metadata):
    header, end = {"__metadata__": {"format": "pt", **metadata}}, 0
    if "__metadata__" in arrays:
        raise WeightsError("an array cannot be called '__metadata__' in this container")
    for name, array in arrays.items():
        code = SAFETENSORS_NAMES.get(TORCH_NAMES[array.dtype.newbyteorder("=")])
        if code is None:
            raise WeightsError(f"{name!r} is an array of {array.dtype}, which this container does not know")
        header[name] = {"dtype": code, "shape": array.shape, "data_offsets": (end, end + array.nbytes)}
        end += array.nbytes
    text = json.dumps(header, ensure_ascii=False, separators=(",", ":")).encode("utf-8")
    text += b" " * (-len(text) % 8)                              # the data start at a multiple of 8
    file.write(len(text).to_bytes(8, "little") + text)
    for array in arrays.values():
        file.write(array.reshape(-1).view(np.uint8).data)


def write_npz(file, arrays, metadata):
    taken = arrays.keys() & {KEY, *metadata}
    if taken:
        raise WeightsError(f"an array cannot be called {min(taken)!r} in this container, where a text has that name")
    entries = arrays | {name: np.array(text) for name, text in metadata.items()}
    astray = [name for name in entries if not is_plain(f"{name}.npy")]
    if astray:
        raise WeightsError(f"{astray[0]!r} is no name in this container, where names are relative paths; rename it, or "
                           "write .safetensors")
    with zipfile.ZipFile(file, "w", zipfile.ZIP_STORED) as archive:
        for name, array in entries.items():
            with archive.open(zipfile.ZipInfo(f"{name}.npy"), "w", force_zip64=True) as member:
                np.lib.format.write_array(member, array, allow_pickle=False)


WRITERS = {".safetensors": write_safetensors, ".npz": write_npz, ".pth": write_pth, ".pt": write_pth}
