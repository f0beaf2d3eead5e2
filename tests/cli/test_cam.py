"""npresnet cam"""

import json
import os
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image

import npresnet
from npresnet.analysis.cam import grad_cam
from npresnet.analysis.overlay import overlay, seen
from npresnet.cli.cam import class_of


def test_the_image_is_the_cam_over_what_the_network_sees(run, network, weights, photo, tmp_path):
    out = tmp_path / "cam.png"
    result = run("cam", photo, "--weights", weights, "--out", out, "--class", "ship", "--json")
    report = json.loads(result.out)
    x = npresnet.preprocess(photo, network)
    heat = grad_cam(network, x, [8], after="layer3")[0]
    assert result.status == 0 and (report["class"], report["name"], report["after"]) == (8, "ship", "layer3")
    np.testing.assert_array_equal(Image.open(out), overlay(seen(photo, network), heat))
    z = network(x)[0].astype(np.float64)
    np.testing.assert_allclose(report["probability"], np.exp(z[8]) / np.exp(z).sum(), rtol=1e-6)


def test_the_best_class_is_taken_and_text_says_which(run, network, weights, photo, tmp_path):
    result = run("cam", photo, "--weights", weights, "--out", tmp_path / "a.jpg", "--after", "layer2.1.conv2")
    best = network.classes[int(network(npresnet.preprocess(photo, network)).argmax())]
    assert f"after layer2.1.conv2 for {best} (" in result.out
    assert Image.open(tmp_path / "a.jpg").format == "JPEG"


@pytest.mark.parametrize(
    "options, complaint",
    [
        (["--class", "unicorn"], "no class 'unicorn'"),
        (["--class", "10"], "no class '10'"),
        (["--after", "layer9"], "no layer layer9"),
        (["--after", "fc"], "feature maps"),
    ],
)
def test_what_is_not_there_is_named_and_nothing_is_written(run, weights, photo, tmp_path, options, complaint):
    result = run("cam", photo, "--weights", weights, "--out", tmp_path / "cam.png", *options)
    assert result.status == 2 and complaint in result.complaint and not list(tmp_path.iterdir())


@pytest.mark.parametrize("out, complaint", [("cam.xyz", "called .png"), ("none/cam.png", "none/cam.png: No such")])
def test_a_bad_name_for_the_image(run, weights, photo, tmp_path, out, complaint):
    result = run("cam", photo, "--weights", weights, "--out", tmp_path / out)
    assert result.status == 2 and complaint in result.complaint and not list(tmp_path.iterdir())


def test_a_failed_write_leaves_the_old_image(run, weights, photo, tmp_path, monkeypatch):
    out = tmp_path / "cam.png"
    out.write_bytes(b"old")

    def full(handle):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    result = run("cam", photo, "--weights", weights, "--out", out, "--force")
    assert result.status == 2 and result.complaint == f"npresnet: {out}: No space left on device"
    assert out.read_bytes() == b"old" and list(tmp_path.iterdir()) == [out]


def test_a_class_is_called_by_its_name_before_its_number():
    model = SimpleNamespace(classes=("0", "1", "10", "11", "2"), spec=SimpleNamespace(num_classes=5))
    assert [model.classes[class_of(name, model)] for name in ("2", "10", "0")] == ["2", "10", "0"]
    assert class_of("3", model) == 3  # which is nobody's name
    with pytest.raises(ValueError, match="no class"):
        class_of("9" * 6000, model)
