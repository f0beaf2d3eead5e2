"""npresnet train: from images to weights, and one clear line for everything that is wrong."""

import json
import shutil
import zipfile
from dataclasses import fields
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from npresnet import WeightsError, create_model, load_model, load_quantized, preprocess, save_weights
from npresnet.cli import main, parser
from npresnet.cli.run_options import DEFAULTS, checked, choose_recipe
from npresnet.cli.train import SHORTER, check_apart
from npresnet.data import Preprocessing
from npresnet.training import Callback, Recipe

from ..support.drawn import drawn_source

CIFAR = Path(__file__).parents[2] / "../shared/data/cifar10"
QUICK = ["--backend", "numpy", "--epochs", "1", "--batch", "8", "--held-out", "4"]


@pytest.fixture
def data(tmp_path):
    """train/ and test/ with class folders of small images."""
    for part, seed in (("train", 0), ("test", 1)):
        source = drawn_source(24, seed=seed)
        for number, label in enumerate(source.labels):
            folder = tmp_path / "data" / part / f"class{label}"
            folder.mkdir(parents=True, exist_ok=True)
            Image.fromarray(source.pixels[number]).save(folder / f"{number:02}.png")
    return tmp_path / "data"


@pytest.fixture
def quick(data):
    """The words of a run of a second."""
    return ["--data", data, "--model", "resnet20", *QUICK]


@pytest.fixture
def train(capsys, tmp_path):
    def train(*argv, out=tmp_path / "out"):
        status = main(["train", "--out", str(out), *map(str, argv)])
        return status, *capsys.readouterr()

    return train


def complaint(result):
    status, _, err = result
    lines = [line for line in err.splitlines() if line.startswith("npresnet")]
    assert status == 2 and len(lines) == 1 and "Traceback" not in err, err
    return lines[0]


def test_the_options_are_the_recipes_fields(train):
    status, out, _ = train("--help")
    help, values = " ".join(out.split()), {int: ["3"], float: ["0.25"], str: ["none"], bool: []}
    for field in fields(Recipe):
        option = f"--{SHORTER.get(field.name, field.name).replace('_', '-')}"
        value = getattr(parser("train").parse_args(["train", "--out", "x", option, *values[field.type]]), field.name)
        assert value == field.type(*values[field.type] or [True]) and type(value) is field.type
        assert option in help and field.metadata["help"] in help
    assert status == 0


def test_a_run_from_images_to_a_report(data, train, tmp_path):
    status, out, err = train("--data", data, "--model", "resnet20", *QUICK, "--json")
    result = json.loads(out)
    assert status == 0 and result["total"] == 24 and result["pictures"] == "test pictures"
    assert "epoch 1/1" in err and sum(map(sum, result["confusion"])) == 24
    report = json.loads((tmp_path / "out/report.json").read_text())
    assert report["run"]["seed"] == 0 and report["right"] == result["right"]
    best = load_model(tmp_path / "out/best.safetensors")
    assert best.classes == ("class0", "class1", "class2") and best.spec.name == "resnet20"
    assert main(["evaluate", "--data", str(data / "test"), "--weights", str(tmp_path / "out/best.safetensors")]) == 0


def test_a_second_run_needs_resume_and_the_same_choices(data, train):
    first = train("--data", data, "--model", "resnet20", *QUICK)
    assert first[0] == 0
    assert "--resume" in complaint(train("--data", data, "--model", "resnet20", *QUICK))
    assert "began with lr" in complaint(train("--resume", "--lr", "0.3"))
    again = train("--resume")
    assert again[0] == 0 and again[1] == first[1]
    assert "began with model resnet20" in complaint(train("--resume", "--model", "resnet32"))
    assert "began with no weights;" in complaint(train("--resume", "--weights", "resnet20.pth"))


