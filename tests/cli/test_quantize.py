"""npresnet quantize: the file, the report, and what is refused before any work."""

import json

import numpy as np
import pytest
from PIL import Image

import npresnet
from npresnet.cli import main


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


def test_what_cannot_be_is_one_line(photos, capsys):
    for wrong, words in (
        (("quantize", "none.pth", "--data", "photos", "--out", "a.npz"), "no such file"),
        (("quantize", "net.safetensors", "--data", "nowhere", "--out", "a.npz"), "nowhere"),
        (("quantize", "net.safetensors", "--data", "photos", "--out", "net.safetensors"), "reads"),
        (("quantize", "net.safetensors", "--data", "photos", "--out", "a.txt"), "suffix"),
        ((*COMMAND, "--observer", "best"), "best"),
    ):
        assert main(list(wrong)) == 2
        out, err = capsys.readouterr()
        assert not out and words in err.splitlines()[-1], err
    assert not list(photos.parent.glob("a.*"))
