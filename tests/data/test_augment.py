"""Augmentation: what it may change, and that chance depends on (seed, epoch, image) alone."""

import numpy as np
import pytest
from PIL import Image

from npresnet.data import Preprocessing, example_image
from npresnet.data.augment import color_jitter, crop_and_flip, erased, normalized, resized_crop, scaled_crop, uniforms

RNG = np.random.default_rng(0)
PIXELS = RNG.integers(0, 256, (40, 12, 10, 3)).astype(np.uint8)
CAT = Image.open(example_image()).convert("RGB")
SMOOTH = [np.array(CAT.resize(size)) for size in ((32, 32), (61, 40), (20, 47))]  # of even and odd sides


@pytest.fixture(autouse=True)
def read_only():
    PIXELS.flags.writeable = False


def test_uniforms_are_uniform_and_independent():
    u = uniforms(5, 1, np.arange(50_000), 4)
    assert u.min() >= 0 and u.max() < 1
    np.testing.assert_allclose(u.mean(axis=0), 0.5, atol=0.01)
    np.testing.assert_allclose(u.var(axis=0), 1 / 12, atol=0.002)
    neighbours = [
        (u[:, 0], u[:, 1]),
        (u[1:, 0], u[:-1, 0]),
        (u[:, 0], uniforms(6, 1, np.arange(50_000), 1)[:, 0]),
        (u[:, 0], uniforms(5, 2, np.arange(50_000), 1)[:, 0]),
    ]
    for a, b in neighbours:
        assert abs(np.corrcoef(a, b)[0, 1]) < 0.02
    counts = np.bincount((u[:, 0] * 100).astype(int), minlength=100)
    assert ((counts - 500) ** 2 / 500).sum() < 160  # χ² with 99 degrees of freedom: p ≈ 1e-4


def test_uniforms_depend_on_the_image_not_on_its_company():
    whole = uniforms(3, 7, np.arange(100), 5)
    some = RNG.permutation(100)[:17]
    np.testing.assert_array_equal(uniforms(3, 7, some, 5), whole[some])
    np.testing.assert_array_equal(uniforms(3, 7, some, 2), whole[some, :2])
    assert not np.allclose(uniforms(3, 8, some, 5), whole[some])
    np.testing.assert_allclose(uniforms(0, 0, [0, 1], 2), uniforms(0, 0, np.array([0, 1]), 2))


def test_crop_and_flip_by_loops():
    u, pad = uniforms(0, 0, np.arange(len(PIXELS)), 3), 4
    found = crop_and_flip(PIXELS, u, pad)
    for image, (a, b, c), result in zip(PIXELS, u, found):
        framed = np.zeros((12 + 2 * pad, 10 + 2 * pad, 3), np.uint8)
        framed[pad:-pad, pad:-pad] = image
        top, left = int(a * 9), int(b * 9)
        expected = framed[top : top + 12, left : left + 10]
        np.testing.assert_array_equal(result, expected[:, ::-1] if c < 0.5 else expected)
    centred = crop_and_flip(PIXELS, np.full((len(PIXELS), 3), 0.5), pad)
    np.testing.assert_array_equal(centred, PIXELS)


def test_crop_and_flip_reaches_every_place_equally():
    marked = np.zeros((20_000, 3, 3, 1), np.uint8)
    marked[:, 1, 1] = 1
    found = crop_and_flip(marked, uniforms(1, 0, np.arange(len(marked)), 3), pad=1)
    share = found.mean(axis=0)[..., 0]
    np.testing.assert_allclose(share, 1 / 9, atol=0.01)


def test_resized_crop_takes_parts_within_the_bounds():
    ramp = np.arange(60, dtype=np.uint8)[:, None, None] + np.zeros((60, 80, 3), np.uint8)
    heights = []
    for u in uniforms(0, 0, np.arange(300), 23):
        part = resized_crop(ramp, u, 16, scale=(0.25, 1.0))
        assert part.shape == (16, 16, 3) and part.dtype == np.uint8
        heights.append(float(part[-1, 0, 0]) - part[0, 0, 0])
    lowest = 60 * 80 * 0.25 * 3 / 4  # height² of the flattest allowed part
    assert min(heights) > lowest**0.5 * 15 / 16 - 2 and max(heights) > 50
    assert len(set(heights)) > 15


def test_resized_crop_takes_the_whole_of_an_impossible_image():
    line = np.arange(200, dtype=np.uint8)[None, :, None] + np.zeros((1, 200, 3), np.uint8)
    part = resized_crop(line, np.full(23, 0.6), 8, ratio=(0.5, 0.51), scale=(0.9, 1.0))
    np.testing.assert_allclose(part[0, :, 0], np.arange(8) * 25 + 12, atol=2)  # tents are cut at the edges


