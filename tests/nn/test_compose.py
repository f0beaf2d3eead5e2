"""The chain rule, the sum rule, and the conditions that keep them safe."""

import gc
import threading
import weakref

import numpy as np
import pytest

from npresnet.nn import BatchNorm2d, Chain, Conv2d, Identity, Linear, Module, ReLU, Residual, Sequential, Softmax

from ..support import laws
from ..support.modules import TABLE, fill, made

X = np.random.default_rng(0).standard_normal((2, 4, 6, 6))


class Probe(Module):
    """y = factor · x, with a log of what was called."""

    def __init__(self, factor, log, trainable=False):
        self.factor, self.log = factor, log
        self._trainable = trainable

    @property
    def trainable(self):
        return self._trainable

    def __call__(self, x):
        self.log.append(("call", self.factor))
        return self.factor * x

    def vjp(self, x, input_grad=True):
        self.log.append(("vjp", self.factor, input_grad))

        def pullback(dy):
            self.log.append(("pullback", self.factor))
            return self.factor * dy if input_grad else None

        return self.factor * x, pullback


def test_a_chain_runs_forwards_and_its_pullback_backwards():
    log = []
    chain = Sequential(Probe(2, log), Probe(3, log), Probe(5, log))
    assert chain(1.0) == 30 and [event[0] for event in log] == ["call"] * 3
    log.clear()
    y, pullback = chain.vjp(1.0)
    assert y == 30 and pullback(7.0) == 210
    assert log == [
        ("vjp", 2, True),
        ("vjp", 3, True),
        ("vjp", 5, True),
        ("pullback", 5),
        ("pullback", 3),
        ("pullback", 2),
    ]


def test_a_chain_runs_its_children_in_the_order_of_assignment():
    chain, log = Chain(), []
    chain.b, chain.a = Probe(2, log), Probe(3, log)
    assert chain.layers() == (chain.b, chain.a)
    assert Sequential(chain.b, chain.a).children() == {"0": chain.b, "1": chain.a}


def test_what_comes_before_the_first_trainable_part_records_nothing():
    log = []
    chain = Sequential(Probe(2, log), Probe(3, log, trainable=True), Probe(5, log))
    y, pullback = chain.vjp(1.0, input_grad=False)
    assert y == 30
    assert log == [("call", 2), ("vjp", 3, False), ("vjp", 5, True)]
    log.clear()
    assert pullback(1.0) is None
    assert log == [("pullback", 5), ("pullback", 3)]


ONE = np.float64(1)


@pytest.mark.parametrize(
    "branch, shortcut, wanted",
    [
        (False, False, [("call", 2), ("call", 3)]),
        (True, False, [("vjp", 2, False), ("call", 3)]),
        (False, True, [("call", 2), ("vjp", 3, False)]),
    ],
)
def test_the_paths_of_a_residual_record_only_what_is_wanted(branch, shortcut, wanted):
    log = []
    residual = Residual(Probe(2, log, branch), Probe(3, log, shortcut))
    y, pullback = residual.vjp(ONE, input_grad=False)
    assert y == 5 and log == wanted
    assert pullback(ONE) is None
    log.clear()
    y, pullback = residual.vjp(ONE)
    assert y == 5 and log == [("vjp", 2, True), ("vjp", 3, True)]
    assert pullback(10 * ONE) == 50
    assert residual(2 * ONE) == 10


def test_another_op_may_join_the_paths_of_a_residual():
    class Difference(Residual):
        def join(self, f, s):
            return f - s, lambda dy: (dy, -dy)

    difference = Difference(Probe(2, []), Probe(3, []))
    y, pullback = difference.vjp(5 * ONE)
    assert y == difference(5 * ONE) == -5 and pullback(7 * ONE) == -7


def test_the_gradient_reaches_x_whatever_the_branch_does():
    dead = fill(Sequential(Conv2d(4, 4, 3, padding=1), ReLU())).astype(np.float64)
    dead.children()["0"].weight.value = np.zeros((4, 4, 3, 3))
    _, pullback = Residual(dead, Identity()).vjp(X)
    np.testing.assert_array_equal(pullback(X), X)


def test_identity():
    y, pullback = Identity().vjp(X)
    assert y is X and Identity()(X) is X and pullback(X) is X
    assert Identity().vjp(X, input_grad=False)[1](X) is None


def saved(pullback, x, module):
    """Weak references to what a pullback saved, less the input and the module's own arrays."""
    own = [x, *module.state_dict().values()]
    return [
        weakref.ref(a) for _, a in laws.held_arrays(pullback) if not any(np.shares_memory(a, other) for other in own)
    ]


@pytest.mark.parametrize(
    "name",
    [
        "sequential in training",
        "residual",
        "residual of a projection",
        "nested",
        "batch norm in training",
        "a part twice",
    ],
)
def test_running_a_pullback_frees_all_it_saved(name):
    module, x = made(name)
    y, pullback = module.vjp(x)
    references = saved(pullback, x, module)
    assert references or name == "residual of a projection"
    dy = np.ones_like(y)
    del y
    pullback(dy)
    gc.collect()
    assert [r for r in references if r() is not None] == []
    assert list(laws.held_arrays(pullback)) == []


