"""A checkpoint is trusted with nothing: every bit, every field and every array is looked at before a run goes on."""

import json
import random

import numpy as np
import pytest

from npresnet import WeightsError, read_weights, save_weights, use
from npresnet.training import SGD, AdamW, Recipe, Stopped, Trainer, read_checkpoint, restore
from npresnet.training.checkpoint import FILE
from npresnet.training.state import DIGEST, TRAINING, digest

from ..support.drawn import drawn_source, small_model
from .test_resume import StopAt

PLAIN = Recipe(epochs=3, batch_size=16, lr=0.05)
AVERAGED = Recipe(epochs=3, batch_size=16, lr=1e-3, optimizer="adamw", average=0.9)


@pytest.fixture(autouse=True)
def reference():
    with use("numpy"):
        yield


def fresh(recipe=PLAIN):
    return Trainer(small_model(), recipe, drawn_source(), about={"note": "kept"})


def stopped(folder, recipe=PLAIN, after=4):
    """A run stopped after its first epoch of three steps and one step more."""
    folder.mkdir(exist_ok=True)
    with use("numpy"), pytest.raises(Stopped):
        fresh(recipe).fit(folder, StopAt(after))
    return folder


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    return stopped(tmp_path_factory.mktemp("run"))


@pytest.fixture(scope="module")
def averaged(tmp_path_factory):
    return stopped(tmp_path_factory.mktemp("averaged"), AVERAGED)


def rewritten(run, folder, change, sealed=True):
    """The checkpoint of ``run`` with another state and arrays, and a digest that fits them, in ``folder``."""
    found = read_weights(run / FILE)
    arrays, metadata = dict(found), dict(found.metadata)
    state = json.loads(metadata[TRAINING])
    state = change(arrays, state) or state
    metadata[TRAINING] = json.dumps(state)
    metadata.pop(DIGEST)
    if sealed:
        metadata[DIGEST] = digest(arrays, metadata)
    save_weights(arrays, folder / FILE, metadata=metadata)
    return folder


def go_on(folder, recipe=PLAIN):
    trainer = fresh(recipe)
    restore(trainer, read_checkpoint(folder), folder)
    return trainer


def test_every_flipped_bit_is_noticed_or_changes_nothing(run, tmp_path):
    """In the arrays, the state, the description, the digest and the names: 100 bits anywhere, 100 in the header, and
    each of the first bytes; JSON's own padding and the container's mark of its origin do not count."""
    whole, bits, due = (run / FILE).read_bytes(), random.Random(0), read_checkpoint(run)
    header, refused = 8 + int.from_bytes(whole[:8], "little"), 0
    anywhere = [bits.randrange(end) for end in [len(whole)] * 100 + [header] * 100]
    for at in [*anywhere, *range(60)]:
        damaged = bytearray(whole)
        damaged[at] ^= 1 << bits.randrange(8)
        (tmp_path / FILE).write_bytes(damaged)
        try:
            arrays, *others = read_checkpoint(tmp_path)
        except WeightsError as error:
            assert str(tmp_path / FILE) in str(error)
            refused += 1
        else:
            assert others == [*due[1:]] and all(np.array_equal(array, due[0][key]) for key, array in arrays.items()), at
    assert refused > 220


