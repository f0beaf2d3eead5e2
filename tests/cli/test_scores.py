"""A first image is answered at once; many images go through the engine; a machine without a cache only warns."""

import json
import os
import subprocess
import sys

import numpy as np
import pytest

pytest.importorskip("numba")

import npresnet.engine
from npresnet import create_model
from npresnet.cli.inference import MANY, MANY_UNCOMPILED, scorer
from npresnet.engine import Engine, optimize


def python(*arguments, **environment):
    """Run Python in an environment with these changes (None takes a variable away)."""
    changed = {**os.environ, **environment}
    return subprocess.run(
        [sys.executable, *map(str, arguments)],
        capture_output=True,
        text=True,
        timeout=300,
        env={key: value for key, value in changed.items() if value is not None},
    )


def by_engine(run):
    return isinstance(getattr(run, "__self__", None), Engine)


def test_the_road_depends_on_how_many_images_there_are(monkeypatch, capsys):
    model = create_model("resnet20")
    monkeypatch.setattr(npresnet.engine, "compiled", lambda: True)
    assert [by_engine(scorer(model, n)) for n in (1, MANY - 1, MANY)] == [False, False, True]
    assert capsys.readouterr().err == ""
    monkeypatch.setattr(npresnet.engine, "compiled", lambda: False)
    assert not by_engine(scorer(model, MANY_UNCOMPILED - 1)) and capsys.readouterr().err == ""
    assert by_engine(scorer(model, MANY_UNCOMPILED)) and "compiling" in capsys.readouterr().err


def test_without_numba_there_is_one_road(monkeypatch):
    monkeypatch.setattr("npresnet.backend.without_numba", lambda: "numba is not installed")
    assert not by_engine(scorer(create_model("resnet20"), 10**6))


@pytest.mark.parametrize("softmax", [False, True])
def test_both_roads_give_the_scores_before_a_softmax(monkeypatch, softmax):
    monkeypatch.setattr(npresnet.engine, "compiled", lambda: True)
    model = create_model("resnet20", softmax=softmax)
    x = np.random.default_rng(0).standard_normal((3, 3, 32, 32)).astype(np.float32)
    wanted = model.logits(x)
    for n in (1, MANY):
        np.testing.assert_allclose(scorer(model, n)(x), wanted, atol=1e-4 * abs(wanted).max())
    np.testing.assert_allclose(optimize(model)(x), model(x), atol=1e-4 * abs(model(x)).max())


def test_one_image_loads_no_compiler(weights, photo):
    code = (
        "import sys; from npresnet.cli import main; status = main(sys.argv[1:]); "
        "sys.exit(status or 'numba' in sys.modules)"
    )
    done = python("-c", code, "classify", photo, "--weights", weights)
    assert done.returncode == 0, done.stderr
    assert "%" in done.stdout


NOWHERE = {
    "HOME": None,
    "XDG_CACHE_HOME": None,
    "NUMBA_CACHE_DIR": os.path.join(os.devnull, "nowhere"),
    "NUMBA_CACHE_LOCATOR_CLASSES": "UserProvidedCacheLocator",
}  # nor beside the package, nor at home


def test_nowhere_to_keep_kernels_is_one_warning(weights, photo):
    from numba import config

    if not hasattr(config, "CACHE_LOCATOR_CLASSES"):
        pytest.skip("this Numba cannot be kept from writing beside the package")
    code = (
        "import numpy as np; from npresnet import optimize; from npresnet.engine import compiled\n"
        "from npresnet.nn import GlobalAvgPool2d, Sequential, ReLU\n"
        "y = optimize(Sequential(ReLU(), GlobalAvgPool2d()))(np.ones((2, 16, 3, 3), np.float32))\n"
        "print(y.sum(), compiled())"
    )
    done = python("-c", code, **NOWHERE)
    assert done.returncode == 0 and done.stdout.split() == ["32.0", "False"]
    assert done.stderr.count("NUMBA_CACHE_DIR") == 1 and "Traceback" not in done.stderr
    done = python("-m", "npresnet", "classify", photo, "--weights", weights, **NOWHERE)
    assert done.returncode == 0 and "%" in done.stdout and "NUMBA_CACHE_DIR" not in done.stderr


@pytest.fixture
def one_score(tmp_path):
    return create_model("resnet20", num_classes=1), tmp_path / "one.npz"


@pytest.mark.parametrize("command", ["cam", "evaluate"])
def test_a_model_of_one_class_has_none_to_choose(run, photo, tmp_path, one_score, command):
    npresnet.save_weights(*one_score)
    (tmp_path / "data" / "cat").mkdir(parents=True)
    (tmp_path / "data" / "cat" / "1.png").write_bytes(photo.read_bytes())
    where = {"cam": [photo, "--out", tmp_path / "cam.png"], "evaluate": ["--data", tmp_path / "data"]}
    status, out, err = run(command, *where[command], "--weights", one_score[1])
    assert status == 2 and not out and "a single score" in err.splitlines()[-1] and not (tmp_path / "cam.png").exists()


@pytest.mark.parametrize("wanted", [-800.0, -9.0, 0.0, 3.0, 800.0])
def test_a_single_score_is_read_through_a_sigmoid(run, photo, one_score, wanted):
    model, file = one_score
    model.fc.bias.value[:] += np.float32(wanted - model.logits(npresnet.preprocess(photo, model))[0, 0])
    npresnet.save_weights(model, file)
    guess = json.loads(run("classify", photo, "--weights", file, "--json").out)["images"][0]["predictions"]
    expected = 0.5 * (1 + np.tanh(wanted / 2))
    assert len(guess) == 1 and guess[0]["probability"] == pytest.approx(expected, abs=1e-4)
    shown = run("classify", photo, "--weights", file)
    assert f"{100 * guess[0]['probability']:6.2f} %  yes" in shown.out and "its sigmoid" in shown.err
