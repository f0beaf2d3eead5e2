"""npresnet quantize: the file, the report, and what is refused before any work."""

import json

import numpy as np
import pytest
from PIL import Image

import npresnet
from npresnet.cli import main
from npresnet.cli.quantize import split


@pytest.fixture
def photos(tmp_path, monkeypatch):
    """The current folder: eight photos, and a small network's weights."""
    folder = tmp_path / "photos"
    folder.mkdir()
    for k in range(8):
        pixels = np.random.default_rng(k).integers(0, 255, (36, 40, 3), np.uint8)
        Image.fromarray(pixels).save(folder / f"{k}.png")
    npresnet.save_weights(npresnet.create_model("resnet20", num_classes=4), tmp_path / "net.safetensors")
    monkeypatch.chdir(tmp_path)
    return folder


COMMAND = "quantize", "net.safetensors", "--data", "photos", "--out", "int8.safetensors"


def test_the_file_holds_the_network_that_the_images_calibrate(photos, capsys):
    assert main([*COMMAND, "--limit", "4"]) == 0
    out, err = capsys.readouterr()
    assert "same class for" in out and "of 4 images" in out and "layer3.2.conv2" in out
    assert "int8.safetensors" in err
    network, model = npresnet.load_quantized("int8.safetensors"), npresnet.load_model("net.safetensors")
    x = npresnet.preprocess("photos/1.png", network)
    np.testing.assert_array_equal(x, npresnet.preprocess("photos/1.png", model))
    assert np.linalg.norm(network(x) - model(x)) < 0.2 * np.linalg.norm(model(x))
    every_second = [npresnet.preprocess(f"photos/{k}.png", model)[0] for k in (0, 2, 4, 6)]
    np.testing.assert_array_equal(network(x), npresnet.quantize(model, np.stack(every_second))(x))