def test_the_cure_for_a_run_that_diverged_can_be_followed(data, train, tmp_path):
    run = ["--data", data, "--model", "resnet20", *QUICK]
    assert "start again" in complaint(train(*run, "--lr", "1e30"))
    assert "choose another --out" in complaint(train("--resume", "--lr", "0.01"))
    assert "another --out, with --lr" in complaint(train("--resume"))
    assert train(*run, "--lr", "0.01", out=tmp_path / "another")[0] == 0


def test_the_effective_recipe_is_printed_first(quick, train):
    status, _, err = train(*quick, "--batch-size", "12", "--lr", "0.01")  # the option's former name
    lines = err.splitlines()
    assert status == 0 and lines[0] == "recipe fast-cifar, as resnet20 is for small images and starts untrained"
    for line in ("* epochs        1 (fast-cifar: 30)", "* batch         12 images (fast-cifar: 128 images)"):
        assert line in lines[1:12]
    assert "  precision     float32" in lines[1:12]
    assert "20 images to train on, in 2 steps an epoch; 4 held out" in lines
    help = train("--help")[1]
    assert "rate: 0.2, one-cycle" in " ".join(help.split()) and "--batch N" in help and "--batch-size" not in help


def test_the_recipe_is_chosen_by_what_the_run_starts_from():
    assert choose_recipe({"weights": "resnet18.pth", "model": None})[0] == "finetune"
    assert choose_recipe({"weights": None, "model": "resnet20"})[0] == "fast-cifar"
    assert choose_recipe({"weights": None, "model": "resnet50"})[0] == "photos"
    with pytest.raises(ValueError, match="did you mean"):
        choose_recipe({"weights": None, "model": "resnet21"})


def test_a_run_is_extended(quick, train, tmp_path):
    assert train(*quick, "--lr", "0.01")[0] == 0
    status, _, err = train("--resume", "--epochs", "3")
    assert status == 0 and "the run began with 1 epochs" in err and "epoch 3/3" in err
    rows = [json.loads(line) for line in (tmp_path / "out/metrics.jsonl").read_text().splitlines()]
    assert [row["epoch"] for row in rows] == [1, 2, 3] and rows[0]["lr"] < 1e-6 < rows[1]["lr"]
    assert "has finished 3 epochs: --epochs cannot be 2" in complaint(train("--resume", "--epochs", "2"))
    assert "began with" not in train("--resume")[2]  # 3 is its number now


def test_a_limit_takes_from_every_class_alike(data, train):
    for number in range(3, 24, 6):
        (data / f"train/class0/{number:02}.png").unlink()
    status, _, err = train("--data", data, "--model", "resnet20", *QUICK, "--held-out", "0.2", "--limit", "15")
    assert status == 0 and "15 train images of 3 classes: class0 4, class1 6, class2 5" in err
    assert "24 test images" in err and "12 images to train on, in 2 steps an epoch; 3 held out" in err
    assert "began with limit 15" in complaint(train("--resume", "--limit", "12"))
    again = train("--resume", "--limit", "15")
    assert again[0] == 0 and "3 held out" in again[2]


def test_a_limit_below_the_classes(quick, train):
    assert "2 images are fewer than the 3 classes" in complaint(train(*quick, "--limit", "2"))


def test_epochs_as_lines_of_json(quick, train, tmp_path):
    status, out, _ = train(*quick, "--epochs", "2", "--jsonl")
    *rows, result = map(json.loads, out.splitlines())
    assert status == 0 and rows == [json.loads(line) for line in (tmp_path / "out/metrics.jsonl").open()]
    assert result["total"] == 24 and len(rows) == 2


