"""A first image is answered at once; many images go through the engine; a machine without a cache only warns."""

import json
import os
import subprocess
import sys
from types import SimpleNamespace

import numpy as np
import pytest

pytest.importorskip("numba")

import npresnet.engine
from npresnet import create_model
from npresnet.cli import inference
from npresnet.cli.inference import COMPILE, START, Network
from npresnet.engine import optimize


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


X = np.random.default_rng(0).standard_normal((2, 3, 32, 32)).astype(np.float32)


def network(images, seconds, compiled, monkeypatch, **options):
    """A Network whose engine saves so many seconds for each image."""
    monkeypatch.setattr(inference, "saved_seconds", lambda model, shape: seconds)
    monkeypatch.setattr(npresnet.engine, "compiled", lambda: compiled)
    return Network(create_model("resnet20"), images=images, **options)


@pytest.mark.parametrize(
    "images, seconds, missing, batches",
    [
        (4, 0.1, 0, [False, False]),  # too little to save
        (4, START, 0, [True, True]),
        (4, START, 1, [False, True]),  # first a result, then the compiler
        (4, START, 2, [False, False]),  # not worth compiling for
        (4, START, None, [False, False]),
        (4, START + COMPILE, None, [False, True]),
        (None, START, 0, [False, True]),  # as many are expected as have come
        (None, START, None, [False, False]),
    ],
)
def test_the_cheaper_way_is_taken(monkeypatch, images, seconds, missing, batches):
    run, found = network(images, seconds, missing is not None, monkeypatch), []
    monkeypatch.setattr(inference, "KERNEL", 1.0)
    made = SimpleNamespace(logits=run.model.logits, missing_kernels=lambda shape: missing)
    monkeypatch.setattr(inference, "engine", lambda model, backend: made)
    for _ in batches:
        assert run.batch(X[0]) == (1 if run.fast is None and not run.pays(X[0]) else 128)
        run(X)
        found.append(run.fast is not None)
    assert found == batches


def test_the_saving_follows_the_networks_cost():
    small, large = (inference.saved_seconds(create_model(name), (3, 224, 224)) for name in ("resnet18", "resnet50"))
    assert large > 2 * small > 20 * inference.saved_seconds(create_model("resnet20"), X.shape[1:])


def test_without_numba_there_is_one_way(monkeypatch):
    run = network(10**6, 1.0, True, monkeypatch)
    monkeypatch.setattr("npresnet.backend.without_numba", lambda: "numba is not installed")
    run(X)
    assert run.fast is None and run.batch(X[0]) == 1


@pytest.mark.parametrize("softmax", [False, True])
def test_both_ways_give_the_scores_before_a_softmax(monkeypatch, softmax):
    model = create_model("resnet20", softmax=softmax)
    wanted = model.logits(X)
    for backend in (None, "numba"):
        np.testing.assert_allclose(Network(model, images=1, backend=backend)(X), wanted, atol=1e-4 * abs(wanted).max())
    np.testing.assert_allclose(optimize(model)(X), model(X), atol=1e-4 * abs(model(X)).max())


def test_who_waits_for_the_compiler_is_told(tmp_path):
    code = (
        "import numpy as np; from npresnet import create_model; from npresnet.cli.inference import Network\n"
        "Network(create_model('resnet20'), images=2, backend='numba')(np.zeros((1, 3, 40, 40), np.float32))"
    )
    done = python("-c", code, NUMBA_CACHE_DIR=str(tmp_path))
    assert done.stderr.splitlines() == ["compiling kernels for this machine: up to 20 seconds, once"]


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
