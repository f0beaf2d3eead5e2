"""npresnet explore"""

import json
import os

import numpy as np
import pytest

import npresnet

from ..explore.reader import Page


def read(path):
    return Page(path.read_text(encoding="utf-8"))


def test_a_page_of_the_network_in_a_file(run, network, weights, photo, tmp_path):
    out = tmp_path / "page.html"
    result = run("explore", photo, "--weights", weights, "--out", out, "--json")
    report, page = json.loads(result.out), read(out)
    assert result.status == 0 and (report["out"], report["bytes"]) == (str(out), out.stat().st_size)
    assert report["model"] == "resnet20" and list(tmp_path.iterdir()) == [out]
    scores = network.logits(npresnet.preprocess(photo, network))[0]
    found = {row["class"]: row["score"] for row in page.values["scores"]}
    np.testing.assert_allclose([found[k] for k in range(10)], scores, rtol=1e-5, atol=1e-5)
    assert page.values["image"] == "photo.png"
    assert page.values["followed"] == [network.classes[k] for k in np.argsort(-scores)[:2]]


def test_it_works_at_once(run, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    result = run("explore", "--example")
    assert result.status == 0 and result.out == "explore.html: 4.8 MB; open it in a browser\n"
    assert read(tmp_path / "explore.html").values["followed"] == ["cat", "dog"]


def test_classes_size_and_names(run, weights, photo, tmp_path):
    names = tmp_path / "names.txt"
    names.write_text("".join(f"kind <{k}>\n" for k in range(10)))
    options = ["--classes", names, "--class", "kind <7>", "--class", "2", "--class", "7", "--size", "24"]
    assert run("explore", photo, "--weights", weights, "--out", tmp_path / "a.html", *options).status == 0
    page = read(tmp_path / "a.html")
    assert page.values["followed"] == ["kind <7>", "kind <2>"] and page.steps[0]["shape"] == [3, 24, 24]


@pytest.mark.parametrize(
    "words, complaint",
    [
        ([], "name one image (IMAGE), or try --example"),
        (["PHOTO", "--example"], "name one image (IMAGE), or try --example"),
        (["none.png"], "none.png: No such file"),
        (["PHOTO", "--class", "unicorn"], "no class 'unicorn'"),
        (["PHOTO", "--out", "none/page.html"], "No such folder to write into: none"),
        (["PHOTO", "--out", "PHOTO", "--force"], "is what this command reads"),
        (["PHOTO", "--model", "resnet50"], "which weights?"),
        (["PHOTO", "--size", "24x32"], "give one side"),
    ],
)
def test_bad_usage_is_one_line_and_writes_nothing(run, photo, tmp_path, monkeypatch, words, complaint):
    monkeypatch.chdir(tmp_path)
    result = run("explore", *(photo if word == "PHOTO" else word for word in words))
    assert result.status == 2 and result.out == "" and complaint in result.complaint
    assert not list(tmp_path.iterdir())


def test_no_page_is_replaced_unasked_or_lost(run, weights, photo, tmp_path, monkeypatch):
    out = tmp_path / "page.html"
    out.write_bytes(b"old")
    refused = run("explore", photo, "--weights", weights, "--out", out)
    assert refused.status == 2 and refused.complaint.endswith("replace it with --force")

    def full(handle):
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full)
        assert run("explore", photo, "--weights", weights, "--out", out, "--force").status == 2
    assert out.read_bytes() == b"old" and list(tmp_path.iterdir()) == [out]
    assert run("explore", photo, "--weights", weights, "--out", out, "--force").status == 0
    assert out.read_bytes().startswith(b"<!doctype html>")


def test_what_is_no_image_and_no_classifier(run, weights, photo, tmp_path):
    bad = tmp_path / "bad.png"
    bad.write_bytes(b"hello")
    result = run("explore", bad, "--weights", weights, "--out", tmp_path / "a.html")
    assert result.status == 2 and "bad.png: not an image" in result.complaint
    trunk = npresnet.save_weights(npresnet.create_model("resnet20", num_classes=0), tmp_path / "trunk.npz")
    result = run("explore", photo, "--weights", trunk, "--out", tmp_path / "a.html")
    assert result.status == 2 and "no classifier" in result.complaint and not (tmp_path / "a.html").exists()
