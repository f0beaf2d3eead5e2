"""Datasets whose labels stand in a table or are WordNet's identifiers: Imagenette, Tiny-ImageNet, flat folders."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from npresnet.data import ImageError, ImageFolder, class_names, match_classes
from npresnet.data.label_tables import read_table
from npresnet.data.labels import readable, wordnet_names
from npresnet.data.open_dataset import open_dataset, open_for_evaluation

from .test_folder import as_folder, as_zip, images_in, png

TINY = {
    "wnids.txt": b"n02124075\nn04099969\nn00000007\n",
    "words.txt": b"n00000007\tquagga, Equus quagga\nn02124075\tEgyptian cat\nn00001740\tentity\n",
    **{
        f"train/{wnid}/images/{wnid}_{k}.JPEG": png(k)
        for wnid in ("n02124075", "n04099969", "n00000007")
        for k in (0, 1)
    },
    "train/n02124075/n02124075_boxes.txt": b"n02124075_0.JPEG\t0\t10\t63\t58\n",
    "val/images/val_0.JPEG": png(0),
    "val/images/val_1.JPEG": png(1),
    "val/val_annotations.txt": b"val_0.JPEG\tn04099969\t0\t32\t44\t62\nval_1.JPEG\tn00000007\t52\t55\t57\t59\n",
    "test/images/test_0.JPEG": png(0),
}
TINY_NAMES = ["quagga", "Egyptian cat", "rocking chair"]


@pytest.fixture(params=[as_folder, as_zip], ids=["folder", "zip"])
def pack(request, tmp_path):
    return lambda files: request.param(tmp_path, files)


def found(dataset):
    """{the image's name: its class}"""
    return {dataset.folder.names[n]: dataset.classes[k] for n, k in zip(dataset.numbers, dataset.labels)}


@pytest.mark.parametrize("root", ["", "tiny-imagenet-200/"])
def test_tiny_imagenet(pack, root):
    path = pack({root + name: content for name, content in TINY.items()})
    train, broken = open_dataset(path, "cifar10", in_memory=False)
    assert not broken and list(train.classes) == TINY_NAMES and len(train) == 6
    assert found(train)[f"{root}train/n00000007/images/n00000007_1.JPEG"] == "quagga"
    for part in (None, "val"):  # the test images have no labels
        val = open_for_evaluation(path, part)
        assert found(val) == {f"{root}val/images/val_0.JPEG": "rocking chair", f"{root}val/images/val_1.JPEG": "quagga"}
        assert any("test/ has no labels" in note for note in val.notes)
        np.testing.assert_array_equal(match_classes(val.classes, train.classes, 3)[0], [0, 2])
    with pytest.raises(ImageError, match="no test images with labels"):
        ImageFolder(path, "test")
    learned, _ = open_dataset(path, "cifar10", part="val", in_memory=False, classes=train.classes)
    assert learned.labels.tolist() == [2, 0]


def test_imagenette(pack):
    wnids = ["n01440764", "n02102040", "n03888257"]
    files = images_in(*(f"imagenette2/{part}/{wnid}" for part in ("train", "val") for wnid in wnids))
    path = pack(
        {**files, "imagenette2/noisy_imagenette.csv": b"path,noisy_labels_0,is_valid\ntrain/a.JPEG,n01440764,False\n"}
    )
    names = ["tench", "English springer", "parachute"]
    train, _ = open_dataset(path, "cifar10", in_memory=False)
    val = open_for_evaluation(path)
    assert list(train.classes) == list(val.classes) == names and len(train) == len(val) == 6
    imagenet = class_names("imagenet")
    index, how = match_classes(val.classes, imagenet, 1000)
    assert [imagenet[k] for k in index] == names and how == "by name"


def test_wordnets_identifiers_are_imagenets_classes():
    names = wordnet_names()
    assert len(names) == 1000 and list(names) == sorted(names) and names["n03000684"] == "chain saw"
    np.testing.assert_array_equal(match_classes(tuple(names), class_names("imagenet"), 1000)[0], range(1000))
    for folders, classes in ((("n01440764",), ("cat", "tench")), (("tench",), ("n02102040", "n01440764"))):
        assert match_classes(folders, classes, 2)[0].tolist() == [1]
    assert readable(("n00000001", "n00000002"), {"n00000001": "x", "n00000002": "x"}) == ("n00000001", "n00000002")


FLAT = {"a.png": png(0), "b.png": png(1), "more/c.png": png(2)}
LABELS = {"a.png": "cat", "b.png": "dog", "more/c.png": "cat"}
TABLES = {
    "header": b"image,label\na.png,cat\nb.png,dog\nmore/c.png,cat\n",
    "no header": b"a.png,cat\nb.png,dog\nmore/c.png,cat\n",
    "other columns": b"id,Class,Filename\n1,cat,a.png\n2,dog,b.png\n3,cat,more/c.png\n",
    "semicolons, Windows": "\ufefffilename;label\r\na.png;cat\r\n.\\b.png;dog\r\n\r\nmore\\c.png;cat\r\n".encode(),
    "quoted": b'"file","label"\n"a.png","cat"\n"b.png", dog\n"./more/c.png","cat"\n',
    "without suffixes": b"id,breed\na,cat\nb,dog\nmore/c,cat\n",
    "a line twice": b"image,label\na.png,cat\na.png,cat\nb.png,dog\nmore/c.png,cat\n",
}


@pytest.mark.parametrize("table", TABLES.values(), ids=TABLES)
@pytest.mark.parametrize("root", ["", "photos/"])
def test_a_flat_folder_with_a_table(pack, table, root):
    images = {f"{root}{name}": content for name, content in FLAT.items()}
    path = pack({**images, f"{root}labels.csv": table})
    train, broken = open_dataset(path, "cifar10", in_memory=False)
    assert not broken and not train.notes and found(train) == {root + name: label for name, label in LABELS.items()}
    assert found(open_for_evaluation(path)) == found(train)


def test_a_table_that_is_named_itself(tmp_path):
    as_folder(tmp_path, {**images_in("x", "y"), "more.csv": b"x/0.png,1\ny/0.png,10\ny/1.png,2\n"})
    data = open_for_evaluation(tmp_path / "more.csv")
    assert found(data) == {"x/0.png": "1", "y/0.png": "10", "y/1.png": "2"} and data.classes == ("1", "2", "10")
    assert data.notes == (f"{tmp_path}/more.csv: 1 images beside it have no label, and are left aside",)
    assert ImageFolder(tmp_path).classes == ("x", "y")  # class folders come first
    with pytest.raises(ImageError, match="neither image,label nor an image"):
        (tmp_path / "odd.csv").write_bytes(b"epoch,loss\n1,2\n")
        ImageFolder(tmp_path / "odd.csv")


def test_images_beside_the_table(pack):
    path = pack({"images/1.png": png(1), "images/2.png": png(2), "labels.csv": b"1.png,cat\nimages/2.png,dog\n"})
    assert found(open_for_evaluation(path)) == {"images/1.png": "cat", "images/2.png": "dog"}


@pytest.mark.parametrize("folders", [("images", "images"), ("train", "test"), ("train", "val")])
def test_a_table_for_each_part(pack, folders):
    train, other = folders
    files = {f"{train}/1.png": png(1), f"{train}/2.png": png(2), f"{other}/3.png": png(3)}
    tables = {
        "train.csv": f"image,label\n{train}/1.png,cat\n{train}/2.png,dog\n".encode(),
        "val.csv" if other == "val" else "test_labels.csv": f"image,label\n{other}/3.png,dog\n".encode(),
    }
    path = pack({**files, **tables})
    assert found(open_dataset(path, "cifar10", in_memory=False)[0]) == {
        f"{train}/1.png": "cat",
        f"{train}/2.png": "dog",
    }
    assert found(open_for_evaluation(path)) == {f"{other}/3.png": "dog"}


def test_a_table_in_each_folder_of_a_part(pack):
    path = pack(
        {
            **images_in("train", "test"),
            "train/labels.csv": b"0.png,cat\n1.png,dog\n",
            "test/labels.csv": b"0.png,dog\n1.png,dog\n",
        }
    )
    assert found(open_dataset(path, "cifar10", in_memory=False)[0]) == {"train/0.png": "cat", "train/1.png": "dog"}
    assert set(found(open_for_evaluation(path)).values()) == {"dog"}


def test_missing_images_are_counted_and_named(pack):
    path = pack({**FLAT, "labels.csv": TABLES["header"] + b"d.png,dog\ne.png,cat\n"})
    data, _ = open_dataset(path, "cifar10", in_memory=False)
    assert len(data) == 3 and data.notes == (f"{path}/labels.csv: 2 of its 5 images are not there: d.png, e.png",)
    with pytest.raises(ImageError, match=r"d\.png, which labels\.csv names, is not there"):
        open_dataset(path, "cifar10", in_memory=False, strict=True)


@pytest.mark.parametrize(
    "table, line",
    [
        (b"image,label\n../a.png,cat\n", r"line 2: \.\./a\.png leads out of the table's folder"),
        (b"image,label\n/etc/a.png,cat\n", "line 2: /etc/a.png leads out"),
        (b"image,label\nmore/../../a.png,cat\n", "leads out"),
        (b"image,label\n..\\a.png,cat\n", "leads out"),
        (b"image,label\nC:\\a.png,cat\n", "leads out"),
        (b"image,label\na.png,cat\na.png,dog\n", "line 3: a.png is cat above and dog here"),
        (b"image,label\na.png\n", "line 2: a.png has no label"),
        (b"image,label\na.png,\n", "line 2: a.png has no label"),
        (b"image,label\n,cat\n", "line 2: no image is named"),
        (b"image,label\nz.png,cat\n", "none of its 1 images is there, such as z.png"),
        (b"image,label\n", "none of its 0 images is there"),
        (b'image,label\n"' + b"a" * 200_000 + b'",cat\n', "line 2: field larger than field limit"),
    ],
)
def test_bad_tables_are_one_clear_line(pack, table, line):
    with pytest.raises(ImageError, match=line) as error:
        ImageFolder(pack({**FLAT, "labels.csv": table}))
    assert "\n" not in str(error.value)


def test_two_tables_are_refused(pack):
    with pytest.raises(ImageError, match=r"holds a\.csv, b\.csv: name the table"):
        ImageFolder(pack({**FLAT, "a.csv": TABLES["header"], "b.csv": TABLES["header"]}), "train")


def test_a_table_of_something_else_is_no_table(pack):
    assert read_table(b"epoch,loss\n1,0.5\n", "log.csv") is read_table(b"", "empty.csv") is None
    assert ImageFolder(pack({**images_in("cat"), "log.csv": b"epoch,loss\n1,0.5\n"})).classes == ("cat",)


def test_names_that_are_not_utf8(tmp_path):
    name = b"caf\xe9.png"
    with open(tmp_path.as_posix().encode() + b"/" + name, "wb") as file:
        file.write(png(1))
    as_folder(tmp_path, {"b.png": png(2), "labels.csv": name + b",cat\nb.png,dog\n"})
    data, _ = open_dataset(tmp_path, "cifar10", in_memory=False)
    assert sorted(found(data).values()) == ["cat", "dog"] and data.fingerprint()


@given(st.binary(max_size=300), st.sampled_from([b"", b"image,label\n", b"a.png,cat\n", b"filename;x;label\n"]))
def test_any_bytes_are_a_table_none_or_one_clear_line(data, start):
    try:
        rows = read_table(start + data, "labels.csv")
    except ImageError as error:
        assert "\n" not in str(error) and str(error).startswith("labels.csv, line ")
    else:
        assert rows is None or all(name and label and not name.startswith(("/", "../")) for name, label in rows.items())
