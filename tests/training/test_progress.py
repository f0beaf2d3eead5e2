"""What a run says while it trains: its speed, a line now and then, and whether it has failed."""

import io
import json
import sys
from dataclasses import fields, replace
from types import ModuleType, SimpleNamespace

import numpy as np
import pytest

from npresnet import printer, use
from npresnet.backend import compiler
from npresnet.training import Callback, Recipe, Trainer, progress, recipe, split
from npresnet.training.callbacks import Callbacks, JsonLines
from npresnet.training.health import failure
from npresnet.training.meter import Meter
from npresnet.training.recipe_text import TOPICS, in_words, recipe_lines, recipes_text
from npresnet.training.recipes import RECIPES
from npresnet.training.tensorboard import TensorBoard

from ..support.drawn import drawn_source, small_model

SMALL = Recipe(epochs=2, batch_size=16, lr=0.05, schedule="cosine", held_out=0.25)


def trainer_of(recipe=SMALL):
    return Trainer(small_model(), recipe, *split(drawn_source(), recipe.held_out, 0))


@pytest.fixture
def clock(monkeypatch):
    """A clock that stands still unless a test moves it on."""
    now = SimpleNamespace(seconds=100.0)
    for name in ("monotonic", "perf_counter"):
        monkeypatch.setattr(f"time.{name}", lambda: now.seconds)
    return now


def test_the_speed_leaves_out_the_first_step_and_those_that_compile(clock):
    meter = Meter()
    meter.begin_epoch()
    for seconds, images, compiles in ((60, 8, False), (1, 8, False), (30, 8, True), (1, 8, False), (2, 0, False)):
        if compiles:
            compiler.begin()
            compiler.begin()  # what it calls
        clock.seconds += seconds
        if compiles:
            compiler.end()
            compiler.end()
        meter.step(images)
        if seconds == 60:
            assert meter.images_per_second == 8 / 60  # nothing better is known
    assert meter.images_per_second == 16 / 4
    meter.begin_epoch()
    clock.seconds += 2
    meter.step(8)
    assert meter.images_per_second == 4


def test_numba_reports_what_it_compiles():
    from numba import njit

    began, spent = [], compiler.seconds
    with use("numba"):
        small_model()(np.zeros((2, 3, 8, 8), np.float32))  # loads the kernels, which listen to Numba
    with compiler.listener(lambda: began.append(compiler.depth)):
        njit(lambda x: x + 1)(1.0)
    njit(lambda x: x + 2)(1.0)
    assert began == [0] and compiler.seconds > spent and compiler.depth == 0


def test_a_log_says_what_it_waits_for_now_and_then(clock):
    stream = io.StringIO()
    log, trainer = progress.Log(stream), trainer_of()
    with compiler.listener(log.compiling):
        for _ in range(10):
            compiler.begin()
            clock.seconds += 4
            compiler.end()
    trainer.totals, trainer.step = [30.0, 5, 10], 1
    for _ in range(8):
        clock.seconds += 10
        log.batch(trainer, 50.0)
        log.validation(trainer, 20, 50)
    lines = stream.getvalue().splitlines()
    assert lines[:3] == [progress.COMPILING, "still compiling, 16 s", "still compiling, 32 s"]
    assert lines[3] == "epoch 1, loss 3.000  accuracy 50.0 %  50 images/s  0:01 left" and len(lines) == 5


def test_lines_for_a_terminal_break_between_words(monkeypatch, clock):
    monkeypatch.setenv("COLUMNS", "60")
    stream = io.StringIO()
    stream.isatty = lambda: True
    row = {"epoch": 1, "train_loss": 1.0, "train_accuracy": 0.5, "validation_loss": 1.0, "validation_accuracy": 0.5}
    progress.Log(stream).epoch(trainer_of(), {**row, "images_per_second": 10})
    lines = stream.getvalue().splitlines()
    assert len(lines) == 2 and all(len(line) < 60 for line in lines) and lines[1].startswith("  ")


