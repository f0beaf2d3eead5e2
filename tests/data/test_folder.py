"""Folders and zips of class folders."""

import io
import os
import zipfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from npresnet.data import ImageError, ImageFolder, Preprocessing

RAW = Preprocessing(None, None, (0, 0, 0), (1, 1, 1), scale="caffe")
CIFAR_TEST = Path(__file__).parents[2] / "../shared/data/cifar10/cifar10-test-jpeg.zip"


def png(value):
    """A 4x4 image of one grey value."""
    file = io.BytesIO()
    Image.new("L", (4, 4), value).save(file, "PNG")
    return file.getvalue()


def as_folder(root, files):
    for name, content in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(content)
    return root


def as_zip(root, files):
    with zipfile.ZipFile(root / "data.zip", "w") as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return root / "data.zip"


@pytest.fixture(params=[as_folder, as_zip], ids=["folder", "zip"])
def pack(request, tmp_path):
    return lambda files: request.param(tmp_path, files)


def test_sorted_labelled_and_lazy(pack):
    data = ImageFolder(
        pack(
            {
                "b/2.png": png(2),
                "a/1.PNG": png(1),
                "b/1.png": b"not read before it is asked for",
                "b/notes.txt": b"",
                ".hidden/1.png": b"",
                "__MACOSX/a/._1.png": b"",
                "a/.x.png": b"",
            }
        )
    )
    assert data.classes == ("a", "b") and data.names == ["a/1.PNG", "b/1.png", "b/2.png"]
    np.testing.assert_array_equal(data.folders, [0, 1, 1])
    assert len(data) == 3


@pytest.mark.parametrize(
    "names, classes",
    [
        (("test/cat/1.png", "test/dog/1.png"), ["cat", "dog"]),
        (("x/y/test/cat/1.png", "x/y/test/dog/more/1.png"), ["cat", "dog"]),
        (("test/cat/1.png", "test/cat/2.png"), ["cat", "cat"]),
        (("cat/1.png", "cat/more/2.png"), ["cat", "cat"]),
        (("cat/1.png", "category/1.png"), ["cat", "category"]),
    ],
)
def test_shared_leading_folders_are_skipped(pack, names, classes):
    data = ImageFolder(pack(dict.fromkeys(names, png(0))))
    assert [data.classes[k] for k in data.folders] == classes


@pytest.mark.parametrize("threads", [1, 3])
@pytest.mark.parametrize("batch_size", [1, 4, 7, 50])
def test_batches_come_in_order(pack, batch_size, threads):
    data = ImageFolder(pack({f"{'ab'[k % 2]}/{k:02}.png": png(k) for k in range(25)}))
    batches = list(data.batches(RAW, batch_size, threads=threads))
    x, labels = (np.concatenate(part) for part in zip(*batches))
    assert [len(part) for part, _ in batches[:-1]] == [batch_size] * (len(batches) - 1)
    np.testing.assert_array_equal(x[:, 0, 0, 0], [*range(0, 25, 2), *range(1, 25, 2)])
    np.testing.assert_array_equal(labels, [0] * 13 + [1] * 12)


def test_limit_is_spread_over_the_classes(pack):
    data = ImageFolder(pack({f"{name}/{k}.png": png(k) for name in "abcde" for k in range(8)}))
    for limit, counts in ((5, [1] * 5), (10, [2] * 5), (99, [8] * 5)):
        labels = np.concatenate([labels for _, labels in data.batches(RAW, 3, limit=limit)])
        np.testing.assert_array_equal(np.bincount(labels), counts)


def test_a_broken_image_among_good_ones_is_named(pack):
    data = ImageFolder(pack({"a/1.png": png(1), "a/2.png": png(2)[:40], "a/3.png": png(3)}))
    batches = data.batches(RAW, 1, threads=1)
    assert next(batches)[0].max() == 1
    with pytest.raises(ImageError, match=r"a/2\.png: "):
        list(batches)


def test_a_reader_that_stops_early_leaves_no_threads(pack):
    import threading

    data = ImageFolder(pack({f"a/{k:03}.png": png(0) for k in range(100)}))
    before = threading.active_count()
    for _ in data.batches(RAW, 2):
        break
    assert threading.active_count() == before


@pytest.mark.parametrize("files", [{"readme.txt": b""}, {"a/notes.txt": b""}], ids=["no folder", "no image"])
def test_nothing_to_read(pack, files):
    with pytest.raises(ImageError, match="no images in class folders"):
        ImageFolder(pack(files))


def images_in(*folders):
    return {f"{folder}/{k}.png": png(k) for folder in folders for k in range(2)}


LAYOUTS = [  # folders of images, the part asked for, the part's folder or None, classes
    (["cat", "dog"], "train", None, ["cat", "dog"]),
    (["train/cat", "train/dog", "val/cat", "val/dog"], "train", "train", ["cat", "dog"]),
    (["train/cat", "train/dog", "val/cat", "val/dog"], None, "val", ["cat", "dog"]),
    (["Train/cat", "Train/dog", "Test/cat", "Test/dog"], "test", "Test", ["cat", "dog"]),
    (["training_set/cat", "training_set/dog", "test_set/cat"], "train", "training_set", ["cat", "dog"]),
    (["root/train/cat", "root/train/dog", "root/test/cat"], "train", "train", ["cat", "dog"]),
    (["bus", "car", "train/diesel", "train/steam"], "train", None, ["bus", "car", "train"]),
    (["control", "test"], "train", None, ["control", "test"]),
    (["train", "test"], "train", None, ["test", "train"]),
    (["train/cat", "train/dog", "test"], "train", "train", ["cat", "dog"]),  # test/ is not labelled
    (["train-images/cat", "train-images/dog", "Test images/cat"], "train", "train-images", ["cat", "dog"]),
    (["train/train/cat", "train/train/dog", "test/test/cat"], "train", "train", ["cat", "dog"]),
    (["trainer/cat", "tester/cat"], "train", None, ["tester", "trainer"]),
    (["train/cat", "train/dog"], "train", None, ["cat", "dog"]),
    (["cat/kitten", "cat/tom", "dog/puppy"], None, None, ["cat", "dog"]),
]


