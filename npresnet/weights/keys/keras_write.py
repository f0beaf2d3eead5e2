"""Writes the ``.h5`` file that ``model.load_weights("resnet50.h5")`` of a Keras Applications network reads.

Keras reads such a file by position, so the layers stand in the order of its own graph: sorted by their distance from
the output, where a block's projection comes beside its third convolution.
"""

import io
from collections.abc import Iterator
from typing import Any, BinaryIO

import numpy as np

from ...formats.errors import WeightsError

CONV, NORM = ("kernel", "bias"), ("gamma", "beta", "moving_mean", "moving_variance")
OURS = {
    "kernel": "weight",
    "bias": "bias",
    "gamma": "weight",
    "beta": "bias",
    "moving_mean": "running_mean",
    "moving_variance": "running_var",
}
AXES = {4: (2, 3, 1, 0), 2: (1, 0)}


def write_keras(file: BinaryIO, model: Any, metadata: dict[str, str]) -> None:
    """Write the arrays of a "keras" network under Keras's names, and the metadata as attributes of the root."""
    try:
        import h5py
    except ImportError:
        raise WeightsError("Keras reads HDF5; to write it: pip install 'npresnet[keras]'") from None
    state, content = model.state_dict(), io.BytesIO()
    layers = list(keras_layers(model))
    with h5py.File(content, "w") as root:
        root.attrs.update(
            {
                "layer_names": [name.encode() for name, _, _ in layers],
                "backend": "tensorflow",
                "keras_version": "2.15.0",
                **metadata,
            }
        )
        for name, ours, roles in layers:
            keys = {f"{name}/{role}": f"{ours}.{OURS[role]}" for role in roles}
            arrays = {weight: state[key] for weight, key in keys.items() if key in state}  # some have no bias
            group = root.create_group(name)
            group.attrs["weight_names"] = [weight.encode() for weight in arrays]
            for weight, array in arrays.items():
                array = np.asarray(array.get() if hasattr(array, "get") else array)
                group[weight] = array.transpose(AXES.get(array.ndim))
    file.write(content.getbuffer())


def keras_layers(model: Any) -> Iterator[tuple[str, str, tuple[str, ...]]]:
    """(Keras's name, ours, the roles of its arrays) in Keras's order."""
    v2 = model.before  # Keras's ResNetV2
    yield "conv1_conv", "conv1", CONV
    if not v2:
        yield "conv1_bn", "bn1", NORM
    for stage in range(1, 5):
        for block in range(len(getattr(model, f"layer{stage}").children())):
            place = f"conv{stage + 1}_block{block + 1}_", f"layer{stage}.{block}."
            for theirs, ours, roles in block_v2(block == 0) if v2 else block_v1(block == 0):
                yield place[0] + theirs, place[1] + ours, roles
    if v2:
        yield "post_bn", "bn", NORM
    yield "predictions", "fc", CONV


def block_v1(leading: bool) -> Iterator[tuple[str, str, tuple[str, ...]]]:
    """The layers of a bottleneck; a ``leading`` block has a projection."""
    yield from (("1_conv", "conv1", CONV), ("1_bn", "bn1", NORM), ("2_conv", "conv2", CONV), ("2_bn", "bn2", NORM))
    if leading:
        yield "0_conv", "downsample.0", CONV
    yield "3_conv", "conv3", CONV
    if leading:
        yield "0_bn", "downsample.1", NORM
    yield "3_bn", "bn3", NORM


def block_v2(leading: bool) -> Iterator[tuple[str, str, tuple[str, ...]]]:
    """The same of a pre-activation bottleneck."""
    yield from (
        ("preact_bn", "bn1", NORM),
        ("1_conv", "conv1", CONV),
        ("1_bn", "bn2", NORM),
        ("2_conv", "conv2", CONV),
        ("2_bn", "bn3", NORM),
    )
    if leading:
        yield "0_conv", "downsample", CONV
    yield "3_conv", "conv3", CONV
