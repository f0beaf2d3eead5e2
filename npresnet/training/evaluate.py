"""What a model is worth on labelled images: its predictions, accuracy and confusion matrix, and a run's report."""

import io
import json
import os
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from .. import ops
from ..backend import array_namespace, to_device
from ..data.batches import Batches, on_device_of
from ..data.dataset import Dataset
from ..data.gpu_batches import batches_for
from ..data.share import portion
from ..distributed import Alone, Communicator
from ..formats.atomic import atomic_write
from ..nn import Module
from ..printer import escaped
from .checkpoint import CONFUSION, CURVES, REPORT

Show = Callable[[int, int], Any]
ALONE = Alone()
LONGEST = 40  # characters of a class name in a figure


def predict(
    model: Module,
    dataset: Dataset,
    batch_size: int = 128,
    workers: int = 2,
    show: Show | None = None,
    communicator: Communicator = ALONE,
) -> tuple[float, np.ndarray]:
    """(mean cross-entropy, predicted classes (N,) int64) of a model in eval mode on N labelled images.

    ``show`` is called with (done, N) after each batch.  The ranks of ``communicator`` share the images, and each
    returns the same.
    """
    own = dataset.subset(portion(len(dataset), communicator.rank, communicator.size))
    return evaluate_batches(model, batches_for(model, own, batch_size, workers=workers), show, communicator)


def evaluate_batches(
    model: Module, batches: Batches, show: Show | None = None, communicator: Communicator = ALONE
) -> tuple[float, np.ndarray]:
    """:func:`predict` on a rank's images in batches.  A GPU is waited for once, at the end."""
    total, predicted, done = 0.0, [], 0
    for batch in batches.in_order():
        x, labels = on_device_of(model, batch)
        logits = model.logits(x)
        total = total + ops.softmax_cross_entropy(logits, labels)[0].astype(np.float64) * len(labels)
        predicted.append(logits.argmax(axis=1))
        done += len(labels)
        if show:
            show(done, len(batches.dataset))
    classes = array_namespace(*predicted).concatenate(predicted) if predicted else np.zeros(0, np.int64)
    losses, shares = zip(*communicator.all_gather((float(total), to_device(classes, "cpu"))))
    classes = np.concatenate(shares)
    return sum(losses) / len(classes), classes


def evaluate(
    model: Module, dataset: Dataset, show: Show | None = None, communicator: Communicator = ALONE
) -> dict[str, Any]:
    """{"right", "total", "top1", "loss", "per_class": {name: accuracy}, "classes", "confusion"} on labelled images.

    A class without images has the accuracy None.  ``confusion[i][j]`` counts the images of class i that the model took
    for class j.  ``show`` is called with (done, total) now and then.  The ranks of ``communicator`` share the work.
    """
    loss, predicted = predict(model, dataset, show=show, communicator=communicator)
    k = len(dataset.classes)
    confusion = np.bincount(dataset.labels * k + predicted, minlength=k * k).reshape(k, k)
    right, total = int(confusion.trace()), len(dataset)
    shares = [int(row[i]) / int(row.sum()) if row.any() else None for i, row in enumerate(confusion)]
    return {
        "right": right,
        "total": total,
        "top1": right / total,
        "loss": loss,
        "per_class": dict(zip(dataset.classes, shares)),
        "classes": list(dataset.classes),
        "confusion": confusion.tolist(),
    }


def as_lines(result: dict[str, Any]) -> list[str]:
    """The result of :func:`evaluate` as text: accuracy, and each class's with the class it is most often taken for."""
    confusion = np.array(result["confusion"])
    np.fill_diagonal(confusion, 0)
    width = max(map(len, result["classes"]))
    lines = [f"right on {result['right']} of {result['total']}: {100 * result['top1']:.2f} %"]
    for name, row in zip(result["classes"], confusion):
        mistakes = f"   most often taken for {result['classes'][row.argmax()]} ({row.max()})" if row.any() else ""
        share = result["per_class"][name]
        lines.append(f"  {name:{width}}  " + ("     –" if share is None else f"{100 * share:6.2f} %{mistakes}"))
    return lines


def write_report(
    history: Sequence[dict[str, Any]], result: dict[str, Any], folder: str | os.PathLike[str], **about: Any
) -> list[str]:
    """Write report.json and, where matplotlib is installed, curves.png and confusion.png; returns their names.

    report.json holds the ``result`` of :func:`evaluate`, and ``about`` beside it.
    """
    written = {REPORT: json.dumps({**about, **result}, indent=1).encode(), **plots(history, result)}
    for name, content in written.items():
        with atomic_write(Path(folder) / name) as file:
            file.write(content)
    return list(written)


def plots(history: Sequence[dict[str, Any]], result: dict[str, Any]) -> dict[str, bytes]:
    """PNG files by name: the curves of a run and its confusion matrix; none where matplotlib is missing."""
    try:
        from matplotlib.figure import Figure
    except ImportError:
        return {}
    epochs = [row["epoch"] for row in history]
    figure = Figure((9, 3.5), layout="constrained")
    for axes, what in zip(figure.subplots(1, 2), ("loss", "accuracy")):
        for part in ("train", "validation"):
            if f"{part}_{what}" in history[-1]:
                axes.plot(epochs, [row[f"{part}_{what}"] for row in history], label=part)
        axes.set(xlabel="epoch", ylabel=what)
        axes.legend()
    return {CURVES: png(figure), CONFUSION: png(confusion_figure(result))}


def confusion_figure(result: dict[str, Any]) -> Any:
    """The confusion matrix as a figure of matplotlib, each row coloured by its shares."""
    from matplotlib.figure import Figure

    classes, confusion = result["classes"], np.array(result["confusion"])
    figure = Figure((6, 5), layout="constrained")
    axes = figure.subplots()
    axes.imshow(confusion / np.maximum(confusion.sum(axis=1, keepdims=True), 1), cmap="Blues", vmin=0, vmax=1)
    axes.set(xlabel="taken for", ylabel="is")
    if len(classes) <= 20:
        names = [escaped(name)[:LONGEST] for name in classes]  # no formulas, and nothing past drawing
        axes.set_xticks(range(len(names)), names, rotation=90, parse_math=False)
        axes.set_yticks(range(len(names)), names, parse_math=False)
        for (i, j), count in np.ndenumerate(confusion):
            axes.text(j, i, count, ha="center", va="center", fontsize=6)
    return figure


def png(figure: Any) -> bytes:
    """A figure of matplotlib as the bytes of a PNG file."""
    buffer = io.BytesIO()
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Glyph .* missing")  # a name's script that the font does not have
        figure.savefig(buffer, format="png", dpi=120)
    return buffer.getvalue()
