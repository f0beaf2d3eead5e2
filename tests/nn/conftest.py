"""Layers are tested on the definitions; kernels are compared with them elsewhere."""

import pytest

from npresnet import use


@pytest.fixture(autouse=True)
def on_the_reference():
    with use("numpy"):
        yield
