"""How large the gradient is after each block of a plain and of a residual network that are as deep, before training."""

from typing import Any

import numpy as np

from .. import ops
from ..backend import Array
from ..data import preprocess
from ..nn import Chain
from ..zoo import create_model
from .trace import blocks, norm, trace

DEPTHS = (20, 56)
SEED = 0


def depth_norms(image: Any) -> dict[str, dict[str, list[float]]]:
    """{depth: {"plain": norms, "residual": norms}}: :func:`gradient_norms` for an image, weights drawn with SEED.

    The batch is the image and its mirror image: batch norms take their statistics from it, as in training.
    """
    found: dict[str, dict[str, list[float]]] = {}
    for depth in DEPTHS:
        for kind, name in (("plain", "plain"), ("residual", "resnet")):
            model = create_model(f"{name}{depth}", seed=SEED).train()
            x = preprocess(image, model)
            found.setdefault(str(depth), {})[kind] = gradient_norms(model, np.concatenate([x, x[..., ::-1]]))
    return found


def gradient_norms(model: Chain, x: Array) -> list[float]:
    """‖∂loss/∂y‖ for the output y of the stem and of each block.

    The loss is the cross-entropy with class 0; drawn weights prefer none.
    """
    run = trace(model, x)
    labels = np.zeros(len(x), np.int64)
    run.back(ops.softmax_cross_entropy(run.steps[-1].y, labels)[1]())
    last = dict(zip(blocks(run), run.steps))  # of several steps in a block the last one stays
    return [norm(step.dy) for block, step in last.items() if block not in ("image", "scores")]
