"""The loop: what decides the weights and what does not, what is checked, and what it leaves behind."""

import csv
import json
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image

from npresnet import create_model, load_model, read_weights, use
from npresnet.data import Preprocessing
from npresnet.data.dataset import spread
from npresnet.training import Batches, Dataset, Recipe, Trainer, TrainingError, open_dataset, predict, recipe, split
from npresnet.training.evaluate import as_lines, evaluate, plots

from ..support.drawn import drawn_source, small_model

SMALL = Recipe(epochs=2, batch_size=16, lr=0.05, schedule="cosine", held_out=0.25)


@pytest.fixture(autouse=True)
def reference():
    with use("numpy"):
        yield


def run(recipe=SMALL, out=None, seed=0, workers=2, source=None):
    trainer = Trainer(
        small_model(seed), recipe, *split(source or drawn_source(), recipe.held_out, seed), seed=seed, workers=workers
    )
    trainer.fit(out)
    return trainer


def assert_same(a, b):
    for key, array in a.items():
        np.testing.assert_array_equal(array, b[key], err_msg=key)


def test_the_seed_decides_every_bit_and_the_workers_none():
    once, again, other = run(), run(workers=5), run(seed=1)
    assert_same(once.model.state_dict(), again.model.state_dict())
    assert not np.array_equal(once.model.fc.weight.value, other.model.fc.weight.value)
    losses = [[row["train_loss"] for row in trainer.history] for trainer in (once, again, other)]
    assert losses[0] == losses[1] != losses[2]


def test_the_fast_kernels_repeat_themselves_bit_for_bit():
    states = []
    for _ in range(2):
        with use("numba"):
            source = drawn_source(48, side=32)
            trainer = Trainer(small_model(side=32), SMALL, source)
            trainer.fit()
            states.append(trainer.model.state_dict())
    assert_same(*states)


def photos(root, count=12):
    """Images of several sizes in two class folders."""
    rng = np.random.default_rng(0)
    for number in range(count):
        height, width = rng.integers(20, 50, 2)
        (root / f"class{number % 2}").mkdir(exist_ok=True)
        image = Image.fromarray(rng.integers(0, 256, (height, width, 3)).astype(np.uint8))
        image.save(root / f"class{number % 2}/{number}.png")
    return root


def test_photos_are_augmented_the_same_whoever_reads_them(tmp_path):
    recipe = Preprocessing(20, 16)
    source, _ = open_dataset(photos(tmp_path), recipe, in_memory=False)
    assert source.folder is not None and isinstance(source.read(np.arange(2)), list)

    def epoch(workers, number=3):
        return list(Batches(source, recipe, 5, "photo", jitter=0.3, seed=1, workers=workers).epoch(number))

    for one, many in zip(epoch(1), epoch(4)):
        np.testing.assert_array_equal(one.x, many.x)
        np.testing.assert_array_equal(one.labels, many.labels)
    assert not np.array_equal(epoch(1)[0].x, epoch(1, number=4)[0].x)
    plain = np.concatenate([batch.x for batch in Batches(source, recipe, 5).in_order()])
    for number, x in enumerate(plain):
        with source.folder.open(number) as file:
            np.testing.assert_array_equal(x, recipe(file))


def test_broken_images_are_left_out_by_name_and_keep_nobody_elses_number(tmp_path):
    names = sorted(photos(tmp_path).rglob("*.png"))
    whole, _ = open_dataset(tmp_path, "cifar10", in_memory=False)
    names[3].write_bytes(b"no image")
    for in_memory in (True, False):
        source, broken = open_dataset(tmp_path, Preprocessing(16, 16), in_memory=in_memory)
        assert len(source) == 11 and len(broken) == 1 and names[3].name in broken[0]
        assert np.delete(whole.labels, 3).tolist() == source.labels.tolist()
    assert source.numbers.tolist() == [0, 1, 2, *range(4, 12)]


def test_images_of_any_size_cannot_be_trained_on(tmp_path):
    with pytest.raises(ValueError, match="with a crop"):
        open_dataset(photos(tmp_path), Preprocessing(None, None))


