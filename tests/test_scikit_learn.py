"""The feature extractor behaves as scikit-learn's own transformers do."""

import pickle
import subprocess
import sys

import numpy as np
import pytest

import npresnet

sklearn = pytest.importorskip("sklearn")
from sklearn.base import clone  # noqa: E402
from sklearn.linear_model import LogisticRegression  # noqa: E402
from sklearn.model_selection import cross_val_score  # noqa: E402
from sklearn.pipeline import make_pipeline  # noqa: E402

from npresnet.scikit_learn import FeatureExtractor  # noqa: E402


def images(n=12):
    """(n images of two kinds, dark and light; their kinds)"""
    rng, kinds = np.random.default_rng(0), np.arange(n) % 2
    return rng.integers(0, 100, (n, 32, 32, 3)).astype(np.uint8) + (155 * kinds[:, None, None, None]).astype(
        np.uint8
    ), kinds


def test_it_gives_the_features_of_the_model():
    x, _ = images()
    model = npresnet.load_model()
    found = FeatureExtractor(batch=5).fit_transform(x)
    assert found.shape == (12, 64) and found.dtype == np.float32
    np.testing.assert_allclose(found, npresnet.features(model, x), rtol=1e-3, atol=1e-4)
    maps = npresnet.features(model, x, "layer2")
    np.testing.assert_allclose(
        FeatureExtractor(model, after="layer2").transform(list(x)), maps.mean((2, 3)), rtol=1e-3, atol=1e-4
    )


def test_a_pipeline_learns_from_it_and_is_pickled():
    x, kinds = images()
    pipeline = make_pipeline(FeatureExtractor(), LogisticRegression()).fit(x, kinds)
    assert pipeline.score(x, kinds) == 1
    again = pickle.loads(pickle.dumps(pipeline))
    np.testing.assert_array_equal(again.predict(x), pipeline.predict(x))
    assert cross_val_score(make_pipeline(FeatureExtractor(), LogisticRegression()), x, kinds, cv=3).mean() == 1


def test_it_is_cloned_with_its_parameters():
    one = FeatureExtractor("file.pth", after="layer3", batch=7)
    assert clone(one).get_params() == {"model": "file.pth", "after": "layer3", "batch": 7}
    assert one.set_params(batch=2).batch == 2 and repr(FeatureExtractor()) == "FeatureExtractor()"


def test_without_scikit_learn_it_says_what_is_missing():
    code = "import sys; sys.modules['sklearn'] = None; import npresnet.scikit_learn"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert found.stderr.strip().endswith("ImportError: FeatureExtractor needs scikit-learn: pip install scikit-learn")
