"""Images on their way through a network: read in threads ahead of their use, in batches, in order."""

import argparse
import os
from collections.abc import Callable, Iterator
from itertools import islice
from typing import Any, NamedTuple

from ..printer import note
from . import complain, one_line
from .arguments import add_alias, add_size_argument, positive

DEPTH = 16  # images that are read in advance


class Prepared(NamedTuple):
    """An image as the network takes it (C, H, W), or the reason why it cannot be read."""

    name: str
    x: Any = None
    more: Any = None  # what else ``load`` made of it
    error: str | None = None


def add_image_arguments(parser: Any) -> None:
    """The images, and how they are read."""
    parser.add_argument(
        "images",
        nargs="*",
        metavar="IMAGE",
        help="an image file; a folder, with all in it; a zip; a quoted pattern, such as 'photos/*.jpg'; "
        "or - for standard input: one image, or names of files, one a line",
    )
    parser.add_argument("--example", action="store_true", help="the photo of a cat that comes with npresnet")
    add_stream_arguments(parser)


def named_images(args: argparse.Namespace) -> list[str]:
    """The images of the command line.  Raises ValueError where there are none."""
    from ..data import example_image

    args.images += [example_image()] * args.example
    args.example = False
    if not args.images:
        raise ValueError("name an image or a folder of images (IMAGE), or try --example")
    return args.images


def add_stream_arguments(parser: Any) -> None:
    """--limit, --size, --batch, --workers."""
    parser.add_argument("--limit", type=positive, metavar="N", help="only the first N images")
    add_size_argument(parser, "the side of the square that the network sees, such as 224")
    add_batch_argument(parser)
    parser.add_argument(
        "--workers", type=positive, metavar="N", help="threads that read images (default: one a core, at most 4)"
    )


def add_batch_argument(parser: Any) -> None:
    """--batch."""
    option = parser.add_argument(
        "--batch", type=positive, metavar="N", help="images in a batch (default: what suits the network)"
    )
    add_alias(parser, "--batch-size", option)


def set_size(model: Any, size: tuple[int, int] | None) -> None:
    """Let the model's preprocessing crop to a square of ``size``, and resize in proportion.

    Raises ValueError for another shape, and where it does not fit the model.
    """
    from dataclasses import replace

    from ..data import preprocessing_of
    from ..data.preprocessing import check_channels

    check_channels(preprocessing_of(model), model)
    if size:
        side = size[0]
        if size[1] != side:
            raise ValueError(f"--size {side}x{size[1]}: images are cropped to a square; give one side")
        old = preprocessing_of(model)
        ratio = (old.resize or side) / (old.crop or old.resize or side)
        model.preprocessing = replace(old, crop=side, resize=round(side * ratio))


class Stream:
    """The images that a command was given, through :class:`Network`: iterate over (image, its row).

    What cannot be read is reported in a line each, and ``status`` is 2 then.  ``load(source)`` gives (x, more) instead
    of (preprocessed, None).
    """

    def __init__(
        self, args: argparse.Namespace, load: Callable[[Any, Any], tuple[Any, Any]] | None = None, ranks: Any = None
    ):
        from ..data.image_source import ImageSource
        from ..data.share import portion

        self.source, self.args, self.load = ImageSource(named_images(args)), args, load or preprocessed
        count = self.source.count if self.source.count is None else min(self.source.count, args.limit or 2**62)
        self.count, self.own, self.messages = count, slice(0, count), list[str]()
        if ranks is not None and ranks.size > 1:
            if count is None:
                raise ValueError("standard input goes to one rank alone: name the images, or run one process")
            self.own = portion(count, ranks.rank, ranks.size)
            self.count = self.own.stop - self.own.start
        self.workers = args.workers or min(4, os.cpu_count() or 1)
        self.status = self.done = self.unreadable = 0
        note(*self.source.notes)

    def through(self, network: Any, model: Any) -> Iterator[tuple[Prepared, Any]]:
        """Each image that can be read, with the network's row for it, in order; in the end how many cannot be read."""
        for part in batches(self.readable(model), lambda x: network.batch(x, self.args.batch)):
            yield from zip(part, network(stacked(part)))
        if not self.done and self.count is None:
            self.fail("standard input holds no image and names none")
        elif self.unreadable and self.done > 1:
            note(f"{self.unreadable:,} of {self.done:,} images cannot be read")

    def readable(self, model: Any) -> Iterator[Prepared]:
        """The images, read by threads; errors are reported here."""
        from ..data.prefetch import prefetch

        def prepared(item):
            try:
                return Prepared(item.name, *self.load(item.open(), model))
            except (ValueError, OSError, MemoryError) as error:
                return Prepared(item.name, error=reason(error, item.name))

        items = islice(self.source, self.own.start, self.args.limit if self.own.stop is None else self.own.stop)
        for image in prefetch(prepared, items, self.workers, max(DEPTH, 2 * (self.args.batch or 0))):
            self.done += 1
            if image.error:
                self.unreadable += 1
                self.fail(image.error)
            else:
                yield image

    def known_names(self) -> list[str]:
        """The names of the images, or none where only standard input will tell."""
        return [] if self.count is None else [item.name for item in islice(self.source, self.args.limit)]

    def inputs(self) -> list[str | None]:
        """The files that the command reads, which it must not replace."""
        return [*self.known_names(), *(path for path in self.args.images if os.path.isfile(path)), self.args.weights]

    def fail(self, message: str) -> None:
        """Report an image that has no result."""
        self.status = complain(message, 2)
        self.messages.append(message)

    def gather_status(self, ranks: Any) -> int:
        """The exit status of all ranks; rank 0 reports what failed on the others."""
        found = ranks.all_gather((self.status, self.messages))
        for _, messages in found[1:]:
            note(*(f"npresnet: {message}" for message in messages))
        return max(status for status, _ in found)


def reason(error: BaseException, *names: str) -> str:
    """An error in one line that begins with one of ``names``, else with the first."""
    text = one_line(error)
    return text if text.startswith(names) else f"{names[0]}: {text}"


def preprocessed(source: Any, model: Any) -> tuple[Any, Any]:
    """The network's input, and nothing more."""
    from ..data import preprocess

    return preprocess(source, model)[0], None


def batches(images: Iterator[Prepared], size: Callable[[Any], int]) -> Iterator[list[Prepared]]:
    """Images of one shape in lists of at most ``size(x)``, in order."""
    part: list[Prepared] = []
    for image in images:
        if part and image.x.shape != part[0].x.shape:
            yield part
            part = []
        part.append(image)
        if len(part) >= size(image.x):
            yield part
            part = []
    if part:
        yield part


def stacked(part: list[Prepared]) -> Any:
    """The inputs of a batch, (N, C, H, W)."""
    import numpy as np

    return np.stack([image.x for image in part])