def test_several_callbacks_are_called_in_turn(capsys):
    class Other(Callback):
        def batch(self, trainer, images_per_second):
            seen.append(trainer.step)

        def validation(self, trainer, done, total):
            seen.append((done, total))

    seen = []
    with use("numpy"):
        trainer = trainer_of()
        trainer.fit(None, Callbacks(JsonLines(), Other()))
    assert [json.loads(line) for line in capsys.readouterr().out.splitlines()] == trainer.history
    assert seen == [1, 2, 3, (12, 12)] * 2


# --- a run that has failed --------------------------------------------------------------------------------------------


def history(*rows):
    trainer = SimpleNamespace(validation=drawn_source(12), model=small_model(), recipe=SMALL)
    found = []
    for n in range(len(rows)):
        trainer.history = [{"validation_loss": loss, "validation_accuracy": right} for loss, right in rows[: n + 1]]
        found.append(failure(trainer))
    return found


@pytest.mark.parametrize("loss", [98761.0, float("nan"), float("inf")])
def test_a_loss_far_above_a_guesss_is_said_once(loss):
    said = history((1.2, 0.4), (loss, 0.3), (loss, 0.3))
    assert said[0] is None and said[2] is None
    assert (
        said[1].startswith(f"validation loss {loss:.4g}, where guessing has 1.10") and "--lr, such as 0.005" in said[1]
    )


def test_a_bad_first_epoch_is_no_failure():
    """Running statistics need some steps; three such epochs are one."""
    assert history((29.2, 1 / 3), (0.2, 0.8), (0.1, 1.0)) == [None] * 3
    said = history(*[(29.2, 0.4)] * 4)
    assert said[:2] == said[3:] * 2 == [None, None] and "validation loss 29.2" in said[2]


def test_accuracy_at_chance_is_said_after_three_epochs():
    said = history(*[(1.1, 1 / 3)] * 5)
    assert said[:2] == said[3:] == [None, None] and "33.3 %, no better than a guess" in said[2]
    assert history((1.1, 1 / 3), (1.1, 0.4), (1.1, 1 / 3), (1.1, 0.3), (1.1, 0.4)) == [None] * 5
    assert history(*[(2.0, 0.5)] * 5) == [None] * 5


def test_a_run_without_validation_is_not_judged():
    trainer = trainer_of(replace(SMALL, held_out=0))
    trainer.history = [{"train_loss": 5.0}]
    assert failure(trainer) is None


def test_the_warning_follows_the_epochs_line(clock):
    stream, trainer = io.StringIO(), trainer_of()
    row = {"epoch": 1, "train_loss": 1.0, "train_accuracy": 0.5, "images_per_second": 10}
    trainer.history = [{**row, "validation_loss": 98761.0, "validation_accuracy": 0.1}]
    progress.Log(stream).epoch(trainer, trainer.history[0])
    lines = stream.getvalue().splitlines()
    assert len(lines) == 2 and "9.876e+04" in lines[0] and lines[1].startswith("warning: validation loss 9.876e+04")


# --- TensorBoard ------------------------------------------------------------------------------------------------------


def test_tensorboard_gets_every_number(monkeypatch, tmp_path):
    class SummaryWriter:
        def __init__(self, folder, purge_step):
            self.opened, self.scalars, self.flushed = (folder, purge_step), [], 0
            made.append(self)

        def add_scalar(self, name, value, step):
            self.scalars.append((name, value, step))

        def flush(self):
            self.flushed += 1

    made, module = [], ModuleType("tensorboardX")
    module.SummaryWriter = SummaryWriter
    monkeypatch.setitem(sys.modules, "tensorboardX", module)
    with use("numpy"):
        trainer = trainer_of(replace(SMALL, epochs=1))
        trainer.fit(None, TensorBoard(tmp_path))
    row, (writer,) = trainer.history[0], made
    assert writer.opened == (str(tmp_path), 1) and writer.flushed == 1
    assert ("loss/validation", row["validation_loss"], 1) in writer.scalars and ("lr", row["lr"], 1) in writer.scalars
    assert len(writer.scalars) == len(row) - 1


