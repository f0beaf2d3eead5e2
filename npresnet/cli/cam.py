"""Show where in an image the evidence for a class is.

Writes the part of the image that the network sees, at the image's own resolution, with the evidence over it: light
where the features after a layer argue for the class (Grad-CAM).  The class is the most probable one or one you name.
"""

import io

from ..printer import say, say_json
from .arguments import add_model_arguments, open_model
from .backends import add_backend_argument, computing, placed
from .inference import check_choice
from .output import add_force_argument, check_output

EXAMPLES = """examples:
  npresnet cam cat.jpg --weights resnet50-11ad3fa6.pth --out cam.png
  npresnet cam cat.jpg --weights resnet50-11ad3fa6.pth --out dog.png --class "golden retriever" --after layer3"""


def add_arguments(parser):
    parser.add_argument("image", metavar="IMAGE", help="an image in any common format")
    parser.add_argument("--out", required=True, metavar="FILE", help="the image to write: .png, .jpg or .webp")
    add_model_arguments(parser)
    parser.add_argument("--class", dest="label", metavar="NAME", help="a class by name or number (default: the best)")
    parser.add_argument("--after", metavar="LAYER", help="the layer whose features are asked (default: the last stage)")
    add_backend_argument(parser)
    add_force_argument(parser)
    parser.add_argument("--json", action="store_true", help="print one JSON object instead of text")


def run(args) -> int:
    from ..analysis.cam import grad_cam, last_stage
    from ..analysis.overlay import overlay, seen
    from ..backend import to_device
    from ..data import preprocess
    from ..zoo import shipped
    kind = format_of(args.out)
    check_output(args.out, args.image, args.weights or shipped(), force=args.force)
    model, about = open_model(args.model, args.weights)
    check_choice(model)
    x, after = preprocess(args.image, model), args.after or last_stage(model)
    with computing(args.backend):
        there, x = placed(args.backend, model, x)
        scores = to_device(there.logits(x)[0], "cpu")
        label = class_of(args.label, model) if args.label else int(scores.argmax())
        heat = to_device(grad_cam(there, x, [label], after=after)[0], "cpu")
    guess = probability(scores, label)
    write(overlay(seen(args.image, model), heat), args.out, kind)
    name = model.classes[label] if model.classes else None
    report = {**about, "image": args.image, "out": args.out, "after": after, "class": label, "name": name,
              "probability": guess}
    if args.json:
        say_json(report)
    else:
        say(f"{args.out}: the evidence after {after} for {name or f'class {label}'} ({100 * guess:.2f} %)")
    return 0


def format_of(path):
    """Pillow's name for the format that a file's name asks for."""
    formats = {".png": "PNG", ".jpg": "JPEG", ".jpeg": "JPEG", ".webp": "WEBP"}
    suffix = path[path.rfind("."):].lower()
    if suffix not in formats:
        raise ValueError(f"{path}: the image to write is called .png, .jpg or .webp")
    return formats[suffix]


def class_of(label, model):
    """The number of a class given by its name or, where none is called so, by its number."""
    from ..data.labels import simplified
    known = [simplified(name) for name in model.classes or ()]
    if simplified(label) not in known and len(label) < 10 and label.isdecimal() and int(label) < model.spec.num_classes:
        return int(label)
    if known.count(simplified(label)) != 1:
        names = "class names" if known else "class names (the file holds none)"
        raise ValueError(f"no class {label!r}: give one of the model's {names}, or a number below "
                         f"{model.spec.num_classes}")
    return known.index(simplified(label))


def probability(scores, label):
    import numpy as np

    from ..ops import softmax
    return float(softmax(scores[None].astype(np.float64))[0][0, label])


def write(image, path, kind):
    from ..formats.atomic import replacing
    content = io.BytesIO()                                           # Pillow does not say that a disk is full
    image.save(content, format=kind)
    with replacing(path) as file:
        file.write(content.getbuffer())
