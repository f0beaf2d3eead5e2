"""Reading images: whatever Pillow can decode becomes an 8-bit RGB image, or raises one clear error.

- Grey, palette, CMYK and YCbCr are converted; an alpha channel is dropped, not blended: the published weights
  were trained on images read like this (``img.convert("RGB")``).
- 16-bit grey keeps its high byte, v // 256, as Pillow does for 16-bit colour.  (Pillow's own conversion clips it.)
  A TIFF of 10 to 14 bits keeps its highest eight.  Integers whose range is not known are refused, and so is 16-bit
  grey whose values all fit into 12 bits: it would become black.
- An animation becomes its first frame.
- EXIF orientation is not applied, as in torchvision's loader, so that the numbers are equal.
  ``PIL.ImageOps.exif_transpose(image)`` turns a photo upright beforehand.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO, TypeAlias

import numpy as np
from PIL import Image, features

from ..backend import as_array
from ..formats import limits
from .errors import ImageError

StrPath: TypeAlias = str | os.PathLike[str]
ImageLike: TypeAlias = StrPath | BinaryIO | Image.Image | np.ndarray

FORMATS = (
    "JPEG",
    "PNG",
    "GIF",
    "BMP",
    "PPM",
    "WEBP",
    "TIFF",
    "JPEG2000",  # Pillow starts no other program for these
    *(["AVIF"] if "avif" in features.modules and features.check("avif") else []),
)
SIXTEEN_BITS = ("I;16", "I;16B", "I;16L", "I;16N")
BITS = 258  # TIFF's tag BitsPerSample


def example_image() -> str:
    """The path of a photo of a cat that comes with the package (CC0, see example/README.txt beside it)."""
    return str(Path(__file__).parent / "example" / "cat.jpg")


def read_image(source: ImageLike) -> Image.Image:
    """An 8-bit RGB image from a path, a binary file, a PIL image or a uint8 array (H, W[, 1, 3 or 4]).

    The array may be another library's, such as a tensor of PyTorch.

    Raises ImageError for what is not an image, for truncated images, and for those whose pixels would take far more
    memory than the file's size suggests; OSError for a path that cannot be opened or is not a regular file ("-" is
    standard input).
    """
    if isinstance(source, (str, os.PathLike)):
        if os.fspath(source) in ("", b"") or "\0" in os.fsdecode(source):
            raise ImageError(f"no image can be called {os.fspath(source)!r}")
        with limits.open_file(source) as file, explained(name_of(source)):
            return decode(file)
    with explained(name_of(source)):
        if isinstance(source, Image.Image):
            return to_rgb(source)
        array: Any = as_array(source, "the image")
        if isinstance(array, np.ndarray):
            return from_array(array).convert("RGB")
        if not hasattr(array, "read"):
            raise ImageError(
                f"{type(source).__name__} is neither path, binary file, PIL image nor uint8 array; "
                "bytes become a file with io.BytesIO(…)"
            )
        return decode(array)


def decode(file: BinaryIO) -> Image.Image:
    """Decode a binary file, if the size in its header is within bounds."""
    budget = ImageBudget(limits.size_of(file), floor=limits.IMAGE_FLOOR, per_byte=limits.IMAGE_BYTES)
    with Image.open(file, formats=FORMATS) as image:
        short, long = sorted(image.size)
        if long > limits.MAX_ASPECT_RATIO * short and long > limits.LONG_SIDE:
            raise ImageError(f"{image.width}x{image.height} pixels are too long and thin for an image")
        budget.spend(limits.PIXEL_BYTES * short * long, f"an image of {image.width}x{image.height}")
        return to_rgb(image)


class ImageBudget(limits.Budget):
    error = ImageError


def name_of(source: object) -> str:
    """The name of an image in an error."""
    if isinstance(source, (str, os.PathLike)):
        return os.fspath(source)
    return str(getattr(source, "filename", None) or getattr(source, "name", None) or "the image")


def to_rgb(image: Image.Image) -> Image.Image:
    """An image of any of Pillow's modes in mode "RGB"; an RGB image itself."""
    if image.mode in SIXTEEN_BITS or (image.mode == "I" and image.format in ("PPM", "PNG")):
        return Image.fromarray(high_byte(np.asarray(image), *bits_of(image))).convert("RGB")
    if image.mode in ("I", "F"):
        kind = "floats" if image.mode == "F" else "integers"
        raise ImageError(f"its pixels are 32-bit {kind}, whose range is not known: save it with 8 or 16 bits")
    if image.mode == "P":
        image = image.convert("RGBA")  # the same colours, without Pillow's warning about a transparent palette
    image.load()  # now, so that errors of decoding come here: convert() skips an RGB image
    return image.convert("RGB")


def bits_of(image: Image.Image) -> tuple[int, bool]:
    """(bits of a grey value: 16, or what a TIFF says; whether the file states them: a PPM does, scaled to 16)."""
    bits: Any = getattr(image, "tag_v2", {}).get(BITS, (16,))
    bits = bits[0] if isinstance(bits, tuple) else bits
    return bits, bits != 16 or image.format == "PPM"


def high_byte(values: np.ndarray, bits: int, stated: bool) -> np.ndarray:
    """The highest 8 of so many bits: 0 … 2^bits − 1 to 0 … 255."""
    if not 8 <= bits <= 16 or values.min() < 0 or values.max() >= 2**bits:
        raise ImageError(f"its pixels are integers beyond {min(bits, 16)} bits: save it with 8 or 16 bits")
    if not stated and 0 < values.max() < 4096:  # 12 bits are often stored in 16, sometimes 8
        raise ImageError(
            f"none of its 16-bit values exceeds {values.max()}, so that it would be black: scale them to "
            "0 … 65535, or save it with 8 bits"
        )
    return (values >> (bits - 8)).astype(np.uint8)


def from_array(array: np.ndarray) -> Image.Image:
    """A PIL image of a uint8 array; floats are refused, since nothing says whether they end at 1 or at 255."""
    channels = array.shape[2:]
    if array.dtype != np.uint8 or array.size == 0 or array.ndim not in (2, 3) or channels not in ((), (1,), (3,), (4,)):
        raise ImageError(
            f"an image array is uint8 and (H, W, 3), (H, W, 4), (H, W, 1) or (H, W), not {array.dtype} {array.shape}"
        )
    return Image.fromarray(np.ascontiguousarray(array[..., 0] if channels == (1,) else array))


@contextmanager
def explained(name: str) -> Iterator[None]:
    """Turn what Pillow raises for bad bytes, which may be of any type, into an ImageError that names the image."""
    try:
        yield
    except Image.UnidentifiedImageError:
        raise ImageError(f"{name}: not an image (readable are {', '.join(FORMATS)})") from None
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise ImageError(f"{name}: too many pixels, refused as a decompression bomb ({error})") from None
    except MemoryError:
        raise ImageError(f"{name}: too large for this machine's memory") from None
    except ImageError as error:
        raise ImageError(f"{name}: {error}") from None
    except Exception as error:
        raise ImageError(f"{name}: broken or truncated image ({error or type(error).__name__})") from error
