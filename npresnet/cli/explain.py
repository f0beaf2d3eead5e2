"""What computes Grad-CAM's maps for the images of a stream."""

from collections.abc import Iterator
from functools import partial
from typing import Any

from .arguments import backend_context, on_backend
from .inference import Network

BATCH = 4  # images whose gradients are computed together


class ByHead:
    """Rows (heat map, scores, class) for batches of images, from the features after a layer and the head behind it."""

    def __init__(self, network: Network, head: Any, label: int | None):
        self.network, self.head, self.label, self.batch = network, head, label, network.batch

    def __call__(self, x: Any) -> Iterator[tuple[Any, ...]]:
        from ..analysis.cam import grad_cam_of
        from ..backend import use

        a = self.network(x)
        if a.ndim != 4:
            raise ValueError(f"Grad-CAM needs feature maps; the layer gives {a.shape[1:]} for an image")
        with use("numpy"):
            return zip(*grad_cam_of(a, self.head, partial(chosen, self.label)))


class ByGradients:
    """The same for a layer inside others: the whole network runs, and back to the layer."""

    def __init__(self, model: Any, after: str, label: int | None, backend: str | None):
        (self.model,), self.after, self.label, self.backend = on_backend(backend, model), after, label, backend

    def batch(self, x: Any, wanted: int | None = None) -> int:
        return wanted or BATCH

    def __call__(self, x: Any) -> Iterator[tuple[Any, ...]]:
        from ..analysis.cam import grad_cam
        from ..backend import to_device

        with backend_context(self.backend or "numpy"):
            (x,) = on_backend(self.backend, x)
            scores = to_device(self.model.logits(x), "cpu")
            labels = chosen(self.label, scores)
            return zip(to_device(grad_cam(self.model, x, labels, after=self.after), "cpu"), scores, labels)


def explainer_of(model: Any, after: str, label: int | None, backend: str | None, images: int | None) -> Any:
    """What computes the maps of a model after a layer."""
    from ..analysis.cam import head_after
    from ..analysis.features import features

    with backend_context(backend):
        head = head_after(model, after)
        if head is None:
            return ByGradients(model, after, label, backend)
        return ByHead(Network(model, lambda network, x: features(network, x, after), images, backend), head, label)


def chosen(label: int | None, scores: Any) -> Any:
    """The class to explain for each row of scores (N, K): the given one, or the most probable."""
    import numpy as np

    return scores.argmax(axis=1) if label is None else np.full(len(scores), label)
