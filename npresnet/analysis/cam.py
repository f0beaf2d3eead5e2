"""Where in an image the evidence for a class is: heat maps from gradients and by covering parts of it.

[GC] Selvaraju et al. 2017, Grad-CAM, arXiv:1610.02391
[SV] Simonyan et al. 2014, Deep inside convolutional networks, arXiv:1312.6034
[ZF] Zeiler & Fergus 2014, Visualizing and understanding convolutional networks, arXiv:1311.2901
"""

from collections.abc import Callable
from typing import Any

import numpy as np

from ..backend import Array, array_namespace, as_array
from ..models.registry import count
from ..nn import Chain, Module, Sequential
from ..nn.module import needs_module
from .features import feature_gradients, one_hot, tapped


def grad_cam(model: Module, x: Array, classes: Any, after: str | None = None) -> Array:
    """Heat maps of where the features after a layer (None: the last stage) argue for a class.

        α_k = mean_{i,j} ∂s_c/∂A_k[i,j]          L = max(0, Σ_k α_k A_k)                    [GC] Eq. 1, 2

    Of a layer that runs several times, as a block's ``relu``, it is the last run, as with a hook in PyTorch.

    Shapes: x (N, 3, H, W), classes (N,) → (N, h, w), the size of A; ``resized`` brings it to the image's.
    Raises ValueError for a class or layer that the model does not have, TypeError for anything but a model.

        >>> import numpy as np, npresnet
        >>> model = npresnet.create_model("resnet20")
        >>> npresnet.grad_cam(model, np.zeros((2, 3, 32, 32), np.float32), [3, 5]).shape
        (2, 8, 8)
    """
    needs_module(model, "grad_cam")
    after = last_stage(model) if after is None else after
    if not isinstance(after, str):
        raise ValueError(f"Grad-CAM reads the output of one layer, given by its name, not {after!r}")
    values, grads = feature_gradients(model, x, after, classes)
    a, da = (list(calls.values())[-1] for calls in (values, grads))
    if a.ndim != 4:
        raise ValueError(f"Grad-CAM needs feature maps; {after} gives {a.shape}")
    return heat_maps(a, da)


def heat_maps(a: Array, da: Array) -> Array:
    """Grad-CAM's maps from features and the score's gradients there.

    Shapes: a, da (N, K, h, w) → (N, h, w).
    """
    alpha = da.mean(axis=(2, 3))  # α  (N, K)
    return array_namespace(a).maximum((alpha[:, :, None, None] * a).sum(axis=1), 0)


def head_after(model: Module, after: str) -> Module | None:
    """A copy of what follows the layer on the way to the scores, nothing of it trainable.

    None for a layer inside another, such as layer1.0, or one that the scores do not need.
    """
    chain = model.scoring().layers() if isinstance(model, Chain) else ()
    layer = model.children().get(after)
    places = [k for k, part in enumerate(chain) if part is layer]
    if layer is None or not places:
        return None
    head = Sequential(*chain[places[-1] + 1 :]).copy()
    for parameter in head.parameters():
        parameter.trainable = False
    return head


def grad_cam_of(a: Array, head: Module, choose: Callable[[Array], Any]) -> tuple[Array, Array, Any]:
    """(heat maps, scores, classes): Grad-CAM from the features alone, for the classes ``choose(scores)``.

    ``head`` is what makes scores of the features, see :func:`head_after`.
    Shapes: a (N, K, h, w) → (N, h, w), (N, classes), (N,).
    """
    scores, pullback = head.vjp(a)
    classes = choose(scores)
    return heat_maps(a, pullback(one_hot(scores, classes))), scores, classes


def last_stage(model: Module) -> str:
    """The name of the last stage: layer4, or layer3 of a CIFAR net."""
    stages = [name for name in model.children() if name.startswith("layer")]
    if not stages:
        raise ValueError(f"a {type(model).__name__} has no stages: name the layer whose output to read, after=NAME")
    return max(stages)


def saliency(model: Module, x: Array, classes: Any) -> Array:
    """|∂s_c/∂x|, the largest over the channels: how much a pixel moves the score.           [SV] §3.1

    Shapes: x (N, C, H, W), classes (N,) → (N, H, W).
    """
    copy, _ = tapped(model, [])
    scores, pullback = copy.logits_vjp(x)
    return abs(pullback(one_hot(scores, classes))).max(axis=1)


def occlusion(
    model: Module, x: Array, classes: Any, *, patch: int = 32, stride: int = 16, fill: float = 0.0, batch: int = 32
) -> Array:
    """How much of the score a grey patch takes away, wherever it is put.                    [ZF] §4.2

    Shapes: x (N, C, H, W), classes (N,) → (N, ⌈H/stride⌉, ⌈W/stride⌉), positive where the patch hurts.
    Raises ValueError for other shapes, a class that the model does not have, or a patch or stride below 1.
    """
    x = as_array(x)
    if getattr(x, "ndim", 0) != 4 or np.shape(classes) != x.shape[:1]:
        raise ValueError(f"images are (N, C, H, W), with one class for each: not {np.shape(x)} and {np.shape(classes)}")
    patch, stride, batch = (
        count(name, value) for name, value in (("patch", patch), ("stride", stride), ("batch", batch))
    )
    xp = array_namespace(x)
    n, _, h, w = x.shape
    corners = [(top, left) for top in range(0, h, stride) for left in range(0, w, stride)]
    drops = []
    for image, label in zip(x, classes):
        score = model.logits(image[None])
        one_hot(score, [label])  # refuses a class that the model does not have
        for start in range(0, len(corners), batch):
            part = corners[start : start + batch]
            covered = xp.stack([image] * len(part))
            for one, (top, left) in zip(covered, part):
                one[:, top : top + patch, left : left + patch] = fill
            drops.append(score[0, label] - model.logits(covered)[:, label])
    return xp.concatenate(drops).reshape(n, -(-h // stride), -(-w // stride))


def resized(heat: Any, size: tuple[int, int]) -> Array:
    """Heat maps (N, h, w) as float32 in [0, 1] of the given (H, W), bilinear, to be laid over the image."""
    from PIL import Image

    heat = np.asarray(heat, np.float32)
    if heat.ndim != 3 or not np.isfinite(heat).all():
        raise ValueError(
            f"heat maps are finite and (N, h, w), not of shape {heat.shape}"
            if heat.ndim != 3
            else "a heat map holds NaN or infinity: are the weights damaged?"
        )
    heat = heat / np.maximum(heat.max(axis=(1, 2), keepdims=True), 1e-12)
    maps = (Image.fromarray(one).resize((size[1], size[0]), Image.Resampling.BILINEAR) for one in heat)
    return np.stack([np.asarray(image) for image in maps])
