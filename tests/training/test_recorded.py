"""A recorded step is the step itself, bit for bit."""

import numpy as np
import pytest

pytest.importorskip("numba")

import npresnet
from npresnet import nn, ops
from npresnet.backend import use
from npresnet.nn import BatchNorm2d, freeze_batch_norm
from npresnet.training.optim import SGD, AdamW
from npresnet.training.recorded import RecordedModel

rng = np.random.default_rng(0)


def batch(n=4, size=16):
    return rng.standard_normal((n, 3, size, size)).astype(np.float32), rng.integers(0, 10, n)


def train(model, batches, recorded, optimizer=SGD, accumulate=1):
    """The losses of some steps; the model and what records it."""
    model = model.copy().train()
    steps, losses = RecordedModel(model), []
    optimizer = optimizer(model, weight_decay=1e-4)
    for k, (x, labels) in enumerate(batches):
        if k % accumulate == 0:
            model.zero_grad()
        logits, pullback = steps.logits_vjp(x) if recorded else model.logits_vjp(x, input_grad=False)
        loss, loss_pullback = ops.softmax_cross_entropy(logits, labels)
        pullback(loss_pullback())
        losses.append(float(loss))
        if k % accumulate == accumulate - 1:
            optimizer.step(0.05)
    return losses, model, steps


def arrays(model):
    return {name: held.value for name, held in model.named_arrays()}


def same(found, wanted):
    assert found.keys() == wanted.keys()
    for name in wanted:
        np.testing.assert_array_equal(found[name], wanted[name], err_msg=name)


NETWORKS = [
    ("resnet20", {}),
    ("resnet20", {"shortcut": "B"}),
    ("plain20", {}),
    ("preresnet110", {}),
    ("resnet18", {}),
    ("resnet50", {}),
    ("resnext50_32x4d", {}),
    ("resnet50", {"activation": "silu"}),
    ("resnet18", {"conv_bias": True}),
    ("resnet50", {"norm": "group"}),
]


@pytest.mark.parametrize("name, options", NETWORKS, ids=str)
def test_a_recorded_step_is_the_step_itself(name, options):
    try:
        model = npresnet.create_model(name, **options)
    except (TypeError, ValueError) as error:
        pytest.skip(str(error))
    batches = [batch(2, 32) for _ in range(5)]
    wanted, plain, _ = train(model, batches, recorded=False)
    found, ours, steps = train(model, batches, recorded=True)
    assert steps.step is not None and found == wanted
    same(arrays(ours), arrays(plain))


def test_every_optimizer_and_gradients_that_add_up():
    batches, model = [batch() for _ in range(8)], npresnet.create_model("resnet20")
    for optimizer in (SGD, AdamW):
        for accumulate in (1, 2):
            wanted, plain, _ = train(model, batches, False, optimizer, accumulate)
            found, ours, _ = train(model, batches, True, optimizer, accumulate)
            assert found == wanted
            same(arrays(ours), arrays(plain))


def test_what_was_handed_out_keeps_its_numbers():
    """Scores, running statistics and values of parameters, not gradients: those hold until the next batch."""
    _, model, steps = train(npresnet.create_model("resnet20"), [batch() for _ in range(3)], True)
    logits, _ = steps.logits_vjp(batch()[0])
    before = {"logits": logits, **arrays(model)}
    copies = {name: array.copy() for name, array in before.items()}
    for _ in range(2):
        logits, pullback = steps.logits_vjp(batch()[0])
        pullback(logits)
    same(before, copies)


def test_other_shapes_and_changed_models_run_as_ever():
    model = npresnet.create_model("resnet20").train()
    steps, plain = RecordedModel(model), model.copy()

    def step(x):
        for one, vjp in ((model, steps.logits_vjp), (plain, lambda x: plain.logits_vjp(x, input_grad=False))):
            one.zero_grad()
            logits, pullback = vjp(x)
            pullback(logits)
        same(arrays(model), arrays(plain))
        for (name, ours), (_, theirs) in zip(model.named_parameters(), plain.named_parameters(), strict=True):
            np.testing.assert_array_equal(ours.grad, theirs.grad, err_msg=name)

    for n in (4, 4, 4, 3, 4, 4, 4):
        step(batch(n)[0])
    for one in (model, plain):
        one.conv1.weight.trainable = False
    for _ in range(3):
        step(batch()[0])
    for one in (model, plain):
        freeze_batch_norm(one)
    for _ in range(3):
        step(batch()[0])
    assert steps.step
    for one in (model, plain):
        one.bn1.weight.trainable = one.bn1.bias.trainable = False
    for _ in range(3):
        step(batch()[0])
    assert steps.step