def test_a_file_cut_anywhere_is_noticed(run, tmp_path):
    whole = (run / FILE).read_bytes()
    for length in (0, 1, 7, 8, 100, len(whole) // 2, len(whole) - 1):
        (tmp_path / FILE).write_bytes(whole[:length])
        with pytest.raises(WeightsError, match=FILE):
            read_checkpoint(tmp_path)


def drop(*names):
    def change(arrays, state):
        for name in names:
            del state[name]

    return change


def put(**fields):
    return lambda arrays, state: {**state, **fields}


@pytest.mark.parametrize(
    "change, message",
    [
        (lambda arrays, state: [state], "no JSON object"),
        (drop("about"), "no about"),
        (drop("settings", "totals"), "no settings, no totals"),
        (put(new=1), "'new', which is unknown"),
        (put(version=3), "version is '3'"),
        (put(version="2"), "version is '2'"),
        (put(epoch="1"), "epoch of a wrong type"),
        (put(epoch=True), "epoch of a wrong type"),
        (put(step=1.0), "step of a wrong type"),
        (put(history={}), "history of a wrong type"),
        (put(epoch=-5), "epoch -5 of 3"),
        (put(epoch=10**9), "epoch 1000000000 of 3"),
        (put(step=10**6), "step 1000000 of 3"),
        (put(step=2), "totals"),
        (put(totals=[0, 0]), "totals"),
        (put(totals=["a", 0, 16]), "totals"),
        (put(totals=[1.0, 17, 16]), "totals"),
        (put(history=[]), "a history of 0 epochs"),
        (put(history=[5]), "a history of 1"),
        (put(history=[{"epoch": 1}]), "a history of 1"),
        (put(history=[{"epoch": 1, "train_loss": "x", "train_accuracy": 0}]), "a history of 1"),
        (put(averaged=-1), "-1 averaged"),
        (put(precision=[1.0, 2]), "precision"),
    ],
)
def test_a_state_that_cannot_be_is_refused(change, message, run, tmp_path):
    with pytest.raises(WeightsError) as caught:
        go_on(rewritten(run, tmp_path, change))
    assert message in str(caught.value)


def arrays_change(change):
    def both(arrays, state):
        change(arrays)

    return both


def misshapen(key):
    return arrays_change(lambda arrays: arrays.update({key: np.zeros(7, np.float32)}))


FIRST = "optimizer/velocity/conv1.weight"


@pytest.mark.parametrize(
    "change, message",
    [
        (arrays_change(lambda arrays: arrays.pop(FIRST)), "velocity/conv1.weight is missing"),
        (arrays_change(lambda arrays: [arrays.pop(key) for key in list(arrays) if "velocity" in key]), "is missing"),
        (misshapen(FIRST), "velocity/conv1.weight is float32 (7,)"),
        (misshapen("conv1.weight"), "should be float32"),
        (
            arrays_change(lambda arrays: arrays.update({"fc.bias": arrays["fc.bias"].astype(float)})),
            "fc.bias is float64",
        ),
        (arrays_change(lambda arrays: arrays.pop("fc.bias")), "fc.bias is missing"),
        (misshapen("evil/x"), "'evil/x' is unknown"),
        (misshapen("optimizer/velocity/x"), "'velocity/x' is unknown"),
        (misshapen("average/conv1.weight"), "'conv1.weight' is unknown"),
    ],
)
def test_arrays_that_do_not_fit_are_named_and_the_trainer_stays_as_it_was(change, message, run, tmp_path):
    folder, trainer = rewritten(run, tmp_path, change), fresh()
    before = trainer.model.state_dict()
    with pytest.raises(WeightsError) as caught:
        restore(trainer, read_checkpoint(folder), folder)
    assert message in str(caught.value)
    assert all(array is before[key] for key, array in trainer.model.state_dict().items())
    assert (trainer.epoch, trainer.step, trainer.history, trainer.optimizer.state) == (0, 0, [], {})


@pytest.mark.parametrize("key", ["average/fc.bias", "optimizer/m/fc.bias", "optimizer/steps/fc.bias"])
def test_every_group_must_be_whole(key, averaged, tmp_path):
    with pytest.raises(WeightsError, match="is missing"):
        go_on(rewritten(averaged, tmp_path, arrays_change(lambda arrays: arrays.pop(key))), AVERAGED)


def test_a_checkpoint_without_a_version_is_read(averaged, tmp_path):
    """As it was written before there were a digest, a version and the photos' contents."""

    def older(arrays, state):
        del state["version"], state["precision"], state["settings"]["contents"], state["settings"]["precision"]

    trainer, due = go_on(rewritten(averaged, tmp_path, older, sealed=False), AVERAGED), go_on(averaged, AVERAGED)
    assert (trainer.epoch, trainer.step, trainer.totals) == (due.epoch, due.step, due.totals) == (1, 1, due.totals)
    for key, array in due.optimizer.state.items():
        np.testing.assert_array_equal(trainer.optimizer.state[key], array)


def test_the_digest_cannot_be_left_out(run, tmp_path):
    with pytest.raises(WeightsError, match="SHA-256"):
        read_checkpoint(rewritten(run, tmp_path, lambda arrays, state: None, sealed=False))


@pytest.mark.parametrize("optimizer", [SGD, AdamW, lambda model: SGD(model, momentum=0)])
def test_the_expected_state_is_that_after_a_step(optimizer):
    model = small_model()
    chosen = optimizer(model)
    for _, parameter in model.named_parameters():
        parameter.grad = np.ones_like(parameter.value)
    chosen.step(0.1)
    kinds = [
        {key: (array.shape, array.dtype) for key, array in state.items()}
        for state in (chosen.expected_state(), chosen.state_dict())
    ]
    assert kinds[0] == kinds[1]
