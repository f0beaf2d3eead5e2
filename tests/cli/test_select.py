"""--select and select=: one of several networks in a file."""

import json

import numpy as np
import pytest

import npresnet

ONE = {"model": 3, "model_ema": 4}  # name: classes
TWO = {"left": 3, "right": 4}  # which none of the names puts before the other


@pytest.fixture(params=["nested", "flat"])
def write(request, tmp_path):
    """write(names) → the path of a file with a network of each name, one dictionary each or all in one."""

    def write(names):
        nets = {
            name: npresnet.create_model("resnet20", num_classes=classes, width=4, seed=classes)
            for name, classes in names.items()
        }
        states = {name: net.state_dict() for name, net in nets.items()}
        if request.param == "flat":
            flat = {f"{name}.{key}": array for name, state in states.items() for key, array in state.items()}
            return npresnet.save_weights(flat, tmp_path / "net.safetensors")
        torch = pytest.importorskip("torch")
        nested = {
            name: {key: torch.from_numpy(np.array(array)) for key, array in state.items()}
            for name, state in states.items()
        }
        torch.save({**nested, "epoch": 3}, tmp_path / "net.pth")
        return tmp_path / "net.pth"

    return write


@pytest.mark.parametrize(
    "names, select, classes", [(ONE, None, 3), (ONE, "ema", 4), (TWO, "left", 3), (TWO, "right", 4)]
)
def test_one_of_two(run, write, names, select, classes):
    file = write(names)
    model = npresnet.load_model(file, select=select)
    assert model.spec.num_classes == classes and any("--select, takes another" in note for note in model.notes)
    assert npresnet.create_model("resnet20", weights=file, select=select).spec == model.spec
    chosen = [] if select is None else ["--select", select]
    result = run("summary", file, "--json", *chosen)
    assert json.loads(result.out)["rows"][-1]["output_shape"] == [1, classes]
    others = [name for name, count in names.items() if count != classes]
    assert f"left '{others[0]}'; select=, or --select, takes another" in result.err
    out = file.with_name("out.npz")
    assert run("convert", file, out, *chosen).status == 0
    assert npresnet.load_model(out).spec.num_classes == classes


@pytest.mark.parametrize(
    "select, words", [(None, "holds 2 networks: 'left', 'right'; say which"), ("x", "no network is called 'x'")]
)
def test_none_is_taken_where_it_is_not_clear_which(run, write, select, words):
    result = run("summary", write(TWO), *(["--select", select] if select else []))
    assert result.status == 2 and words in result.complaint and "'left', 'right'" in result.complaint


@pytest.mark.parametrize("select, size", [(None, 5), ("ema", 3)])
def test_arrays_of_no_network(tmp_path, select, size):
    torch = pytest.importorskip("torch")
    torch.save({"model": {"a": torch.ones(5)}, "ema": {"a": torch.ones(3)}}, tmp_path / "net.pth")
    assert npresnet.read_weights(tmp_path / "net.pth", select=select)["a"].shape == (size,)
    with pytest.raises(
        npresnet.WeightsError, match="no dictionaries of arrays are called 'x'; there are 'model', 'ema'"
    ):
        npresnet.read_weights(tmp_path / "net.pth", select="x")
