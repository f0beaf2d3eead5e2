"""The plots of the notebooks, with matplotlib, which is imported when first used.

Each function draws into the axes it is given, or makes its own, and returns them; axes are always labelled.

One code of colours: a plain network is red, a residual one blue, and nothing else is either; the more layers, the more
solid its line (:func:`look`).
"""

import re
from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any

import numpy as np

from ..backend import Array

STYLE: Any = {
    "figure.dpi": 150,
    "savefig.dpi": 150,
    "figure.constrained_layout.use": True,
    "figure.facecolor": "white",
    "font.size": 10,
    "axes.titlesize": 10,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": False,
    "image.interpolation": "nearest",
    "lines.linewidth": 1.6,
    "legend.frameon": False,
}
RED, BLUE, LIGHT_BLUE = "#b2182b", "#2166ac", "#67a9cf"  # plain, residual, residual with pre-activation
GREEN, ORANGE, PURPLE, GREY, DARK = "#1b7837", "#d95f02", "#762a83", "#888888", "#333333"
CYCLE = (GREEN, ORANGE, PURPLE, "#e6ab02", "#8c510a", GREY)
FAMILIES = {"plain": RED, "resnet": BLUE, "preresnet": LIGHT_BLUE}
STYLES = {18: ":", 20: ":", 32: "-.", 34: "-.", 44: "-.", 56: "--", 110: "-"}


@cache
def pyplot() -> Any:
    """matplotlib.pyplot in this package's style."""
    try:
        import matplotlib.pyplot as plt
    except ImportError:
        raise ImportError("plots need matplotlib: pip install 'npresnet[notebooks]'") from None
    plt.rcParams.update(STYLE | {"axes.prop_cycle": f"cycler(color={list(CYCLE)})"})
    return plt


def look(name: str) -> dict[str, str]:
    """The colour and line of a network by its name, such as plain20; {} for a name that is no network's."""
    found = re.match(r"(plain|preresnet|resnet)(\d*)\b", name)
    return {"color": FAMILIES[found[1]], "ls": STYLES.get(int(found[2] or 110), "-")} if found else {}


def axes(rows: int = 1, columns: int = 1, width: float = 7.0, height: float = 3.0, **options: Any) -> Any:
    """``rows × columns`` empty axes, (rows, columns) or single, on a figure of the given inches."""
    return pyplot().subplots(rows, columns, figsize=(width, height), **options)[1]


def colors(*names: str) -> Any:
    """A colour map of these colours, one for each of 0, 1, 2 …"""
    from matplotlib.colors import ListedColormap

    return ListedColormap(names)


def matrix(
    array: Any,
    ax: Any = None,
    *,
    title: str = "",
    x: str = "column",
    y: str = "row",
    numbers: bool | None = None,
    cmap: str = "Blues",
    limits: tuple[float, float] | None = None,
    size: float = 8,
) -> Any:
    """A matrix as coloured squares, with its ``numbers`` written in (None: if there are at most 256)."""
    array = np.asarray(array)
    ax = ax or axes(width=0.45 * array.shape[1] + 1, height=0.45 * array.shape[0] + 1)
    low, high = limits or (array.min(), array.max())
    ax.imshow(array, cmap=cmap, vmin=low, vmax=high, aspect="equal")
    for i, j in np.ndindex(*array.shape) if numbers or (numbers is None and array.size <= 256) else ():
        dark = (array[i, j] - low) / max(high - low, 1e-12)
        dark = abs(2 * dark - 1) if cmap in ("RdBu", "RdBu_r") else dark
        color = "white" if dark > 0.6 else "black"
        ax.text(j, i, f"{array[i, j]:g}", ha="center", va="center", fontsize=size, color=color)
    ax.set(title=title, xlabel=x, ylabel=y, xticks=[], yticks=[])
    return ax


def curves(
    lines: Mapping[str, Any],
    ax: Any = None,
    *,
    x: str = "",
    y: str = "",
    title: str = "",
    logx: bool = False,
    logy: bool = False,
    marker: str = "",
    abscissa: Any = None,
) -> Any:
    """One line for each name: {name: values}, or {name: (x values, values)}."""
    ax = ax or axes()
    for name, values in lines.items():
        both = isinstance(values, tuple) and len(values) == 2 and np.ndim(values[0]) == 1
        along, values = values if both else (range(len(values)) if abscissa is None else abscissa, values)
        ax.plot(along, values, marker=marker, label=name, markersize=4, **look(name))
    ax.set(xlabel=x, ylabel=y, title=title, xscale="log" if logx else "linear", yscale="log" if logy else "linear")
    if len(lines) > 1:
        ax.legend()
    return ax


