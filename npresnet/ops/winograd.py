"""3×3 convolution with fewer multiplications: Winograd's minimal filtering, F(m×m, 3×3).

An m×m tile of outputs depends on an (m+2)×(m+2) tile d of the image.  Computed directly it costs 9 m² multiplications
for each pair of channels; transformed, (m+2)²: 2.25 times fewer for m = 2, 4 times for m = 4.

[LG] Lavin & Gray 2015, Fast algorithms for convolutional neural networks, arXiv:1509.09308, §4
"""

from typing import NamedTuple

import numpy as np

from ..backend import Array, Pullback, array_namespace, namespace_for
from .check import Padding, images
from .conv import check_shapes
from .rules import op
from .total import total
from .window import Window, frame, interior


class Transforms(NamedTuple):
    """The matrices of Y = Aᵀ [(G g Gᵀ) ⊙ (Bᵀ d B)] A."""

    bt: np.ndarray
    g: np.ndarray
    at: np.ndarray


F = {  # the matrices of [LG]: §4.1 for F(2×2, 3×3), points 0, ±1, ∞; §4.3 for F(4×4, 3×3), points 0, ±1, ±2, ∞
    2: Transforms(
        bt=np.array([[1, 0, -1, 0], [0, 1, 1, 0], [0, -1, 1, 0], [0, 1, 0, -1]], float),
        g=np.array([[1, 0, 0], [1/2, 1/2, 1/2], [1/2, -1/2, 1/2], [0, 0, 1]]),
        at=np.array([[1, 1, 1, 0], [0, 1, -1, -1]], float)),
    4: Transforms(
        bt=np.array([[4, 0, -5, 0, 1, 0], [0, -4, -4, 1, 1, 0], [0, 4, -4, -1, 1, 0],
                     [0, -2, -1, 2, 1, 0], [0, 2, -1, -2, 1, 0], [0, 4, 0, -5, 0, 1]], float),
        g=np.array([[1/4, 0, 0], [-1/6, -1/6, -1/6], [-1/6, 1/6, -1/6],
                    [1/24, 1/12, 1/6], [1/24, -1/12, 1/6], [0, 0, 1]]),
        at=np.array([[1, 1, 1, 1, 1, 0], [0, 1, -1, 2, -2, 0], [0, 1, 1, 4, 4, 0], [0, 1, -1, 8, -8, 1]], float)),
}


@op
def winograd_conv2d(x: Array, w: Array, b: Array | None = None, *, padding: Padding = 1, tile: int = 4,
                    ) -> tuple[Array, Pullback]:
    """The same map as ``conv2d(x, w, b, padding=padding)`` for 3×3 filters, through m×m tiles, m = ``tile``.

    For each tile of outputs, filter f and channel c, element by element in the transformed domain:

        U = G g Gᵀ        V = Bᵀ d B        M[f] = Σ_c U[f,c] ⊙ V[c]        Y[f] = Aᵀ M[f] A + b[f]

    The sum over c, for one element and all tiles at once, is a matrix product [LG, §4.1].  Each step is linear, so
    the pullback is the transposes in reverse:

        dM = A dY Aᵀ      dU[f,c] = Σ dM[f] ⊙ V[c]      dV[c] = Σ_f U[f,c] ⊙ dM[f]      dg = Gᵀ dU G      dd = B dV Bᵀ

    and pixels seen by several tiles add up their dd.

    In float32, with images of unit variance and 64 to 512 channels, the largest error is below 1e-6 of the largest
    output for m = 2 and below 2e-5 for m = 4; it grows with the constants in Bᵀ and Aᵀ.

    Shapes: x (N, C, H, W), w (F, C, 3, 3), b (F,) or None → y (N, F, oh, ow).
    Saves: x, w, bt, g, at; U and V are computed again rather than kept.
    Raises: ValueError for filters that are not 3×3 and for tiles without transforms.
    """
    xp = namespace_for(x=x, w=w, b=b)
    images(x, "winograd_conv2d")
    if w.shape[1:] != (x.shape[1], 3, 3):
        raise ValueError(f"Winograd takes filters (F, {x.shape[1]}, 3, 3) for this x, not {w.shape}; use conv2d")
    check_shapes(x, w, b)
    if tile not in F:
        raise ValueError(f"no transforms for tiles of {tile}; use one of {', '.join(map(str, F))}")
    bt, g, at = (xp.asarray(matrix, x.dtype) for matrix in F[tile])
    window, shape = Window.of(3, padding=padding, size=x.shape[2:]), x.shape
    biased = b is not None
    oh, ow = window.output_size(shape[2:])
    th, tw = -(-oh // tile), -(-ow // tile)
    (top, _), (left, _) = window.padding
    padded = (top, th * tile + 2 - top - shape[2]), (left, tw * tile + 2 - left - shape[3])

    def transformed():
        d = tiles(frame(x, padded), th, tw, tile)                       # d  (N, C, th, tw, m+2, m+2)
        return g @ w @ g.T, bt @ d @ bt.T                                # U = G g Gᵀ,  V = Bᵀ d B

    u, v = transformed()
    m = xp.einsum("fcij,nctsij->nftsij", u, v, optimize=True)            # M = Σ_c U ⊙ V
    y = (at @ m @ at.T).swapaxes(3, 4).reshape(shape[0], len(w), th * tile, tw * tile)
    y = xp.ascontiguousarray(y[:, :, :oh, :ow])                          # Y = Aᵀ M A, tiles side by side
    if biased:
        y += b[:, None, None]
    del u, v, m

    def pullback(dy, skip=()):
        u, v = transformed()
        framed = frame(dy, ((0, th * tile - oh), (0, tw * tile - ow)))
        dy_tiles = framed.reshape(*dy.shape[:2], th, tile, tw, tile).swapaxes(3, 4)
        dm = at.T @ dy_tiles @ at                                        # dM = A dY Aᵀ
        dx = dw = None
        if "w" not in skip:
            du = xp.einsum("nftsij,nctsij->fcij", dm, v, optimize=True)  # dU = Σ dM ⊙ V
            dw = g.T @ du @ g                                            # dg = Gᵀ dU G
        if "x" not in skip:
            dv = xp.einsum("fcij,nftsij->nctsij", u, dm, optimize=True)  # dV = Σ_f U ⊙ dM
            dx = interior(_overlap_add(bt.T @ dv @ bt, tile), padded)    # dd = B dV Bᵀ
        db = total(dy, (0, 2, 3)) if biased and "b" not in skip else None
        return dx, dw, db

    return y, pullback


def tiles(x: Array, th: int, tw: int, m: int) -> Array:
    """The (m+2)×(m+2) tiles, m apart.  (N, C, H, W) → (N, C, th, tw, m+2, m+2)"""
    found = array_namespace(x).empty((*x.shape[:2], th, tw, m + 2, m + 2), x.dtype)
    for i, j in np.ndindex(m + 2, m + 2):
        found[..., i, j] = x[:, :, i:i + th * m:m, j:j + tw * m:m]
    return found


def _overlap_add(tiles, m):
    """Add every tile to its place in the image: the transpose of :func:`tiles`."""
    n, c, th, tw = tiles.shape[:4]
    x = array_namespace(tiles).zeros((n, c, th * m + 2, tw * m + 2), tiles.dtype)
    for i, j in np.ndindex(m + 2, m + 2):
        x[:, :, i:i + th * m:m, j:j + tw * m:m] += tiles[..., i, j]
    return x
