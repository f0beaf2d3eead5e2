"""by_structure: torchvision's names for arrays of any names, found by their shapes and by what stands beside them."""

import re
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np

from ...formats.errors import WeightsError, quoted
from ...formats.state import Layer
from ..config import says_group_norms
from ..match.choose import choose
from ..match.names import tail
from ..match.network import Network, listed
from ..match.search import Search
from ..match.translate import translate

COUNTER = re.compile(r"num_batches_tracked|n_averaged|total_(ops|params)|step|epoch|version", re.IGNORECASE)
CAFFE = re.compile(r"(^|[./])scale\d[a-z]\d*_branch")  # Caffe's layers for what its batch norms leave out
GROUP = re.compile(r"(^|[._/])(gn|group_?norm)\d*", re.IGNORECASE)


class NamedArrays(NamedTuple):
    """Arrays under torchvision's names, and how they came to them.

    dialect   the one that the names mean
    paths     our path of a layer → the file's, where the layers were found by structure
    known     whether they are those of a network
    layers    path → what the layer is, where a configuration lists the whole graph
    options   details of the network that leave no trace in the arrays, which the names mean
    """

    arrays: dict[str, Any]
    notes: list[str]
    dialect: str = "torchvision"
    paths: Mapping[str, str] = {}
    known: bool = True
    layers: Mapping[str, Layer] = {}
    options: Mapping[str, Any] = {}


def by_structure(arrays: Mapping[str, Any]) -> NamedArrays:
    """The network that the arrays' shapes show, under torchvision's names; all arrays as they are where there is none.

    Raises WeightsError where a network is found of which something has no place.
    """
    search = Search(
        {key: np.shape(array) for key, array in arrays.items()}, lambda key: np.asarray(arrays[key]).tobytes()
    )
    if not search.found:
        return NamedArrays(dict(arrays), [], known=False)
    notes: list[str] = []
    layers = getattr(arrays, "layers", {})
    network = search.network(choose(search.found, None, notes), bool(layers))
    check_norms(network, layers, says_group_norms(getattr(arrays, "metadata", {})))
    state, paths = translate(network, arrays)
    if any(ours != theirs for ours, theirs in paths.items()):
        notes.append(f"found the layers by their shapes and order, from {quoted(network.body.stem[0].path)} on")
    aside = [key for key in network.aside if np.size(arrays[key]) > 1 or not COUNTER.search(tail(key))]
    if aside:
        notes.append(f"set aside what is no part of the network: {listed(aside)}")
    if not network.norms:
        notes.append("it has no batch norms: each is the identity plus the bias of its convolution")
    options = cadene(network)
    if options:
        meant = ", ".join(f"{name}={value!r}" for name, value in options.items())
        notes.append(f"its names are those of pretrained-models.pytorch, so that {meant}")
    caffe = any(CAFFE.search(tail(norm.keys.get("weight", ""))) for norm in network.norms.values())
    return NamedArrays(state, notes, "caffe" if caffe else "torchvision", paths, options=options)


def cadene(network: Network) -> dict[str, Any]:
    """What pretrained-models.pytorch's SE-ResNets have in common, where the names are theirs: their pooling rounds up.

    Its bottlenecks downsample in the first 1×1, those of SE-ResNeXt in the 3×3, as usual.
    """
    gates = [layer for gate in network.gates.values() for layer in gate.layers]
    named = network.body.stem[0].parts[-2:-1] == ("layer0",) and all("se_module" in layer.parts for layer in gates)
    if not named or not gates:
        return {}
    branch = network.body.blocks[0].branch
    first = len(branch) == 3 and branch[1].out == branch[1].channels
    return {"pool": "ceil", **({"stride_on": "1x1"} if first else {})}


def check_norms(network: Network, layers: Mapping[str, Layer], said: bool) -> None:
    """Raise WeightsError for batch norms without statistics, and for convolutions with neither norms nor biases.

    ``said``: whether a configuration says that they are group norms, which have none.
    """
    if not network.norms and not any("bias" in conv.keys for conv in network.body.layers):
        raise WeightsError("its convolutions have neither norms nor biases, as no network of the family has them")
    bare = next((norm for norm in network.norms.values() if "mean" not in norm.keys), None)
    grouped = bare and (GROUP.search(tail(bare.path)) or getattr(layers.get(bare.path), "kind", "") == "GroupNorm")
    if bare and not grouped and not said:
        raise WeightsError(
            f"the norm {quoted(bare.path)} has no running mean and variance: batch norms of which only the parameters "
            "were saved (save state_dict()), or group norms, whose groups no array shows (save the whole model)"
        )