def bars(
    values: Mapping[str, float],
    ax: Any = None,
    *,
    x: str = "",
    y: str = "",
    title: str = "",
    log: bool = False,
    color: str = GREEN,
) -> Any:
    """A horizontal bar for each name, the first on top.

    On a logarithmic axis, where no bar begins at zero, a dot stands at each value instead; a zero is written out.
    """
    ax = ax or axes(height=0.32 * len(values) + 1)
    names, numbers = list(values), list(values.values())
    if log:
        ax.plot(numbers, range(len(names)), "o", color=color)
        ax.set(xscale="log", ylim=(-0.6, len(names) - 0.4))
        ax.grid(axis="y", color=GREY, lw=0.4, ls=":")
        for k, number in enumerate(numbers):
            if number <= 0:
                ax.text(0.01, k, "0", transform=ax.get_yaxis_transform(), va="center", color=color)
    else:
        ax.barh(range(len(names)), numbers, color=color)
    ax.set(yticks=range(len(names)), yticklabels=names, xlabel=x, ylabel=y, title=title)
    ax.invert_yaxis()
    return ax


def image_grid(
    images: Sequence[Any],
    titles: Sequence[str] | None = None,
    *,
    columns: int = 8,
    size: float = 1.3,
    cmap: str | None = None,
    x: str = "",
    y: str = "",
    limits: tuple[float, float] | None = None,
) -> Any:
    """Images in a grid: (H, W), (H, W, 3) or (3, H, W); each in its own range, or all between ``limits``."""
    images = [as_image(image, limits) for image in images]
    columns = min(columns, len(images))
    rows = -(-len(images) // columns)
    tall = size * images[0].shape[0] / images[0].shape[1] + (0.2 if titles else 0)
    grid = axes(rows, columns, size * columns, tall * rows, squeeze=False)
    for k, ax in enumerate(grid.flat):
        ax.set(xticks=[], yticks=[])
        ax.spines[:].set_visible(False)
        if k < len(images):
            low, high = limits or (None, None)
            ax.imshow(images[k], cmap=cmap or ("gray" if images[k].ndim == 2 else None), vmin=low, vmax=high)
            ax.set_title(titles[k] if titles else "", fontsize=8)
    for ax in grid[-1, :1]:
        ax.set_xlabel(x, fontsize=8)
        ax.set_ylabel(y, fontsize=8)
    return grid


def as_image(image: Any, limits: tuple[float, float] | None = None) -> Array:
    """An image for imshow; in colour and not uint8, its ``limits`` become [0, 1]."""
    image = np.asarray(image)
    if image.ndim == 3 and image.shape[0] == 3 and image.shape[2] != 3:
        image = image.transpose(1, 2, 0)
    if image.ndim == 3 and image.dtype != np.uint8:
        low, high = limits or (float(image.min()), float(image.max()))
        image = ((image - low) / max(high - low, 1e-12)).clip(0, 1)
    return image


def filters(weight: Any, *, columns: int = 8, size: float = 0.8) -> Any:
    """A first layer's filters (F, 3, kh, kw) in colour, on one common scale; grey is 0."""
    scale = float(abs(weight).max()) or 1.0
    return image_grid(
        [w.transpose(1, 2, 0) for w in np.asarray(weight)],
        [str(k) for k in range(len(weight))],
        columns=columns,
        size=size,
        limits=(-scale, scale),
        x="column",
        y="row",
    )


def confusion(counts: Any, classes: Sequence[str], ax: Any = None, *, title: str = "") -> Any:
    """A confusion matrix, counts[true, predicted], with the classes' names."""
    ax = ax or axes(width=0.42 * len(classes) + 1.5, height=0.42 * len(classes) + 1.2)
    matrix(counts, ax, title=title, x="predicted class", y="true class", numbers=True, size=7)
    ax.set(xticks=range(len(classes)), yticks=range(len(classes)), yticklabels=classes)
    ax.set_xticklabels(classes, rotation=60, ha="right")
    return ax


def roofline(points: Mapping[str, tuple[float, float]], peak: float, bandwidth: float, ax: Any = None) -> Any:
    """Arithmetic intensity against speed: {name: (FLOP a byte, GFLOP/s)} under min(peak, bandwidth · intensity)."""
    ax = ax or axes(width=7, height=3.6)
    reach = np.geomspace(0.1, 1000, 200)
    ax.plot(reach, np.minimum(peak, bandwidth * reach), color=GREY, label="what was measured as peak and bandwidth")
    for name, (intensity, speed) in points.items():
        ax.plot(intensity, speed, "o", markersize=5)
        ax.annotate(name, (intensity, speed), textcoords="offset points", xytext=(6, -3), fontsize=8)
    ax.set(xscale="log", yscale="log", xlabel="arithmetic intensity (FLOP a byte moved)", ylabel="GFLOP/s")
    ax.legend(loc="upper left")
    return ax
