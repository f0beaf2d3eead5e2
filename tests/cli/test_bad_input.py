"""Every kind of bad input: exit status 2, one line that names what is wrong, and nothing on standard output."""

import io
import os
import pickle
import zipfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import npresnet


class Hostile:
    """Unpickles by running a command."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return os.system, (f"touch {self.path}",)


def torch_zip(path, data_pkl):
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("archive/data.pkl", data_pkl)
        archive.writestr("archive/version", "3\n")
    return path


def written(path, content):
    path.write_bytes(content)
    return path


def png_header(width, height):
    """A PNG that claims to be large."""
    file = io.BytesIO()
    Image.new("L", (1, 1)).save(file, "PNG")
    data = bytearray(file.getvalue())
    data[16:24] = width.to_bytes(4, "big") + height.to_bytes(4, "big")
    import zlib

    data[29:33] = zlib.crc32(data[12:29]).to_bytes(4, "big")
    return bytes(data)


@pytest.mark.parametrize(
    "damage, message",
    [
        (lambda path, good: path / "nowhere.pth", "no such file"),
        (lambda path, good: path, "holds no file of weights"),
        (lambda path, good: written(path / "a.pth", b""), "empty"),
        (lambda path, good: written(path / "a.pth", b"<html>not found</html>"), "web page"),
        (lambda path, good: written(path / "a.safetensors", good.read_bytes()[:-1000]), "a.safetensors"),
        (lambda path, good: written(path / "a.safetensors", good.read_bytes()[:100]), "a.safetensors"),
        (
            lambda path, good: npresnet.save_weights({"x": np.zeros(3, np.float32)}, path / "a.npz"),
            "not those of a ResNet",
        ),
        (lambda path, good: torch_zip(path / "a.pth", pickle.dumps(Hostile(path / "ran"), 2)), "system"),
        (lambda path, good: written(path / "a.pth", pickle.dumps(Hostile(path / "ran"), 2)), "system"),
        (lambda path, good: written(path / "resnet18-f37072fd.pth", good.read_bytes()), "SHA-256"),
    ],
    ids=[
        "missing",
        "a folder",
        "empty",
        "web page",
        "truncated",
        "header",
        "no network",
        "hostile zip",
        "hostile legacy",
        "wrong hash",
    ],
)
def test_weights(run, photo, weights, tmp_path, damage, message):
    file = damage(tmp_path, weights)
    result = run("classify", photo, "--weights", file)
    assert result.status == 2 and result.out == ""
    assert message in result.complaint and str(file) in result.complaint
    assert not (tmp_path / "ran").exists()


def test_a_truncated_pth(run, photo, network, tmp_path):
    path = npresnet.save_weights(network, tmp_path / "a.pth")
    written(path, path.read_bytes()[:200_000])
    result = run("classify", photo, "--weights", path)
    assert result.status == 2 and str(path) in result.complaint


@pytest.mark.parametrize("command", [["classify", "PHOTO"], ["summary"], ["evaluate", "--data", "DATA"]])
def test_weights_of_another_model_say_which_fits(run, photo, weights, data, command):
    command = [{"PHOTO": photo, "DATA": data}.get(word, word) for word in command]
    name = ["resnet32"] if command == ["summary"] else ["--model", "resnet32"]
    result = run(*command, *name, "--weights", weights)
    assert result.status == 2 and result.out == ""
    assert "resnet20" in result.complaint and "resnet32" in result.complaint


@pytest.fixture
def data(tmp_path):
    (tmp_path / "data/cat").mkdir(parents=True)
    Image.new("RGB", (32, 32)).save(tmp_path / "data/cat/1.png")
    return tmp_path / "data"


@pytest.mark.parametrize(
    "content, message",
    [
        (b"", "not an image"),
        (b"hello", "not an image"),
        (png_header(30_000, 30_000), "decompression bomb"),
        (png_header(4000, 4000), "truncated"),
        (b"P5 30000 30000 255\n", "decompression bomb"),
        (png_header(0, 0), "bad.png"),
        ("half", "truncated"),
    ],
    ids=["empty", "text", "png bomb", "png without its data", "pgm bomb", "no pixels", "truncated"],
)
@pytest.mark.parametrize("command", ["classify", "evaluate"])
def test_images(run, photo, weights, data, command, content, message):
    path = written(data / "cat/bad.png", Path(photo).read_bytes()[:5000] if content == "half" else content)
    argv = ["classify", path] if command == "classify" else ["evaluate", "--data", data]
    result = run(*argv, "--weights", weights)
    assert result.status == 2 and result.out.strip() == ""
    assert message in result.complaint and "bad.png" in result.complaint


def test_a_missing_image(run, weights, tmp_path):
    result = run("classify", tmp_path / "none.png", "--weights", weights)
    assert result.status == 2 and result.complaint == f"npresnet: {tmp_path / 'none.png'}: No such file or directory"


@pytest.mark.parametrize(
    "make, message",
    [
        (lambda path: path / "nowhere", "No such file"),
        (lambda path: path, "no images"),
        (lambda path: written(path / "a.zip", b"no zip"), "neither a folder nor a zip"),
        (lambda path: (path / "cat").mkdir() or path, "no images"),
    ],
    ids=["missing", "empty folder", "no zip", "empty class folder"],
)
def test_data_sets(run, weights, tmp_path, make, message):
    path = make(tmp_path)
    result = run("evaluate", "--data", path, "--weights", weights)
    assert result.status == 2 and result.out == ""
    assert message in result.complaint and str(path) in result.complaint


def test_images_whose_channels_the_network_does_not_read(run, photo, tmp_path):
    path = npresnet.save_weights(npresnet.create_model("resnet20", in_channels=1), tmp_path / "grey.npz")
    result = run("classify", photo, "--weights", path)
    assert result.status == 2 and "in_channels is 1" in result.complaint


@pytest.mark.parametrize(
    "argv, message",
    [
        ([], "COMMAND"),
        (["draw"], "no command 'draw'; they are classify, "),
        (["classify"], "IMAGE"),
        (["classify", "a.png", "--model", "resnet50"], "--weights FILE, or fetch one: npresnet download resnet50"),
        (["classify", "a.png", "--model", "preresnet50"], "--weights FILE; none are published for it"),
        (["classify", "a.png", "--model", "resnet2"], "unknown model 'resnet2'; did you mean"),
        (["classify", "a.png", "--weights", ""], "the path is empty"),
        (["gradcheck", "resnet20", "--seed", "-1"], "a whole number of at least 0, not '-1'"),
        (["classify", "a.png", "--top", "0", "--weights", "x"], "whole number from 1"),
        (["evaluate", "--weights", "x"], "--data"),
        (["evaluate", "--data", ".", "--batch", "-1"], "whole number"),
        (["train", "--data", ".", "--model", "resnet20", "--out", ""], "out: the name or the path is empty"),
        (["train", "--data", ".", "--test", "", "--out", "x"], "test: the name or"),
        (["cam", "a.png", "--out", "b.png", "--class", ""], "label: the name or"),
        (["classify", ""], "images: the name or"),
        (["summary", "resnet20", "--input", f"1x3x{'9' * 5000}x32"], "write batch, channels"),
        (["bench", "--size", "9" * 5000], "is no size; write a side"),
        (["gradcheck", "resnet20", "--seed", "9" * 5000], "whole number of at least 0"),
        (["convert", "a.pth"], "OUT"),
        (["convert", "no such file.pth", "b.foo"], "b.foo: OUT ends in .safetensors, .npz, .pth, .pt or .onnx"),
        (["download", "resnet51"], "no published weights"),
    ],
)
def test_usage(run, photo, argv, message):
    result = run(*(photo if word == "a.png" else word for word in argv))
    assert result.status == 2 and result.out == "" and message in result.complaint and len(result.complaint) < 700


def test_an_unknown_model(run, photo, weights):
    result = run("classify", photo, "--weights", weights, "--model", "resnet21")
    assert result.status == 2 and "did you mean" in result.complaint
