"""What a model says about many images."""

import numpy as np

from .. import ops
from ..backend import array_namespace, to_device
from ..data.batches import on_device_of
from ..data.gpu_batches import batches_for


def predict(model, source, batch_size=128, workers=2):
    """(mean loss, predicted classes (N,)) of a model in eval mode."""
    return judged(model, batches_for(model, source, batch_size, workers=workers))


def judged(model, batches):
    """The same, of images in batches.  A GPU is waited for once, at the end."""
    total, predicted = 0.0, []
    for batch in batches.in_order():
        x, labels = on_device_of(model, batch)
        logits = model.logits(x)
        total = total + ops.softmax_cross_entropy(logits, labels)[0].astype(np.float64) * len(labels)
        predicted.append(logits.argmax(axis=1))
    predicted = array_namespace(predicted[0]).concatenate(predicted)
    return float(total) / len(predicted), to_device(predicted, "cpu")
