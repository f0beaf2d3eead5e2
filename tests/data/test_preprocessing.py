"""Preprocessing, against its formula and, where it is installed, against torchvision bit for bit."""

from dataclasses import asdict, replace

import numpy as np
import pytest
from PIL import Image

from npresnet import load_model, save_weights
from npresnet.data import PRESETS, ImageError, Preprocessing, preprocess, preprocessing_of
from npresnet.models import build

RNG = np.random.default_rng(1)
SIZES = [
    (256, 256),
    (224, 224),
    (300, 200),
    (200, 301),
    (32, 32),
    (33, 65),
    (640, 427),
    (225, 1000),
    (231, 257),
    (7, 5),
]


def random_pixels(size):
    """Noise over a ramp, so that a shift by one pixel shows.  size: (width, height)"""
    width, height = size
    ramp = np.add.outer(np.arange(height), np.arange(width))[:, :, None] * [1, 2, 3]
    return ((ramp + RNG.integers(0, 60, (height, width, 3))) % 256).astype(np.uint8)


def test_all_pixel_values_follow_the_formula_in_float32():
    values = np.arange(256, dtype=np.uint8).reshape(16, 16)
    x = preprocess(np.dstack([values] * 3), Preprocessing(resize=None, crop=None))
    mean, std = np.float32((0.485, 0.456, 0.406)), np.float32((0.229, 0.224, 0.225))
    for channel in range(3):
        expected = (values.astype(np.float32) / np.float32(255) - mean[channel]) / std[channel]
        np.testing.assert_array_equal(x[0, channel], expected)
    assert x.dtype == np.float32 and x.flags.c_contiguous


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("preset", PRESETS)
def test_equals_torchvision_bit_for_bit(transforms, preset, size):
    preprocessing, image = PRESETS[preset], Image.fromarray(random_pixels(size))
    cropped = transforms.Compose(
        [
            transforms.Resize(preprocessing.resize, transforms.InterpolationMode(preprocessing.interpolation)),
            transforms.CenterCrop(preprocessing.crop),
        ]
    )(image)
    if preprocessing.scale == "unit":
        reference = transforms.Normalize(preprocessing.mean, preprocessing.std)(transforms.ToTensor()(cropped)).numpy()
    else:  # torchvision knows no other scale
        raw = replace(preprocessing, resize=None, crop=None, interpolation="bilinear")
        reference = raw(cropped)
    np.testing.assert_array_equal(preprocess(image, preset)[0], reference)


@pytest.mark.parametrize(
    "width, height, size", [(300, 200, (384, 256)), (200, 301, (256, 385)), (500, 500, (256, 256))]
)
def test_the_longer_side_is_rounded_down(width, height, size):
    assert PRESETS["imagenet-v1"].resized(Image.new("RGB", (width, height))).size == size


def test_crop_rounds_halves_to_even():
    pixels = np.zeros((9, 11, 3), np.uint8)
    pixels[:] = np.add.outer(np.arange(9) * 20, np.arange(11))[:, :, None]
    raw = Preprocessing(None, 4, (0, 0, 0), (1, 1, 1), scale="caffe")
    x = raw(pixels)  # top: (9 − 4) / 2 = 2.5 → 2;  left: (11 − 4) / 2 = 3.5 → 4
    assert x[0, 0, 0] == 2 * 20 + 4 and x.shape == (3, 4, 4)


def test_scales_and_channel_order():
    pixels = random_pixels((6, 5))

    def preprocessing(**options):
        return Preprocessing(None, None, mean=options.pop("mean", (0, 0, 0)), std=(1, 1, 1), **options)

    as_rows = pixels.transpose(2, 0, 1).astype(np.float32)
    np.testing.assert_array_equal(preprocessing(scale="unit")(pixels), as_rows / np.float32(255))
    np.testing.assert_array_equal(preprocessing(scale="tf")(pixels), as_rows / np.float32(127.5) - 1)
    caffe = preprocessing(scale="caffe", channels="BGR", mean=(103.939, 116.779, 123.68))(pixels)
    np.testing.assert_array_equal(caffe[0], as_rows[2] - np.float32(103.939))
    np.testing.assert_array_equal(caffe[2], as_rows[0] - np.float32(123.68))


def test_interpolation_is_pillows():
    image = Image.fromarray(random_pixels((50, 40)))
    raw = Preprocessing(20, None, (0, 0, 0), (1, 1, 1), scale="caffe", interpolation="bicubic")
    expected = np.asarray(image.resize((25, 20), Image.BICUBIC)).transpose(2, 0, 1)
    np.testing.assert_array_equal(raw(image), expected)


