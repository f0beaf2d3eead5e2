"""The loss of a classifier.

[S] Szegedy et al. 2016, Rethinking the Inception architecture, arXiv:1512.00567
"""

from typing import Any

import numpy

from ..backend import Array, Pullback, array_namespace, namespace_for
from .rules import op
from .softmax import log_softmax
from .total import total


@op
def softmax_cross_entropy(logits: Array, labels: Array, weight: Array | None = None, *, label_smoothing: float = 0.0,
                          ignore_index: int | None = None, reduction: str = "mean") -> tuple[Array, Pullback]:
    """The cross-entropy between the labels and the softmax of the logits.

        p = softmax(z)    t = w · ((1 − ε) onehot(label) + ε/K)    loss[n] = −Σ_k t[n,k] log p[n,k]

    t is the target: ε is the label smoothing of [S] §7, and the ``weight`` w[k] of a class is 1 where there is none.
    An image whose label is ``ignore_index`` has the target 0; where that is None, none is ignored (PyTorch's is −100).
    The ``reduction`` is "none", "sum" (Σ_n loss[n]), or "mean", as in PyTorch by the weights of the labels:

        Σ_n loss[n] / m    with m = Σ_n w[label[n]] over the images that count, N without weights

    The softmax and the logarithm collapse into

        dz[n,k] = (p[n,k] · Σ_j t[n,j] − t[n,k]) · dloss / m

    that is, without weights: each class's predicted probability, less its target.

    Shapes: logits z (N, K), labels (N,) integers in 0 … K−1, weight (K,) or None → loss () or, with "none", (N,);
    pullback(dloss=1.0).
    Saves: log_p, t.
    Raises: ValueError where there is nothing to take the mean of (PyTorch says NaN), and for labels of another shape or
    (on the CPU) out of range; TypeError for labels that are not integers.

    >>> loss, pullback = softmax_cross_entropy(np.zeros((1, 4)), np.array([2]))
    >>> round(float(loss), 4)                                           # log 4
    1.3863
    >>> pullback().tolist()
    [[0.25, 0.25, -0.75, 0.25]]
    """
    xp = namespace_for(logits=logits, weight=weight)
    array_namespace(logits, labels)
    n, k = check_labels(logits, labels, weight, ignore_index)
    counts = xp.ones((n, 1), bool) if ignore_index is None else (labels != ignore_index)[:, None]
    w = counts * (xp.ones(k, logits.dtype) if weight is None else weight)           # w[k], or 0 where ignored
    onehot = labels[:, None] == xp.arange(k)
    t = (w * ((1 - label_smoothing) * onehot + label_smoothing / k)).astype(logits.dtype)
    log_p, _ = log_softmax(logits)
    loss = -(t * xp.where(t != 0, log_p, 0)).sum(axis=1)                            # or a class of −∞ would make 0 · ∞
    m = total(w * onehot, (0, 1)) if reduction == "mean" else 1
    if reduction == "mean" and (n == 0 or (xp is numpy and m == 0)):                # to read m would make a GPU wait
        raise ValueError("there is no mean over an empty batch, nor over images that are all ignored or of weight 0; "
                         'give the loss at least one image, or reduction="sum"')

    def pullback(dloss: Any = 1.0):
        dz = xp.exp(log_p) * t.sum(axis=1, keepdims=True) - t                       # p Σ t − t
        dz *= (dloss[:, None] if reduction == "none" else dloss) / m
        return dz

    return loss if reduction == "none" else total(loss, 0) / m, pullback


def check_labels(logits: Array, labels: Array, weight: Array | None = None, ignore_index: int | None = None,
                 ) -> tuple[int, int]:
    """(N, K) of the logits, once the labels fit them; on a GPU the labels' values are not checked."""
    if logits.ndim != 2 or labels.shape != logits.shape[:1]:
        raise ValueError(f"logits (N, K) and labels (N,) are needed, not {logits.shape} and {labels.shape}")
    if labels.dtype.kind not in "iu":
        raise TypeError(f"labels are class numbers; {labels.dtype} is no integer type")
    n, k = logits.shape
    if weight is not None and weight.shape != (k,):
        raise ValueError(f"weight must hold one number for each of the {k} classes, not {weight.shape}")
    if array_namespace(labels) is numpy:                        # elsewhere reading values would make the GPU wait
        found = labels if ignore_index is None else labels[labels != ignore_index]
        if found.size and not 0 <= int(found.min()) <= int(found.max()) < k:
            raise ValueError(f"labels must lie in 0 … {k - 1}; found {int(found.min())} … {int(found.max())}")
    return n, k
