"""Heat maps over photos."""

import numpy as np
import pytest
from PIL import Image

from npresnet.analysis.overlay import COLOURS, colour, overlay, seen
from npresnet.data import Preprocessing, preprocess


@pytest.mark.parametrize("size", [(90, 70), (70, 90), (64, 64), (301, 77)])
def test_seen_resizes_to_what_the_network_gets(size):
    """An image of smooth colours: the seen part, resized, is the preprocessing's own crop up to a few grey values."""
    u, v = np.meshgrid(np.linspace(0, 1, size[0]), np.linspace(0, 1, size[1]))
    image = Image.fromarray((255 * np.stack([u, v, (u + v) / 2], -1)).astype(np.uint8))
    preprocessing = Preprocessing(resize=48, crop=40, mean=(0, 0, 0), std=(1, 1, 1))
    expected = preprocess(image, preprocessing)[0]
    found = preprocess(seen(image, preprocessing), Preprocessing(40, 40, (0, 0, 0), (1, 1, 1)))[0]
    np.testing.assert_allclose(found, expected, atol=0.03)


def test_without_a_crop_everything_is_seen():
    image = Image.new("RGB", (31, 17), (1, 2, 3))
    assert seen(image, Preprocessing(resize=None, crop=None)).size == (31, 17)


def test_overlay_is_its_equation_where_heat_is_flat():
    image = Image.new("RGB", (20, 10), (100, 100, 100))
    everywhere = np.asarray(overlay(image, np.ones((4, 4))))
    np.testing.assert_allclose(everywhere[5, 5], 0.4 * 100 + 0.6 * COLOURS[-1], atol=0.51)
    nowhere = np.asarray(overlay(image, np.zeros((4, 4))))
    np.testing.assert_allclose(nowhere[5, 5], 0.7 * 100 + 0.3 * COLOURS[0], atol=0.51)


def test_the_colours_run_from_dark_to_light():
    ramp = colour(np.linspace(0, 1, 50)).sum(axis=-1)
    np.testing.assert_array_equal(colour(np.array([0.0, 1.0])), COLOURS[[0, -1]])
    assert (np.diff(ramp) > 0).all()
