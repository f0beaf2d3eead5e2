"""torchvision's transforms as an oracle."""

import importlib.util
import re
from pathlib import Path

import pytest

from ..support.drawn import model, source  # noqa: F401


@pytest.fixture(scope="session")
def transforms():
    """torchvision.transforms, also beside a torch for which torchvision's compiled operators do not load."""
    torch = pytest.importorskip("torch", reason="torch is not installed")
    found = importlib.util.find_spec("torchvision")
    if found is None:
        pytest.skip("torchvision is not installed")
    text = Path(found.origin).with_name("_meta_registrations.py").read_text()
    library = torch.library.Library("torchvision", "FRAGMENT")
    for name in set(re.findall(r'register_meta\("(\w+)"\)|"torchvision::(\w+)"', text)):
        operator = next(filter(None, name))
        if not hasattr(torch.ops.torchvision, operator):
            library.define(f"{operator}() -> ()")  # declared, so that the import goes on; never called
    from torchvision import transforms

    yield transforms
    del library