def test_each_part_is_freed_as_soon_as_it_has_been_used():
    class Last(Module):
        """Saves 2x, and looks on the way back at nothing."""

        def vjp(self, x, input_grad=True):
            kept = 2 * x
            references.append(weakref.ref(kept))
            return x, lambda dy: dy + 0 * kept

    class First(Module):
        def vjp(self, x, input_grad=True):
            def pullback(dy):
                gc.collect()
                alive.append([r() is not None for r in references])
                return dy

            return x, pullback

    references, alive = [], []
    _, pullback = Sequential(First(), Last(), First(), Last()).vjp(X)
    assert [r() is not None for r in references] == [True, True]
    pullback(X)
    assert alive == [[True, False], [False, False]]


def test_a_siblings_pullback_is_unaffected():
    """Two recordings of one module, and a caller that goes on with its own arrays: nobody disturbs the other."""
    module, x = made("nested")
    alone = module.map_arrays(np.copy)
    y, pullback = module.vjp(x)
    other_x = x[::-1].copy()
    other_y, other_pullback = module.vjp(other_x)
    other_pullback(np.ones_like(other_y))
    module.zero_grad()
    dx = pullback(y)
    y_alone, pullback_alone = alone.vjp(x)
    np.testing.assert_array_equal(dx, pullback_alone(y_alone))
    for (key, parameter), (_, other) in zip(module.named_parameters(), alone.named_parameters()):
        np.testing.assert_array_equal(parameter.grad, other.grad, err_msg=key)


def test_both_paths_of_a_residual_get_the_same_cotangent():
    seen = []

    class Spy(Module):
        def vjp(self, x, input_grad=True):
            return x.copy(), lambda dy: seen.append((dy, dy.copy())) or 2 * dy

    _, pullback = Residual(Spy(), Spy()).vjp(X)
    dy = X[::-1].copy()
    np.testing.assert_array_equal(pullback(dy), 4 * dy)
    for array, copy in seen:
        assert array is dy
        np.testing.assert_array_equal(array, copy)


def test_a_frozen_trunk_records_nothing():
    model = fill(Sequential(Sequential(Conv2d(4, 4, 3), BatchNorm2d(4), ReLU()), Conv2d(4, 2, 3))).astype(np.float64)
    trunk, head = model.children().values()
    for parameter in trunk.parameters():
        parameter.trainable = False
    _, pullback = model.vjp(X, input_grad=False)
    features = trunk(X)
    held = [a for _, a in laws.held_arrays(pullback)]
    assert {a.size for a in held} == {head.weight.value.size, features.size}  # the head's x and w, nothing else
    assert pullback(np.ones((2, 2, 2, 2))) is None
    assert [parameter.grad is None for parameter in model.parameters()] == [True, True, True, False]


def test_a_pullback_may_run_in_another_thread():
    module, x = made("nested")
    alone = module.map_arrays(np.copy)
    y, pullback = module.vjp(x)
    found = []
    thread = threading.Thread(target=lambda: found.append(pullback(y)))
    thread.start()
    thread.join()
    y_alone, pullback_alone = alone.vjp(x)
    np.testing.assert_array_equal(found[0], pullback_alone(y_alone))
    for parameter, other in zip(module.parameters(), alone.parameters()):
        np.testing.assert_array_equal(parameter.grad, other.grad)


def test_a_vjp_that_fails_leaves_the_module_as_it_was():
    model = Sequential(Linear(3, 4), Linear(5, 2))
    with pytest.raises(ValueError, match="linear takes"):
        model.vjp(np.ones((1, 3), np.float32))
    assert all(parameter.grad is None for parameter in model.parameters())


def test_the_table_names_every_composition():
    assert {"nothing", "sequential", "residual", "nested", "a part twice"} <= TABLE.keys()


def test_parts_of_a_sequential_are_numbered():
    chain = Sequential(Identity(), ReLU(), Softmax())
    assert chain[0] is chain.layers()[0] and chain[-1] is chain.layers()[2] and chain[1:] == chain.layers()[1:]
    assert [type(part) for part in chain] == [Identity, ReLU, Softmax]
    with pytest.raises(IndexError):
        chain[3]


ROWS = np.random.default_rng(1).standard_normal((3, 4))
ENDS = {
    "plain": lambda head: Sequential(head, Softmax()),
    "in a chain": lambda head: Sequential(head, Sequential(Identity(), Softmax())),
    "behind it": lambda head: Sequential(Sequential(head, Softmax(), Identity()), Identity()),
    "one of two": lambda head: Sequential(Softmax(), head, Softmax()),
}


@pytest.mark.parametrize("end", ENDS)
def test_logits_are_what_a_softmax_at_the_end_is_given(end):
    head = fill(Linear(4, 5)).astype(np.float64)
    chain = ENDS[end](head)
    z, pullback = chain.logits_vjp(ROWS)
    np.testing.assert_array_equal(z, head(Softmax()(ROWS) if end == "one of two" else ROWS))
    np.testing.assert_array_equal(chain.logits(ROWS), z)
    np.testing.assert_array_equal(chain(ROWS), Softmax()(z))
    assert pullback(z).shape == ROWS.shape and head.weight.grad is not None
    assert chain.logits_vjp(ROWS, input_grad=False)[1](z) is None


@pytest.mark.parametrize(
    "chain",
    [
        Sequential(),
        Sequential(Identity()),
        Sequential(Softmax(), ReLU()),
        Sequential(Residual(Sequential(Softmax()), Identity())),
    ],
)
def test_without_a_softmax_at_the_end_logits_are_the_value(chain):
    np.testing.assert_array_equal(chain.logits(ROWS), chain(ROWS))
