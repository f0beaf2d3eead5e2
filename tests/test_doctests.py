"""The examples in docstrings are right."""

import doctest
from importlib import import_module
from pathlib import Path

import numpy as np
import pytest

import npresnet

ROOT = Path(npresnet.__file__).parent
WITH_EXAMPLES = [path for path in sorted(ROOT.rglob("*.py")) if ">>>" in path.read_text()]


@pytest.mark.parametrize("path", WITH_EXAMPLES, ids=lambda path: str(path.relative_to(ROOT)))
def test_examples(path):
    module = import_module(".".join(["npresnet", *path.relative_to(ROOT).with_suffix("").parts]))
    with npresnet.use("numpy"):
        result = doctest.testmod(module, extraglobs={"np": np, "npresnet": npresnet})
    assert result.attempted and not result.failed