def test_tensorboard_is_asked_for_once(quick, train, monkeypatch, tmp_path):
    opened = []

    class TensorBoard(Callback):
        def __init__(self, folder):
            self.folder = Path(folder)

        def epoch(self, trainer, row):
            self.folder.mkdir(exist_ok=True)
            opened.append((self.folder, row["epoch"]))

    monkeypatch.setattr("npresnet.training.tensorboard.TensorBoard", TensorBoard)
    assert train(*quick, out=tmp_path / "plain")[0] == 0 and not opened
    assert train(*quick, "--tensorboard")[0] == 0 and train("--resume", "--epochs", "2")[0] == 0
    assert opened == [(tmp_path / "out/tensorboard", 1), (tmp_path / "out/tensorboard", 2)]


@pytest.mark.parametrize("precision", ["float16", "bfloat16", "tf32"])
def test_half_precision_on_a_cpu_is_refused_before_anything_is_read(precision, train, tmp_path):
    line = complaint(train("--data", tmp_path, "--model", "resnet20", "--precision", precision))
    assert f"--precision {precision} is for a GPU (--backend cupy)" in line
    assert not (tmp_path / "out").exists()


def test_a_network_learns_to_be_quantized(data, train, tmp_path):
    """The head stays where the classes are the same, and the report is of the integer network."""
    assert train("--data", data, "--model", "resnet20", *QUICK, out=tmp_path / "float")[0] == 0
    words = "--data", data, "--weights", tmp_path / "float/final.safetensors", "--precision", "int8", *QUICK
    status, out, _ = train(*words, "--lr", "0", "--json")
    assert status == 0 and json.loads(out)["weights"].endswith("best-int8.safetensors")
    network, model = (
        load_quantized(tmp_path / "out/best-int8.safetensors"),
        load_model(tmp_path / "float/final.safetensors"),
    )
    before, after = model.state_dict(), load_model(tmp_path / "out/final.safetensors").state_dict()
    np.testing.assert_array_equal(after["fc.weight"], before["fc.weight"])
    x = preprocess(data / "test/class0/00.png", network)
    assert np.linalg.norm(network(x) - model(x)) < 0.3 * np.linalg.norm(model(x))
    assert train("--resume")[0] == 0
    line = complaint(train("--data", data, "--model", "resnet20", "--precision", "int8", out=tmp_path / "none"))
    assert "give --weights FILE" in line and not (tmp_path / "none").exists()


def test_a_checkpoint_of_other_images(data, train):
    assert train("--data", data, "--model", "resnet20", *QUICK)[0] == 0
    Image.new("RGB", (8, 8)).save(data / "train/class0/00.png")
    assert "another run" in complaint(train("--resume"))


@pytest.mark.parametrize("strict", [False, True])
def test_a_broken_image_among_good_ones(data, train, strict):
    broken = data / "train/class1/zz.png"
    broken.write_bytes((data / "train/class1/01.png").read_bytes()[:60])
    result = train("--data", data, "--model", "resnet20", *QUICK, *["--strict"] * strict)
    if strict:
        assert "zz.png" in complaint(result)
    else:
        assert result[0] == 0 and "zz.png" in result[2] and "left out 1 of 25 images" in result[2]


def test_one_class_alone(data, train):
    for label in ("class0", "class2"):
        shutil.rmtree(data / "train" / label)
    assert "all images are of one class (class1)" in complaint(train("--data", data, "--model", "resnet20", *QUICK))


def test_a_test_set_with_other_classes(data, train):
    (data / "test/class2").rename(data / "test/dragon")
    (data / "test/class1").rename(data / "test/unicorn")
    (data / "test/another").mkdir()
    Image.new("RGB", (8, 8)).save(data / "test/another/0.png")
    assert "unicorn" in complaint(train("--data", data, "--model", "resnet20", *QUICK))


