"""Which images of a batch are mixed and how, drawn for a step from the seed and the step's number alone.

[M] Zhang et al. 2017, mixup, arXiv:1710.09412
[C] Yun et al. 2019, CutMix, arXiv:1905.04899
"""

from typing import NamedTuple

import numpy as np

from ..backend import Array
from ..data.mixing import Box, cut_box, cut_mix, mix_up


class Mixing(NamedTuple):
    """What is done with a batch: each image keeps ``share`` of itself, outside of the ``box`` where there is one."""

    share: float = 1.0
    box: Box | None = None

    def __call__(self, x: Array) -> Array:
        """The mixed images (n, 3, H, W)."""
        if self.share == 1:
            return x
        return cut_mix(x, self.box) if self.box else mix_up(x, self.share)


def draw_mixing(mixup: float, cutmix: float, seed: int, step: int, size: tuple[int, int]) -> Mixing:
    """The mixing of a step: λ ~ Beta(α, α) for the α of mixup or of CutMix; where both are wanted, evenly either.

    ``size`` is the images' height and width.  [M] takes λ as it is drawn; here it is the larger of λ and 1 − λ, so that
    an image's own label weighs more.  Mixing in pairs, that gives the same images and losses.
    """
    rng = np.random.default_rng([seed, 3, step])
    if cutmix and not (mixup and rng.random() < 0.5):
        box, share = cut_box(rng.beta(cutmix, cutmix), (rng.random(), rng.random()), size)
        return Mixing(share, box)
    if not mixup:
        return Mixing()
    share = float(np.random.default_rng([seed, 2, step]).beta(mixup, mixup))
    return Mixing(max(share, 1 - share))
