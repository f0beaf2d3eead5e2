"""save_onnx: writes a network as an ONNX graph, which other programs run without this package."""

import json
import os
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from .. import nn
from ..formats.atomic import atomic_write
from ..formats.errors import WeightsError, checked_path, error_context
from ..formats.onnx.write import OPSETS, Port, write_onnx
from ..ops.check import IntOrPair, pair
from .fold import fold_batch_norms
from .metadata import model_metadata
from .onnx_graph import Graph, Value

OPSET = 17  # of 2022: what ONNX Runtime has read since 1.12, and OpenVINO since 2023
IMAGES = "images"


def save_onnx(
    model: nn.Module,
    path: str | os.PathLike[str],
    *,
    fold: bool = False,
    size: IntOrPair | None = None,
    opset: int = OPSET,
) -> Path:
    """Write ``model``, as it predicts, to ``path``: images (N, C, H, W) in, scores or probabilities (N, classes) out.

    fold    multiply each batch norm that follows a convolution into it
    size    the images' height and width, where a program wants them fixed; else they are free, as N always is
    opset   the version of ONNX's operators

    The arrays keep their names.  What save_weights stores beside them lies in the file's metadata, from which
    load_model builds the same network again; ``classes`` and ``preprocessing`` lie there once more for others.  Only
    the batch norms' counters of batches are left out.  The file appears complete or not at all.  Raises WeightsError.
    """
    path = checked_path(path)
    with error_context(path):
        if not isinstance(model, nn.Module):
            raise WeightsError(f"a model is written as ONNX, not a {type(model).__name__}")
        if opset not in OPSETS:
            raise WeightsError(f"opset {opset!r} is not written; choose one from {min(OPSETS)} to {max(OPSETS)}")
        sides = ("height", "width") if size is None else checked_sides(size)
        model = fold_batch_norms(model) if fold else model
        graph, channels = Graph(model), channels_of(model)
        last = graph.visit(model, Value(IMAGES, channels))
        last = graph.end(last, meaning(graph))
        dtype = dtype_of(graph)
        images, found = Port(IMAGES, dtype, ("N", channels, *sides)), Port(last.name, dtype, last.sizes)
        if not path.parent.is_dir():
            raise WeightsError(f"there is no folder {path.parent}; make it first")
        texts = texts_of(model)
        with atomic_write(path) as file:
            write_onnx(file, graph.nodes, graph.arrays, [images], [found], texts, opset=opset)
    return path


def meaning(graph: Graph) -> str:
    """What the graph's output is, by the operator that makes it."""
    last = graph.nodes[-1].kind if graph.nodes else ""
    return {"Softmax": "probabilities", "Gemm": "scores"}.get(last, "features")


def dtype_of(graph: Graph) -> np.dtype:
    """The one dtype of the arrays, which the images and the scores have too."""
    dtypes = {array.dtype for array in graph.arrays.values()}
    if len(dtypes) != 1:
        raise WeightsError(f"its arrays are of {len(dtypes)} dtypes; convert them with model.astype(np.float32)")
    return dtypes.pop()


def checked_sides(size: Any) -> tuple[int, int]:
    try:
        return pair(size, "size")
    except (TypeError, ValueError) as error:
        raise WeightsError(str(error)) from None


def channels_of(model: nn.Module) -> int:
    """The channels of the images, as the first convolution reads them."""
    first = next((part for part in model.modules() if isinstance(part, nn.Conv2d)), None)
    if first is None:
        raise WeightsError("there is no convolution in this model, which would say how many channels its images have")
    return first.weight.value.shape[1] * first.groups


def texts_of(model: Any) -> dict[str, str]:
    """The file's metadata; the classes and the preprocessing also in plain JSON for other programs."""
    return model_metadata(model) | plain_texts(model)


def plain_texts(model: Any) -> dict[str, str]:
    """The classes and the preprocessing of a model, as far as it has them, each as JSON."""
    texts, classes = dict[str, str](), getattr(model, "classes", None)
    if classes is not None:
        texts["classes"] = json.dumps(list(classes), ensure_ascii=False)
    if getattr(model, "preprocessing", None) is not None:
        from ..data import preprocessing_of

        texts["preprocessing"] = json.dumps(asdict(preprocessing_of(model)))
    return texts
