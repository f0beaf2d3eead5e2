"""A trace computes what the network computes, forward and back."""

import numpy as np
import pytest

import npresnet
from npresnet.analysis.features import feature_gradients, one_hot
from npresnet.explore.trace import blocks, trace

NETWORKS = {
    "resnet20": ("resnet20", {}),
    "plain20": ("plain20", {}),
    "preresnet20": ("preresnet20", {}),
    "resnet18": ("resnet18", {"width": 8}),
    "resnet50": ("resnet50", {"width": 8}),
    "grouped": ("resnet50", {"width": 16, "groups": 4, "base_width": 16, "depths": (1, 1, 1, 1)}),
    "keras": ("resnet50", {"width": 8, "dialect": "keras", "depths": (1, 1, 1, 1)}),
    "gated": ("resnet18", {"width": 16, "attention": "eca", "activation": "silu"}),
}


def network(label):
    """One of the NETWORKS with drawn weights and statistics, in eval mode."""
    name, options = NETWORKS[label]
    model = npresnet.create_model(name, num_classes=10, seed=1, **options)
    rng = np.random.default_rng(2)
    for key, array in model.named_arrays():
        if key.endswith("running_mean"):
            array.value = rng.normal(0, 0.3, array.value.shape).astype(np.float32)
        if key.endswith("running_var"):
            array.value = rng.uniform(0.5, 2, array.value.shape).astype(np.float32)
    return model


def images(n=1, side=32):
    return np.random.default_rng(3).standard_normal((n, 3, side, side)).astype(np.float32)


@pytest.mark.parametrize("name", NETWORKS)
def test_a_trace_is_the_network_forward_and_back(name):
    """Scores, dx, and the gradients inside a block, bit for bit."""
    model, x = network(name), images(2)
    with npresnet.use("numpy"):
        run = trace(model, x)
        scores, pullback = model.copy().logits_vjp(x)
        dy = one_hot(scores, [3, 5])
        run.back(dy)
        np.testing.assert_array_equal(run.steps[-1].y, scores)
        np.testing.assert_array_equal(run.steps[0].dy, pullback(dy))
        inner = ["layer1.0.conv1", "layer2.0.conv2", "layer3"]
        due = feature_gradients(model, x, inner, [3, 5])
    for name in inner[:2]:
        (step,) = (step for step in run.steps if step.name == name)
        np.testing.assert_array_equal(step.y, due[0][name])
        np.testing.assert_array_equal(step.dy, due[1][name])
    last = max(k for k, block in enumerate(blocks(run)) if block.startswith("layer3"))
    np.testing.assert_array_equal(run.steps[last].dy, due[1]["layer3"])
    assert all(parameter.grad is None for parameter in model.parameters())


@pytest.mark.parametrize("name", ["resnet20", "preresnet20", "resnet18"])
def test_what_both_paths_bring_back_is_the_gradient_where_they_part(name):
    with npresnet.use("numpy"):
        run = trace(network(name), images())
        run.back(np.ones_like(run.steps[-1].y))
    sums = [k for k, step in enumerate(run.steps) if step.kind == "sum"]
    assert len(sums) in (8, 9)
    for k in sums:
        step = run.steps[k]
        np.testing.assert_array_equal(np.add(*run.paths_back(k)), run.steps[step.fork].dy)
        np.testing.assert_array_equal(np.add(*(run.steps[i].y for i in step.inputs)), step.y)


def test_steps_know_their_block():
    run = trace(network("preresnet20"), images())
    found = blocks(run)
    assert found[:2] == ["image", "stem"] and found[-4:] == ["scores"] * 4  # the last norm, ReLU, pooling, classifier
    assert list(dict.fromkeys(found))[2:-1] == [f"layer{i}.{j}" for i in (1, 2, 3) for j in range(3)]


def test_gradients_before_there_are_any():
    with pytest.raises(RuntimeError, match=r"call back\(dy\) first"):
        _ = trace(network("resnet20"), images()).steps[0].dy
