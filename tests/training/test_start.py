"""What can be known before the first step is said before the first step."""

import os
import shutil
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from npresnet import create_model, use
from npresnet.data import Preprocessing
from npresnet.data.dataset_parts import has_part, part_path
from npresnet.training import Dataset, Recipe, Trainer, open_dataset, recipe
from npresnet.training.start import smallest_part

from ..support.drawn import drawn_source, small_model
from .test_trainer import photos

NARROW = Recipe(epochs=1, batch_size=8, augment="none", lr=0.01)


@pytest.fixture(autouse=True)
def reference():
    with use("numpy"):
        yield


def deep_model():
    """Its last stage is one pixel of an 8x8 image."""
    model = create_model("resnet18", num_classes=3)
    model.preprocessing = Preprocessing(8, 8)
    return model


@pytest.mark.parametrize("n, changes", [(9, {}), (10, {"accumulate": 2}), (8, {"accumulate": 8}), (1, {})])
def test_a_batch_of_one_that_batch_norm_cannot_take(n, changes):
    with pytest.raises(ValueError, match="leave one image alone; choose another batch size"):
        Trainer(deep_model(), replace(NARROW, **changes), drawn_source(n))


def test_a_batch_of_one_that_batch_norm_can_take():
    Trainer(deep_model(), NARROW, drawn_source(10))  # two are left
    Trainer(deep_model(), replace(NARROW, freeze="norm"), drawn_source(9))  # nothing is measured
    trainer = Trainer(small_model(), NARROW, drawn_source(9))  # 2x2 pixels are left of an image
    trainer.fit()
    assert trainer.epoch == 1


def test_the_smallest_part_is_that_of_the_batches():
    from npresnet.training import Batch, Batches

    for n in range(1, 20):
        for size in (1, 3, 4, 8):
            for parts in (1, 2, 3, 5):
                chunks = Batches(drawn_source(n), small_model().preprocessing, size).chunks(np.arange(n), 0)
                due = min(len(part.labels) for rows in chunks for part in Batch(rows, rows).parts(parts))
                assert smallest_part(n, size, parts) == due, (n, size, parts)


@pytest.mark.parametrize("shape", [(16, 8, 8), (16, 8, 8, 1)])
def test_grey_pixels_train_as_three_equal_channels(shape):
    pixels = np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)
    labels = np.arange(16) % 3
    grey, colored = (
        Trainer(small_model(), NARROW, Dataset(labels, "abc", pixels=array))
        for array in (pixels, np.repeat(pixels.reshape(16, 8, 8, 1), 3, axis=3))
    )
    assert grey.fit()[0]["train_loss"] == colored.fit()[0]["train_loss"]


def test_networks_and_labels_that_do_not_fit():
    with pytest.raises(ValueError, match="create it with in_channels=3"):
        Trainer(create_model("resnet20", in_channels=1), NARROW, drawn_source())
    with pytest.raises(ValueError, match="labels from 0 to 2 do not fit a network of 2 classes"):
        Trainer(small_model(classes=2), NARROW, drawn_source())
    odd = Dataset(np.arange(6) % 3, ("chat\udce9", "b", "é"), pixels=np.zeros((6, 8, 8, 3), np.uint8))
    with pytest.raises(ValueError, match=r"'chat\\udce9' is not UTF-8"):
        Trainer(small_model(), NARROW, odd)
    grey = small_model()
    grey.preprocessing = Preprocessing(8, 8, (0.5,), (0.5,))
    with pytest.raises(ValueError, match="a preprocessing of three means"):
        Trainer(grey, NARROW, drawn_source())
    for pixels in (np.zeros((4, 8, 8, 3), np.float32), np.zeros((4, 8, 8, 4), np.uint8), np.zeros((4, 8), np.uint8)):
        with pytest.raises(ValueError, match="images are uint8"):
            Dataset(np.zeros(4, np.int64), "ab", pixels=pixels)


@pytest.mark.parametrize("in_memory", [True, False])
def test_files_that_cannot_be_used_are_left_out_by_name(in_memory, tmp_path):
    photos(tmp_path)
    (tmp_path / "class0/lost.png").symlink_to("/nowhere/x.png")
    Image.new("RGB", (300_000, 1)).save(tmp_path / "class1/thin.png")
    (tmp_path / "class1/text.png").write_text("no image")
    source, broken = open_dataset(tmp_path, Preprocessing(512, 16), in_memory=in_memory)
    assert len(source) == 12 and len(broken) == 3 and len(set(broken)) == 3
    for name, line in zip(("class0/lost.png", "class1/text.png", "class1/thin.png"), sorted(broken)):
        assert line.startswith(f"{tmp_path}/{name}: ") and line.count(str(tmp_path)) == 1
    with pytest.raises(OSError, match=r"lost\.png"):
        open_dataset(tmp_path, Preprocessing(16, 16), in_memory=in_memory, strict=True)


