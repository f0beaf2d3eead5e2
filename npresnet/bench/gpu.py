"""Our speed on a GPU beside PyTorch's: the same network, weights, input and precision, in one process, in turns.

Ours runs as a CUDA graph, PyTorch eagerly, channels last, with cudnn.benchmark.  Each timed call ends when the device
has nothing left to do.
"""

from time import perf_counter
from typing import Any

import numpy as np

from ..backend import Array, gpu, tf32, to_device
from ..models.classifier import Classifier
from ..nn import Module
from . import libraries
from .report import AGREE, Entry, Report, Run, check

BOUNDS = {"float32": AGREE, "tf32": 2e-2, "float16": 5e-2}  # how far the first outputs may lie apart
MODES = ("infer", "train")


def bench_gpu(
    model: Classifier,
    batch: int = 64,
    mode: str = "infer",
    size: tuple[int, int] = (224, 224),
    precision: str = "float32",
    rounds: int = 9,
    calls: int = 10,
) -> Report:
    """Time ``model`` on this machine's GPU: ``rounds`` turns of ``calls`` timed calls each."""
    cupy = gpu()
    if precision not in BOUNDS or mode not in MODES or (mode == "train" and precision == "float16"):
        raise ValueError(f"no {mode!r} in {precision!r} here: infer in {', '.join(BOUNDS)}; train in float32, tf32")
    rng = np.random.default_rng(0)
    x = rng.standard_normal((batch, model.spec.in_channels, *size)).astype(np.float32)
    labels = rng.integers(0, model.spec.num_classes, batch)
    make = inference if mode == "infer" else training
    runs, left_out = {"npresnet": make(model, x, labels, precision)}, {}
    try:
        runs["torch, channels last"] = in_torch(model, x, labels, mode, precision)
    except ImportError as error:
        left_out["torch"] = str(error)
    check(runs, BOUNDS[precision])
    entries = [Entry(name) for name in runs]
    for _ in range(rounds):
        for entry in entries:
            entry.times += timed(cupy, runs[entry.name], calls)
    return Report(model.spec.name, batch, f"{mode} in {precision}", 1, device_name(cupy), entries, left_out)


def inference(model: Module, x: Array, labels: Array, precision: str) -> Run:
    """The engine's logits for images on the GPU."""
    engine = engine_of(model, precision)
    images = to_device(x.astype(engine.dtype), "cuda")
    return lambda: engine.logits(images)


def engine_of(model: Module, precision: str) -> Any:
    """The engine of a copy of the model on the GPU."""
    from ..engine.gpu.engine import GpuEngine

    copy: Any = to_device(model.astype(np.float16 if precision == "float16" else np.float32), "cuda")
    with tf32(precision == "tf32"):
        return GpuEngine(copy)


def training(model: Module, x: Array, labels: Array, precision: str) -> Run:
    """One step of SGD with momentum on a copy of the model, as a graph; returns the loss."""
    step, images, classes = training_step(model, precision), to_device(x, "cuda"), to_device(labels, "cuda")
    return lambda: step(images, classes, 1e-3)


def training_step(model: Module, precision: str) -> Any:
    """The step as a graph, of a copy of the model on the GPU."""
    from ..training import SGD, CapturedStep
    from ..training.precision import make_precision

    copy: Any = to_device(model, "cuda")
    copy.train()
    return CapturedStep(copy, SGD(copy, momentum=0.9, weight_decay=1e-4), make_precision(precision, copy))


def in_torch(model: Module, x: Array, labels: Array, mode: str, precision: str) -> Run:
    """The network in PyTorch; raises ImportError where it or its CUDA is missing."""
    import torch

    if not torch.cuda.is_available():
        raise ImportError("this PyTorch sees no GPU")
    torch.backends.cudnn.benchmark = True
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = precision == "tf32"
    dtype = torch.float16 if precision == "float16" else torch.float32
    net = libraries.to_torch(model).cuda().to(dtype).to(memory_format=torch.channels_last)
    images = torch.from_numpy(x).cuda().to(dtype).contiguous(memory_format=torch.channels_last)
    if mode == "infer":

        def infer():
            with torch.inference_mode():
                return net(images)

        return infer
    net, classes = net.train(), torch.from_numpy(labels).cuda()
    sgd = torch.optim.SGD(net.parameters(), 1e-3, momentum=0.9, weight_decay=1e-4)

    def train():
        sgd.zero_grad(set_to_none=True)
        loss = torch.nn.functional.cross_entropy(net(images), classes)
        loss.backward()
        sgd.step()
        return loss.detach()

    return train


def timed(cupy: Any, run: Run, calls: int) -> list[float]:
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


def device_name(cupy: Any) -> str:
    """The current GPU's name."""
    name = cupy.cuda.runtime.getDeviceProperties(cupy.cuda.Device().id)["name"]
    return name.decode() if isinstance(name, bytes) else name
