"""npresnet classify"""

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import npresnet
from npresnet.data import class_names


def softmax(z):
    p = np.exp(z - z.max())
    return p / p.sum()


def test_json_holds_the_softmax_of_the_logits(run, network, weights, photo):
    result = run("classify", photo, "--weights", weights, "--top", 3, "--json")
    report = json.loads(result.out)
    p = softmax(network(npresnet.preprocess(photo, "cifar10"))[0].astype(np.float64))
    guesses = report["images"][0]["predictions"]
    assert result.status == 0 and report["model"] == "resnet20" and report["weights"] == str(weights)
    assert [guess["class"] for guess in guesses] == list(np.argsort(-p)[:3])
    assert [guess["name"] for guess in guesses] == [network.classes[k] for k in np.argsort(-p)[:3]]
    np.testing.assert_allclose([guess["probability"] for guess in guesses], np.sort(p)[:-4:-1], rtol=1e-6)


def test_text_names_the_classes_and_standard_error_the_weights(run, weights, photo, network):
    result = run("classify", photo, photo, "--weights", weights)
    lines = result.out.splitlines()
    assert lines[0] == lines[6] == str(photo) and lines[1:6] == lines[7:12] and len(lines) == 12
    assert all(line.split("%  ")[1] in network.classes for line in lines[1:6])
    assert "resnet20 with 10 classes" in result.err and str(weights) in result.err


def test_probabilities_add_up_and_top_is_at_most_all_classes(run, weights, photo):
    guesses = json.loads(run("classify", photo, "--weights", weights, "--top", 99, "--json").out)["images"][0]
    assert len(guesses["predictions"]) == 10
    assert sum(guess["probability"] for guess in guesses["predictions"]) == pytest.approx(1, abs=1e-12)


def test_a_file_without_class_names_gets_numbers(run, network, photo, tmp_path):
    path = npresnet.save_weights(network.state_dict(), tmp_path / "bare.npz")
    result = run("classify", photo, "--weights", path)
    assert result.status == 0 and "class " in result.out and "cat" not in result.out
    assert "its keys also fit" in result.err  # plain20 has the same arrays


def test_a_named_model_settles_what_the_file_leaves_open(run, network, photo, tmp_path):
    path = npresnet.save_weights(network.state_dict(), tmp_path / "bare.npz")
    reports = [
        json.loads(run("classify", photo, "--weights", path, "--json", *model).out)
        for model in ((), ("--model", "plain20"))
    ]
    assert [report["model"] for report in reports] == ["resnet20", "plain20"]
    assert reports[0]["images"] != reports[1]["images"]


def test_a_softmax_head_is_not_applied_twice(run, network, weights, photo, monkeypatch):
    monkeypatch.setattr("npresnet.cli.inference.saved_seconds", lambda model, shape: 0.0)  # which calls the model
    net = type(network)
    plain, scores = run("classify", photo, "--weights", weights, "--json").out, net.__call__
    monkeypatch.setattr(net, "logits", scores)
    monkeypatch.setattr(net, "__call__", lambda self, x: pytest.fail("the scores are asked for, not the output"))
    assert run("classify", photo, "--weights", weights, "--json").out == plain


@pytest.mark.parametrize("mode", ["L", "LA", "RGBA", "P", "CMYK", "I;16", "1"])
def test_images_of_every_mode_are_converted(run, weights, tmp_path, mode):
    image = Image.fromarray(np.arange(48 * 40, dtype=np.uint16).reshape(48, 40) * 34)
    image = image if mode == "I;16" else Image.fromarray((np.asarray(image) // 256).astype(np.uint8)).convert(mode)
    path = tmp_path / ("a.tif" if mode == "CMYK" else "a.png")
    image.save(path)
    result = run("classify", path, "--weights", weights, "--top", 1)
    assert result.status == 0 and len(result.out.splitlines()) == 2


def test_good_images_are_classified_beside_bad_ones(run, weights, photo, tmp_path):
    broken = tmp_path / "broken.png"
    broken.write_bytes(Path(photo).read_bytes()[:500])
    result = run("classify", broken, photo, "--weights", weights, "--json")
    assert result.status == 2 and "broken.png" in result.complaint
    assert [entry["image"] for entry in json.loads(result.out)["images"]] == [str(photo)]


def test_scores_that_are_not_numbers_are_reported(run, network, photo, tmp_path):
    state = {
        key: np.full_like(value, np.nan) if key == "fc.bias" else value for key, value in network.state_dict().items()
    }
    path = npresnet.save_weights(state, tmp_path / "nan.npz")
    result = run("classify", photo, "--weights", path)
    assert result.status == 2 and "damaged" in result.complaint


def test_a_cat_is_a_cat(run, pretrained):
    data = pytest.importorskip("skimage.data", reason="scikit-image is not installed")
    cat = Path(data.__file__).with_name("chelsea.png")
    for file in ("resnet20-12fca82f.th", "resnet32-d509ac18.th"):
        report = json.loads(run("classify", cat, "--weights", pretrained / file, "--json").out)
        best = report["images"][0]["predictions"][0]
        assert best["name"] == "cat" and best["probability"] > 0.5


def test_without_weights_the_network_that_ships_answers_and_says_so(run, photo):
    result, again = run("classify", photo), run("classify", photo, "--model", "resnet20")
    names = [line.split("%  ")[1] for line in result.out.splitlines()[1:]]
    assert result.status == 0 and len(names) == 5 and set(names) < set(class_names("cifar10"))
    assert "comes with npresnet" in result.err and "npresnet download resnet50" in result.err
    assert again.out == result.out


def test_the_example_is_a_cat(run):
    result = run("classify", "--example")
    path, first, *_ = result.out.splitlines()
    assert result.status == 0 and path.endswith("cat.jpg") and first.endswith("cat")
    assert "--example" in run("classify").complaint