def test_it_learns_and_the_best_weights_are_kept(tmp_path):
    trainer = run(replace(SMALL, epochs=8), tmp_path)
    rows = [json.loads(line) for line in (tmp_path / "metrics.jsonl").read_text().splitlines()]
    assert rows == trainer.history and [row["epoch"] for row in rows] == list(range(1, 9))
    with open(tmp_path / "metrics.csv", newline="") as file:
        table = [{key: float(value) for key, value in row.items()} for row in csv.DictReader(file)]
    assert table == rows
    best = load_model(tmp_path / "best.safetensors")
    accuracy = float((predict(best, trainer.validation)[1] == trainer.validation.labels).mean())
    assert accuracy == max(row["validation_accuracy"] for row in rows) > 0.8
    assert best.spec == trainer.model.spec and best.preprocessing.crop == 8
    assert_same(trainer.model.state_dict(), read_weights(tmp_path / "final.safetensors"))
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "best.safetensors",
        "checkpoint.safetensors",
        "final.safetensors",
        "metrics.csv",
        "metrics.jsonl",
    ]


def gradients(model, recipe, batch):
    trainer = Trainer(model, recipe, drawn_source())
    trainer.update(batch)
    return {name: parameter.grad for name, parameter in model.named_parameters()}


def test_accumulated_gradients_are_the_batchs():
    """With frozen batch norms nothing but the sum's order tells the parts from the whole."""
    batch = next(Batches(drawn_source(), small_model().preprocessing, 15, "crop-flip").epoch(0))
    frozen = replace(SMALL, freeze="norm")
    whole, parts = (gradients(small_model().astype(np.float64), replace(frozen, accumulate=k), batch) for k in (1, 4))
    for name, grad in whole.items():
        if grad is not None:
            np.testing.assert_allclose(parts[name], grad, rtol=1e-9, atol=1e-12, err_msg=name)
    assert parts["bn1.weight"] is None and parts["conv1.weight"].any()


def test_mix_up_is_the_loss_of_mixed_labels():
    from npresnet import ops
    from npresnet.training.losses import cross_entropy

    rng = np.random.default_rng(0)
    logits, labels, share = rng.standard_normal((6, 4)), rng.integers(0, 4, 6), 0.7
    loss, pullback = cross_entropy(logits, labels, share, 0.0)
    target = share * np.eye(4)[labels] + (1 - share) * np.eye(4)[labels[::-1]]
    p = ops.softmax(logits)[0]
    assert loss == pytest.approx(-(target * np.log(p)).sum() / 6, rel=1e-12)
    np.testing.assert_allclose(pullback(2.0), 2 * (p - target) / 6, rtol=1e-12)
    run(replace(SMALL, mixup=0.4, jitter=0.2, average=0.9, clip=1.0, optimizer="adamw", lr=1e-3))


def test_frozen_parts_do_not_move():
    for what, moving in (("norm", lambda name: "bn" not in name), ("trunk", lambda name: name.startswith("fc."))):
        before = small_model().state_dict()
        after = run(replace(SMALL, freeze=what)).model.state_dict()
        moved = {name for name in before if not np.array_equal(before[name], after[name])}
        assert moved == {name for name in before if moving(name)}, what


def test_group_norms_and_other_activations_are_trained_and_saved(tmp_path):
    def fit(out, **changes):
        model = create_model("resnet20", num_classes=3, norm="group", activation="leaky_relu")
        model.preprocessing = Preprocessing(8, 8)
        trainer = Trainer(model, replace(SMALL, average=0.5, **changes), *split(drawn_source(), 0.25, 0))
        trainer.fit(out)
        return trainer

    trainer = fit(tmp_path, epochs=3)
    assert trainer.history[-1]["train_loss"] < trainer.history[0]["train_loss"]
    assert_same(load_model(tmp_path / "final.safetensors").state_dict(), trainer.inference_model().state_dict())
    assert load_model(tmp_path / "best.safetensors").spec == trainer.model.spec
    halves = fit(None, epochs=1, precision="float16").history[-1]["train_loss"]
    assert halves == pytest.approx(trainer.history[0]["train_loss"], rel=0.02)
    before = create_model("resnet20", num_classes=3, norm="group").state_dict()
    after = fit(None, epochs=1, freeze="trunk").model.state_dict()
    assert {name for name in before if not np.array_equal(before[name], after[name])} == {"fc.weight", "fc.bias"}
    with pytest.raises(ValueError, match='this network has group norms; use freeze="nothing"'):
        fit(None, freeze="norm")


