"""Show where in an image a network finds the evidence for a class (Grad-CAM).

Writes the part of the image that the network sees, at the image's own resolution, overlaid with a map that is light
where the features after a layer raise the class's score.  The class is the most probable one, or the one of --class.
"""

import argparse
import io
from typing import Any

from ..printer import say, say_json
from .arguments import (
    add_backend_argument,
    add_classes_argument,
    add_model_arguments,
    assume_classes,
    backend_context,
    on_backend,
    open_model,
)
from .inference import check_choice
from .output import add_force_argument, check_output

EXAMPLES = """examples:
  npresnet cam cat.jpg --weights resnet50-11ad3fa6.pth --out cam.png
  npresnet cam cat.jpg --weights resnet50-11ad3fa6.pth --out dog.png --class "golden retriever" --after layer3"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("image", metavar="IMAGE", help="an image file in any common format")
    parser.add_argument("--out", required=True, metavar="FILE", help="the image to write: .png, .jpg or .webp")
    add_model_arguments(parser)
    add_classes_argument(parser)
    parser.add_argument(
        "--class", dest="label", metavar="NAME", help="a class, by its name or number (default: the most probable one)"
    )
    parser.add_argument("--after", metavar="LAYER", help="the layer whose output is used (default: the last stage)")
    add_backend_argument(parser)
    add_force_argument(parser)
    parser.add_argument("--json", action="store_true", help="print one JSON object instead of text")


def run(args: argparse.Namespace) -> int:
    from ..analysis.cam import grad_cam, last_stage
    from ..analysis.overlay import overlay, seen
    from ..backend import to_device
    from ..data import preprocess
    from ..zoo import shipped

    kind = format_of(args.out)
    check_output(args.out, args.image, args.weights or shipped(), force=args.force)
    model, about = open_model(args.model, args.weights, args.select, args.classes)
    assume_classes(model)
    check_choice(model)
    x, after = preprocess(args.image, model), args.after or last_stage(model)
    with backend_context(args.backend):
        there, x = on_backend(args.backend, model, x)
        scores = to_device(there.logits(x)[0], "cpu")
        label = class_of(args.label, model) if args.label else int(scores.argmax())
        heat = to_device(grad_cam(there, x, [label], after=after)[0], "cpu")
    guess = probability(scores, label)
    write(overlay(seen(args.image, model), heat), args.out, kind)
    name = model.classes[label] if model.classes else None
    report = {
        **about,
        "image": args.image,
        "out": args.out,
        "after": after,
        "class": label,
        "name": name,
        "probability": guess,
    }
    if args.json:
        say_json(report)
    else:
        say(f"{args.out}: the evidence after {after} for {name or f'class {label}'} ({100 * guess:.2f} %)")
    return 0


def format_of(path: str) -> str:
    """Pillow's name for the format of a file with this suffix."""
    formats = {".png": "PNG", ".jpg": "JPEG", ".jpeg": "JPEG", ".webp": "WEBP"}
    suffix = path[path.rfind(".") :].lower()
    if suffix not in formats:
        raise ValueError(f"{path}: the image to write is called .png, .jpg or .webp")
    return formats[suffix]


def class_of(label: str, model: Any) -> int:
    """The number of a class that is given by its name or, where no class is called that, by its number."""
    from ..data.labels import simplified

    known = [simplified(name) for name in model.classes or ()]
    if simplified(label) not in known and len(label) < 10 and label.isdecimal() and int(label) < model.spec.num_classes:
        return int(label)
    if known.count(simplified(label)) != 1:
        names = "class names" if known else "class names (the file holds none)"
        raise ValueError(
            f"no class {label!r}: give one of the model's {names}, or a number below {model.spec.num_classes}"
        )
    return known.index(simplified(label))


def probability(scores: Any, label: int) -> float:
    """The softmax of the scores (K,) at class ``label``."""
    import numpy as np

    from ..ops import softmax

    return float(softmax(scores[None].astype(np.float64))[0][0, label])


def write(image: Any, path: str, kind: str) -> None:
    """Write an image of Pillow's to a file, whole or not at all."""
    from ..formats.atomic import atomic_write

    content = io.BytesIO()  # Pillow does not report a full disk
    image.save(content, format=kind)
    with atomic_write(path) as file:
        file.write(content.getbuffer())
