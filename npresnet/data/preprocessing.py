"""Preprocessing, from an image to a network's input: resize, crop, scale, normalise.

Every published checkpoint was trained with one, and another costs accuracy without any error.  The steps below equal
torchvision's transforms on PIL images bit for bit: divisions stay divisions (multiplying by a reciprocal, or folding
the two into one affine map, rounds differently) and Pillow resizes.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, cast

import numpy as np
from PIL import Image

from ..backend import Array
from .errors import ImageError
from .images import ImageLike, explained, name_of, read_image

INTERPOLATIONS = {
    "nearest": Image.Resampling.NEAREST,
    "bilinear": Image.Resampling.BILINEAR,
    "bicubic": Image.Resampling.BICUBIC,
}
SCALES: dict[str, Callable[[Array], Array]] = {
    "unit": lambda x: x / np.float32(255),  # [0, 1]
    "caffe": lambda x: x,  # [0, 255]
    "tf": lambda x: x / np.float32(127.5) - np.float32(1),  # [−1, 1]
}
IMAGENET_MEAN, IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
MAX_PIXELS = 1 << 27  # of a resized image: one of 1 by a million pixels would grow without bound


@dataclass(frozen=True)
class Preprocessing:
    """x = (scale(crop(resize(image))) − mean) / std,  the channels in the order ``channels``.

    resize         the shorter side after resizing (the longer keeps the ratio, rounded down), or None
    crop           the side of the central square, or None for the whole image
    mean, std      one number for each channel, in the order ``channels``, applied after ``scale``; a single number
                   makes grey images (BT.601 luma) of one channel
    scale          "unit": v / 255;  "caffe": v as it is;  "tf": v / 127.5 − 1
    interpolation  "bilinear", "bicubic" or "nearest", as Pillow computes them (antialiased when shrinking)

    Raises ValueError for other values.
    """

    resize: int | None = 256
    crop: int | None = 224
    mean: tuple[float, ...] = IMAGENET_MEAN
    std: tuple[float, ...] = IMAGENET_STD
    channels: str = "RGB"
    scale: str = "unit"
    interpolation: str = "bilinear"

    def __post_init__(self):
        for name in ("mean", "std"):
            try:
                object.__setattr__(self, name, tuple(map(float, getattr(self, name))))  # lists come from JSON
            except (TypeError, ValueError):
                raise ValueError(
                    f"{name} is one number for each channel, such as (0.5, 0.5, 0.5): not {getattr(self, name)!r}"
                ) from None
        if len(self.mean) not in (1, 3) or len(self.std) != len(self.mean) or not all(self.std):
            raise ValueError(
                "mean and std are three numbers each, or one for grey images, and no std is 0: "
                f"not {self.mean} and {self.std}"
            )
        if not np.isfinite(self.mean + self.std).all():
            raise ValueError(f"mean and std are finite numbers: not {self.mean} and {self.std}")
        if any(side is not None and (type(side) is not int or side < 1) for side in (self.resize, self.crop)):
            raise ValueError(f"resize and crop are None or count pixels: not {self.resize!r} and {self.crop!r}")
        for name, allowed in (("scale", SCALES), ("interpolation", INTERPOLATIONS), ("channels", ("RGB", "BGR"))):
            if getattr(self, name) not in tuple(allowed):
                raise ValueError(f"{name} is one of {', '.join(allowed)}, not {getattr(self, name)!r}")

    def __call__(self, source: ImageLike) -> Array:
        """One image (whatever :func:`read_image` takes) as float32 (3, H, W), or (1, H, W) with a single mean."""
        image = read_image(source)
        if len(self.mean) == 1:
            image = image.convert("L")
        with explained(name_of(source)):
            pixels = np.atleast_3d(np.asarray(center_crop(self.resized(image), self.crop)))  # (H, W, 3 or 1) uint8
        if self.channels == "BGR":
            pixels = pixels[:, :, ::-1]
        x = SCALES[self.scale](pixels.astype(np.float32))
        x = (x - np.asarray(self.mean, np.float32)) / np.asarray(self.std, np.float32)
        return np.ascontiguousarray(x.transpose(2, 0, 1))

    def resized(self, image: Image.Image) -> Image.Image:
        """The image with its shorter side ``resize``, its longer int(resize · long / short)."""
        size = self.resized_size(image)
        return image if size is None else image.resize(size, INTERPOLATIONS[self.interpolation])

    def resized_size(self, image: Image.Image) -> tuple[int, int] | None:
        """(width, height) after resizing, None where there is nothing to resize.  Raises ImageError."""
        if self.resize is None:
            return None
        short, long = sorted(image.size)
        other = int(self.resize * long / short)
        if self.resize * other > MAX_PIXELS:
            raise ImageError(f"an image of {image.width}x{image.height} is too long and thin to resize")
        return (self.resize, other) if image.width <= image.height else (other, self.resize)


def center_crop(image: Image.Image, side: int | None) -> Image.Image:
    """The central square, starting at round((H − side) / 2), halves rounded to even as in torchvision."""
    if side is None:
        return image
    if min(image.size) < side:
        raise ImageError(f"an image of {image.width}x{image.height} is smaller than the crop of {side}x{side}")
    left, top = (round((length - side) / 2.0) for length in image.size)
    return image.crop((left, top, left + side, top + side))


PRESETS = {
    "imagenet-v1": Preprocessing(256, 224),  # torchvision's V1 weights, and the papers'
    "imagenet-v2": Preprocessing(232, 224),  # torchvision's V2 weights and resnext101_64x4d
    "cifar10": Preprocessing(32, 32),  # the public CIFAR checkpoints, which keep ImageNet's mean and std
    "caffe": Preprocessing(256, 224, mean=(103.939, 116.779, 123.68), std=(1, 1, 1), channels="BGR", scale="caffe"),
    "tf": Preprocessing(256, 224, mean=(0, 0, 0), std=(1, 1, 1), scale="tf"),  # Keras's V2 nets
    "timm": Preprocessing(235, 224, interpolation="bicubic"),  # crop_pct 0.95, as most of timm's ResNets
    "huggingface": Preprocessing(256, 224, interpolation="bicubic"),  # crop_pct 0.875, as microsoft/resnet-50
}


def preprocessing_of(model_or_preset: object) -> Preprocessing:
    """The preprocessing of a model (its attribute ``preprocessing``), of a preset's name or of a dict of fields.

    Raises ValueError where there is none.
    """
    found = getattr(model_or_preset, "preprocessing", model_or_preset)
    if isinstance(found, Preprocessing):
        return found
    if isinstance(found, dict):
        return from_fields(found)
    if isinstance(found, str) and found in PRESETS:
        return PRESETS[found]
    if isinstance(found, str):
        raise ValueError(f"no preprocessing is called {found!r}; there are {', '.join(PRESETS)}")
    raise ValueError(
        f"a {type(model_or_preset).__name__} does not say how its images are prepared; "
        f"give a Preprocessing or one of {', '.join(PRESETS)}"
    )


def from_fields(values: dict[str, Any]) -> Preprocessing:
    """A Preprocessing from the dict that ``dataclasses.asdict`` makes of one, as files of weights hold it."""
    try:
        return Preprocessing(**values)
    except TypeError as error:
        raise ValueError(f"not the fields of a preprocessing: {values} ({error})") from None


def check_channels(preprocessing: Preprocessing, model_or_preset: object) -> None:
    """Raise ValueError for a model whose input has another number of channels than ``preprocessing`` makes."""
    made = len(preprocessing.mean)
    channels = getattr(getattr(model_or_preset, "spec", None), "in_channels", made)
    if channels != made:
        grey = ", or set its preprocessing to one of a single mean and std, for grey images" if channels == 1 else ""
        raise ValueError(
            f"images become {made} channel(s) here, but this model's in_channels is {channels}: make its "
            f"input, float32 of shape (N, {channels}, H, W), yourself{grey}"
        )


def preprocess(images: ImageLike | Sequence[ImageLike], model_or_preset: object = "imagenet-v1") -> Array:
    """Images as a network's input, (N, 3, H, W) float32; (N, 1, H, W) where its preprocessing has a single mean.

    ``images`` is a path, a PIL image, a uint8 array (H, W, 3), or a list of these or an array (N, H, W, 3);
    ``model_or_preset`` a model, a :class:`Preprocessing` or the name of a preset.

    >>> preprocess(np.zeros((300, 400, 3), np.uint8), "imagenet-v1").shape
    (1, 3, 224, 224)

    Raises ImageError, which names the image, where one cannot be read; ValueError for a model whose input has another
    number of channels.
    """
    preprocessing = preprocessing_of(model_or_preset)
    check_channels(preprocessing, model_or_preset)
    many = isinstance(images, (list, tuple)) or getattr(images, "ndim", 0) == 4
    arrays = [preprocessing(image) for image in cast(Sequence[ImageLike], images if many else [images])]
    if not arrays:
        raise ImageError("no images were given")
    if len({array.shape for array in arrays}) > 1:
        raise ImageError(
            f"the images of one batch need one size, these have {sorted({a.shape[1:] for a in arrays})}: "
            "preprocess them one by one, or choose a preprocessing with a crop"
        )
    return np.stack(arrays)
