"""Work on a GPU as CUDA graphs: any function of arrays, and a whole training step, value, pullbacks and optimiser.

A step of a small network is hundreds of launches, and Python takes longer over each than the GPU; a graph is one.
"""

from ..backend import array_namespace, captured
from ..nn import Buffer
from ..ops import softmax_cross_entropy
from .flat_parameters import Group, moved
from .optim import SGD
from .precision import Full


class Captured:
    """A function of arrays on the GPU that returns a tuple of such, launched as one CUDA graph.

    For each set of shapes the first call runs the function as it is, the second captures it, later ones launch the
    graph.  Results of a graph lie in arrays of its own, which its next launch overwrites.  What the function allocates
    while it is captured comes from a pool of its own, whose memory nobody else is ever given.
    """

    def __init__(self, xp, function):
        self.xp, self.function, self.graphs = xp, function, {}
        self.pool, self.stream = xp.cuda.MemoryPool(), xp.cuda.Stream(non_blocking=True)

    def __call__(self, *arrays):
        shapes = tuple((array.shape, array.dtype.str) for array in arrays)
        if shapes not in self.graphs:
            self.graphs[shapes] = None
            return self.function(*arrays)
        if self.graphs[shapes] is None:
            self.xp.get_default_memory_pool().free_all_blocks()         # what the first call took is now the graph's
            self.graphs[shapes] = self.captured([array.copy(order="K") for array in arrays])
        graph, places, results = self.graphs[shapes]
        for place, array in zip(places, arrays):
            place[...] = array
        graph.launch()
        return results

    def close(self):
        """Give the graphs' memory back; a pool that is only forgotten keeps it."""
        self.graphs.clear()
        self.pool.free_all_blocks()

    def captured(self, places):
        """(the graph of the function of what lies in ``places``, those, its results); nothing runs yet."""
        with self.xp.cuda.using_allocator(self.pool.malloc):
            graph, results = captured(self.xp, lambda: self.function(*places), self.stream)
        return graph, places, results


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
        first = next(iter(model.parameters())).value
        self.xp = array_namespace(first)
        if not hasattr(self.xp, "cuda") or not isinstance(optimizer, SGD):
            raise TypeError("a captured step needs a model on a GPU, see to_device(), and SGD")
        self.model, self.optimizer, self.smoothing = model, optimizer, label_smoothing
        self.precision = precision or Full(model)
        self.rate, self.sums = self.xp.zeros((), dtype=first.dtype), self.xp.zeros(3, dtype="float64")
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
