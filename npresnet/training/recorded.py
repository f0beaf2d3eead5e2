"""Scores and gradients of a batch in two calls of the thread pool, where the same shape comes again.

A small network's step is hundreds of kernels, and Python takes as long from one to the next as some of them run.  So
their launches are recorded (see :mod:`npresnet.kernels.cpu.program.recording`): for the scores, and for the gradients.
They are the same kernels in the same order, on memory that is planned once: the numbers are the same bits.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from ..backend import Array, Kernel, NotRecordable, Pullback, backend_of, load_kernels, recording, recordings
from ..distributed import Communicator
from ..nn import BatchNorm2d, Buffer, Module, Parameter
from ..nn.module import once


class Step(NamedTuple):
    """The two programs of a step and what they write, for batches of one shape."""

    forward: Any
    logits: Array
    buffers: list[tuple[Buffer, Array]]  # running statistics, and where their next values are written
    counters: list[Buffer]  # of batches
    backward: Any
    gradients: list[tuple[Parameter, Array]]


class RecordedModel:
    """``logits_vjp(x)`` as the model's own without dx, which runs a recording from the third batch of a shape on.

    The first batch of a shape runs as ever, the second is recorded; what cannot be (a layer without kernels, another
    backend) runs as ever always.  Gradients that a recording has written hold until the next batch; scores and running
    statistics are copies.  ``ranks`` are those that the model's batch norms, or its gradients' sums, speak to.
    """

    def __init__(self, model: Module, ranks: Communicator | None = None) -> None:
        self.model, self.turn, self.ranks = model, 0, ranks
        self.step: Step | None = None
        self.key: Any = None  # of the last batch; a step is for it
        self.possible = True

    def logits_vjp(self, x: Array) -> tuple[Array, Pullback]:
        """The scores of images x (N, C, H, W), and the map that fills the parameters' gradients."""
        key = self._agreed(self._key(x), len(x))
        if not (self.possible and key):
            return self._as_ever(x)
        if key != self.key:
            if self.key is None and (kernels := load_kernels("numba")):
                kernels.compile_pullbacks()
            self.key, self.step = key, None
            return self._as_ever(x)
        return self._again(x, self.step) if self.step else self._record(x)

    def _agreed(self, key, images):
        """The key, and all ranks' numbers of images: they record the same batch, or none does."""
        if self.ranks is None:
            return key
        counts = self.ranks.gather(np.array(images if self.possible and key else 0)).tolist()
        return (key, *counts) if all(counts) else None

    def _as_ever(self, x):
        return self.model.logits_vjp(x, input_grad=False)

    def _key(self, x):
        """What a recording depends on besides the numbers; None where there can be none."""
        if backend_of(x) != "numba" or x.dtype != np.float32 or len(x) < 2:
            return None
        modules, parameters, arrays = list(self.model.modules()), self.model.parameters(), self._held()
        if any(isinstance(module, BatchNorm2d) and module.momentum is None for module in modules):
            return None  # their factor changes from batch to batch
        if not all(map(computes_by_ops, modules)):
            return None
        flags = [(id(module), module.training, getattr(module, "frozen", False)) for module in modules]
        if not all(held.value.flags.c_contiguous for held in arrays):
            return None
        kinds = tuple((id(held), held.value.shape, held.value.dtype) for held in arrays)
        return x.shape, tuple(flags), kinds, tuple(parameter.trainable for parameter in parameters)

    def _held(self) -> list[Parameter | Buffer]:
        return [held for _, held in self.model.named_arrays()]

    def _inputs(self, x) -> list[Array]:
        return [np.ascontiguousarray(x), *(held.value for held in self._held())]

    def _record(self, x):
        recordings().release_idle()
        inputs, buffers = self._inputs(x), [held for held in self._held() if isinstance(held, Buffer)]
        before, self.turn = [buffer.value for buffer in buffers], self.turn + 1
        notes = recordings().Recording()
        try:
            with recording(notes):
                logits, pullback = self._as_ever(inputs[0])
        except NotRecordable:
            self.possible = False
            _restore(buffers, before)
            return self._as_ever(x)
        moved = [(buffer, buffer.value) for buffer, old in zip(buffers, before) if buffer.value is not old]
        running = [(buffer, place) for buffer, place in moved if place.dtype == np.float32]
        counters = [buffer for buffer, place in moved if place.dtype != np.float32]
        forward, turn = notes.program(inputs), self.turn
        for buffer, place in running:
            buffer.value = place.copy()
        after = [buffer.value for buffer in buffers]

        def first_pullback(dlogits):
            self._check(turn)
            dlogits, parameters = np.ascontiguousarray(dlogits), self.model.parameters()
            given = [parameter.grad for parameter in parameters]
            self.model.zero_grad()
            second = recordings().Recording(notes.blocks)
            try:
                with recording(second):
                    pullback(dlogits)
            except NotRecordable:
                self.possible = False
                self.model.zero_grad()
                _restore(buffers, before)
                _, again = self._as_ever(x)
                _restore(buffers, after)
                again(dlogits)
            else:
                written = [(parameter, parameter.grad) for parameter in parameters if parameter.grad is not None]
                backward = second.program([*inputs, dlogits])
                self.step = Step(forward, logits, running, counters, backward, written)
            for parameter, grad in zip(parameters, given):
                if grad is not None:
                    made, parameter.grad = parameter.grad, grad
                    if made is not None:
                        parameter.add(made)

        return logits.copy(), once(first_pullback)

    def _again(self, x, step: Step):
        inputs, self.turn = self._inputs(x), self.turn + 1
        turn = self.turn
        for parameter, place in step.gradients:
            if parameter.grad is place:  # of the batch before, whose memory is written again
                parameter.grad = place.copy()
        self._run(step.forward, inputs)
        for buffer, place in step.buffers:
            buffer.value = place.copy()
        for counter in step.counters:
            counter.value = np.asarray(counter.value + 1)

        def pullback(dlogits):
            self._check(turn)
            self._run(step.backward, [*inputs, np.ascontiguousarray(dlogits)])
            for parameter, place in step.gradients:
                parameter.add(place)

        return step.logits.copy(), once(pullback)

    def _run(self, program, inputs: Sequence[Array]) -> None:
        try:
            program.run(inputs)
        except BaseException:  # a thread may still be at work in its memory
            self.step = self.key = None
            raise

    def _check(self, turn) -> None:
        if turn != self.turn:
            raise RuntimeError("this batch's pullback comes after the next batch, which lies in the same memory")


def computes_by_ops(module: Module) -> bool:
    """Whether all that the module computes is computed by ops, each of which is recorded or refuses to be.

    That holds for the layers of this package and for chains of others.  A class from elsewhere may compute with NumPy,
    which no recording would see: unless it says ``recorded = True``, a network that holds one is not recorded.
    """
    kind = type(module)
    if "vjp" in vars(module) or "op" in vars(module):
        return False
    owner = next(base for base in kind.__mro__ if "vjp" in vars(base))
    ours = owner.__module__.partition(".")[0] == __name__.partition(".")[0]
    return (ours and isinstance(getattr(kind, "op", None), Kernel | None)) or kind.recorded


def _restore(buffers, values) -> None:
    for buffer, value in zip(buffers, values):
        buffer.value = value