def test_resized_crop_mirrors_half_of_the_time():
    ramp = np.zeros((20, 20, 3), np.uint8) + np.arange(20, dtype=np.uint8)[None, :, None] * 10
    mirrored = [
        resized_crop(ramp, u, 8)[0, 0, 0] > resized_crop(ramp, u, 8)[0, -1, 0]
        for u in uniforms(2, 0, np.arange(400), 23)
    ]
    assert 0.4 < np.mean(mirrored) < 0.6


@pytest.mark.parametrize("which", range(3))
def test_color_jitter_is_torchvisions(which, transforms):
    from PIL import Image

    functional = transforms.functional
    adjust = (functional.adjust_brightness, functional.adjust_contrast, functional.adjust_saturation)[which]
    u = np.full((len(PIXELS), 3), 0.5)
    u[:, which] = RNG.random(len(PIXELS))
    found = color_jitter(PIXELS, u, 0.8)
    for image, numbers, result in zip(PIXELS, u, found):
        expected = np.asarray(adjust(Image.fromarray(image), 1 + 0.8 * (2 * numbers[which] - 1)))
        assert np.abs(expected.astype(int) - result).max() <= 1  # Pillow rounds the grey in between


def test_jitter_of_no_strength_changes_nothing():
    np.testing.assert_array_equal(color_jitter(PIXELS, RNG.random((len(PIXELS), 3)), 0.0), PIXELS)


@pytest.mark.parametrize("scale, channels", [("unit", "RGB"), ("caffe", "BGR"), ("tf", "RGB")])
def test_normalized_is_the_preprocessing_bit_for_bit(scale, channels):
    preprocessing = Preprocessing(None, None, (0.4, 0.5, 0.6), (0.2, 0.3, 0.25), channels=channels, scale=scale)
    due = np.stack([preprocessing(image) for image in PIXELS])
    np.testing.assert_array_equal(normalized(PIXELS, preprocessing), due)


def test_scaled_crop_takes_parts_of_scaled_images():
    ramp = np.arange(60, dtype=np.uint8)[:, None, None] + np.zeros((60, 80, 3), np.uint8)
    heights, lefts = [], []
    for u in uniforms(0, 0, np.arange(300), 4):
        part = scaled_crop(ramp, u, 28)
        assert part.shape == (28, 28, 3) and part.dtype == np.uint8
        heights.append((float(part[-1, 0, 0]) - part[0, 0, 0]) * 28 / 27)
        lefts.append(part[0, 0, 0])
    assert min(heights) > 60 / (480 / 224) - 2 and max(heights) < 60 / (256 / 224) + 2  # 28 of 32 to 60 rows
    assert max(heights) - min(heights) > 20 and len(set(lefts)) > 15
    wide = np.zeros((20, 40, 3), np.uint8) + np.arange(40, dtype=np.uint8)[None, :, None]
    mirrored = [scaled_crop(wide, u, 14)[0, 0, 0] > scaled_crop(wide, u, 14)[0, -1, 0] for u in RNG.random((200, 4))]
    assert 0.35 < np.mean(mirrored) < 0.65


def test_erasing_is_torchvisions_erase(transforms):
    import torch

    x = np.asfortranarray(RNG.standard_normal((200, 3, 20, 16))).astype(np.float32)
    x.flags.writeable = False
    u, shares = uniforms(3, 0, np.arange(200), 23), []
    found = erased(x, u, 0.4)
    for image, numbers, result in zip(x, u, found):
        gone = np.argwhere((result == 0).all(axis=0))
        assert (len(gone) > 0) == (numbers[0] < 0.4)
        if len(gone):
            (top, left), (h, w) = gone.min(axis=0), np.ptp(gone, axis=0) + 1
            due = transforms.functional.erase(torch.from_numpy(image.copy()), int(top), int(left), int(h), int(w), 0.0)
            np.testing.assert_array_equal(result, due.numpy())
            shares.append(h * w / 320)
        else:
            np.testing.assert_array_equal(result, image)
    assert 0.015 < min(shares) < 0.05 and 0.28 < max(shares) < 0.36
    np.testing.assert_array_equal(erased(x, u, 0.0), x)


def test_an_image_too_thin_for_the_rectangles_stays_whole():
    x, u = np.ones((1, 1, 1, 40), np.float32), np.zeros((1, 23))
    np.testing.assert_array_equal(erased(x, u, 0.5), x)
