"""The losses of mixed images, and how a step's mixing is drawn."""

import numpy as np
import pytest

from npresnet.training.losses import LOSSES, binary_cross_entropy
from npresnet.training.mixing import Mixing, draw_mixing

from ..support import oracles

RNG = np.random.default_rng(0)
LOGITS, LABELS = 3 * RNG.standard_normal((6, 4)), RNG.integers(0, 4, 6)
LOGITS.flags.writeable = LABELS.flags.writeable = False


@pytest.mark.parametrize("share", [1.0, 0.9, 0.7, 0.1])
@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_binary_cross_entropy_is_pytorchs(share, smoothing):
    torch = oracles.torch()
    held = share * np.eye(4)[LABELS] + (1 - share) * np.eye(4)[LABELS[::-1]] > 0.2
    z = torch.tensor(LOGITS, requires_grad=True)
    target = torch.from_numpy((1 - smoothing) * held + smoothing / 4)
    due = torch.nn.functional.binary_cross_entropy_with_logits(z, target)
    due.backward()
    loss, pullback = binary_cross_entropy(LOGITS, LABELS, share, smoothing)
    np.testing.assert_allclose(loss, due.item(), rtol=1e-12)
    np.testing.assert_allclose(pullback(2.0), 2 * z.grad.numpy(), rtol=1e-12)


@pytest.mark.parametrize("loss", LOSSES.values(), ids=LOSSES)
def test_losses_keep_the_dtype_and_stand_extreme_scores(loss):
    z = np.array([[1e4, -1e4], [-1e4, 1e4]], np.float32)
    value, pullback = loss(z, np.array([0, 0]), 0.6, 0.0)
    assert np.isfinite(value) and value > 1000 and pullback().dtype == np.float32 and np.isfinite(pullback()).all()


def test_a_steps_mixing_depends_on_seed_and_step_alone():
    draws = [draw_mixing(0.2, 1.0, 5, step, (32, 32)) for step in range(400)]
    assert draws == [draw_mixing(0.2, 1.0, 5, step, (32, 32)) for step in range(400)]
    assert draws != [draw_mixing(0.2, 1.0, 6, step, (32, 32)) for step in range(400)]
    boxes = [draw for draw in draws if draw.box]
    assert 160 < len(boxes) < 240  # the other half is mixup's
    assert all(draw.share >= 0.5 for draw in draws if not draw.box)
    shares = [draw.share for draw in boxes]
    assert min(shares) < 0.25 and max(shares) > 0.95 and 0.5 < np.mean(shares) < 0.75  # boxes are cut off at the edges


def test_without_mixing_a_batch_is_itself():
    x = np.zeros((2, 3, 4, 4), np.float32)
    assert draw_mixing(0.0, 0.0, 0, 7, (4, 4)) == Mixing() and Mixing()(x) is x


def test_mixup_alone_draws_what_it_always_drew():
    share = np.random.default_rng([5, 2, 7]).beta(0.4, 0.4)
    assert draw_mixing(0.4, 0.0, 5, 7, (4, 4)) == Mixing(max(share, 1 - share))