def test_a_class_of_which_no_image_can_be_read_is_named(tmp_path):
    for path in photos(tmp_path).glob("class1/*.png"):
        path.write_bytes(b"no image")
    with pytest.raises(ValueError, match="none of the images of class1 can be read"):
        open_dataset(tmp_path, Preprocessing(16, 16))
    source, broken = open_dataset(tmp_path, Preprocessing(16, 16), classes=("class0", "class1"))
    assert set(source.labels) == {0} and len(broken) == 6  # a test part may lack a class


@pytest.mark.parametrize(
    "labels, message",
    [
        (np.zeros(3, int), "3 labels for 4 images"),
        (np.zeros(5, int), "5 labels for 4 images"),
        (np.zeros(4), "labels are whole numbers"),
        (np.zeros((4, 1), int), "labels are whole numbers"),
    ],
)
def test_labels_that_do_not_belong_to_the_images(labels, message):
    with pytest.raises(ValueError, match=message):
        Dataset(labels, "ab", pixels=np.zeros((4, 8, 8, 3), np.uint8))


def test_a_zip_is_a_part_by_a_word_of_its_name(tmp_path):
    (tmp_path / "x").mkdir()
    photos(tmp_path / "x")
    names = ("cifar10-Train-jpeg", "test", "constraints", "training-and-test")
    for name in names:
        shutil.make_archive(tmp_path / name, "zip", tmp_path / "x")
    shutil.rmtree(tmp_path / "x")
    assert [part_path(tmp_path, part) for part in ("train", "test", "val")] == [
        f"{tmp_path}/{names[0]}.zip",
        f"{tmp_path}/test.zip",
        tmp_path,
    ]
    assert open_dataset(tmp_path, Preprocessing(16, 16))[0].classes == ("class0", "class1")
    assert has_part(tmp_path, "test") and not has_part(tmp_path, "val")
    os.rename(tmp_path / "test.zip", tmp_path / "other.zip")
    assert not has_part(tmp_path, "test")  # the one to train on is there alone
    os.rename(tmp_path / "constraints.zip", tmp_path / "training.ZIP")
    with pytest.raises(ValueError, match=r"cifar10-Train-jpeg\.zip, training\.ZIP are all called train"):
        open_dataset(tmp_path, Preprocessing(16, 16))


def test_small_photos_that_the_validation_could_not_crop_are_left_out(tmp_path):
    photos(tmp_path)
    Image.new("RGB", (15, 40)).save(tmp_path / "class1/small.png")
    _, broken = open_dataset(tmp_path, Preprocessing(None, 16), in_memory=False)
    assert len(broken) == 1 and "small.png: an image of 15x40 is smaller than the crop" in broken[0]


def test_the_contents_of_photos_are_part_of_the_run(tmp_path):
    first = sorted(photos(tmp_path).rglob("*.png"))[0]
    opened = [open_dataset(tmp_path, Preprocessing(20, 16), in_memory=False)[0].contents_fingerprint()]
    os.utime(first, (0, 0))  # a copy elsewhere has other times
    opened.append(open_dataset(tmp_path, Preprocessing(20, 16), in_memory=False)[0].contents_fingerprint())
    Image.open(first).transpose(Image.Transpose.ROTATE_180).save(first)
    opened.append(open_dataset(tmp_path, Preprocessing(20, 16), in_memory=False)[0].contents_fingerprint())
    assert opened[0] == opened[1] != opened[2]
    assert drawn_source().contents_fingerprint() is None  # its pixels are in the other fingerprint


@pytest.mark.parametrize(
    "changes, message",
    [
        ({"epochs": "x"}, "epochs must be a whole number, not 'x'"),
        ({"batch_size": 1.5}, "batch_size must be a whole"),
        ({"lr": None}, "lr must be a number"),
        ({"nesterov": 1}, "nesterov must be True or False"),
        ({"epochs": True}, "epochs must be a whole number"),
        ({"augment": 3}, "augment must be a text"),
    ],
)
def test_recipes_refuse_values_of_another_type(changes, message):
    with pytest.raises(ValueError, match=message):
        recipe("fast-cifar", **changes)


def test_numbers_of_numpy_become_numbers_that_a_checkpoint_can_hold():
    made = recipe("fast-cifar", epochs=np.int64(3), lr=np.float32(0.5), nesterov=np.bool_(True))
    assert [type(value) for value in (made.epochs, made.lr, made.nesterov)] == [int, float, bool]