@pytest.mark.parametrize(
    "argv, message",
    [
        ([], "give --data PATH, and --model NAME or --weights FILE"),
        (["--data", "."], "npresnet: give --model NAME or --weights FILE"),
        (["--data", "nowhere", "--model", "resnet20"], "nowhere"),
        (["--data", ".", "--model", "resnet21"], "did you mean"),
        (["--data", ".", "--weights", "none.pth"], "none.pth"),
        (["--data", ".", "--model", "resnet20", "--recipe", "magic"], "no recipe is called 'magic'"),
        (["--data", ".", "--model", "resnet20", "--lr", "-1"], "lr must be"),
        (["--data", ".", "--model", "resnet20", "--seed", "-1"], "at least 0"),
        (["--resume"], "holds no run to resume"),
        (["--data", ".", "--model", "resnet20", "--checkpoint-minutes", "-1"], "no number of minutes"),
        (["--data", ".", "--model", "resnet20", "--limit", "0"], "from 1"),
    ],
)
def test_bad_usage_is_one_line_and_leaves_no_folder(argv, message, train, tmp_path):
    assert message in complaint(train(*argv))
    assert not (tmp_path / "out").exists()


def test_a_folder_that_cannot_be_made_is_named(data, train, tmp_path):
    (tmp_path / "file").write_bytes(b"")
    for out in (tmp_path / "file", tmp_path / "file/run"):
        assert str(out) in complaint(train("--data", data, "--model", "resnet20", *QUICK, out=out))


def test_everything_that_is_missing_is_said_before_training(data, train, tmp_path, monkeypatch):
    """A test set, its classes, its images: known at the start, and an error at the start."""
    from npresnet.training import Trainer

    monkeypatch.setattr(Trainer, "fit", None)  # nothing gets as far as that
    run = ["--data", data / "train", "--model", "resnet20", *QUICK]
    assert "nowhere: no such file" in complaint(train(*run, "--test", tmp_path / "nowhere"))
    (tmp_path / "test").mkdir()
    assert str(tmp_path / "test") in complaint(train(*run, "--test", tmp_path / "test"))
    (tmp_path / "test.zip").write_bytes(b"PK")
    assert "test.zip" in complaint(train(*run, "--test", tmp_path / "test.zip"))
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    "name", ["best.safetensors", "final.safetensors", "metrics.jsonl", "report.json", "curves.png"]
)
@pytest.mark.parametrize("resume", [[], ["--resume"]])
def test_a_new_run_replaces_nothing(name, resume, data, train, tmp_path):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / name).write_bytes(b"mine")
    assert f"holds {name} and no checkpoint" in complaint(train("--data", data, "--model", "resnet20", *QUICK, *resume))
    assert [(path.name, path.read_bytes()) for path in (tmp_path / "out").iterdir()] == [(name, b"mine")]


def test_a_folder_where_another_run_is_at_work(data, train, tmp_path):
    from threading import Thread

    from npresnet.training.lock import locked

    results = []
    with locked(tmp_path / "out"):
        for more in ([], ["--resume"]):
            line = ["--data", data, "--model", "resnet20", *QUICK, *more]
            thread = Thread(target=lambda line=line: results.append(train(*line)))  # a lock keeps other threads out
            thread.start()
            thread.join()
    assert all("another run is at work in this folder" in complaint(result) for result in results) and len(results) == 2
    assert not (tmp_path / "out").exists()


def test_the_plots_do_not_become_images_of_a_class(data, train):
    for out in (data / "train", data / "train/run", data / "test/class0"):
        assert "lies inside the images" in complaint(train("--data", data, "--model", "resnet20", *QUICK, out=out))
    check_apart(data / "run", str(data), str(data))  # beside both parts


def test_a_run_whose_best_weights_are_gone_is_not_gone_on_with(data, train, tmp_path):
    assert train("--data", data, "--model", "resnet20", *QUICK)[0] == 0
    best = tmp_path / "out/best.safetensors"
    whole, before = best.read_bytes(), (tmp_path / "out/checkpoint.safetensors").read_bytes()
    best.write_bytes(whole[:-9])
    assert "best.safetensors" in complaint(train("--resume"))
    best.unlink()
    assert "best.safetensors: no such file" in complaint(train("--resume"))
    assert (tmp_path / "out/checkpoint.safetensors").read_bytes() == before
    best.write_bytes(whole)
    assert train("--resume")[0] == 0


