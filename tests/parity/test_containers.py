"""torchvision's ten networks out of every container their weights have come in, down to the logits."""

import numpy as np
import pytest

from npresnet import create_model, use
from npresnet.models import build

from ..support import containers, oracles
from ..support.steps import batch, settled, spread
from ..support.torch_networks import TORCHVISION, torchvision_forward

as_tensors, ZIP, LEGACY = containers.as_tensors, containers.write_torch_zip, containers.write_torch_legacy
WRITERS = {
    "zip": lambda path, state: ZIP(path, as_tensors(state)),
    "legacy": lambda path, state: LEGACY(path, as_tensors(state)),
    "tar": containers.write_tar,
    "zip of Parameters": lambda path, state: ZIP(path, containers.with_parameters(state)),
    "zip without counters": lambda path, state: ZIP(path, as_tensors(containers.without_counters(state))),
    "legacy in float16 and float32": lambda path, state: LEGACY(path, as_tensors(containers.with_halves(state))),
}


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=() if name == "resnet18" else pytest.mark.slow) for name in TORCHVISION]
)
def test_every_container(name, tmp_path):
    torch = oracles.torch()
    model = calm(spread(build(name), 3, 64))
    x = batch(model, 2, 64)[0].astype(np.float32)
    whole = model.state_dict()
    due = {
        flavour: torchvision_logits(torch, name, state, x)
        for flavour, state in (("whole", whole), ("halves", containers.with_halves(whole)))
    }
    for container, write in WRITERS.items():
        path = tmp_path / "weights.pth"
        write(path, whole)
        loaded = create_model(name, weights=path)
        for key, array in loaded.state_dict().items():
            if "float16" not in container and not key.endswith("tracked"):
                np.testing.assert_array_equal(array, whole[key], err_msg=f"{container} {key}")
        path.unlink()
        if name != "resnet18" and container not in ("zip", "legacy in float16 and float32"):
            continue  # the arrays are those whose logits are compared
        exact = due["halves" if "float16" in container else "whole"]
        scale = abs(exact).max()
        assert abs(loaded.astype(np.float64)(x.astype(np.float64)) - exact).max() <= 1e-10 * scale, container
        for backend in ("numpy", "numba"):
            with use(backend):
                assert abs(loaded(x) - exact).max() <= 5e-6 * scale, (container, backend)


def calm(model):
    """The same with small residual branches, as training leaves them: a drawn net of 152 layers multiplies roundings
    a hundredfold (PyTorch's own float32 logits are then 5e-4 of their scale away)."""
    for module in model.modules():
        last = getattr(module, "last_norm", None)
        if last is not None:
            last.weight.value = last.weight.value * np.float32(0.1)
    return settled(model, batch(model, 4, 64, 3)[0].astype(np.float32))


def torchvision_logits(torch, name, state, x):
    p = {key: torch.from_numpy(np.array(a, np.float64 if a.dtype.kind == "f" else a.dtype)) for key, a in state.items()}
    with torch.no_grad():
        return torchvision_forward(name)(p, torch.from_numpy(x.astype(np.float64)), False).numpy()
