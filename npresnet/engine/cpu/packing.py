"""The weights of a convolution in the order each algorithm reads them."""

import numpy as np

from ...kernels.cpu.codegen.vector import LANES
from ...kernels.cpu.conv.pack import element_panels, elements, merged_groups, pack, round_up
from ...ops.integer_winograd import integer_transforms
from ...ops.winograd import F


def padded_bias(bias) -> np.ndarray:
    full = np.zeros(round_up(len(bias)), np.float32)
    full[: len(bias)] = bias
    return full


def direct(weight, groups, channels):
    """(F, C/G, kh, kw) -> panels for the product and band kernels, and the number of groups they see.  Of fewer than
    32 bits, several neighbours in C make an element.

    ``channels`` is the number stored in the image: C padded to whole vectors, or C itself for the net's input.  Narrow
    groups are merged until a group fills whole vectors; what does not belong together gets weight zero.
    """
    merged = merged_groups(weight.shape, groups)
    inputs = channels if merged == 1 else weight.shape[1] * groups // merged
    features = round_up(len(weight)) if merged == 1 else len(weight) // merged
    kh, kw = weight.shape[2:]
    parts = []
    for group in range(merged):
        matrix = np.zeros((kh, kw, inputs, features), weight.dtype)
        for small in range(groups // merged):
            g, f, c = group * (groups // merged) + small, len(weight) // groups, weight.shape[1]
            block = weight[g * f : (g + 1) * f].transpose(2, 3, 1, 0)
            matrix[:, :, small * c : (small + 1) * c, small * f : (small + 1) * f] = block
        matrix = matrix.reshape(-1, features)
        parts.append(pack(elements(matrix)))
    return np.concatenate(parts), merged


def in_lanes(weight):
    """(F, G, 3, 3) -> for each vector of filters its lanes, by kernel row, channel and kernel column."""
    return np.ascontiguousarray(weight.reshape(-1, LANES, *weight.shape[1:]).transpose(0, 3, 2, 4, 1), np.float32)


def transformed_words(weight, m, channels):
    """U = (D G) g (D G)' of every filter as panels of pairs of 16 bits: ((m+2)^2, C/2, F), two channels an element."""
    f, c = weight.shape[:2]
    g = integer_transforms(m).g
    u = np.zeros(((m + 2) ** 2, channels, round_up(f)), np.int16)
    u[:, :c, :f] = (g @ weight.astype(np.int32) @ g.T).reshape(f, c, -1).transpose(2, 1, 0)
    pairs = np.stack([elements(matrix) for matrix in u])
    packed, parts = element_panels(len(u), channels // 2, round_up(f))
    for first, part in parts:
        part.view(np.int32)[...] = pairs[:, :, first : first + part.shape[2]]
    return packed


def transformed(weight, m, channels):
    """U = G g G' of every filter, computed in float64, as panels: ((m+2)^2, C, F)."""
    f, c = weight.shape[:2]
    both = np.kron(F[m].g, F[m].g)  # vec(G g G') = (G ⊗ G) vec(g)
    packed, parts = element_panels(len(both), channels, round_up(f))
    for first, part in parts:
        some = weight[first : first + part.shape[2]]
        part[:, :c, : len(some)] = (both @ some.reshape(-1, 9).T).reshape(-1, len(some), c).swapaxes(1, 2)
    return packed
