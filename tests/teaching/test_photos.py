"""The photos of the lessons, and patches of them."""

import numpy as np

from npresnet.teaching.photos import PHOTOS, photo, photo_patches


def test_every_photo_is_small_and_in_colour():
    for name in PHOTOS:
        pixels = photo(name)
        assert pixels.dtype == np.uint8 and pixels.shape[2] == 3 and min(pixels.shape[:2]) == 160


def test_patches_are_of_photos_and_held_out_ones_of_other_parts():
    pixels, labels = photo_patches(30, size=12, seed=4)
    assert pixels.shape == (30, 12, 12, 3) and pixels.dtype == np.uint8 and (np.bincount(labels) == 3).all()
    np.testing.assert_array_equal(pixels, photo_patches(30, size=12, seed=4)[0])
    assert (pixels != photo_patches(30, size=12, seed=5)[0]).any()
    whole = photo("chelsea")
    for held_out in (False, True):
        patch = photo_patches(10, held_out=held_out)[0][PHOTOS.index("chelsea")]
        windows = np.lib.stride_tricks.sliding_window_view(whole, (16, 16, 3))[:, :, 0]
        rows, _ = np.nonzero((windows == patch).all(axis=(2, 3, 4)))
        assert len(rows) == 1 and (rows[0] >= 120 if held_out else rows[0] + 16 <= 120)
