"""RandAugment against timm's, change by change and pixel by pixel."""

import numpy as np
import pytest
from PIL import Image

from npresnet.data.augment import uniforms
from npresnet.data.rand_augment import CHANGES, FILL, rand_augment

from .test_augment import SMOOTH

INCREASING = ("posterize", "solarize", "color", "contrast", "brightness", "sharpness")


def theirs(name):
    """timm's name of a change."""
    words = "".join(word.title() for word in name.split("-"))
    return words + ("Increasing" if name in INCREASING else "Rel" if name.startswith("translate") else "")


@pytest.fixture(scope="module")
def timms(transforms):
    return pytest.importorskip("timm.data.auto_augment", reason="timm is not installed")


def test_kinds_are_timms(timms):
    assert [theirs(name) for name in CHANGES] == timms._RAND_INCREASING_TRANSFORMS and timms._LEVEL_DENOM == 10
    made = timms.rand_augment_transform("rand-m6-mstd0.5-inc1", {})
    assert made.num_layers == 2 and {(op.prob, op.magnitude, op.magnitude_std) for op in made.ops} == {(0.5, 6, 0.5)}
    mean = tuple(min(255, round(255 * x)) for x in (0.485, 0.456, 0.406))  # what timm's loader fills with
    assert mean == FILL


@pytest.mark.parametrize("sign", [1, -1])
@pytest.mark.parametrize("name", CHANGES)
def test_each_change_is_timms_pixel_for_pixel(name, sign, timms, monkeypatch):
    monkeypatch.setattr(timms.random, "random", lambda: sign < 0)
    level_of, change = timms.LEVEL_TO_ARG[theirs(name)], timms.NAME_TO_OP[theirs(name)]
    for level in (0.0, 3.7, 5.5, 6.0, 6.3, 7.9, 9.9):
        args = level_of(level, {"translate_pct": 0.45}) if level_of else ()
        for pixels in SMOOTH:
            image = Image.fromarray(pixels)
            due = change(image, *args, fillcolor=FILL, resample=Image.Resampling.BILINEAR)
            found = np.asarray(CHANGES[name](image, sign * level / 10)).astype(int)
            difference = np.abs(found - np.asarray(due))
            assert difference.max() <= 1 and (difference > 0).mean() < 0.02, f"{name} {level}"  # 0.3 m and m · 0.3


def test_two_changes_each_half_of_the_time():
    pixels, u = SMOOTH[0], uniforms(0, 0, np.arange(800), 8)
    pixels.flags.writeable = False
    found = [rand_augment(pixels, row) for row in u]
    assert all(image.shape == pixels.shape and image.dtype == np.uint8 for image in found)
    unchanged = np.mean([np.array_equal(image, pixels) for image in found])
    assert 0.2 < unchanged < 0.36  # 1/4, and changes that change nothing
    np.testing.assert_array_equal(rand_augment(pixels, np.array([0.9, 0.5, 0.5, 0.5] * 2)), pixels)
    inverted = rand_augment(pixels, np.array([2.5 / 15, 0.1, 0.0, 0.5, 0.9, 0.9, 0.5, 0.5]))
    np.testing.assert_array_equal(inverted, 255 - pixels)
