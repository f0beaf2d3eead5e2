"""Softmax cross-entropy: one pass over the logits each way."""

from ...backend import array_namespace
from ...ops.loss import check_labels, softmax_cross_entropy
from .launch import fits, launch, wide

ROW = (128,)             # THREADS in loss.cu


@softmax_cross_entropy.register("cupy")
def softmax_cross_entropy_cupy(logits, labels, *, label_smoothing=0.0):
    """Equals :func:`npresnet.ops.softmax_cross_entropy`; a label out of range makes the loss NaN.

    Saves: logits, labels, top, lse.
    """
    if not fits(logits):
        return softmax_cross_entropy.reference(logits, labels, label_smoothing=label_smoothing)
    xp = array_namespace(logits, labels)
    (n, k), dtype = check_labels(logits, labels), logits.dtype
    logits, labels = xp.ascontiguousarray(logits), xp.ascontiguousarray(labels, xp.int64)
    top, lse, losses = xp.empty((3, n), wide(dtype))
    launch("cross_entropy", (logits, labels, top, lse, losses), (k, float(label_smoothing)), (n,), ROW)

    def pullback(dloss=1.0):
        dz, number = xp.empty_like(logits), isinstance(dloss, int | float)
        launch("cross_entropy_back", (logits, labels, top, lse, dz),
               (k, float(label_smoothing), float(dloss) / n if number else 1.0 / n), (n,), ROW)
        if not number:
            dz *= dloss                                             # a number on the GPU stays there
        return dz

    return losses.mean().astype(dtype), pullback