@pytest.mark.parametrize("observer", ["average", "percentile", "mse"])
def test_json_and_the_observers(photos, capsys, observer):
    assert main([*COMMAND, "--observer", observer, "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert report["images"] == 8 and 0 <= report["agreement"] <= 1 and report["model"] == "resnet20"
    assert report["bytes"][0] > 3 * report["bytes"][1] and report["errors"]["fc"] > 0


def test_the_images_that_measure_are_others_than_those_that_calibrate(photos, capsys):
    for count, limit in ((8, 4), (8, 3), (9, 8), (1000, 256), (300, 256), (257, 256)):
        chosen, others = split(count, limit)
        assert len(chosen) == len(set(chosen)) == limit and not set(chosen) & set(others)
        assert len(others) == min(limit, count - limit) and max(chosen + others) < count
    assert split(5, 8) == ([0, 1, 2, 3, 4], [])
    assert main([*COMMAND, "--limit", "8"]) == 0
    assert "no other images" in capsys.readouterr().err
    assert main([*COMMAND, "--limit", "7", "--force"]) == 0
    out, err = capsys.readouterr()
    assert "of 1 images" in out and "no other images" not in err


def test_an_image_that_cannot_be_read_is_reported_and_the_others_are_taken(photos, capsys):
    (photos / "2.png").write_bytes(b"no image")
    (photos / "3.png").write_bytes((photos / "3.png").read_bytes()[:90])
    assert main([*COMMAND, "--limit", "4", "--json"]) == 2
    out, err = capsys.readouterr()
    assert json.loads(out)["images"] == 3
    lines = [line for line in err.splitlines() if ".png" in line]
    assert len(lines) == 2 and all(line.startswith("npresnet: ") for line in lines)
    network, model = npresnet.load_quantized("int8.safetensors"), npresnet.load_model("net.safetensors")
    readable = [npresnet.preprocess(f"photos/{k}.png", model)[0] for k in (0, 4, 6)]
    x = np.stack(readable)
    np.testing.assert_array_equal(network(x), npresnet.quantize(model, x)(x))
    for path in photos.iterdir():
        path.write_bytes(b"no image")
    assert main([*COMMAND, "--force"]) == 2
    out, err = capsys.readouterr()
    assert not out and err.count("no image was given") == 1 and len(err.splitlines()) == 10, err


def test_what_cannot_be_is_one_line(photos, capsys):
    for wrong, words in (
        (("quantize", "none.pth", "--data", "photos", "--out", "a.npz"), "no such file"),
        (("quantize", "net.safetensors", "--data", "nowhere", "--out", "a.npz"), "nowhere"),
        (("quantize", "net.safetensors", "--data", "photos", "--out", "net.safetensors"), "reads"),
        (("quantize", "net.safetensors", "--data", "photos", "--out", "a.txt"), "suffix"),
        ((*COMMAND, "--observer", "best"), "best"),
        (("quantize", "net.safetensors", "--data", "-", "--out", "a.npz"), "--data"),
    ):
        assert main(list(wrong)) == 2
        out, err = capsys.readouterr()
        assert not out and words in err.splitlines()[-1], err
    assert not list(photos.parent.glob("a.*"))


def test_convert_keeps_a_quantized_network_quantized(photos, capsys):
    assert main([*COMMAND]) == 0
    assert main(["quantize", "net.safetensors", "--data", "photos", "--out", "direct.onnx"]) == 0
    for source, target in (("int8.safetensors", "a.onnx"), ("a.onnx", "b.npz"), ("b.npz", "c.pth")):
        assert main(["convert", source, target]) == 0
        assert f"{target}: QuantizedNetwork(resnet20" in capsys.readouterr().out
    x = npresnet.preprocess("photos/1.png", npresnet.load_quantized("a.onnx"))
    due = npresnet.load_quantized("int8.safetensors")(x)
    for name in ("a.onnx", "c.pth", "direct.onnx"):
        np.testing.assert_array_equal(npresnet.load_quantized(name)(x), due)
    assert main(["convert", "int8.safetensors", "small.onnx", "--size", "32", "--opset", "13"]) == 0
    for wrong, words in (
        (("int8.safetensors", "d.onnx", "--fold"), "--fold is for float networks"),
        (("int8.safetensors", "d.h5", "--to", "keras"), "--to is for float networks"),
        (("int8.safetensors", "d.npz", "--size", "32"), "ends in .onnx"),
        (("int8.safetensors", "d.txt"), "suffix"),
        (("int8.safetensors", "a.onnx"), "exists"),
    ):
        assert main(["convert", *wrong]) == 2
        assert words in capsys.readouterr().err, words
    assert not list(photos.parent.glob("d.*"))
    assert main(["convert", "net.safetensors", "float.onnx", "--fold"]) == 0
    assert npresnet.load_model("float.onnx").spec.name == "resnet20"


def test_the_quantized_network_classifies_and_is_evaluated(photos, capsys):
    for k in range(8):
        folder = photos.parent / "classes" / f"class {k % 4}"
        folder.mkdir(parents=True, exist_ok=True)
        (folder / f"{k}.png").write_bytes((photos / f"{k}.png").read_bytes())
    (photos.parent / "names.txt").write_text("\n".join(f"class {k}" for k in range(4)))
    assert main([*COMMAND]) == 0
    weights = "--weights", "int8.safetensors", "--classes", "names.txt"
    network, found = npresnet.load_quantized("int8.safetensors"), []
    for backend in ((), ("--backend", "numpy")):
        capsys.readouterr()
        assert main(["classify", "photos/1.png", *weights, *backend, "--json"]) == 0
        found.append(json.loads(capsys.readouterr().out)["images"][0]["predictions"])
        assert main(["evaluate", "--data", "classes", *weights, *backend, "--json"]) == 0
        found.append(json.loads(capsys.readouterr().out))
    assert found[:2] == found[2:] and found[1]["total"] == 8
    best = int(network(npresnet.preprocess("photos/1.png", network)).argmax())
    assert found[0][0]["class"] == best and found[0][0]["name"] == f"class {best}"


def test_what_takes_models_says_what_a_quantized_network_is(photos, capsys):
    assert main([*COMMAND]) == 0
    capsys.readouterr()
    assert main(["summary", "--weights", "int8.safetensors"]) == 2
    assert "int8.safetensors: a quantized network: npresnet.load_quantized() reads it" in capsys.readouterr().err
    assert main(["classify", "photos", "--weights", "int8.safetensors", "--backend", "cupy"]) == 2
