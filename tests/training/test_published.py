"""The published recipes: rates, and one epoch of each on a few small photos."""

from dataclasses import fields

import numpy as np
import pytest

from npresnet import use
from npresnet.data.dataset import Dataset
from npresnet.training import RECIPES, Recipe, Trainer, recipe
from npresnet.training.published import DIFFERS, PUBLISHED
from npresnet.training.recipe_text import recipe_lines
from npresnet.training.recipes import ADDED_LATER

from ..support.drawn import drawn_source, small_model


@pytest.mark.parametrize(
    "name, rates",  # {epoch: learning rate} as published
    [
        ("paper-imagenet", {0: 0.1, 29.9: 0.1, 30.1: 0.01, 60.1: 1e-3, 119: 1e-4}),
        ("torchvision-v1", {0: 0.1, 29.9: 0.1, 30.1: 0.01, 60.1: 1e-3, 89: 1e-3}),
        ("torchvision-v2", {0: 0.005, 2.5: 0.2525, 5: 0.5, 302.5: 0.25, 599.9: 0.0}),
        ("timm-a3", {0: 1e-4, 5: 0.008, 50: 0.004, 99.9: 0.0}),
    ],
)
def test_the_rates_are_the_published_ones(name, rates):
    found = [recipe(name).rate(round(100 * epoch), 100) for epoch in rates]
    np.testing.assert_allclose(found, list(rates.values()), rtol=0.02, atol=1e-4)


@pytest.mark.parametrize("name", PUBLISHED)
def test_a_run_goes_and_depends_on_the_seed_alone(name):
    photos = drawn_source(12, 40)
    losses = []
    for seed, workers in ((0, 1), (0, 3), (1, 1)):
        chosen = recipe(name, epochs=1, batch_size=6, train_side=24 if RECIPES[name].train_side else 0, lr=1e-3)
        data = Dataset(photos.labels, photos.classes, pixels=photos.pixels)
        run = Trainer(small_model(side=32), chosen, data, seed=seed, workers=workers)
        with use("numpy"):  # nothing to compile
            losses.append(run.fit()[-1]["train_loss"])
        assert run.inference_model().preprocessing == (
            RECIPES[name].preprocessing or small_model(side=32).preprocessing
        )
    assert losses[0] == losses[1] != losses[2] and np.isfinite(losses).all()


def test_every_published_recipe_says_what_differs():
    assert set(DIFFERS) == set(PUBLISHED) < set(RECIPES)


def test_a_side_for_training_needs_photos():
    with pytest.raises(ValueError, match="train_side is for augment photo or scale"):
        Recipe(train_side=160)


def test_older_checkpoints_lack_nothing_that_changes_their_runs():
    defaults = {field.name: field.default for field in fields(Recipe)}
    assert all(defaults[name] == value for name, value in ADDED_LATER.items())


def test_a_run_is_told_what_differs_and_the_rate_of_another_batch():
    def told(name, **changes):
        return " ".join(" ".join(recipe_lines(recipe(name, **changes), name)).split())

    assert "otherwise than published: without repeated augmentation" in told("torchvision-v2")
    assert "is for batches" not in told("torchvision-v2")
    assert "the rate 0.5 is for batches of 1024: for these take 0.031" in told("torchvision-v2", batch_size=64)
    assert "the rate 0.008 is for batches of 2048: for these take 0.002" in told("timm-a3", batch_size=128)
    assert "is for batches" not in told("torchvision-v1", batch_size=64, lr=0.025)
    assert "otherwise than published" not in told("fast-cifar", batch_size=64)
