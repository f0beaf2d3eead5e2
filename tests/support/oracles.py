"""The libraries we are measured against.  Each function imports one, or skips the test that asks for it."""

import re
from functools import cache
from importlib.util import find_spec
from pathlib import Path

import pytest

_declared = []  # a torch Library undoes its definitions when it is collected


def torch():
    """PyTorch on one thread, or a skip."""
    module = pytest.importorskip("torch", reason="torch is not installed")
    module.set_num_threads(1)
    return module


def torchvision_models():
    """``torchvision.models``, or a skip."""
    torch()
    if find_spec("torchvision") is None:
        pytest.skip("torchvision is not installed")
    return _import_torchvision().models


@cache
def _import_torchvision():
    """Import torchvision where its compiled ops do not load, as beside a CPU build of torch.

    Its import registers shape rules for those ops and fails where they do not exist: declare their names first.
    """
    from torch.library import Library

    try:
        import torchvision
    except RuntimeError:
        source = Path(find_spec("torchvision").origin).with_name("_meta_registrations.py").read_text()
        library = Library("torchvision", "DEF")
        for name in set(re.findall(r'register_(?:meta|fake)\("(?:torchvision::)?(\w+)"', source)):
            library.define(f"{name}(Tensor x) -> Tensor")
        _declared.append(library)
        import torchvision
    return torchvision
