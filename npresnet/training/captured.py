"""A whole training step on the GPU, value, pullbacks and optimiser, as one CUDA graph."""

from ..backend import array_namespace, tf32
from ..ops import softmax_cross_entropy
from .optim import SGD


class CapturedStep:
    """step(x, labels, lr) → the loss before the step, a number on the GPU.

    The first call runs as it is, the second is captured, later ones launch the graph; a batch of another shape starts
    again.  From the first call on the weights, velocities and statistics are written in place, in arrays of the step's
    own: copy what is to keep its numbers.  Memory that the graph uses comes from a pool of its own and stays there.

    Raises TypeError for a model on the CPU, and for optimisers other than SGD, whose steps count on the host.
    """

    def __init__(self, model, optimizer, label_smoothing=0.0, allow_tf32=False):
        first = next(iter(model.parameters())).value
        self.xp = array_namespace(first)
        if not hasattr(self.xp, "cuda") or not isinstance(optimizer, SGD):
            raise TypeError("a captured step needs a model on a GPU, see to_device(), and SGD")
        self.model, self.optimizer, self.smoothing, self.tf32 = model, optimizer, label_smoothing, allow_tf32
        self.pool, self.graph, self.x = None, None, None
        self.rate, self.loss = self.xp.zeros((), dtype=first.dtype), self.xp.zeros((), dtype=first.dtype)
        for _, box in model.named_arrays():
            box.value = box.value.copy()                     # the graph writes into these, and nobody else holds them

    def __call__(self, x, labels, lr):
        again = self.x is not None and (self.x.shape, self.x.dtype) == (x.shape, x.dtype)
        if not again:
            self.x, self.labels, self.graph = x.copy(), labels.copy(), None
        self.x[...], self.labels[...] = x, labels
        self.rate.fill(lr)
        if not again:
            self._step()
        else:
            self.graph = self.graph or self._captured()
            self.graph.launch()
        return self.loss.copy()

    def _step(self):
        """One step whose results lie where the last one's lay."""
        before = {name: box.value for name, box in self.model.named_arrays()}
        moving = dict(self.optimizer.state)
        self.model.zero_grad()
        with tf32(self.tf32):
            logits, pullback = self.model.logits_vjp(self.x, input_grad=False)
        loss, loss_pullback = softmax_cross_entropy(logits, self.labels, label_smoothing=self.smoothing)
        pullback(loss_pullback())
        self.optimizer.step(self.rate)
        self.model.zero_grad()
        for name, box in self.model.named_arrays():
            box.value = put(box.value, before[name])
        for key, array in self.optimizer.state.items():
            self.optimizer.state[key] = put(array, moving.get(key, array))
        self.loss[...] = loss

    def _captured(self):
        """The graph of a step.  What it allocates comes from a pool that nobody else is given memory of."""
        cuda = self.xp.cuda
        self.pool = cuda.MemoryPool()
        stream = cuda.Stream(non_blocking=True)
        with cuda.using_allocator(self.pool.malloc), stream:
            stream.begin_capture()
            try:
                self._step()
            finally:
                graph = stream.end_capture()
        return graph


def put(array, place):
    """``array``'s numbers in ``place``, unless they are there."""
    if array is not place:
        place[...] = array
    return place