@pytest.mark.parametrize("folders, part, chosen, classes", LAYOUTS)
def test_parts_and_classes(pack, folders, part, chosen, classes):
    data = ImageFolder(pack(images_in(*folders)), part)
    assert list(data.classes) == classes and data.parts.get(part or "val") == chosen
    assert len(data) == 2 * sum(f"{folder}/".startswith(data.root) for folder in folders)
    assert bool(chosen) == any("left aside" in note for note in data.notes())


@pytest.mark.parametrize(
    "folders, part, line",
    [
        (
            ["train/cat", "train/dog", "test/cat", "etc/cat"],
            "train",
            r"beside test/ and train/ there are images in etc/",
        ),
        (["val/cat", "val/dog", "test/cat"], "train", r"holds test/ and val/, and no train images"),
        (["train/cat", "train/dog", "training/cat"], "train", r"of train/ and training/ two are the same part"),
        (["train/cat", "train/dog", "extra/cat"], "train", r"beside train/ there are images in extra/"),
        (["train/cat", "train/dog", "test"], "test", r"test/0.png lies in no class folder of that part"),
    ],
)
def test_a_part_that_cannot_be_told_is_refused(pack, folders, part, line):
    with pytest.raises(ImageError, match=line):
        ImageFolder(pack(images_in(*folders)), part)


def test_an_image_beside_the_parts_is_in_none(pack):
    data = ImageFolder(pack({**images_in("train/cat", "train/dog", "test/cat"), "sample.png": png(0)}), "train")
    assert data.classes == ("cat", "dog") and len(data) == 4


def test_class_folders_without_an_image_are_named(tmp_path):
    data = ImageFolder(as_folder(tmp_path, {**images_in("cat", "dog"), "cow/1.txt": b"", ".git/config": b""}))
    (tmp_path / "horse").mkdir()
    data = ImageFolder(tmp_path)
    assert data.classes == ("cat", "dog") and data.empty == ("cow", "horse")
    assert [note for note in data.notes() if "{cow, horse}" in note]


def test_images_outside_class_folders(pack):
    with pytest.raises(ImageError, match=r"loose\.png lies in no class folder"):
        ImageFolder(pack({"loose.png": png(0), "a/1.png": png(1)}))


def test_paths_that_are_no_data_set(tmp_path):
    with pytest.raises(FileNotFoundError):
        ImageFolder(tmp_path / "nowhere")
    with pytest.raises(ImageError, match="no images"):
        ImageFolder(tmp_path)
    (tmp_path / "file.zip").write_bytes(b"PK no zip")
    with pytest.raises(ImageError, match="neither a folder nor a zip"):
        ImageFolder(tmp_path / "file.zip")


def test_damaged_and_lying_zip_members(tmp_path):
    path = as_zip(tmp_path, {"a/1.png": png(1), "b/1.png": png(2)})
    data = bytearray(path.read_bytes())
    data[data.index(b"IHDR") + 5] ^= 255  # the member's checksum no longer fits
    path.write_bytes(data)
    with pytest.raises(ImageError, match=r"a/1\.png: cannot be read"):
        list(ImageFolder(path).batches(RAW))

    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("a/1.png", b"\0" * (300 << 20))
    assert path.stat().st_size < 1 << 20
    with pytest.raises(ImageError, match="claims 314572800 bytes"):
        list(ImageFolder(path).batches(RAW))


@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_a_name_that_a_zip_holds_twice_counts_once(tmp_path):
    path = as_zip(tmp_path, {"a/1.png": png(1), "b/1.png": png(2)})
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr("a/1.png", png(3))
    assert ImageFolder(path).names == ["a/1.png", "b/1.png"]


def test_links_are_followed_once(tmp_path):
    as_folder(tmp_path, {"data/a/1.png": png(1), "elsewhere/2.png": png(2)})
    try:
        os.symlink(tmp_path / "elsewhere", tmp_path / "data/b")
        os.symlink(tmp_path / "data", tmp_path / "data/a/loop")
    except OSError:
        pytest.skip("this file system has no symbolic links")
    assert ImageFolder(tmp_path / "data").names == ["a/1.png", "b/2.png"]


@pytest.mark.skipif(not CIFAR_TEST.exists(), reason="../shared/data is absent")
def test_the_cifar_zip():
    data = ImageFolder(CIFAR_TEST)
    assert len(data) == 10_000 and data.classes[3] == "cat"
    np.testing.assert_array_equal(np.bincount(data.folders), [1000] * 10)
    x, labels = next(data.batches("cifar10", 64, limit=640))
    assert x.shape == (64, 3, 32, 32) and x.dtype == np.float32 and labels[0] == 0


@pytest.mark.parametrize(
    "method, size, words",
    [
        (zipfile.ZIP_DEFLATED, 30 << 20, "more than an image has"),
        (zipfile.ZIP_LZMA, 1000, "other than deflate"),
        (zipfile.ZIP_BZIP2, 1000, "other than deflate"),
    ],
)
def test_a_zip_s_member_pays_for_what_it_unpacks_to(method, size, words, tmp_path):
    path = tmp_path / "data.zip"
    with zipfile.ZipFile(path, "w", method) as archive:
        archive.writestr("a/1.png", bytes(size))
    with pytest.raises(ImageError, match=words):
        ImageFolder(path).open(0)
