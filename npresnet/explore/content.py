"""What a page shows of one image in one network, as plain values beside one run of numbers."""

import io
from base64 import b64encode
from typing import Any

import numpy as np
from PIL import Image

from ..analysis.cam import heat_maps
from ..analysis.features import one_hot
from ..analysis.overlay import seen
from ..backend import Array, use
from ..data import preprocess, preprocessing_of, read_image
from ..models.classifier import Classifier
from ..printer import escaped
from .depth import depth_norms
from .detail import BUDGET, DETAILS, images
from .pack import Packer
from .trace import Trace, blocks, norm, trace

LISTED = 10  # scores that a page lists
PHOTO = 384  # pixels of the photo's longer side


def content(model: Classifier, image: Any, classes: list[int] | None = None) -> tuple[dict[str, Any], Packer]:
    """(plain values, packed steps) for a page; ``classes`` are those whose scores are followed back."""
    image = read_image(image)
    with use("numpy"):  # the reference: the page repeats its roundings
        x = preprocess(image, model).astype(np.float32)
        model = model.astype(np.float32)
        scores = model.logits(x)[0]
        if not np.isfinite(scores).all():
            raise ValueError("the scores hold NaN or infinity: are the weights damaged?")
        followed = classes or np.argsort(-scores, kind="stable")[:2].tolist()
        run = trace(model, np.concatenate([x] * len(followed)))
        run.back(one_hot(run.steps[-1].y, followed))
        norms = depth_norms(image)
        packed = packed_within_budget(run)
    names = blocks(run)
    return {
        "model": model.spec.name,
        "photo": photo(seen(image, model)),
        "channels": preprocessing_of(model).channels,
        "scores": listed(scores, model.classes, followed),
        "followed": [class_name(model.classes, label) for label in followed],
        "blocks": [about_block(run, names, block, packed) for block in dict.fromkeys(names)],
        "steps": packed.steps,
        "cam": packed.floats.add(heat(run, names)),
        "depth": norms,
        "detail": str(packed.detail),
        "parameters": sum(parameter.value.size for parameter in model.parameters()),
    }, packed


def packed_within_budget(run: Trace) -> Packer:
    """The steps with the most detail that a page has room for."""
    names = blocks(run)
    for detail in DETAILS:
        packed = Packer(run, names, detail)
        if packed.floats.bytes <= BUDGET:
            return packed
    raise ValueError(f"{len(run.steps)} layers at this size need more than a page; give a smaller --size")


def about_block(run: Trace, names: list[str], block: str, packed: Packer) -> dict[str, Any]:
    """A block's name and output, whether its maps are stored, and how much of its sum each path brings."""
    steps = [k for k, name in enumerate(names) if name == block]
    last = run.steps[steps[-1]]
    about = {
        "name": block,
        "shape": list(images(last.y).shape[1:]),
        "stored": set(steps) <= packed.new.keys(),
        "gradient": [norm(one) for one in last.dy],
    }
    for k in steps:
        if run.steps[k].kind == "sum":
            f, s = (run.steps[i].y for i in run.steps[k].inputs)
            df, ds = run.paths_back(k)
            about["forward"] = [norm(f[0]), norm(s[0])]  # ‖F(x)‖, ‖S(x)‖
            about["backward"] = [[norm(one), norm(other)] for one, other in zip(df, ds)]  # ‖F′ᵀ dy‖, ‖S′ᵀ dy‖
    return about


def listed(scores: Array, classes: Any, followed: list[int]) -> list[dict[str, Any]]:
    """The highest scores and those followed back, with their names and probabilities, the highest first."""
    p = probabilities(scores)
    order = np.argsort(-scores, kind="stable").tolist()
    rows = order[:LISTED] + [label for label in order[LISTED:] if label in followed]
    return [
        {
            "class": label,
            "name": class_name(classes, label),
            "score": float(scores[label]),
            "probability": float(p[label]),
            "followed": followed.index(label) if label in followed else None,
        }
        for label in rows
    ]


def probabilities(scores: Array) -> Array:
    """The softmax of the scores, or the sigmoid of a single one."""
    z = scores.astype(np.float64)
    if len(z) == 1:
        return np.exp(-np.logaddexp(0, -z))
    p = np.exp(z - z.max())
    return p / p.sum()


def class_name(classes: Any, label: int) -> str:
    return escaped(classes[label]) if classes else f"class {label}"


def heat(run: Trace, names: list[str]) -> Array:
    """Grad-CAM after the last block, for each class that is followed: (K, h, w)."""
    k = max(k for k, name in enumerate(names) if name != "scores")
    return heat_maps(run.steps[k].y, run.steps[k].dy)


def photo(image: Image.Image) -> str:
    """An image, at most so large that a page needs, as a data URI."""
    small = image.convert("RGB")
    small.thumbnail((PHOTO, PHOTO))
    file = io.BytesIO()
    small.save(file, format="JPEG", quality=88)
    return "data:image/jpeg;base64," + b64encode(file.getvalue()).decode("ascii")
