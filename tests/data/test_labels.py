"""Class names, and how the folders of a dataset find theirs."""

import hashlib
import json

import numpy as np
import pytest

from npresnet.data import ImageError, class_names, match_classes
from npresnet.data.labels import read_class_names


def test_imagenet_names_are_torchvisions():
    names = class_names("imagenet")
    assert len(names) == 1000 and names[0] == "tench" and names[281] == "tabby"
    digest = hashlib.sha256("\n".join(names).encode()).hexdigest()
    assert digest == "0b0f9fee7c952f257418d62aa701f023a9da13b443a14f5c4291e5724d92967c"


def test_cifar_names():
    assert class_names("cifar10") == (
        "airplane",
        "automobile",
        "bird",
        "cat",
        "deer",
        "dog",
        "frog",
        "horse",
        "ship",
        "truck",
    )
    fine = class_names("cifar100")
    assert len(set(fine)) == 100 and list(fine) == sorted(fine)
    with pytest.raises(ValueError, match="cifar100"):
        class_names("../LICENSE")


CIFAR = class_names("cifar10")


@pytest.mark.parametrize(
    "folders, classes, number, expected, how",
    [
        (("Cat", "cat"), ("Cat", "cat", "dog"), 3, (0, 1), "by name"),
        (tuple(f"n{k:08}" for k in range(1000)), class_names("imagenet"), 1000, range(1000), "sorted order"),
        (CIFAR, CIFAR, 10, range(10), "by name"),
        (("dog", "cat"), CIFAR, 10, (5, 3), "by name"),
        (("Lawn Mower", "maple-tree"), class_names("cifar100"), 100, (41, 47), "by name"),
        (("0", "1", "10", "2"), None, 11, (0, 1, 10, 2), "by number"),
        (("car", "plane"), None, 2, (0, 1), "sorted order"),
        (("n01440764", "n01443537"), None, 2, (0, 1), "sorted order"),
        (("2", "0", "10"), tuple(map(str, (0, 1, 10, 2))), 4, (3, 0, 2), "by name"),
    ],
)
def test_matching(folders, classes, number, expected, how):
    found, explanation = match_classes(folders, classes, number)
    np.testing.assert_array_equal(found, tuple(expected))
    assert how in explanation


@pytest.mark.parametrize(
    "folders, classes, number",
    [
        (("cat", "tiger"), CIFAR, 10),
        (("n01440764",), None, 1000),
        (("0", "11"), None, 10),
        (("9" * 6000,), None, 10),
        (("car", "plane"), ("red", "blue"), 2),
        ((*CIFAR[1:], "plane"), CIFAR, 10),
        (("ant", "dog"), ("cat", "dog"), 2),
        (("crane",), ("crane", "crane", "dog"), 3),
        (("CAT",), ("Cat", "cat", "dog"), 3),
        (("n02086240", "n02087394"), ("n01440764", "n02102040"), 2),  # WordNet's names of two other datasets
        (("n01440764", "n02102040"), ("red", "blue"), 2),
        (("1", "01"), None, 2),
        (tuple(sorted(map(str, range(1, 11)))), None, 10),
        (("1", "2"), ("red", "blue"), 2),
    ],
)
def test_no_match_is_refused_rather_than_guessed(folders, classes, number):
    with pytest.raises(ImageError, match="rename"):
        match_classes(folders, classes, number)


@pytest.mark.parametrize(
    "text",
    [
        "a cat\ndog\n\n  Löwe \n",
        "\ufeffa cat\r\ndog\r\nLöwe",
        json.dumps(["a cat", "dog", "Löwe"]),
        json.dumps({"0": "a cat", "2": "Löwe", "1": "dog"}),
        json.dumps({"0": ["n02121808", "a cat"], "1": ["n02084071", "dog"], "2": ["n02129165", "Löwe"]}),
    ],
)
def test_class_names_of_a_file(tmp_path, text):
    path = tmp_path / "names"
    path.write_text(text, encoding="utf-8")
    assert read_class_names(path, 3) == ("a cat", "dog", "Löwe")
    with pytest.raises(ImageError, match="3 class names for a network of 4"):
        read_class_names(path, 4)


@pytest.mark.parametrize("text", ["[", '{"0": 1}', '{"1": "a"}', "[[]]", "[1, 2]", "[" * 100_000])
def test_a_file_without_class_names_is_refused(tmp_path, text):
    path = tmp_path / "names.json"
    path.write_text(text)
    with pytest.raises(ImageError, match="class names in JSON"):
        read_class_names(path, 1)
    path.write_text("x\n" * 10**6)
    with pytest.raises(ImageError, match="more than"):
        read_class_names(path, 1)
