"""The README's example runs as it is printed."""

import re
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import npresnet

README = Path(__file__).parents[1] / "README.md"


@pytest.mark.slow
def test_the_example_runs(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    block = re.search(r"```python\n(import.*?)```", README.read_text(encoding="utf-8"), re.S)[1]
    (published,) = re.findall(r'load_model\("(.*)"\)', block)
    npresnet.save_weights(npresnet.create_model("resnet50"), "random.pth")  # a published name promises its digest
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (300, 400, 3), np.uint8)).save("photo.jpg")
    names = {}
    exec(block.replace(published, "random.pth"), names)
    assert names["x"].shape == names["dx"].shape == (1, 3, 224, 224) and names["logits"].shape == (1, 1000)
    assert names["dy"].shape == names["y"].shape and names["dy"].dtype == names["y"].dtype
    np.testing.assert_allclose(names["fast"](names["x"]), names["logits"], rtol=1e-3, atol=1e-4)
    assert all(parameter.grad is not None for parameter in names["model"].parameters())
    assert "the gradients are right" in capsys.readouterr().out
