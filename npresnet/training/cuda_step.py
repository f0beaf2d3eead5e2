"""A training step on a GPU as one CUDA graph: forward pass, pullbacks and optimiser.

A small network's step is hundreds of launches, each slower in Python than on the GPU; a graph is one launch.
"""

from typing import Any, NamedTuple

import numpy as np

from ..backend import Array, Captured
from ..data.batches import Batch, on_device_of
from ..nn import Buffer, Module, Parameter
from ..ops import softmax_cross_entropy
from .flat_parameters import ParameterGroup, assign_where
from .gradients import TrainingError
from .optim import SGD, Optimizer
from .precision import FullPrecision, Precision
from .run import Run, Totals
from .step import Step

CHECK_EVERY = 100  # steps after which the host reads the sums of the GPU


class Recording(NamedTuple):
    """The graphs of a step, and the arrays that they read and write, which belong to the step alone."""

    run: Captured  # (x, labels) → (loss,)
    groups: list[ParameterGroup]  # the trainable parameters, one group for each weight decay
    buffers: list[Buffer]  # running statistics
    values: list[tuple[Parameter | Buffer, Array]]  # every parameter and buffer, and its array

    def is_current(self) -> bool:
        """Whether the model still holds those arrays."""
        return all(parameter.value is array for parameter, array in self.values)


class CapturedStep:
    """step(x, labels, lr) → the loss before the step, a number on the GPU that the next step may overwrite.

    The first call moves parameters, velocities and running statistics into arrays of the step's own, and every step
    writes there: copy what is to keep its numbers.  If the model's arrays were replaced, the next call moves and
    records again.

    ``sums`` holds Σ loss · images, right answers and steps, added up on the GPU from what it is set to.  A loss or a
    gradient that is not finite makes the first of them NaN; from then on only running statistics change and no step is
    counted, so that the failed step can be repeated later.  Where the precision scales the loss, a gradient that
    overflows skips one step and halves the scale.

    Raises TypeError for a model on the CPU, and for optimisers other than SGD, which count their steps on the host.
    """

    def __init__(
        self, model: Module, optimizer: Optimizer, precision: Precision | None = None, label_smoothing: float = 0.0
    ) -> None:
        self.xp: Any = model.namespace
        if not hasattr(self.xp, "cuda") or not isinstance(optimizer, SGD):
            raise TypeError("a captured step needs a model on a GPU, see to_device(), and SGD")
        self.model, self.optimizer, self.smoothing = model, optimizer, label_smoothing
        self.precision: Precision = precision or FullPrecision(model)
        self.rate, self.sums = self.xp.zeros((), dtype=model.dtype), self.xp.zeros(3, dtype="float64")
        self.recording: Recording | None = None  # made by the first call

    def __call__(self, x: Array, labels: Array, lr: float) -> Array:
        if self.recording is None or not self.recording.is_current():
            self.recording = self._record()
        self.rate.fill(lr)
        return self.recording.run(x, labels)[0]

    def _record(self) -> Recording:
        """Move what steps write into new arrays, parameters of one weight decay side by side."""
        if self.recording is not None:
            self.recording.run.close()
        self.precision.move_to(self.xp)
        arrays = [parameter for _, parameter in self.model.named_arrays()]
        buffers = [buffer for buffer in arrays if isinstance(buffer, Buffer)]
        for buffer in buffers:
            buffer.value = buffer.value.copy()
        decays = {name: self.optimizer.decay(parameter) for name, parameter in self.optimizer.parameters.items()}
        groups = [
            ParameterGroup(self.xp, self.optimizer, [name for name in decays if decays[name] == decay], decay)
            for decay in sorted(set(decays.values()))
        ]
        return Recording(Captured(self.xp, self._step), groups, buffers, [(held, held.value) for held in arrays])

    def _step(self, x: Array, labels: Array) -> tuple[Array]:
        """One step, whose results lie where the last one's lay."""
        recording, precision, xp = self.recording, self.precision, self.xp
        assert recording is not None
        places, scale = [buffer.value for buffer in recording.buffers], precision.scale
        variables = precision.variables()
        self.model.zero_grad()
        logits, pullback = precision.logits_vjp(x)
        loss, loss_pullback = softmax_cross_entropy(logits, labels, label_smoothing=self.smoothing)
        pullback(loss_pullback(scale))
        finite = xp.isfinite(sum(group.gather_gradients(1 / scale) for group in recording.groups))
        self.model.zero_grad()
        failed = ~finite & precision.update_scale(finite)  # another loss scale would not help
        right = (logits.argmax(axis=1) == labels).sum()
        going = self._count(loss.astype("float64") * len(labels), right, failed)
        for group in recording.groups:
            group.step(self.rate, going & finite)
        for buffer, place in zip(recording.buffers, places):
            place[...], buffer.value = buffer.value, place
        precision.restore([assign_where(going, place, new) for place, new in zip(variables, precision.variables())])
        return (loss,)

    def _count(self, loss: Array, right: Array, failed: Array) -> Array:
        """Add to the sums; whether training goes on."""
        xp = self.xp
        going = xp.isfinite(loss) & xp.isfinite(self.sums[0]) & ~failed
        for place, number in enumerate((xp.where(going, loss, float("nan")), right, going)):
            self.sums[place] += number
        return going


class GraphStep:
    """A Trainer's step of SGD as one CUDA graph; see :class:`.step.Step` for the same on any device.

    The host reads the GPU's sums every CHECK_EVERY steps, and when ``totals`` are read.
    """

    def __init__(self, trainer: Run) -> None:
        self.trainer = trainer
        self.captured = CapturedStep(
            trainer.model, trainer.optimizer, trainer.precision, trainer.recipe.label_smoothing
        )
        self.images = 0  # of the epoch so far
        self.launched = 0  # steps since the sums were set
        self.first = 0  # the number of the first of those in its epoch

    def __call__(self, batch: Batch) -> None:
        trainer, steps = self.trainer, len(self.trainer.batches)
        if not self.launched:
            self.first = trainer.step
        x, labels = on_device_of(trainer.model, batch)
        self.captured(x, labels, trainer.recipe.rate(trainer.epoch * steps + trainer.step, steps))
        self.images, self.launched = self.images + len(labels), self.launched + 1
        if self.launched % CHECK_EVERY == 0:
            _ = self.totals  # raises where a step was not finite

    @property
    def totals(self) -> Totals:
        """The epoch's sums, once all launched steps are done.  Raises TrainingError where one was not finite."""
        loss, right, finished = self.captured.sums.get().tolist()
        if loss - loss != 0:  # NaN
            self.report_failure(self.first + int(finished))
        return Totals(loss, int(right), self.images)

    @totals.setter
    def totals(self, totals: Totals) -> None:
        self.captured.sums[...] = self.captured.xp.asarray([totals.loss, totals.right, 0.0])
        self.images, self.launched = totals.images, 0

    def report_failure(self, step: int) -> None:
        """Raise the host's TrainingError of that step by repeating it: no weight has changed since."""
        trainer = self.trainer
        trainer.step = step
        with np.errstate(over="ignore", invalid="ignore"):
            Step(trainer)(next(iter(trainer.batches.epoch(trainer.epoch, step))))
        raise TrainingError(
            f"the loss or a gradient was not finite in step {step} of epoch {trainer.epoch + 1}, "
            "but is when the step is made again: a fault of this GPU or of npresnet"
        )
