"""What a finished run is worth: accuracy, a confusion matrix, each class's share, and curves where matplotlib is."""

import io
import json
import warnings
from pathlib import Path

import numpy as np

from ..formats.atomic import replacing
from ..printer import escaped
from .checkpoint import CONFUSION, CURVES, REPORT
from .predict import predict

LONGEST = 40      # characters of a class name in a figure


def evaluate(model, source) -> dict:
    """{"right", "total", "top1", "loss", "per_class": {name: accuracy}, "classes", "confusion"}.

    A class without images has the accuracy None.  ``confusion[i][j]`` counts the images of class i that were taken
    for class j.
    """
    loss, predicted = predict(model, source)
    k = len(source.classes)
    confusion = np.bincount(source.labels * k + predicted, minlength=k * k).reshape(k, k)
    right, total = int(confusion.trace()), len(source)
    shares = [int(row[i]) / int(row.sum()) if row.any() else None for i, row in enumerate(confusion)]
    return {"right": right, "total": total, "top1": right / total, "loss": loss,
            "per_class": dict(zip(source.classes, shares)),
            "classes": list(source.classes), "confusion": confusion.tolist()}


def as_lines(result) -> list[str]:
    """Accuracy, each class's accuracy and what it is most often taken for."""
    confusion = np.array(result["confusion"])
    np.fill_diagonal(confusion, 0)
    width = max(map(len, result["classes"]))
    lines = [f"right on {result['right']} of {result['total']}: {100 * result['top1']:.2f} %"]
    for name, row in zip(result["classes"], confusion):
        mistakes = f"   most often taken for {result['classes'][row.argmax()]} ({row.max()})" if row.any() else ""
        share = result["per_class"][name]
        lines.append(f"  {name:{width}}  " + ("     –" if share is None else f"{100 * share:6.2f} %{mistakes}"))
    return lines


def write_report(history, result, folder, **about):
    """report.json, and curves.png and confusion.png where matplotlib is installed; their names."""
    written = {REPORT: json.dumps({**about, **result}, indent=1).encode(), **plots(history, result)}
    for name, content in written.items():
        with replacing(Path(folder) / name) as file:
            file.write(content)
    return list(written)


def plots(history, result) -> dict[str, bytes]:
    """Images of the run, none where matplotlib is missing."""
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


def confusion_figure(result):
    from matplotlib.figure import Figure
    classes, confusion = result["classes"], np.array(result["confusion"])
    figure = Figure((6, 5), layout="constrained")
    axes = figure.subplots()
    axes.imshow(confusion / np.maximum(confusion.sum(axis=1, keepdims=True), 1), cmap="Blues", vmin=0, vmax=1)
    axes.set(xlabel="taken for", ylabel="is")
    if len(classes) <= 20:
        names = [escaped(name)[:LONGEST] for name in classes]                    # no formulas, and nothing past drawing
        axes.set_xticks(range(len(names)), names, rotation=90, parse_math=False)
        axes.set_yticks(range(len(names)), names, parse_math=False)
        for (i, j), count in np.ndenumerate(confusion):
            axes.text(j, i, count, ha="center", va="center", fontsize=6)
    return figure


def png(figure) -> bytes:
    buffer = io.BytesIO()
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Glyph .* missing")           # a name's script that the font does not have
        figure.savefig(buffer, format="png", dpi=120)
    return buffer.getvalue()