def test_infinity_is_named_by_its_layer():
    trainer = Trainer(small_model(), SMALL, drawn_source())
    batch = next(trainer.batches.epoch(0))
    parameter = dict(trainer.model.train().named_arrays())["layer2.0.conv1.weight"]
    parameter.value = np.full_like(parameter.value, 1e38)
    with np.errstate(all="ignore"), pytest.raises(TrainingError, match=r"output of layer2\.0\.\w+ is not finite"):
        trainer.update(batch)
    parameter.value = np.full_like(parameter.value, np.nan)
    with pytest.raises(TrainingError, match=r"layer2\.0\.conv1\.weight holds values"):
        trainer.update(batch)
    broken = batch._replace(x=np.where(batch.x > 0, np.float32(np.inf), batch.x))
    with np.errstate(all="ignore"), pytest.raises(TrainingError, match="the images hold"):
        trainer.update(broken)


def test_infinite_gradients_are_named_and_the_weights_kept(monkeypatch):
    trainer = Trainer(small_model(), SMALL, drawn_source())
    parameter, batch = dict(trainer.model.named_arrays())["layer3.0.conv2.weight"], next(trainer.batches.epoch(0))
    monkeypatch.setattr(
        type(parameter),
        "accumulate",
        lambda self, grad: setattr(self, "grad", grad * (np.inf if self is parameter else 1)),
    )
    before = trainer.model.state_dict()
    with np.errstate(all="ignore"), pytest.raises(TrainingError, match=r"layer3\.0\.conv2\.weight"):
        trainer.update(batch)
    for name, parameter in trainer.model.named_parameters():
        assert parameter.value is before[name]


def test_a_class_without_images_has_no_accuracy(model):
    source = drawn_source(12)
    result = evaluate(model, Dataset(source.labels % 2, source.classes, pixels=source.pixels))
    assert result["per_class"]["class2"] is None and None not in list(result["per_class"].values())[:2]
    assert as_lines(result)[-1].split() == ["class2", "–"]


def test_the_report_counts(tmp_path):
    trainer = run(replace(SMALL, epochs=1))
    source = drawn_source()
    result = evaluate(trainer.inference_model(), source)
    with pytest.warns(DeprecationWarning, match="inference_model"):
        assert trainer.learned().spec == trainer.model.spec
    confusion, predicted = np.array(result["confusion"]), predict(trainer.inference_model(), source)[1]
    for i, j in np.ndindex(3, 3):
        assert confusion[i, j] == ((source.labels == i) & (predicted == j)).sum()
    assert result["right"] == confusion.trace() and result["total"] == 48
    assert result["per_class"]["class1"] == confusion[1, 1] / 16
    assert f"right on {result['right']} of 48" in as_lines(result)[0]
    pytest.importorskip("matplotlib")
    drawn = plots(trainer.history, result)
    assert set(drawn) == {"curves.png", "confusion.png"} and all(png[:4] == b"\x89PNG" for png in drawn.values())


def test_splits_take_from_every_class_alike():
    source = drawn_source(60)
    train, held = split(source, 12, seed=0)
    assert np.bincount(held.labels).tolist() == [4, 4, 4] and len(train) == 48
    assert sorted([*train.numbers, *held.numbers]) == list(range(60))
    assert len(split(source, 0.5, 0)[1]) == 30 and len(split(source, 0, 0)[1]) == 0
    assert not np.array_equal(split(source, 12, 1)[1].numbers, held.numbers)
    with pytest.raises(ValueError, match="none of 60"):
        split(source, 60, 0)


