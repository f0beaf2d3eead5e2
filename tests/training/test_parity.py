"""The same recipe, weights and batches give PyTorch's losses."""

import numpy as np
import pytest

from npresnet import use
from npresnet.training import Trainer, recipe
from npresnet.training.run import Totals

from ..support import torch_training
from ..support.drawn import cifar_model, drawn_source

FAST = recipe("fast-cifar", epochs=5, batch_size=12, label_smoothing=0.1, clip=2.0)
PAPER = recipe("paper-cifar", epochs=5, batch_size=12)


def trained(model, chosen, backend="numpy"):
    """(our losses, the batches, the rates) of 20 steps."""
    trainer, ours, seen, rates = Trainer(model, chosen, drawn_source(48, 16)), [], [], []
    model.train()
    with use(backend):
        for now in range(20):
            trainer.epoch, trainer.step = divmod(now, 4)
            seen.append(next(trainer.batches.epoch(trainer.epoch, trainer.step)))
            rates.append(chosen.rate(now, 4))
            trainer.totals = Totals()
            trainer.update(seen[-1])
            ours.append(trainer.totals.loss / 12)
    return np.array(ours), seen, rates


@pytest.mark.parametrize("chosen", [FAST, PAPER], ids=["fast-cifar", "paper-cifar"])
def test_twenty_steps_in_float64_are_pytorchs(chosen):
    model = cifar_model(side=16).astype(np.float64)
    net = torch_training.twin_of(model)
    ours, batches, rates = trained(model, chosen)
    np.testing.assert_allclose(ours, torch_training.losses(net, chosen, batches, rates), rtol=1e-10)
    assert len(ours) == 20 and ours[-1] < ours[0]
    state = model.state_dict()
    for key, tensor in net.state_dict().items():
        np.testing.assert_allclose(state[key], tensor.numpy(), rtol=1e-7, atol=1e-9, err_msg=key)


@pytest.mark.parametrize("backend", ["numpy", "numba"])
def test_twenty_steps_in_float32_stay_as_close_to_float64_as_pytorchs(backend):
    model, exact = cifar_model(side=16), cifar_model(side=16).astype(np.float64)
    net = torch_training.twin_of(model)
    ours, batches, rates = trained(model, PAPER, backend)
    theirs = np.array(torch_training.losses(net, PAPER, batches, rates))
    truth = trained(exact, PAPER)[0]
    np.testing.assert_allclose(ours[:2], theirs[:2], rtol=1e-5)
    assert np.abs(ours - truth).max() <= 3 * np.abs(theirs - truth).max()
