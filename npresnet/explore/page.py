"""The page itself: HTML, CSS and JavaScript from web/, and the numbers, in one file that asks no host for anything."""

import html
import json
import os
from pathlib import Path
from typing import Any

from .. import __version__
from ..formats.atomic import atomic_write
from ..models.classifier import Classifier
from ..printer import escaped
from .content import content

WEB = Path(__file__).parent / "web"
SCRIPTS = (
    *("numbers", "calculus", "windows", "draw", "elements", "strip", "block", "maps", "lens"),
    *("sums", "products", "transpose", "norms", "depth", "choose", "top", "main"),
)


def page(model: Classifier, image: Any, *, name: str | None = None, classes: list[int] | None = None) -> str:
    """A web page to look inside a network while it sees an image.

    image    whatever :func:`npresnet.preprocess` takes: a path, bytes, a PIL image
    name     what the page calls the image; by default the name of its file
    classes  those whose scores are followed back to the pixels; by default the two most probable

    Everything is computed by NumPy's reference ops.  The page holds it in float32 and needs no server and no network.
    Raises ValueError for a class that the model does not have, and for a model without a classifier.
    """
    values, packed = content(model, image, classes)
    name = escaped(name or name_of(image))
    values.update(image=name, version=__version__)
    parts = {
        "title": html.escape(f"Inside {values['model']}: {name}"),
        "style": (WEB / "page.css").read_text(encoding="utf-8"),
        "script": "\n".join((WEB / f"{script}.js").read_text(encoding="utf-8") for script in SCRIPTS),
        "values": as_json(values),
        "floats": packed.floats.base64(),
    }
    text = (WEB / "page.html").read_text(encoding="utf-8")
    before, *rest = text.split("{{")
    return before + "".join(parts[key] + after for key, _, after in (part.partition("}}") for part in rest))


def write_page(path: str | os.PathLike[str], model: Classifier, image: Any, **options: Any) -> Path:
    """Write :func:`page` to a file, whole or not at all; returns its path."""
    text = page(model, image, **options)
    with atomic_write(path) as file:
        file.write(text.encode("utf-8"))
    return Path(path)


def as_json(values: Any) -> str:
    """JSON that no name can end the script element of: < > and & stand as escapes."""
    text = json.dumps(values, allow_nan=False, separators=(",", ":"))
    for character in "<>&":
        text = text.replace(character, f"\\u{ord(character):04x}")
    return text


def name_of(image: Any) -> str:
    """A file's name, without its folder; "the image" for what has none."""
    return os.path.basename(os.fsdecode(image)) if isinstance(image, (str, os.PathLike)) else "the image"
