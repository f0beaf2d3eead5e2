"""The experiment on depth, on a few small images."""

import json

import numpy as np
import pytest
from PIL import Image

from npresnet import create_model, ops, use
from npresnet.data.batches import Batch
from npresnet.data.dataset import Dataset
from npresnet.teaching import depth
from npresnet.teaching.photos import photo_patches as depth_patches

from ..support.drawn import drawn_source


def test_gradient_norms_are_the_gradients_norms():
    model = create_model("plain20", num_classes=3).astype(np.float64)
    batch = Batch(np.random.default_rng(0).standard_normal((4, 3, 8, 8)), np.array([0, 1, 2, 0]))
    before = model.state_dict()
    with use("numpy"):
        norms = depth.gradient_norms(model, batch)
    assert len(norms) == 19 and all(norm > 0 for norm in norms.values())
    assert all(array is before[key] for key, array in model.state_dict().items())
    with use("numpy"):
        copied = model.copy().train()
        logits, pullback = copied.logits_vjp(batch.x)
        pullback(ops.softmax_cross_entropy(logits, batch.labels)[1]())
    for name, parameter in copied.named_parameters():
        if parameter.value.ndim == 4:
            assert norms[name] == pytest.approx(np.sqrt((parameter.grad**2).sum()), rel=1e-3)


def test_one_small_file_for_each_network(tmp_path):
    source = drawn_source(12, side=32, classes=2)
    for number, label in enumerate(source.labels):
        (tmp_path / f"data/class{label}").mkdir(parents=True, exist_ok=True)
        Image.fromarray(source.pixels[number]).save(tmp_path / f"data/class{label}/{number}.png")
    argv = [
        "--data",
        tmp_path / "data",
        "--out",
        tmp_path / "out",
        "--runs",
        tmp_path / "runs",
        "--epochs",
        "1",
        "--held-out",
        "4",
        "--networks",
        "plain20",
        "resnet20",
    ]
    with use("numpy"):
        depth.main(list(map(str, argv)))
        first = (tmp_path / "out/plain20.json").read_bytes()
        (tmp_path / "out/plain20.json").unlink()
        depth.main(list(map(str, argv)))  # from the checkpoint: nothing is trained again
    assert (tmp_path / "out/plain20.json").read_bytes() == first
    result = json.loads(first)
    assert (
        result["images"] == 8 and result["side"] == 32 and len(result["layers"]) == 19 and len(result["history"]) == 1
    )
    assert len(result["gradient_norms_at_start"]) == len(result["history"][0]["gradient_norms"]) == 19
    assert (tmp_path / "out/resnet20.json").exists()


def test_it_can_be_made_small(tmp_path, monkeypatch):
    monkeypatch.setattr(depth, "photo_patches", lambda count, side: depth_patches(40, side))
    argv = [
        "--data",
        "photos",
        "--side",
        "12",
        "--width",
        "8",
        "--recipe",
        "fast-cifar",
        "--batch-size",
        "8",
        "--lr",
        "0.02",
    ]
    argv += ["--zero-gamma", "--epochs", "2", "--held-out", "10", "--networks", "resnet20"]
    with use("numpy"):
        depth.main([*argv, "--runs", str(tmp_path / "runs"), "--out", str(tmp_path / "out")])
    result = json.loads((tmp_path / "out/resnet20.json").read_bytes())
    assert (result["model"], result["options"], result["side"], result["images"]) == ("resnet20", {"width": 8}, 12, 30)
    assert (result["recipe"]["batch_size"], result["recipe"]["lr"], len(result["history"])) == (8, 0.02, 2)
    start = dict(zip(result["layers"], result["gradient_norms_at_start"]))
    assert start["conv1.weight"] > 0 and start["layer1.0.conv1.weight"] == 0  # γ = 0 stands before it
    assert all(norm > 0 for norm in result["history"][-1]["gradient_norms"])


def test_images_are_made_smaller_by_means():
    pixels = np.zeros((2, 4, 4, 3), np.uint8)
    pixels[1, :2, :2] = 40
    pixels[1, 0, 0] = 80
    small = depth.resized(Dataset(np.array([0, 1]), ("a", "b"), pixels=pixels), 2)
    assert (
        small.pixels.shape == (2, 2, 2, 3)
        and small.pixels[1, 0, 0].tolist() == [50] * 3
        and not small.pixels[1, 1].any()
    )
    assert depth.resized(small, 2) is small
