"""The loss of a classifier.

[S] Szegedy et al. 2016, Rethinking the Inception architecture, arXiv:1512.00567
"""

import numpy

from ..backend import Array, Pullback, array_namespace, namespace_for
from .rules import op


@op
def softmax_cross_entropy(logits: Array, labels: Array, *, label_smoothing: float = 0.0) -> tuple[Array, Pullback]:
    """The mean cross-entropy between the labels and the softmax of the logits.

        p = softmax(z)    q = (1 − ε) onehot(label) + ε/K    loss = −1/N · Σ_{n,k} q log p

    ε is the label smoothing of [S] §7.  The softmax and the logarithm collapse into

        dz = (p − q) / N

    that is: each class's predicted probability, less its target.

    Shapes: logits z (N, K), labels (N,) integers in 0 … K−1 → loss (), pullback(dloss=1.0).
    Saves: log_p, labels, rows; rows are the integers 0 … N−1.
    Raises: ValueError for an empty batch and for labels of another shape or (on the CPU) out of range,
    TypeError for labels that are not integers.

    >>> loss, pullback = softmax_cross_entropy(np.zeros((1, 4)), np.array([2]))
    >>> round(float(loss), 4)                                           # log 4
    1.3863
    >>> pullback().tolist()
    [[0.25, 0.25, -0.75, 0.25]]
    """
    xp = namespace_for(logits=logits)
    array_namespace(logits, labels)
    n, k = check_labels(logits, labels)
    rows = xp.arange(n)
    z = logits - logits.max(axis=1, keepdims=True)
    log_p = z - xp.log(xp.exp(z).sum(axis=1, keepdims=True))            # log softmax(z)
    loss = -(1 - label_smoothing) * log_p[rows, labels].mean()
    if label_smoothing:                                                 # or a class of −∞ would make 0 · ∞
        loss -= label_smoothing * log_p.mean()

    def pullback(dloss=1.0):
        dz = xp.exp(log_p)                                              # p
        dz[rows, labels] -= 1 - label_smoothing                         #   − (1 − ε) onehot
        dz -= label_smoothing / k                                       #   − ε/K
        dz *= dloss / n
        return dz

    return loss, pullback


def check_labels(logits: Array, labels: Array) -> tuple[int, int]:
    """(N, K) of the logits, once the labels fit them; on a GPU the labels' values are not checked."""
    if logits.ndim != 2 or labels.shape != logits.shape[:1]:
        raise ValueError(f"logits (N, K) and labels (N,) are needed, not {logits.shape} and {labels.shape}")
    if labels.dtype.kind not in "iu":
        raise TypeError(f"labels are class numbers; {labels.dtype} is no integer type")
    n, k = logits.shape
    if n == 0:
        raise ValueError("there is no mean over an empty batch; give the loss at least one image")
    if array_namespace(labels) is not numpy:
        return n, k                                 # reading values would make the GPU wait
    if int(labels.min()) < 0 or int(labels.max()) >= k:
        raise ValueError(f"labels must lie in 0 … {k - 1}; found {int(labels.min())} … {int(labels.max())}")
    return n, k
