"""Write the golden packs anew, from PyTorch's results:  python -m tests.scripts.make_golden

With --new only the results of cases that they lack are computed, and the others kept.

A result changes when PyTorch's does, and by rounding from one machine to another: commit the packs only together with
a case that was added or corrected.
"""

import json
import sys
from pathlib import Path

import numpy as np

import npresnet
from npresnet import ops
from npresnet.models import Spec, list_models
from npresnet.models.registry import FAMILY
from npresnet.verify.fixed_weights import draw
from npresnet.verify.golden import NETWORK_BOUNDS, compared, read_pack
from npresnet.verify.replay import STEPS, compact, given, narrow

from ..ops.test_torch import in_torch, torch_has
from ..support import oracles
from ..support.cases import CASES
from ..support.steps import BUFFERS, tensors, their_losses
from ..support.torch_networks import TorchNetwork

PACKS = Path(npresnet.__file__).parent / "verify" / "packs"
SHALLOW = ("resnet18", "resnet50", "plain18", "preresnet18", "preresnet50", "resnet20", "plain20")
DETAILS = [
    ("resnet20", {"shortcut": "A-appended"}),
    ("resnet20", {"shortcut": "B"}),
    ("resnet20", {"shortcut": "B-leading"}),
    ("resnet20", {"shortcut": "C"}),
    ("resnet20", {"conv_bias": True}),
    ("resnet20", {"eps": 1e-3, "momentum": 0.3}),
    ("resnet20", {"unbiased": False}),
    ("resnet20", {"squeeze": True}),
    ("resnet20", {"padding": "same"}),
    ("resnet20", {"norm": "group", "norm_groups": 2}),
    ("resnet20", {"activation": "leaky_relu", "negative_slope": 0.1}),
    ("resnet20", {"activation": "gelu"}),
    ("resnet20", {"activation": "silu"}),
    ("resnet18", {"stem": "deep", "stem_width": 2}),
    ("resnet18", {"stem": "pool-first"}),
    ("resnet18", {"pool": "ceil"}),
    ("resnet18", {"pool": "zeros", "stem_bias": True}),
    ("resnet18", {"pool": "same", "padding": "same"}),
    ("resnet18", {"avg_down": True}),
    ("resnet18", {"stem": "3x3", "pool": "none", "stem_stride": 2}),
    ("resnet18", {"stem": "5x5", "stem_stride": 2, "output_stride": 16, "avg_down": True}),
    ("resnet18", {"stem": "tiered", "stem_width": 4, "attention": "eca"}),
    ("resnet18", {"antialias": "average", "pool": "conv"}),
    ("resnet18", {"antialias": "blur", "attention": "se", "squeeze_ratio": 0.25}),
    ("resnet18", {"branch_activation": "leaky_relu"}),
    ("resnet18", {"branch_activation": "gelu", "activation": "silu"}),
    ("resnet18", {"branch_activation": "silu"}),
    ("resnet18", {"branch_activation": "relu", "activation": "gelu"}),
    ("preresnet18", {"projection_of": "x"}),
    ("preresnet18", {"stem_norm": False, "first_block": "as-others", "final_norm": False}),
    ("resnet50", {"relu_before_sum": True}),
    ("resnet50", {"softmax": True}),
    ("preresnet18", {"bare_bias": True}),
    ("preresnet50", {"stem": "bare", "pool": "zeros", "stride_in": "last", "stride_on": "1x1"}),
]
DIALECTS = [
    ("paper", "resnet50"),
    ("caffe", "resnet50"),
    ("keras", "resnet50"),
    ("keras", "preresnet50"),
    ("keras-tutorial-a", "resnet50"),
    ("keras-tutorial-b", "resnet18"),
    ("pytorch-tutorial", "resnet34"),
]


def network_cases():
    cases = [network_case(name, name) for name in list_models()]
    cases += [
        network_case(f"{name} {', '.join(f'{k}={v}' for k, v in options.items())}", name, options=options)
        for name, options in DETAILS
    ]
    return cases + [network_case(f"{name} {dialect}", name, dialect) for dialect, name in DIALECTS]


def network_case(title, model, dialect="torchvision", options=None):
    cifar = FAMILY[model].preprocessing == "cifar10"
    static, build = FAMILY[model].build.keywords, {"width": 4 if cifar else 2}
    if "base_width" in static:  # a wide middle, and groups where there were some
        build |= {"base_width": 32, "groups": 4} if static.get("groups", 1) > 1 else {"base_width": 128}
    shallow = model in SHALLOW or title != model
    return {
        "name": title,
        "model": model,
        "dialect": dialect,
        "options": options or {},
        "build": build,
        "batch": 8,
        "side": 8 if cifar else 32,
        "dtypes": ["float64", "float32"][: 1 + shallow],
    }


