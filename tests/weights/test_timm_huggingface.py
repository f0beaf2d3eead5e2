"""timm's and Hugging Face's networks, saved by their own libraries, loaded and run here."""

import numpy as np
import pytest

from npresnet import load_model
from npresnet.weights import load_weights

from ..support.libraries import assert_close, images, randomise_torch

TIMM = {  # timm's name: ours, its options
    "resnet50d": ("resnet50", {"stem": "deep", "avg_down": True}),
    "resnet18d": ("resnet18", {"stem": "deep", "avg_down": True}),
    "seresnet50": ("resnet50", {"squeeze": True}),
    "seresnet18": ("resnet18", {"squeeze": True}),
    "resnet50s": ("resnet50", {"stem": "deep", "stem_width": 64}),
}


def check(torch, theirs, file, name, dialect, options, logits=lambda y: y, tolerance=1e-9):
    """Float32 as loaded, float64 as far as the library goes, on an odd image."""
    ours = load_model(file)
    assert (ours.spec.name, ours.spec.dialect, ours.spec.options) == (name, dialect, options)
    x = images(shape=(3, 65, 70))
    with torch.no_grad():
        expected = logits(theirs(torch.from_numpy(x))).numpy()
        exact = logits(theirs.double()(torch.from_numpy(x).double())).numpy()
    assert_close(ours.logits(x), expected, 1e-4)
    wide = ours.astype(np.float64)
    load_weights(wide, file)
    assert_close(wide.logits(x.astype(np.float64)), exact, tolerance)
    return ours


@pytest.mark.parametrize("original, suffix", [(name, ".safetensors") for name in TIMM] + [("resnet50d", ".pth")])
def test_timm(torch, library, tmp_path, original, suffix):
    timm = library("timm")
    name, options = TIMM[original]
    theirs = timm.create_model(original, num_classes=9)
    randomise_torch(theirs)
    file = tmp_path / f"net{suffix}"
    if suffix == ".pth":
        torch.save(theirs.state_dict(), file)
    else:
        pytest.importorskip("safetensors.torch").save_file(theirs.state_dict(), file)
    ours = check(torch, theirs, file, name, "timm", options)
    assert set(ours.state_dict()) == set(theirs.state_dict()) and ours.preprocessing == "timm"


@pytest.mark.parametrize(
    "name, layers, depths, sizes",
    [
        ("resnet18", "basic", [2, 2, 2, 2], [64, 128, 256, 512]),
        ("resnet50", "bottleneck", [3, 4, 6, 3], [256, 512, 1024, 2048]),
    ],
)
def test_huggingface(torch, library, tmp_path, name, layers, depths, sizes):
    transformers = library("transformers")
    theirs = transformers.ResNetForImageClassification(
        transformers.ResNetConfig(layer_type=layers, depths=depths, hidden_sizes=sizes, num_labels=6)
    )
    randomise_torch(theirs)
    theirs.save_pretrained(tmp_path)  # model.safetensors and config.json
    torch.save(theirs.state_dict(), tmp_path / "pytorch_model.bin")
    states = []
    for file in ("pytorch_model.bin", "model.safetensors"):
        ours = check(torch, theirs.float(), tmp_path / file, name, "huggingface", {}, lambda y: y.logits)
        states.append(ours.state_dict())
    assert all(np.array_equal(states[0][key], states[1][key]) for key in states[0])
    assert ours.preprocessing == "huggingface"
    assert not any("1x1" in note for note in ours.notes)  # config.json says where the stride sits
