"""Translates Keras's names and layouts of arrays to torchvision's, ``layer1.0.conv1.weight``.

Keras Applications name every layer; the tutorials leave the names to Keras, which counts, so that there the order of
the file decides.  Kernels are transposed from (kh, kw, C, F) to (F, C, kh, kw), dense ones from (D, M) to (M, D).
"""

import re
from collections.abc import Collection, Iterable, Mapping
from typing import Any

import numpy as np

from ...formats.errors import WeightsError, quoted
from ...models.published import IMAGENET
from ...models.registry import FAMILY

ROLES = {
    "kernel": "weight",
    "gamma": "weight",
    "bias": "bias",
    "beta": "bias",
    "moving_mean": "running_mean",
    "moving_variance": "running_var",
}
FIRST = "conv1_conv"  # the layer by which Keras Applications are known
AXES = {4: (3, 2, 0, 1), 2: (1, 0), 1: (0,)}
BLOCK = re.compile(r"conv([2-5])_block(\d{1,3})_(\d|preact)_(conv|bn)")


def is_keras(keys: Collection[str]) -> bool:
    """Whether every key is Keras's name of a layer and of a role."""
    return bool(keys) and all(key.rpartition("/")[2] in ROLES and "/" in key for key in keys)


def from_keras(arrays: Mapping[str, Any]) -> dict[str, Any]:
    """The arrays under torchvision's names and in its layout, as views.  Raises WeightsError for other layers."""
    layers = dict.fromkeys(key.rpartition("/")[0] for key in arrays)
    if any(last(layer) == FIRST for layer in layers):
        v2 = any(last(name) == "post_bn" for name in layers)
        dense = classifier(arrays, layers)
        names = {layer: "fc" if layer == dense else applications_name(last(layer), v2) for layer in layers}
    else:
        names = names_by_order(arrays, layers)
    state = {}
    for key, array in arrays.items():
        layer, _, role = key.rpartition("/")
        state[f"{names[layer]}.{ROLES[role]}"] = np.transpose(array, AXES.get(np.ndim(array)))
    if len(state) != len(arrays):
        raise WeightsError("two of its layers have one place in the network")
    if "fc.weight" not in state:
        raise WeightsError("a Keras model without its classifier (include_top=False); save it with include_top=True")
    return state


def classifier(arrays: Mapping[str, Any], layers: Iterable[str]) -> str | None:
    """The only dense layer, whatever its name; None where there is none.  Raises WeightsError for several."""
    dense = [layer for layer in layers if rank(arrays, layer) == 2]
    if len(dense) > 1:
        names = ", ".join(quoted(last(layer)) for layer in dense[:4])
        raise WeightsError(f"behind its ResNet stand {len(dense)} dense layers, {names}; one is read, the classifier")
    return dense[0] if dense else None


def keras_dialect(arrays: Mapping[str, Any]) -> str:
    """Keras Applications by their names, the tutorials by their biases: the second has them, the first has not."""
    layers = {key.rpartition("/")[0] for key in arrays}
    if any(last(layer) == FIRST for layer in layers):
        return "keras"
    biased = any(f"{layer}/bias" in arrays for layer in layers if rank(arrays, layer) == 4)
    return "keras-tutorial-b" if biased else "keras-tutorial-a"


def rank(arrays: Mapping[str, Any], layer: str) -> int:
    """The number of axes of a layer's kernel, 0 where it has none."""
    return np.ndim(arrays.get(f"{layer}/kernel", 0))


def last(layer: str) -> str:
    """The last part of a layer's path."""
    return layer.rpartition("/")[2]


def applications_name(layer: str, v2: bool) -> str:
    """conv3_block1_0_bn → layer2.0.downsample.1;  in the V2 nets a block's _1_bn is its second batch norm."""
    fixed = {"conv1_conv": "conv1", "conv1_bn": "bn1", "post_bn": "bn", "predictions": "fc", "probs": "fc"}
    if layer in fixed:
        return fixed[layer]
    found = BLOCK.fullmatch(layer)
    if not found:
        raise WeightsError(f"no ResNet of Keras has a layer {quoted(layer)}")
    stage, block, part, kind = found.groups()
    place = f"layer{int(stage) - 1}.{int(block) - 1}."
    if part == "preact":
        return place + "bn1"
    if part == "0":
        return place + ("downsample" if v2 else f"downsample.{int(kind == 'bn')}")
    return place + f"{kind}{int(part) + (v2 and kind == 'bn')}"


