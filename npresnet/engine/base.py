"""What the engines on a CPU and on a GPU have in common."""

from ..backend import array_namespace
from ..nn import Softmax


class BaseEngine:
    """A model compiled to steps: ``engine(x)`` runs it, ``print(engine.plan)`` shows the last plan.

    An engine has ``nodes``, the fused steps, and a ``lock``; ``run(x)`` computes the scores of images that
    :meth:`checked` has let through, one call at a time.  The plans of the ``KEPT`` sizes of input last used are kept.
    """

    KEPT = 16

    def __init__(self, model):
        self.softmax = self.nodes.pop().module if isinstance(self.nodes[-1].module, Softmax) else None
        self.in_channels = model.spec.in_channels if hasattr(model, "spec") else None
        self.plan, self.plans = None, {}

    def __call__(self, x):
        """The model's output for images x (N, C, H, W)."""
        scores = self.logits(x)
        return scores if self.softmax is None else self.softmax(scores)

    def logits(self, x):
        """The scores: the output, or what a softmax at the end is given."""
        x = self.checked(x)
        if len(x) == 0:
            return self.logits(array_namespace(x).zeros((1, *x.shape[1:]), dtype=x.dtype))[:0]
        with self.lock:
            return self.run(x)

    def planned(self, shape):
        """The plan for a size of input, which is now the last used."""
        plan = self.plans.pop(shape, None)                        # to put it in again as the last
        while len(self.plans) >= self.KEPT:
            del self.plans[next(iter(self.plans))]
        self.plan = self.plans[shape] = plan or self.made(shape)
        return self.plan

    def made(self, shape):
        raise NotImplementedError(f"{type(self).__name__} needs a made()")

    def run(self, x):
        raise NotImplementedError(f"{type(self).__name__} needs a run()")

    def checked(self, x):
        """x, where its shape is that of images for this model; ValueError elsewhere."""
        if x.ndim != 4 or self.in_channels not in (None, x.shape[1]):
            raise ValueError(f"this model takes images (N, {self.in_channels or 'C'}, H, W), not {x.shape}")
        if 0 in x.shape[1:]:
            raise ValueError(f"there is no pixel in these images: {x.shape}")
        return x

    def __reduce__(self):
        """Pickle and deepcopy ask for this."""
        raise TypeError("an engine is machine code and cannot be copied or pickled; copy the model and optimize() the "
                        "copy")
