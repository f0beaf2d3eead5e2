"""Softmax cross-entropy: one pass over the logits each way."""

from ...backend import Array, Pullback, array_namespace
from ...ops.loss import check_labels, softmax_cross_entropy
from .launch import launch, sum_dtype, supports_arrays

BLOCK = (128,)           # THREADS in loss.cu


def _supports_loss(logits: Array, labels: Array, weight: Array | None = None, *, label_smoothing: float = 0.0,
                   ignore_index: int | None = None, reduction: str = "mean") -> bool:
    """The mean over all images of a batch, whose classes weigh the same."""
    return weight is None and ignore_index is None and reduction == "mean" and supports_arrays(logits)


@softmax_cross_entropy.register("cupy", supports=_supports_loss)
def softmax_cross_entropy_cupy(logits: Array, labels: Array, weight: None = None, *, label_smoothing: float = 0.0,
                               ignore_index: None = None, reduction: str = "mean") -> tuple[Array, Pullback]:
    """Equals :func:`npresnet.ops.softmax_cross_entropy`; a label out of range makes the loss NaN.

    Saves: logits, labels, top, lse.
    """
    xp = array_namespace(logits, labels)
    (n, k), dtype = check_labels(logits, labels), logits.dtype
    logits, labels = xp.ascontiguousarray(logits), xp.ascontiguousarray(labels, xp.int64)
    top, lse, losses = xp.empty((3, n), sum_dtype(dtype))
    launch("cross_entropy", (logits, labels, top, lse, losses), (k, float(label_smoothing)), (n,), BLOCK)

    def pullback(dloss=1.0):
        dz, number = xp.empty_like(logits), isinstance(dloss, int | float)
        launch("cross_entropy_back", (logits, labels, top, lse, dz),
               (k, float(label_smoothing), float(dloss) / n if number else 1.0 / n), (n,), BLOCK)
        if not number:
            dz *= dloss                                             # a number on the GPU stays there
        return dz

    return losses.mean().astype(dtype), pullback
