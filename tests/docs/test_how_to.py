"""The how-to pages do what they say: commands and Python run in order, in a folder with photos and weights."""

import re
import shlex
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import npresnet
from npresnet.cli import main
from npresnet.data import Preprocessing

DOCS = Path(__file__).parents[2] / "docs"
BLOCK = re.compile(r"^```(console|python)\n(.*?)^```", re.S | re.M)
NEEDS = {"nearest-neighbours": "sklearn", "export-onnx": "onnxruntime"}
TRAIN = ("fine-tune", "write-your-own-layer")
LEAVES = {  # files that a page's commands write
    "classify-a-folder": ["classes.jsonl"],
    "check-a-gradient": [],
    "load-my-checkpoint": ["named.safetensors"],
    "nearest-neighbours": ["photos.npz"],
    "fine-tune": ["runs/photos/best.safetensors", "runs/photos/metrics.csv"],
    "grad-cam": ["query-cam.png", "maps"],
    "explore": ["explore.html", "resnet18.html", "cat-and-ship.html"],
    "export-onnx": ["resnet18.onnx"],
    "quantize": ["resnet18-int8.safetensors", "resnet18-int8.onnx", "runs/int8/best-int8.safetensors"],
    "write-your-own-layer": ["runs/scaled/final.safetensors", "scaled.safetensors"],
}


def photo(path, seed):
    """A photo of a light (cat) or a dark thing (dog)."""
    rng = np.random.default_rng(seed)
    pixels = rng.integers(0, 120, (48, 56, 3)) + (130 if "cat" in str(path) else 0)
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels.astype(np.uint8)).save(path)


@pytest.fixture
def here(tmp_path, monkeypatch):
    """A folder, the current one, with what the pages begin with: photos, a photo to ask about, pretrained weights."""
    for k in range(20):
        photo(tmp_path / "photos" / ("cat", "dog")[k % 2] / f"{k}.jpg", k)
    photo(tmp_path / "query.jpg", 99)
    model = npresnet.create_model("resnet18", width=8, num_classes=10)
    model.preprocessing = Preprocessing(40, 32)
    npresnet.save_weights(model, tmp_path / "resnet18.pth")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def run(kind, text, names):
    """Execute a block: each command in this process, or the Python with the names of the blocks before."""
    if kind == "python":
        return exec(compile(text, "a block of Python", "exec"), names)
    commands = [line.removeprefix("$ ") for line in text.splitlines() if line.startswith("$ ")]
    assert commands
    for command in commands:
        program, *arguments = shlex.split(command)
        assert program == "npresnet" and main(arguments) == 0, command


@pytest.mark.parametrize("page", [pytest.param(p, marks=pytest.mark.slow if p in TRAIN else ()) for p in LEAVES])
def test_a_page_does_what_it_says(page, here, capsys):
    if page in NEEDS:
        pytest.importorskip(NEEDS[page])
    blocks, names = BLOCK.findall((DOCS / f"{page}.md").read_text(encoding="utf-8")), {}
    assert blocks
    for kind, text in blocks:
        run(kind, text, names)
    assert all((here / left).exists() for left in LEAVES[page])
    assert "Traceback" not in capsys.readouterr().err


def test_every_page_of_commands_is_tested():
    pages = {path.stem for path in DOCS.glob("*.md") if "```console" in path.read_text(encoding="utf-8")}
    assert pages <= {*LEAVES, "service", "many-machines"}  # the last in tests/distributed