def test_batches_lists_arrays_and_paths(tmp_path):
    first, second = random_pixels((40, 32)), random_pixels((32, 50))
    Image.fromarray(second).save(tmp_path / "b.png")
    x = preprocess([first, tmp_path / "b.png"], "cifar10")
    assert x.shape == (2, 3, 32, 32)
    np.testing.assert_array_equal(x[0], preprocess(first, "cifar10")[0])
    np.testing.assert_array_equal(x[1], preprocess(Image.fromarray(second), "cifar10")[0])
    np.testing.assert_array_equal(preprocess(np.stack([first, first]), "cifar10")[1], x[0])


def test_a_model_brings_its_preprocessing():
    class Model:
        preprocessing = "cifar10"

    assert preprocessing_of(Model()) is PRESETS["cifar10"]
    Model.preprocessing = Preprocessing(64, 56)
    assert preprocess(random_pixels((80, 80)), Model()).shape == (1, 3, 56, 56)
    with pytest.raises(ValueError, match="imagenet-v1"):
        preprocessing_of(object())
    with pytest.raises(ValueError, match="imagenet-v2"):
        preprocessing_of("imagenet")


def test_a_model_of_other_than_three_channels_is_told():
    with pytest.raises(ValueError, match=r"in_channels is 1: make its input, float32 of shape \(N, 1, H, W\)"):
        preprocess(random_pixels((32, 32)), build("resnet20", in_channels=1))
    with pytest.raises(ValueError, match=r"images become 1 channel\(s\) here, but this model's in_channels is 3"):
        model = build("resnet20")
        model.preprocessing = GREY
        preprocess(random_pixels((32, 32)), model)


GREY = Preprocessing(32, 32, (0.45,), (0.23,))


def test_a_single_mean_makes_grey_images_for_a_model_of_one_channel(tmp_path):
    model = build("resnet20", in_channels=1)
    model.preprocessing = GREY
    values = random_pixels((32, 32))[..., 0]
    x = preprocess([values, Image.fromarray(values), np.dstack([values] * 3)], model)
    assert x.shape == (3, 1, 32, 32) and x.dtype == np.float32
    np.testing.assert_array_equal(
        x[1], (values[None].astype(np.float32) / np.float32(255) - np.float32(0.45)) / np.float32(0.23)
    )
    np.testing.assert_array_equal(x[0], x[1])
    np.testing.assert_array_equal(x[2], x[1])
    luma = preprocess(np.uint8([[[255, 0, 0]]]), Preprocessing(None, None, (0,), (1,), scale="caffe"))
    assert luma.ravel() == [76]  # 0.299 · 255
    assert model(x).shape == (3, 10)
    saved = load_model(save_weights(model, tmp_path / "grey.safetensors"))
    np.testing.assert_array_equal(preprocess(values, saved), x[:1])


@pytest.mark.parametrize(
    "options, message",
    [
        ({"scale": "byte"}, "unit"),
        ({"channels": "GBR"}, "BGR"),
        ({"interpolation": "lanczos"}, "bilinear"),
        ({"mean": (0.5,)}, "three"),
        ({"mean": (1, 1), "std": (1, 1)}, "three"),
        ({"std": (1, 1, np.nan)}, "finite"),
        ({"std": (1, 0, 1)}, "std"),
        ({"resize": 0}, "resize"),
        ({"crop": "224"}, "crop"),
        ({"mean": None}, "one number for each"),
        ({"mean": 0.5}, "one number for each"),
        ({"std": "abc"}, "one number for each"),
        ({"scale": []}, "unit"),
    ],
)
def test_impossible_preprocessing_is_refused(options, message):
    with pytest.raises(ValueError, match=message):
        Preprocessing(**options)


def test_a_preprocessing_survives_json():
    import json

    preprocessing = Preprocessing(200, 190, channels="BGR", scale="tf")
    assert preprocessing_of(json.loads(json.dumps(asdict(preprocessing)))) == preprocessing
    for fields in ({"resize": 8, "colour": "red"}, {"mean": None}):
        with pytest.raises(ValueError, match=r"not the fields of a preprocessing|mean is one number"):
            preprocessing_of(fields)


def test_images_that_cannot_be_cropped_or_resized(tmp_path):
    with pytest.raises(ImageError, match="smaller than the crop"):
        Preprocessing(None, 224)(random_pixels((100, 300)))
    Image.new("L", (60000, 1)).save(tmp_path / "line.png")
    with pytest.raises(ImageError, match=r"line\.png.*long and thin"):
        preprocess(tmp_path / "line.png")
    with pytest.raises(ImageError, match="one size"):
        preprocess([random_pixels((8, 8)), random_pixels((8, 9))], Preprocessing(None, None))
    with pytest.raises(ImageError, match="no images"):
        preprocess([])


def test_the_old_names_warn():
    import npresnet.data
    import npresnet.training

    for module, old, new in (
        (npresnet.data, "recipe_of", "preprocessing_of"),
        (npresnet.training, "Source", "Dataset"),
        (npresnet.training, "open_source", "open_dataset"),
    ):
        with pytest.warns(DeprecationWarning, match=f"{old} is now called {new}"):
            assert getattr(module, old) is getattr(module, new)