def test_a_limit_spreads_over_the_classes():
    labels = np.array([0] * 20 + [2] * 3 + [1] * 30)
    for limit, counts in ((3, (1, 1, 1)), (10, (4, 3, 3)), (21, (9, 9, 3)), (40, (19, 18, 3)), (53, (20, 30, 3))):
        chosen = spread(labels, limit)
        assert sorted(np.bincount(labels[chosen])) == sorted(counts) and (np.diff(chosen) > 0).all(), limit
    assert spread(labels, 12).tolist() == [0, 4, 8, 12, 16, 20, 21, 22, 23, 30, 38, 45]
    np.testing.assert_array_equal(spread(labels, None), np.arange(53))
    with pytest.raises(ValueError, match="2 images are fewer than the 3 classes"):
        spread(labels, 2)


def test_a_limit_leaves_the_other_photos_unread(tmp_path, monkeypatch):
    from npresnet.data.folder import ImageFolder

    read, whole = [], ImageFolder.read
    monkeypatch.setattr(ImageFolder, "read", lambda self, number: read.append(number) or whole(self, number))
    for in_memory in (True, False):
        source, _ = open_dataset(photos(tmp_path), Preprocessing(20, 16), in_memory=in_memory, limit=4)
        assert len(source) == len(read) == 4 and np.bincount(source.labels).tolist() == [2, 2]
        if not in_memory:
            assert sorted(read) == source.numbers.tolist()
        read.clear()


def test_every_image_comes_once_an_epoch_in_a_new_order():
    source = drawn_source(50)
    batches = Batches(source, small_model().preprocessing, 16)
    orders = [np.concatenate([batch.x[:, 0, 0, 0] for batch in batches.epoch(epoch)]) for epoch in (0, 1)]
    assert len(orders[0]) == 50 and len(batches) == 4
    np.testing.assert_array_equal(*map(np.sort, orders))
    assert not np.array_equal(*orders)
    tail = np.concatenate([batch.x[:, 0, 0, 0] for batch in batches.epoch(1, start=2)])
    np.testing.assert_array_equal(tail, orders[1][32:])


def test_the_terminal_looks_ten_times_a_second_at_most(monkeypatch):
    from npresnet.training import progress

    shown, now = [], [100.0]
    monkeypatch.setattr(progress.time, "monotonic", lambda: now[0])
    bar = SimpleNamespace(console=SimpleNamespace(file=None), update=lambda task, **what: shown.append(what))
    trainer, terminal = Trainer(small_model(), SMALL, drawn_source()), progress.ProgressBar(bar, 0)
    trainer.totals = [30.0, 5, 10]
    for number in range(25):
        now[0], trainer.step = 100 + number / 64, number + 1
        terminal.batch(trainer, 50.0)
    assert [what["completed"] for what in shown] == [1, 8, 15, 22] and shown[0]["total"] == 6
    assert "loss 3.000  accuracy 50.0 %" in shown[0]["description"]


@pytest.mark.parametrize(
    "change, message",
    [
        ({"schedule": "linear"}, "schedule is one of"),
        ({"epochs": 0}, "epochs must be at least 1"),
        ({"lr": -1}, "lr must be"),
        ({"label_smoothing": 1.0}, "below 1"),
        ({"lr": float("nan")}, "lr must be"),
    ],
)
def test_recipes_refuse_what_cannot_work(change, message):
    with pytest.raises(ValueError, match=message):
        recipe("fast-cifar", **change)


def test_unknown_recipes_are_named():
    with pytest.raises(ValueError, match="paper-cifar, fast-cifar, finetune"):
        recipe("slow-cifar")


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("name", ["$\\frac{$", "caf\udce9", "鱼", "\x1b[2J", "a\nb", "x" * 5000, ""])
def test_no_class_name_spoils_the_plots_at_the_end_of_a_run(name):
    pytest.importorskip("matplotlib", reason="matplotlib is not installed")
    result = {"classes": [name, "cat"], "confusion": [[1, 0], [0, 1]]}
    history = [{"epoch": 1, "train_loss": 1.0, "train_accuracy": 0.5}]
    assert all(content.startswith(b"\x89PNG") for content in plots(history, result).values())
