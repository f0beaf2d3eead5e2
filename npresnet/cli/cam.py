"""Show where in an image a network finds the evidence for a class (Grad-CAM).

Writes the part of the image that the network sees, at the image's own resolution, overlaid with a map that is light
where the features after a layer raise the class's score.  The class is the most probable one, or the one of --class.

Of several images, --out names a folder: each map is called after its image, cat.png, then cat-2.png for the next image
of that name.  None replaces a file without --force.
"""

import argparse
import io
import os
from collections.abc import Iterator
from functools import partial
from typing import Any

from .arguments import add_backend_argument, add_classes_argument, add_model_arguments, assume_classes, open_model
from .explain import explainer_of
from .inference import check_choice, probabilities
from .output import add_force_argument, check_output
from .results import Result, add_format_arguments, results, shown
from .stream import Stream, add_image_arguments, reason, set_size

EXAMPLES = """examples:
  npresnet cam cat.jpg --weights resnet50-11ad3fa6.pth --out cam.png
  npresnet cam cat.jpg --weights resnet50-11ad3fa6.pth --out dog.png --class "golden retriever" --after layer3
  npresnet cam photos/ --weights resnet50-11ad3fa6.pth --out maps/"""

COLUMNS = ("image", "out", "class", "name", "probability")
FORMATS = {".png": "PNG", ".jpg": "JPEG", ".jpeg": "JPEG", ".webp": "WEBP"}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_image_arguments(parser)
    parser.add_argument(
        "--out", required=True, metavar="PATH", help="the image to write: .png, .jpg or .webp; or a folder"
    )
    add_model_arguments(parser)
    add_classes_argument(parser)
    parser.add_argument(
        "--class", dest="label", metavar="NAME", help="a class, by its name or number (default: the most probable one)"
    )
    parser.add_argument("--after", metavar="LAYER", help="the layer whose output is used (default: the last stage)")
    add_backend_argument(parser)
    add_force_argument(parser)
    add_format_arguments(parser)


def run(args: argparse.Namespace) -> int:
    from ..analysis.cam import last_stage
    from ..data.prefetch import prefetch

    targets = Targets(args)
    stream = Stream(args, load)
    targets.check(stream)
    model, about = open_model(args.model, args.weights, args.select, args.classes)
    assume_classes(model)
    check_choice(model)
    set_size(model, args.size)
    after = args.after or last_stage(model)
    label = class_of(args.label, model) if args.label else None
    explainer = explainer_of(model, after, label, args.backend, stream.count)
    about = {**about, "after": after}
    printed = argparse.Namespace(**{**vars(args), "out": None})
    how = (lambda result: as_lines(result, after)), COLUMNS, lambda result: [list(result.values())]
    finish = (
        (lambda kept: {**about, "images": kept})
        if targets.folder
        else lambda kept: {**about, **kept[0]} if kept else {}
    )
    explained = ((targets.next(image.name), image, row) for image, row in stream.through(explainer, model))
    with results(printed, *how, finish) as written, shown(printed, "explaining", stream.count) as show:
        for result in prefetch(partial(drawn, targets, model), explained, stream.workers):
            if isinstance(result, str):
                stream.fail(result)
            else:
                written.add(result)
            show(stream.done)
    return stream.status


class Targets:
    """Which file each map is written to: --out itself, or one in the folder --out, called after the image."""

    def __init__(self, args: argparse.Namespace):
        self.out, self.args, self.used = args.out, args, set()
        self.folder = os.path.isdir(args.out) or not os.path.basename(args.out) or not os.path.splitext(args.out)[1]
        self.kind = "PNG" if self.folder else format_of(args.out)

    def check(self, stream: Stream) -> None:
        """Raise, before any work, where a map cannot or must not be written."""
        from ..zoo import shipped

        inputs = *stream.inputs(), shipped()
        if not self.folder:
            if (stream.count or 1) > 1:
                raise ValueError(
                    f"{self.out} is one file for {stream.count} images: give a folder, such as --out maps/"
                )
            return check_output(self.out, *inputs, force=self.args.force)
        if not os.path.isdir(self.out):
            return check_output(self.out.rstrip("/"), *inputs)
        for name in stream.known_names():
            check_output(self.path(name), *inputs, force=self.args.force)
        self.used.clear()

    def next(self, name: str) -> str:
        """The file for the map of an image; its folder exists then."""
        if self.folder:
            os.makedirs(self.out, exist_ok=True)
        return self.path(name)

    def path(self, name: str) -> str:
        """A path that no image before had."""
        if not self.folder:
            return self.out
        stem = os.path.splitext(os.path.basename(name))[0] if name != "-" else "standard-input"
        path, number = os.path.join(self.out, f"{stem}.png"), 1
        while path in self.used:
            number += 1
            path = os.path.join(self.out, f"{stem}-{number}.png")
        self.used.add(path)
        return path


def load(source: Any, model: Any) -> tuple[Any, Any]:
    """The network's input, and the part of the image that it shows."""
    from ..analysis.overlay import seen
    from ..data import preprocess, read_image

    image = read_image(source)
    return preprocess(image, model)[0], seen(image, model)


def drawn(targets: Targets, model: Any, explained: tuple[str, Any, tuple[Any, ...]]) -> Result | str:
    """Write one map; returns what was found, or why nothing could be written."""
    from ..analysis.overlay import overlay

    path, image, (heat, scores, label) = explained
    try:
        check_output(path, image.name, force=targets.args.force)
        write(overlay(image.more, heat), path, targets.kind)
    except (ValueError, OSError, MemoryError) as error:
        return reason(error, image.name, path)
    return {
        "image": image.name,
        "out": path,
        "class": int(label),
        "name": model.classes[label] if model.classes else None,
        "probability": float(probabilities(scores)[label]),
    }


def as_lines(result: Result, after: str) -> Iterator[str]:
    """What was written, as text."""
    shown_class = result["name"] or f"class {result['class']}"
    yield f"{result['out']}: the evidence after {after} for {shown_class} ({100 * result['probability']:.2f} %)"


def format_of(path: str) -> str:
    """Pillow's name for the format of a file with this suffix."""
    suffix = path[path.rfind(".") :].lower()
    if suffix not in FORMATS:
        raise ValueError(f"{path}: the image to write is called .png, .jpg or .webp")
    return FORMATS[suffix]


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


def write(image: Any, path: str, kind: str) -> None:
    """Write an image of Pillow's to a file, whole or not at all."""
    from ..formats.atomic import atomic_write

    content = io.BytesIO()  # Pillow does not report a full disk
    image.save(content, format=kind)
    with atomic_write(path) as file:
        file.write(content.getbuffer())