def test_a_missing_writer_is_named(monkeypatch, tmp_path):
    for name in ("tensorboardX", "torch.utils.tensorboard"):
        monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(ImportError, match=r"pip install 'npresnet\[tensorboard\]'"):
        TensorBoard(tmp_path)


def test_tensorboard_itself_reads_the_curves(tmp_path):
    pytest.importorskip("tensorboardX")
    with use("numpy"):
        trainer_of().fit(None, TensorBoard(tmp_path))
    (events,) = tmp_path.iterdir()
    assert b"loss/train" in events.read_bytes()


# --- a recipe in words ------------------------------------------------------------------------------------------------


def test_every_field_has_its_words():
    told = [name for phrases in TOPICS.values() for name in phrases]
    assert len(told) == len(set(told)) and set(told) == {field.name for field in fields(Recipe)}
    base = Recipe(warmup=1.0, augment="photo")
    plain = in_words(base)
    others = {int: 7, float: 0.375, bool: None}
    for field in fields(Recipe):
        among = field.metadata["among"]
        value = next((name for name in among if name != getattr(base, field.name)), others.get(field.type))
        changed = in_words(replace(base, **{field.name: not field.default if value is None else value}))
        topics = [topic for topic in changed if changed[topic] != plain.get(topic)]
        assert topics == [topic for topic, phrases in TOPICS.items() if field.name in phrases], field.name


def test_what_differs_from_the_named_recipe_is_marked():
    lines = recipe_lines(recipe("finetune", epochs=2, mixup=0.2), "finetune", 60)
    assert lines[0] == "* epochs        2 (finetune: 10)" and lines[1] == "  batch         32 images"
    assert [line for line in lines if line.startswith("*")][1:] == [
        "* augmentation  photo, mixup 0.2 (finetune: photo)"
    ]
    assert all(len(line) <= 60 for line in lines) and any("Nesterov" in line for line in lines)
    assert not any(line.startswith("*") for line in recipe_lines(RECIPES["fast-cifar"], "fast-cifar"))
    adam = in_words(Recipe(optimizer="adamw", held_out=50))
    assert adam["optimiser"] == "adamw, weight decay 0.0001" and adam["held out"] == "50 images"


def test_the_help_holds_every_named_recipe():
    text = recipes_text(70)
    assert all(f"{name}\n  epochs: " in text for name in RECIPES) and all(len(line) <= 70 for line in text.splitlines())
    assert "rate: 0.2, one-cycle" in " ".join(text.split())


def test_a_stop_while_kernels_are_compiled_is_answered():
    stream = io.StringIO()
    log = progress.Log(stream)
    for stop in (0, 2, 2):
        log.compiling(stop)
    assert stream.getvalue().splitlines() == [progress.COMPILING, progress.STOPPING]


@pytest.mark.parametrize("at", ["begins", "runs"])
def test_the_cursor_is_seen_after_an_interrupt(monkeypatch, at):
    import rich.progress
    from rich.console import Console

    screen = Console(file=io.StringIO(), force_terminal=True)
    monkeypatch.setattr(printer, "console", lambda stderr: screen)
    began = rich.progress.Progress.start

    def interrupted(self):
        began(self)
        raise KeyboardInterrupt

    if at == "begins":
        monkeypatch.setattr(rich.progress.Progress, "start", interrupted)
    with pytest.raises(KeyboardInterrupt):
        with printer.progress_bar():
            raise KeyboardInterrupt
    text = screen.file.getvalue()
    assert text.rindex("\x1b[?25h") > text.rindex("\x1b[?25l")