def names_by_order(arrays: Mapping[str, Any], layers: Iterable[str]) -> dict[str, str]:
    """layer → torchvision's name; the n-th convolution and the n-th batch norm of the file belong together."""
    layers = list(layers)
    convs = [layer for layer in layers if rank(arrays, layer) == 4]
    norms = [layer for layer in layers if f"{layer}/gamma" in arrays]
    dense = [layer for layer in layers if rank(arrays, layer) == 2]
    places = in_order([np.shape(arrays[f"{layer}/kernel"]) for layer in convs])
    if len(norms) != len(convs) or len(dense) != 1 or len(convs) + len(norms) + 1 != len(layers):
        raise WeightsError(
            f"{len(convs)} convolutions, {len(norms)} batch norms and {len(dense)} dense layers are no "
            "ResNet; batch norms made inside call() are never saved"
        )
    named = [last(layer) for layer in convs if not re.fullmatch(r"conv(2d(_\d+)?|\d)", last(layer))]
    if named:
        raise WeightsError(
            f"no network is known whose convolutions are called {', '.join(map(quoted, named[:3]))}; "
            "Keras's ResNet50 calls them conv1_conv, conv2_block1_1_conv, since its version 2.3"
        )
    if all(layer.startswith("layers/conv2d") for layer in convs) and f"{convs[0]}/bias" in arrays:
        raise WeightsError(
            "its layers have no names, so that Keras's ResNet50 and others look alike; save it as .keras or .h5"
        )
    return {
        **dict(zip(convs, (conv for conv, _ in places))),
        **dict(zip(norms, (norm for _, norm in places))),
        dense[0]: "fc",
    }


def in_order(kernels: list[tuple[int, ...]]) -> list[tuple[str, str]]:
    """(convolution, batch norm) in torchvision's names for the kernels (kh, kw, C, F) in the order of the file."""
    name = next((name for name in IMAGENET if len(kernels) == convolutions(name)), None)
    if name is None:
        raise WeightsError(f"no ResNet of the tutorials has {len(kernels)} convolutions")
    structure = FAMILY[name].structure
    bottleneck, places, i = structure.expansion == 4, [("conv1", "bn1")], 1
    for stage, depth in enumerate(structure.depths):
        for block in range(depth):
            projects = block == 0 and (bottleneck or stage > 0)
            count = (3 if bottleneck else 2) + projects
            later = kernels[i : i + count] if stage or not projects else kernels[1 + 3 * structure.depths[0] + 1 :]
            order = roles_in_block(kernels[i : i + count], later[:count], bottleneck, projects)
            places += [placed(f"layer{stage + 1}.{block}.", role) for role in order]
            i += count
    return places


def placed(block: str, role: int) -> tuple[str, str]:
    """(convolution, batch norm) of a role in a block; role 0 is the projection."""
    return (f"{block}downsample.0", f"{block}downsample.1") if role == 0 else (f"{block}conv{role}", f"{block}bn{role}")


def roles_in_block(
    kernels: list[tuple[int, ...]], later: list[tuple[int, ...]], bottleneck: bool, projects: bool
) -> list[int]:
    """1, 2, 3 for the branch's convolutions, 0 for the projection, in the order of the file.

    The branch keeps its order; the projection comes before, between or after.  In a bottleneck of the first stage it
    has the shape of the third convolution; its place is read from ``later``, a block of the second stage, where their
    shapes differ.
    """
    if not projects:
        return [1, 2, 3] if bottleneck else [1, 2]
    if not bottleneck:
        position = next((i for i, shape in enumerate(kernels) if shape[0] == 1), 2)
        return [0, 1, 2] if position == 0 else [1, 0, 2] if position == 1 else [1, 2, 0]
    middle = next((i for i, shape in enumerate(later) if shape[0] == 3), 1)
    others = [i for i in range(4) if i not in (middle - 1, middle)]
    third = next((i for i in others if later[i][2] == later[middle][3]), others[-1])
    roles = {middle - 1: 1, middle: 2, third: 3}
    return [roles.get(i, 0) for i in range(4)]


def convolutions(name: str) -> int:
    """The number of convolutions in a network."""
    depths, expansion, *_ = FAMILY[name].structure
    return 1 + sum(depths) * (3 if expansion == 4 else 2) + (4 if expansion == 4 else 3)
