"""Our speed on a GPU beside PyTorch's: the same network, weights, input and precision, in one process, in turns.

Ours runs as a CUDA graph, PyTorch eagerly, channels last, with cudnn.benchmark.  Each timed call ends when the device
has nothing left to do.
"""

from collections.abc import Callable
from time import perf_counter

import numpy as np

from ..backend import gpu, tf32, to_device
from . import libraries
from .cpu import AGREE, Entry, Report

LOOSER = {"float32": AGREE, "tf32": 2e-2, "float16": 5e-2}      # how far the first outputs may lie apart
MODES = ("infer", "train")


def bench_gpu(model, batch=64, mode="infer", size=224, precision="float32", rounds=9, calls=10) -> Report:
    """Time ``model`` on this machine's GPU: ``rounds`` turns of ``calls`` timed calls each."""
    cupy = gpu()
    if precision not in LOOSER or mode not in MODES or (mode == "train" and precision == "float16"):
        raise ValueError(f"no {mode!r} in {precision!r} here: infer in {', '.join(LOOSER)}; train in float32, tf32")
    rng = np.random.default_rng(0)
    x = rng.standard_normal((batch, model.spec.in_channels, size, size)).astype(np.float32)
    labels = rng.integers(0, model.spec.num_classes, batch)
    make = inference if mode == "infer" else training
    runs, left_out = {"npresnet": make(model, x, labels, precision)}, {}
    try:
        runs["torch, channels last"] = in_torch(model, x, labels, mode, precision)
    except ImportError as error:
        left_out["torch"] = str(error)
    check(runs, LOOSER[precision])
    entries = [Entry(name) for name in runs]
    for _ in range(rounds):
        for entry in entries:
            entry.times += timed(cupy, runs[entry.name], calls)
    return Report(model.spec.name, batch, f"{mode} in {precision}", 1, device_name(cupy), entries, left_out)


def inference(model, x, labels, precision) -> Callable:
    """The engine's logits, from and to the GPU."""
    engine = engine_of(model, precision)
    x = to_device(x.astype(engine.dtype), "cuda")
    return lambda: engine.logits(x)


def engine_of(model, precision):
    """The engine of a copy of the model."""
    from ..engine import optimize
    with tf32(precision == "tf32"):
        return optimize(to_device(model.astype(np.float16 if precision == "float16" else np.float32), "cuda"))


def training(model, x, labels, precision) -> Callable:
    """One step of SGD with momentum on a copy of the model, as a graph; the loss."""
    step, x, labels = training_step(model, precision), to_device(x, "cuda"), to_device(labels, "cuda")
    return lambda: step(x, labels, 1e-3)


def training_step(model, precision):
    """The step itself, of a copy of the model."""
    from ..training import SGD, CapturedStep
    from ..training.precision import make_precision
    twin = to_device(model, "cuda").train()
    return CapturedStep(twin, SGD(twin, momentum=0.9, weight_decay=1e-4), make_precision(precision, twin))


def in_torch(model, x, labels, mode, precision) -> Callable:
    """The same in PyTorch; raises ImportError where it or its CUDA is missing."""
    import torch
    if not torch.cuda.is_available():
        raise ImportError("this PyTorch sees no GPU")
    torch.backends.cudnn.benchmark = True
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = precision == "tf32"
    dtype = torch.float16 if precision == "float16" else torch.float32
    twin = libraries.to_torch(model).cuda().to(dtype).to(memory_format=torch.channels_last)
    x = torch.from_numpy(x).cuda().to(dtype).contiguous(memory_format=torch.channels_last)
    if mode == "infer":
        def infer():
            with torch.inference_mode():
                return twin(x)
        return infer
    twin, labels = twin.train(), torch.from_numpy(labels).cuda()
    sgd = torch.optim.SGD(twin.parameters(), 1e-3, momentum=0.9, weight_decay=1e-4)

    def train():
        sgd.zero_grad(set_to_none=True)
        loss = torch.nn.functional.cross_entropy(twin(x), labels)
        loss.backward()
        sgd.step()
        return loss.detach()

    return train


def check(runs, bound):
    """Raise unless every contestant's first answer is ours."""
    answers = {name: on_host(run()).astype(np.float64) for name, run in runs.items()}
    wanted = answers["npresnet"]
    for name, answer in answers.items():
        error = abs(answer - wanted).max() / abs(wanted).max()
        if not error < bound:
            raise ValueError(f"{name} gives other outputs (by {error:.1e} of the largest): nothing was timed")


def on_host(answer):
    return answer.cpu().numpy() if hasattr(answer, "cpu") else answer.get()


def timed(cupy, run, calls) -> list:
    """Milliseconds of each of ``calls`` calls, after two that are not counted: one captures, one warms up."""
    times = []
    for call in range(calls + 2):
        cupy.cuda.Device().synchronize()
        start = perf_counter()
        run()
        cupy.cuda.Device().synchronize()
        if call > 1:
            times.append(1e3 * (perf_counter() - start))
    return times


def device_name(cupy) -> str:
    name = cupy.cuda.runtime.getDeviceProperties(cupy.cuda.Device().id)["name"]
    return name.decode() if isinstance(name, bytes) else name
