"""Gives the arrays of a network torchvision's names and layout, so that everything else can follow."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from ...formats.errors import WeightsError, quoted
from .layers import Layer
from .network import Network

STATE = {
    "weight": "weight",
    "bias": "bias",
    "mean": "running_mean",
    "var": "running_var",
    "count": "num_batches_tracked",
}
EPS = 1e-5  # torch's usual one: what is added to the variance of a norm that stands for none


def translate(network: Network, arrays: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, str]]:
    """(the arrays under torchvision's names, our path of a layer → the file's).  Most are views of the given ones."""
    places = dict(convolution_places(network))
    state = {f"{ours}.weight": weight_of(layer, arrays) for ours, layer in places.items()}
    paths = {ours: layer.path for ours, layer in places.items()}
    biases = {ours: arrays[layer.keys["bias"]] for ours, layer in places.items() if "bias" in layer.keys}
    norms = before(network, places) if network.before else after(network, places)
    if not network.before and norms and biases.keys() in (places.keys(), {"conv1"}):
        state |= {
            f"{ours}.bias": biases.pop(ours) for ours in places if ours in biases
        }  # where the family has them too
    for place, (norm, conv, size) in norms.items():
        state |= norm_state(place, norm, size, biases.pop(conv, None), arrays)
        paths |= {place: norm.path} if norm else {}
    if biases:  # of convolutions that feed no norm
        bare = [ours for ours in places if ours not in {conv for _, conv, _ in norms.values()}]
        state |= {f"{ours}.bias": biases.get(ours, np.zeros(places[ours].out, np.float32)) for ours in bare}
    state |= gate_state(network, arrays)
    state |= head_state(network.head, arrays)
    paths |= {place: layer.path for place, layer in zip(head_places(len(network.head)), network.head)}
    return state, paths


Places = dict[str, tuple[Layer | None, str, int]]  # of a norm → the norm, the convolution that feeds it, its channels


def after(network: Network, places: Mapping[str, Layer]) -> Places:
    """The norms behind the convolutions."""
    return {norm_place(ours): (network.norms.get(conv.path), ours, conv.out) for ours, conv in places.items()}


def before(network: Network, places: Mapping[str, Layer]) -> Places:
    """The norms before the convolutions, that behind the stem, and that behind the last block."""
    norms: Places = {}
    for ours, conv in places.items():
        norm = network.norms.get(conv.path)
        if norm:
            number = ours[-1]
            feeds = f"{ours[:-1]}{int(number) - 1}" if ours.startswith("layer") and number in "23" else ""
            norms[norm_place(ours)] = (norm, "conv1" if ours == "conv1" else feeds, norm.out)
    if network.final:
        norms["bn"] = (network.final, "", network.final.out)
    return norms


def convolution_places(network: Network):
    """(our path, the convolution) for the stem and the blocks."""
    stem = network.body.stem
    yield from zip(("conv1",) if len(stem) == 1 else ("conv1.0", "conv1.3", "conv1.6", "maxpool.0"), stem)
    for s, stage in enumerate(network.body.stages()):
        for b, block in enumerate(stage):
            place = f"layer{s + 1}.{b}."
            for j, conv in enumerate(block.branch):
                yield f"{place}conv{j + 1}", conv
            if block.projection:
                yield place + projection_name(network), block.projection


def projection_name(network: Network) -> str:
    """downsample.0, or downsample.1 where each stands second in a Sequential, behind an average pooling."""
    if network.before:
        return "downsample"
    projections = [block.projection for block in network.body.blocks if block.projection]
    second = all(
        conv.parts[-1] == "1" and network.norms[conv.path].parts[-1] == "2"
        for conv in projections
        if conv.path in network.norms
    )
    return "downsample.1" if second and network.norms else "downsample.0"


def norm_place(ours: str) -> str:
    """Where the norm of a convolution stands."""
    fixed = {"maxpool.0": "maxpool.1", "conv1": "bn1", "conv1.0": "conv1.1", "conv1.3": "conv1.4", "conv1.6": "bn1"}
    if ours in fixed:
        return fixed[ours]
    for conv, norm in (("downsample.0", "downsample.1"), ("downsample.1", "downsample.2")):
        if ours.endswith(conv):
            return ours.removesuffix(conv) + norm
    return ours.replace("conv", "bn")


def weight_of(layer: Layer, arrays: Mapping[str, Any]) -> Any:
    array = arrays[layer.keys["weight"]]
    return array if layer.axes is None else np.transpose(array, layer.axes)


def norm_state(place: str, norm: Layer | None, size: int, bias: Any, arrays: Mapping[str, Any]) -> dict[str, Any]:
    """The arrays of a norm.  One that is absent becomes the identity, plus the convolution's bias where it has one:

        γ (z − μ) / √(σ² + ε) + β = z + b   with  γ = 1,  β = b,  μ = 0,  σ² = 1 − ε

    A bias in front of a norm goes into its mean: z + b − μ = z − (μ − b).
    """
    found = {STATE[role]: arrays[key] for role, key in norm.keys.items() if role in STATE} if norm else {}
    kind = np.result_type(bias) if bias is not None else np.dtype(np.float32)
    if norm is None:
        zero, one = np.zeros(size, kind), np.ones(size, kind)
        found = {
            "weight": one,
            "bias": zero if bias is None else bias,
            "running_mean": zero.copy(),
            "running_var": one - kind.type(EPS),
        }
    else:
        like = next(iter(found.values()))
        found.setdefault("weight", np.ones(size, like.dtype))
        found.setdefault("bias", np.zeros(size, like.dtype))
        if bias is not None:
            if "running_mean" not in found:
                raise WeightsError(f"the norm {quoted(norm.path)} has no statistics, and its convolution a bias")
            found["running_mean"] = found["running_mean"] - bias
    return {f"{place}.{name}": array for name, array in found.items()}


def gate_state(network: Network, arrays: Mapping[str, Any]) -> dict[str, Any]:
    """The gates: 1×1 convolutions, each with a bias, or one along the channels without."""
    state: dict[str, Any] = {}
    blocks = [(s, b) for s, stage in enumerate(network.body.stages()) for b in range(len(stage))]
    for number, gate in network.gates.items():
        s, b = blocks[number]
        for name, layer in zip(gate.names, gate.layers):
            weight = weight_of(layer, arrays)
            if name == "conv":
                state[f"layer{s + 1}.{b}.se.{name}.weight"] = weight
                continue
            weight = weight.reshape(*weight.shape[:2], 1, 1)
            bias = arrays[layer.keys["bias"]] if "bias" in layer.keys else np.zeros(layer.out, weight.dtype)
            state |= {f"layer{s + 1}.{b}.se.{name}.weight": weight, f"layer{s + 1}.{b}.se.{name}.bias": bias}
    return state


def head_places(count: int) -> list[str]:
    """Where so many linear layers stand: fc, or fc.0, fc.2 … with an activation behind each but the last."""
    return ["fc"] if count == 1 else [f"fc.{2 * i}" for i in range(count)]


def head_state(head: list[Layer], arrays: Mapping[str, Any]) -> dict[str, Any]:
    """The classifier; a missing bias is zero."""
    state: dict[str, Any] = {}
    for place, layer in zip(head_places(len(head)), head):
        weight = weight_of(layer, arrays)
        bias = arrays[layer.keys["bias"]] if "bias" in layer.keys else np.zeros(layer.out, weight.dtype)
        state |= {f"{place}.weight": weight.reshape(weight.shape[:2]), f"{place}.bias": bias}
    return state