@pytest.mark.parametrize(
    "change, message",
    [
        ({"data": 5}, "data '5'"),
        ({"new": 1}, "'new', which is unknown"),
        ({"seed": -1}, "seed '-1'"),
        ({"seed": True}, "seed 'True'"),
        ({"backend": "x"}, "backend 'x'"),
        ({"weights": []}, "weights"),
        ({"strict": "yes"}, "strict 'yes'"),
        ({"recipe": None}, "recipe 'None'"),
    ],
)
def test_what_a_checkpoint_was_asked_for_is_checked(change, message):
    about = {**DEFAULTS, "data": "photos", "recipe": "finetune", **vars(Recipe())}
    assert checked(about, "out") == about
    older = {key: value for key, value in about.items() if key not in ("precision", "limit")}
    assert checked(older, "out") == about
    with pytest.raises(WeightsError) as caught:
        checked({**about, **change}, "out")
    assert message in str(caught.value) and "\n" not in str(caught.value)
    with pytest.raises(WeightsError, match="no epochs"):
        checked({key: value for key, value in about.items() if key != "epochs"}, "out")


@pytest.mark.parametrize("freeze", ["norm", "trunk", "nothing"])
def test_fine_tuning_puts_a_new_head_on_a_trained_trunk(freeze, tmp_path, train):
    model = create_model("resnet20", num_classes=7, seed=5)
    model.preprocessing, model.classes = Preprocessing(18, 16, (0.5,) * 3, (0.25,) * 3), tuple("abcdefg")
    weights = save_weights(model, tmp_path / "trained.safetensors")
    rng = np.random.default_rng(0)
    for label in ("cat", "dog"):
        for number in range(8):
            (tmp_path / "photos" / label).mkdir(parents=True, exist_ok=True)
            height, width = rng.integers(18, 40, 2)
            pixels = rng.integers(0, 256, (height, width, 3)).astype(np.uint8)
            Image.fromarray(pixels).save(tmp_path / "photos" / label / f"{number}.jpg")
    status, out, _ = train(
        "--data",
        tmp_path / "photos",
        "--weights",
        weights,
        "--recipe",
        "finetune",
        "--freeze",
        freeze,
        "--epochs",
        "2",
        "--batch",
        "4",
        "--held-out",
        "0.25",
        "--backend",
        "numpy",
    )
    assert status == 0 and "on held-out training images: right on" in out and "  dog " in out
    tuned = load_model(tmp_path / "out/final.safetensors")
    assert tuned.classes == ("cat", "dog") and tuned.preprocessing == model.preprocessing
    before, after = model.state_dict(), tuned.state_dict()
    same = {key: np.array_equal(before[key], after[key]) for key in before if not key.startswith("fc.")}
    assert all(same.values()) if freeze == "trunk" else not same["conv1.weight"]
    assert same["bn1.running_mean"] == same["bn1.weight"] == (freeze != "nothing")


@pytest.mark.skipif(not CIFAR.exists(), reason="the CIFAR-10 data is not here")
def test_real_images(train, tmp_path):
    (tmp_path / "some").mkdir()
    for part, step in (("train", 500), ("test", 250)):
        with zipfile.ZipFile(CIFAR / f"cifar10-{part}-jpeg.zip") as whole:
            names = sorted(name for name in whole.namelist() if name.endswith(".jpg"))[::step]
            with zipfile.ZipFile(tmp_path / f"some/cifar10-{part}.zip", "w") as some:
                for name in names:
                    some.writestr(name, whole.read(name))
    status, out, err = train(
        "--data", tmp_path / "some", "--model", "resnet20", "--epochs", "1", "--held-out", "20", "--batch", "40"
    )
    assert status == 0 and "100 train images of 10 classes" in err and "40 test images of 10 classes" in err
    assert "right on" in out
