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


def photos(folder, count):
    """So many images, in a subfolder each, of which every second one has the same name."""
    for k in range(count):
        (folder / f"in{k}").mkdir(parents=True)
        pixels = np.random.default_rng(k).integers(0, 256, (40, 44, 3), np.uint8)
        Image.fromarray(pixels).save(folder / f"in{k}" / f"{k % 2}.png")
    return folder


@pytest.mark.parametrize("options", [[], ["--after", "layer2.1"], ["--batch", "3", "--backend", "numba"]], ids=str)
def test_a_folder_of_maps(run, network, weights, tmp_path, options):
    folder, out = photos(tmp_path / "photos", 4), tmp_path / "maps"
    result = run("cam", folder, "--weights", weights, "--out", out, "--jsonl", *options)
    found = [json.loads(line) for line in result.out.splitlines()]
    assert result.status == 0 and [entry["out"] for entry in found] == [
        f"{out}/{name}.png" for name in ("0", "1", "0-2", "1-2")
    ]
    for entry in found:
        x = npresnet.preprocess(entry["image"], network)
        assert entry["class"] == network(x).argmax()
        heat = grad_cam(network, x, [entry["class"]], after=options[1] if "--after" in options else None)[0]
        due = np.asarray(overlay(seen(entry["image"], network), heat), int)
        assert abs(np.asarray(Image.open(entry["out"]), int) - due).max() <= 1
    before = {path: path.read_bytes() for path in out.iterdir()}
    again = run("cam", folder, "--weights", weights, "--out", out)
    assert again.status == 2 and "replace it with --force" in again.complaint
    assert run("cam", folder, "--weights", weights, "--out", out, "--force", *options).status == 0
    assert {path: path.read_bytes() for path in out.iterdir()} == before


def test_one_file_for_several_images_is_refused(run, weights, tmp_path):
    folder = photos(tmp_path / "photos", 2)
    result = run("cam", folder, "--weights", weights, "--out", tmp_path / "cam.png")
    assert result.status == 2 and "one file for 2 images: give a folder" in result.complaint
    report = json.loads(run("cam", folder, "--weights", weights, "--out", tmp_path, "--json").out)
    assert [entry["out"] for entry in report["images"]] == [f"{tmp_path}/0.png", f"{tmp_path}/1.png"]


def test_a_broken_image_beside_a_good_one(run, weights, tmp_path):
    folder = photos(tmp_path / "photos", 2)
    (folder / "in0/0.png").write_bytes(b"broken")
    result = run("cam", folder, "--weights", weights, "--out", tmp_path / "maps/")
    assert result.status == 2 and "in0/0.png: not an image" in result.complaint
    assert [path.name for path in (tmp_path / "maps").iterdir()] == ["1.png"]
