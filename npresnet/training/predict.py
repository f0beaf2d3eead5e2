"""What a model says about many pictures."""

import numpy as np

from .. import ops
from ..backend import array_namespace, to_device
from ..data import recipe_of
from .batches import Batches


def predict(model, source, batch_size=128, workers=2):
    """(mean loss, predicted classes (N,)) of a model in eval mode."""
    loss, predicted = 0.0, []
    for batch in Batches(source, recipe_of(model), batch_size, workers=workers).plain():
        x, labels = on_device_of(model, batch)
        logits = model.logits(x)
        loss += float(ops.softmax_cross_entropy(logits, labels)[0]) * len(labels)
        predicted.append(to_device(logits.argmax(axis=1), "cpu"))
    return loss / len(source), np.concatenate(predicted)


def on_device_of(model, batch):
    """The batch where the model lives, in its dtype."""
    first = next(iter(model.parameters())).value
    xp = array_namespace(first)
    return xp.asarray(batch.x, first.dtype), xp.asarray(batch.labels)
