"""Features of images as a step of a scikit-learn pipeline; needs scikit-learn.

make_pipeline(FeatureExtractor("resnet50-11ad3fa6.pth"), LogisticRegression()).fit(paths, labels)
"""

from typing import Any

import numpy as np

try:
    from sklearn.base import BaseEstimator, TransformerMixin
except ImportError:
    raise ImportError("FeatureExtractor needs scikit-learn: pip install scikit-learn") from None

from .analysis.features import features
from .backend import Array
from .engine import optimize
from .nn import Module
from .zoo import load_model


class FeatureExtractor(TransformerMixin, BaseEstimator):
    """Images to features (N, C), as the network's classifier reads them.  Nothing is trained.

    model    a model, a file of weights, or None: the network that comes with npresnet
    after    the layer whose output is averaged over the image, such as "layer3"; None: what the classifier reads
    batch    images that are in memory at a time

    X is a list of paths or of images, or whatever else :func:`npresnet.preprocess` takes, or an array of floats
    (N, C, H, W) as the model takes them.  The model is loaded by ``fit``; what is copied or pickled is the model, not
    the engine that runs it.
    """

    def __init__(self, model: Any = None, after: str | None = None, batch: int = 32):
        self.model, self.after, self.batch = model, after, batch

    def fit(self, X: Any, y: Any = None) -> "FeatureExtractor":
        """Load the model; X and y are not read."""
        self.model_ = self.model if isinstance(self.model, Module) else load_model(self.model)
        vars(self).pop("engine_", None)
        return self

    def transform(self, X: Any) -> Array:
        """The features (N, C) of the images X, float32."""
        if "model_" not in vars(self):
            self.fit(X)
        if "engine_" not in vars(self):
            self.engine_ = optimize(self.model_)
        parts = (X[i : i + self.batch] for i in range(0, len(X), self.batch))
        found = (features(self.engine_, part, self.after) for part in parts)
        return np.concatenate([y.mean(axis=(2, 3)) if y.ndim == 4 else y for y in found])

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in vars(self).items() if name != "engine_"}
