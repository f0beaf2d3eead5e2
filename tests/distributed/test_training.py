"""Training over simulated ranks is training in one process, whatever their number."""

from dataclasses import replace
from functools import partial

import numpy as np
import pytest

from npresnet import create_model, use
from npresnet.data import Preprocessing
from npresnet.distributed import simulate
from npresnet.training import Recipe, Trainer, split

from ..support.drawn import drawn_source, small_model

# 40 images in batches of 14: the last has 12, and shares differ in their sizes
RECIPE = Recipe(epochs=2, batch_size=14, lr=0.05, schedule="cosine", held_out=0.25, nesterov=True)


def fitted(ranks, recipe=RECIPE, make=small_model, dtype=np.float64, side=8, count=54):
    model = make().astype(dtype)
    trainer = Trainer(model, recipe, *split(drawn_source(count, side), recipe.held_out, 0), communicator=ranks)
    trainer.fit()
    return trainer


def assert_agree(found, wanted, bound=1e-10):
    """Weights, running statistics and the history of two trainers, up to ``bound`` of the largest value."""
    for key, value in wanted.model.state_dict().items():
        largest = np.abs(value).max(initial=1e-300)
        np.testing.assert_allclose(found.model.state_dict()[key], value, rtol=0, atol=bound * largest, err_msg=key)
    for row, other in zip(found.history, wanted.history, strict=True):
        for key in row.keys() - {"images_per_second"}:
            assert row[key] == pytest.approx(other[key], rel=100 * bound), key


def assert_same_bits(trainers):
    first, *others = [trainer.model.state_dict() for trainer in trainers]
    for other in others:
        for key, value in first.items():
            np.testing.assert_array_equal(other[key], value, err_msg=key)


def resnet18(side=32):
    model = create_model("resnet18", num_classes=3, seed=1)
    model.preprocessing = Preprocessing(side, side)
    return model


def preresnet18():
    model = create_model("preresnet18", num_classes=3, seed=2, depths=(1, 1, 1), width=16, stem="3x3", pool="none")
    model.preprocessing = Preprocessing(8, 8)
    return model


@pytest.mark.parametrize("size", [2, 3, 4])
@pytest.mark.parametrize("make", [small_model, preresnet18])
def test_any_number_of_ranks_trains_the_same_weights(make, size):
    with use("numpy"):
        alone, ranks = fitted(None, make=make), simulate(size, partial(fitted, make=make))
    assert_same_bits(ranks)
    assert_agree(ranks[0], alone)


CHANGES = {
    "accumulated": {"accumulate": 3},
    "clipped, AdamW": {"optimizer": "adamw", "lr": 1e-3, "clip": 0.5, "average": 0.9},
    "smoothed": {"label_smoothing": 0.1},
    "frozen norms": {"freeze": "norm"},
    "trunk": {"freeze": "trunk"},
    "binary": {"loss": "binary"},
    "more ranks than images in the last batch": {"batch_size": 13},
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES.keys())
def test_every_detail_of_a_recipe_is_the_same_over_ranks(change):
    recipe = replace(RECIPE, **change)
    with use("numpy"):
        alone, ranks = fitted(None, recipe), simulate(3, partial(fitted, recipe=recipe))
    assert_same_bits(ranks)
    assert_agree(ranks[0], alone)


@pytest.mark.parametrize("size", [2, 3])
def test_without_synchronized_norms_ranks_are_accumulated_parts(size):
    alone, shared = replace(RECIPE, accumulate=size), replace(RECIPE, sync_batch_norm=False)
    with use("numpy"):
        parts, ranks = fitted(None, alone), simulate(size, partial(fitted, recipe=shared))
    assert_same_bits(ranks)
    assert_agree(ranks[0], parts)


@pytest.mark.parametrize("sync", [True, False])
def test_the_fast_kernels_over_ranks(sync):
    """Recorded steps included: from the third batch of a shape on."""
    recipe = replace(RECIPE, epochs=1, batch_size=10, sync_batch_norm=sync, lr=1e-3)
    alone = replace(recipe, accumulate=1 if sync else 2)
    make = partial(fitted, make=partial(resnet18, 64), dtype=np.float32, side=64, count=66)
    with use("numba", threads=1):
        ranks = simulate(2, partial(make, recipe=recipe))
        assert_same_bits(ranks)
    exact = fitted(None, alone, make=partial(resnet18, 64), side=64, count=66).model.state_dict()
    for key, value in ranks[0].model.state_dict().items():
        if value.ndim > 1:
            np.testing.assert_allclose(value, exact[key], rtol=0, atol=1e-2 * np.abs(exact[key]).max(), err_msg=key)
    assert all(trainer.precision.recorded.step is not None for trainer in ranks)


def test_half_of_the_bytes_trains_almost_the_same():
    recipe = replace(RECIPE, epochs=1, half_sums=True)
    with use("numpy"):
        alone, ranks = (
            fitted(None, recipe, dtype=np.float32),
            simulate(2, partial(fitted, recipe=recipe, dtype=np.float32)),
        )
    assert_same_bits(ranks)
    found, wanted = ranks[0].model.fc.weight.value, alone.model.fc.weight.value
    assert 0 < np.abs(found - wanted).max() < 0.02 * np.abs(wanted).max()
