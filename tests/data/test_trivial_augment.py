"""TrivialAugment against torchvision's, change by change and pixel by pixel."""

import numpy as np
import pytest
from PIL import Image

from npresnet.data.augment import uniforms
from npresnet.data.trivial_augment import CHANGES, trivial_augment

from .test_augment import SMOOTH

NAMES = {"auto-contrast": "AutoContrast", "shear-x": "ShearX", "shear-y": "ShearY"}
THEIRS = {name: NAMES.get(name, name.title().replace("-", "")) for name in CHANGES}


@pytest.fixture(scope="module")
def space(transforms):
    return transforms.TrivialAugmentWide()._augmentation_space(31)


def test_kinds_strengths_and_signs_are_torchvisions(space):
    assert [THEIRS[name] for name in CHANGES] == list(space)
    for name, change in CHANGES.items():
        magnitudes, signed = space[THEIRS[name]]
        assert change.signed == signed
        np.testing.assert_allclose(change.strengths, np.atleast_1d(magnitudes.numpy()), rtol=1e-6)
    for name in ("translate-x", "translate-y", "posterize"):  # whose strengths are truncated
        ours, theirs = CHANGES[name].strengths.astype(int), space[THEIRS[name]][0].numpy().astype(int)
        assert [pair for pair in zip(ours, theirs) if pair[0] != pair[1]] == [(16, 15)] * (name != "posterize")


@pytest.mark.parametrize("sign", [1, -1])
@pytest.mark.parametrize("name", CHANGES)
def test_each_change_is_torchvisions_pixel_for_pixel(name, sign, transforms):
    from torchvision.transforms.autoaugment import _apply_op

    change = CHANGES[name]
    for strength in sign * change.strengths if change.signed else change.strengths:
        for pixels in SMOOTH:
            image = Image.fromarray(pixels)
            due = _apply_op(image, THEIRS[name], float(strength), transforms.InterpolationMode.BILINEAR, None)
            found = np.asarray(change.apply(image, float(strength)))
            if name.startswith("shear"):  # torchvision's slope is m but for its last digit
                differing = found != np.asarray(due)
                assert differing.mean() < 0.02
                found = np.where(differing & (abs(found.astype(int) - np.asarray(due)) <= 1), due, found)
            np.testing.assert_array_equal(found, due, err_msg=f"{name} {strength}")


def test_kind_strength_and_sign_are_drawn_evenly_and_independently():
    image, counts, black = np.full((9, 9, 3), 200, np.uint8), {}, 0
    for row in uniforms(1, 0, np.arange(4000), 3):
        kind = list(CHANGES)[int(row[0] * 14)]
        counts[kind] = counts.get(kind, 0) + 1
        changed = trivial_augment(image, row)
        assert changed.shape == image.shape and changed.dtype == np.uint8
        black += kind == "brightness" and changed.mean() < 200
    assert all(200 < count < 380 for count in counts.values()) and len(counts) == 14
    assert 0.35 < black / counts["brightness"] < 0.65


def test_the_draw_decides_the_change():
    pixels = SMOOTH[0]
    pixels.flags.writeable = False
    identity, darkest = trivial_augment(pixels, np.array([0.0, 0.9, 0.9])), np.array([6.5 / 14, 0.999, 0.1])
    np.testing.assert_array_equal(identity, pixels)
    np.testing.assert_allclose(trivial_augment(pixels, darkest), pixels * 0.01, atol=1)