def test_other_backends_and_single_images_are_not_recorded():
    steps = RecordedModel(npresnet.create_model("resnet20").train())
    for _ in range(3):
        steps.logits_vjp(batch(1)[0])
    with use("numpy"):
        for _ in range(3):
            steps.logits_vjp(batch(2, 8)[0])
    assert steps.step is None and steps.possible


def test_arrays_with_gaps_in_memory_are_not_recorded():
    model = npresnet.create_model("resnet20").train()
    model.conv1.weight.value = np.repeat(model.conv1.weight.value, 2, axis=3)[..., ::2]
    steps = RecordedModel(model)
    for _ in range(3):
        steps.logits_vjp(batch()[0])
    assert steps.step is None and steps.possible


def test_a_factor_that_changes_is_not_recorded():
    model = npresnet.create_model("resnet20").train()
    next(part for part in model.modules() if isinstance(part, BatchNorm2d)).momentum = None
    steps = RecordedModel(model)
    for _ in range(3):
        steps.logits_vjp(batch()[0])
    assert steps.step is None


@pytest.mark.parametrize("at", ["forward", "pullback"])
def test_what_has_no_kernel_runs_as_ever(at):
    class Odd(nn.Module):
        recorded = True

        def vjp(self, x, input_grad=True):
            y, pullback = ops.leaky_relu.reference(x) if at == "forward" else ops.relu(x)
            if at == "forward":
                ops.avg_pool2d(x, 3, stride=1)
            return y, pullback if at == "forward" else lambda dy: ops.avg_pool2d(pullback(dy), 1, stride=1)[0]

    model = npresnet.create_model("resnet20")
    model.relu = Odd()
    batches = [batch() for _ in range(5)]
    wanted, plain, _ = train(model, batches, False)
    found, ours, steps = train(model, batches, True)
    assert found == wanted and steps.step is None and not steps.possible
    same(arrays(ours), arrays(plain))


def test_a_pullback_comes_before_the_next_batch():
    _, _, steps = train(npresnet.create_model("resnet20"), [batch() for _ in range(3)], True)
    logits, pullback = steps.logits_vjp(batch()[0])
    steps.logits_vjp(batch()[0])
    with pytest.raises(RuntimeError, match="comes after the next batch"):
        pullback(logits)


@pytest.mark.parametrize("threads", [1, 2, 5])
def test_bits_are_the_same_for_any_number_of_threads(threads):
    batches, model = [batch() for _ in range(5)], npresnet.create_model("resnet20")
    with use("numba", threads=3):
        wanted, plain, _ = train(model, batches, True)
    with use("numba", threads=threads):
        found, ours, _ = train(model, batches, True)
    assert found == wanted
    same(arrays(ours), arrays(plain))


class ByNumPy(nn.Module):
    """A layer from outside the package, whose scale a recording would not see."""

    def __init__(self):
        self.weight = nn.Parameter(np.full(16, 0.5, np.float32))

    def vjp(self, x, input_grad=True):
        scale = self.weight.value[:, None, None]

        def pullback(dy):
            self.weight.accumulate((dy * x).sum(axis=(0, 2, 3)))
            return dy * scale

        return x * scale, pullback


class ByOps(nn.Module):
    """A layer from outside that calls ops alone."""

    recorded = True

    def vjp(self, x, input_grad=True):
        return ops.relu(x)


@ops.op
def doubled(x):
    return 2 * x, lambda dy, skip=frozenset(): None if "x" in skip else 2 * dy


class ByOwnOp(ByOps):
    def vjp(self, x, input_grad=True):
        return doubled(x)


class Composed(nn.Chain):
    """A chain of the package's layers, which has no vjp of its own."""

    def __init__(self):
        self.conv, self.relu = nn.initialize(nn.Conv2d(16, 16, 1)), nn.ReLU()


@pytest.mark.parametrize(
    "layer, recorded", [(ByNumPy, False), (ByOps, True), (ByOwnOp, False), (Composed, True)], ids=lambda p: str(p)
)
def test_a_layer_from_outside_is_recorded_only_where_that_is_exact(layer, recorded):
    model = npresnet.create_model("resnet20", depths=(1, 1, 1))
    model.bn1 = nn.Sequential(model.bn1, layer())
    batches = [batch() for _ in range(5)]
    losses, found, steps = train(model, batches, recorded=True)
    wanted_losses, wanted, _ = train(model, batches, recorded=False)
    assert losses == wanted_losses
    same(arrays(found), arrays(wanted))
    assert (steps.step is not None) == recorded


def test_an_instance_with_a_vjp_of_its_own_is_not_recorded():
    model = npresnet.create_model("resnet20", depths=(1, 1, 1))
    model.relu.vjp = lambda x, input_grad=True: (np.abs(x), lambda dy: dy * np.sign(x))
    _, _, steps = train(model, [batch() for _ in range(4)], recorded=True)
    assert steps.step is None
