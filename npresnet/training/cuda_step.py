"""A whole training step on a GPU as one CUDA graph: value, pullbacks and optimiser.

A step of a small network is hundreds of launches, and Python takes longer over each than the GPU; a graph is one.
"""

from ..backend import Captured
from ..nn import Buffer
from ..ops import softmax_cross_entropy
from .flat_parameters import Group, moved
from .optim import SGD
from .precision import Full


class CapturedStep:
    """step(x, labels, lr) → the loss before the step, a number on the GPU that the next step may overwrite.

    The first step brings parameters, velocities and running statistics into arrays of the step's own, and all steps
    write there: copy what is to keep its numbers.  Where somebody has given the model other arrays it starts again.

    ``sums`` holds loss · pictures, right answers and steps, added up on the GPU until somebody sets them.  A loss or a
    gradient that is not finite makes the first of them NaN; from then on nothing but the running statistics moves, and
    no step is counted, so that whoever looks later can make that step again.  Where the precision scales the loss, a
    gradient that overflows costs a step and halves the scale.

    Raises TypeError for a model on the CPU, and for optimisers other than SGD, whose steps count on the host.
    """

    def __init__(self, model, optimizer, precision=None, label_smoothing=0.0):
        self.xp = model.namespace
        if not hasattr(self.xp, "cuda") or not isinstance(optimizer, SGD):
            raise TypeError("a captured step needs a model on a GPU, see to_device(), and SGD")
        self.model, self.optimizer, self.smoothing = model, optimizer, label_smoothing
        self.precision = precision or Full(model)
        self.rate, self.sums = self.xp.zeros((), dtype=model.dtype), self.xp.zeros(3, dtype="float64")
        self.held = []                                                  # (box, its array) of all that the graphs read

    def __call__(self, x, labels, lr):
        if not self.held or any(box.value is not array for box, array in self.held):
            self._own()
        self.rate.fill(lr)
        return self.run(x, labels)[0]

    def _own(self):
        """Move what steps write into arrays that nobody else holds, parameters of one weight decay side by side."""
        if self.held:
            self.run.close()
        self.run, self.groups = Captured(self.xp, self._step), []
        self.precision.to(self.xp)
        boxes = [box for _, box in self.model.named_arrays()]
        self.buffers = [box for box in boxes if isinstance(box, Buffer)]
        for box in self.buffers:
            box.value = box.value.copy()
        decays = {name: self.optimizer.decay(box) for name, box in self.optimizer.parameters.items()}
        for decay in sorted(set(decays.values())):
            names = [name for name in decays if decays[name] == decay]
            self.groups.append(Group(self.xp, self.optimizer, names, decay))
        self.held = [(box, box.value) for box in boxes]

    def _step(self, x, labels):
        """One step, whose results lie where the last one's lay."""
        xp, precision = self.xp, self.precision
        places, scale, before = [box.value for box in self.buffers], precision.scale, precision.numbers()
        self.model.zero_grad()
        logits, pullback = precision.logits_vjp(x)
        loss, loss_pullback = softmax_cross_entropy(logits, labels, label_smoothing=self.smoothing)
        pullback(loss_pullback(scale))
        finite = xp.isfinite(sum(group.gathered(1 / scale) for group in self.groups))
        self.model.zero_grad()
        hopeless = ~finite & precision.settle(finite)                   # no matter of scale
        right = (logits.argmax(axis=1) == labels).sum()
        going = self._count(loss.astype("float64") * len(labels), right, hopeless)
        for group in self.groups:
            group.move(self.rate, going & finite)
        for box, place in zip(self.buffers, places):
            place[...], box.value = box.value, place
        precision.restore([moved(place, new, going) for place, new in zip(before, precision.numbers())])
        return (loss,)

    def _count(self, loss, right, hopeless):
        """Add to the sums; whether training goes on."""
        xp = self.xp
        going = xp.isfinite(loss) & xp.isfinite(self.sums[0]) & ~hopeless
        for place, number in enumerate((xp.where(going, loss, float("nan")), right, going)):
            self.sums[place] += number
        return going
