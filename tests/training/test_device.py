"""The whole loop on arrays that are not NumPy's, a stand-in for CuPy: the same bits, saved and restored."""

from dataclasses import replace

import numpy as np
import pytest

from npresnet import read_weights, to_device, use
from npresnet.training import Recipe, Stopped, Trainer, predict, read_checkpoint, restore

from ..support import fake_cupy
from ..support.drawn import drawn_source, small_model
from .test_resume import ADAM, RICH, StopAt

GRAPH = Recipe(epochs=2, batch_size=18, lr=0.05, schedule="cosine", label_smoothing=0.1, nesterov=True, decay_all=False)


@pytest.mark.parametrize(
    "recipe", [replace(RICH, epochs=1), replace(ADAM, epochs=1), GRAPH], ids=["rich", "adamw", "graph"]
)
def test_training_on_a_device_equals_the_hosts(recipe, tmp_path):
    source = drawn_source()
    with fake_cupy.installed(), use("numpy"):

        def fresh(device):
            return Trainer(to_device(small_model(), device), recipe, source, source.subset(np.arange(9)))

        host = fresh("cpu")
        host.fit()
        with pytest.raises(Stopped):
            fresh("cuda").fit(tmp_path, StopAt(2))
        there = fresh("cuda")
        restore(there, read_checkpoint(tmp_path), tmp_path)
        there.fit(tmp_path)
        saved = read_weights(tmp_path / "final.safetensors")
        for key, array in host.inference_model().state_dict().items():
            np.testing.assert_array_equal(saved[key], array, err_msg=key)
        np.testing.assert_array_equal(predict(there.model, source)[1], predict(host.model, source)[1])
        assert there.history[0]["validation_loss"] == host.history[0]["validation_loss"]