def network_results(case):
    """The case with its step size and bounds, and PyTorch's results.

    A bound is 1e-9, unless PyTorch's own results move by more when the images move by a few roundings: then ten times
    that, up to the next power of ten.  The first step of descent is at most 1e-4 long, over all parameters together,
    and shorter where ten such steps would be chaotic: narrow nets are steep.
    """
    model, (x, labels) = narrow(case), given(case)
    first = torch_results(case, model, x, labels, rate=0)
    size = np.sqrt(sum(np.sum(a**2) for name, a in first.items() if name.startswith("gradient: train")))
    for length in (1e-4, 1e-6, 1e-8):
        rate = power_of_ten(length / size, np.floor)
        expected, near = (
            compact(torch_results(case, model, images, labels, rate)) for images in (x, x * (1 + 2.0**-50))
        )
        moved = compared(case, near, expected, "float64", NETWORK_BOUNDS["float64"])
        bounds = {row.what: power_of_ten(10 * row.error, np.ceil) for row in moved if 10 * row.error > row.bound}
        if bounds.get("descent", 0) <= 1e-6:
            break
    return case | {"rate": rate, "bounds": bounds}, expected


def power_of_ten(value, rounding):
    return float(10.0 ** rounding(np.log10(value)))


def torch_results(case, model, x, labels, rate):
    """PyTorch's results under the names of npresnet.verify.replay.replay_network."""
    torch = oracles.torch()
    net = TorchNetwork(Spec(case["model"], 5, dialect=case["dialect"], options=case["options"]), **case["build"])
    found = {}
    for mode in ("train", "eval"):
        p, images = tensors(model, np.float64), torch.from_numpy(x).requires_grad_()
        logits = net(p, images, mode == "train")
        loss = torch.nn.functional.cross_entropy(logits, torch.from_numpy(labels))
        loss.backward()
        found |= {f"blocks: {mode} {name}": value for name, value in net.seen.items()}
        found |= {f"logits: {mode}": logits, f"loss: {mode}": loss, f"gradient: {mode} x": images.grad}
        found |= {f"gradient: {mode} {key}": t.grad for key, t in p.items() if t.requires_grad}
        if mode == "train":
            found |= {f"buffers: {key}": t for key, t in p.items() if key.endswith(BUFFERS)}
    found = {name: np.asarray(a.detach(), np.float64) for name, a in found.items()}
    if rate:
        found["descent: losses"] = np.array(their_losses(net, model, x, labels, STEPS, rate))
    return found


def op_cases():
    """All but what PyTorch has not, slices of a batch, and ops made of others that are here."""
    fused = [name for name in ops.__all__ if getattr(ops, name).__module__ == "npresnet.ops.fused"]
    return [
        case
        for case in CASES
        if torch_has(case) and case.workspace is None and case.op in ops.__all__ and case.op not in fused
    ]


def op_results(case):
    """(what replay.replay_op needs, the arguments and PyTorch's results)."""
    torch = oracles.torch()
    arrays, constants = case.draw()
    leaves = {name: torch.from_numpy(a).requires_grad_() for name, a in arrays.items()}
    fixed = {name: torch.from_numpy(a) for name, a in constants.items()}
    y = in_torch(torch.nn.functional, case.op, leaves, fixed, case.static)
    dy = draw(str(case), tuple(y.shape))
    if y.numel():
        y.backward(torch.from_numpy(dy))
    expected = {f"given: {name}": a for name, a in {**arrays, **constants, "dy": dy}.items()}
    expected["value: y"] = y.detach().numpy()
    expected |= {
        f"gradient: {name}": np.zeros(t.shape) if t.grad is None else t.grad.numpy() for name, t in leaves.items()
    }
    if case.op == "batch_norm_train":
        x = leaves["x"].detach()
        moments = x.mean((0, 2, 3)), x.var((0, 2, 3), unbiased=False)  # NaN for no images, where the op says 0
        expected["value: 0"], expected["value: 1"] = (torch.nan_to_num(moment).numpy() for moment in moments)
    arguments = [*arrays, *constants]
    return {
        "name": str(case),
        "op": case.op,
        "static": case.static,
        "arguments": arguments,
        "given": [*arguments, "dy"],
        "dtypes": ["float64", "float32"],
    }, expected


def packed(cases_and_results):
    cases, arrays = [], {}
    for i, (case, results) in enumerate(cases_and_results):
        cases.append(case | {"arrays": [[name, np.shape(a)] for name, a in results.items()]})
        arrays[f"case {i}"] = np.concatenate([np.ravel(a).astype(np.float64) for a in results.values()])
    return {"cases": np.frombuffer(json.dumps(cases).encode(), np.uint8), **arrays}


def packs(new=False):
    """The arrays of both packs; with ``new`` a case of the same name is taken from the pack there is."""
    ops_known, networks_known = (
        {case["name"]: (case, arrays) for case, arrays in read_pack(name)} if new else {}
        for name in ("ops", "networks")
    )
    networks = (networks_known.get(case["name"]) or network_results(case) for case in network_cases())
    return {
        "ops": packed(ops_known.get(str(case)) or op_results(case) for case in op_cases()),
        "networks": packed(networks),
    }


if __name__ == "__main__":
    for name, arrays in packs("--new" in sys.argv).items():
        path = PACKS / f"{name}.npz"
        path.parent.mkdir(exist_ok=True)
        np.savez_compressed(path, **arrays)
        print(f"{name}: {len(arrays) - 1} cases, {path.stat().st_size / 1e6:.2f} MB", file=sys.stderr)
