"""The same network in other libraries, so that its speed can be compared.

Each function makes a network from our model's own arrays, in the library's best settings, with no more threads than we
use, and returns a call that runs it.  It raises ImportError where the library is not installed.
"""

import os
import tempfile
from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from .. import nn
from ..backend import Array
from ..nn.visit import Visitor
from .report import Run


def import_or_leave_out(makers: Mapping[str, Callable[[], Run]]) -> tuple[dict[str, Run], dict[str, str]]:
    """name -> what each maker makes, and name -> why, where its library is missing."""
    runs, left_out = {}, {}
    for name, make in makers.items():
        try:
            runs[name] = make()
        except ImportError as error:
            left_out[name] = f"not available: {error}"
    return runs, left_out


def to_torch(model: nn.Module) -> Any:
    """The model as a ``torch.nn.Module`` in evaluation mode, holding copies of its arrays."""
    import torch

    class Sum(torch.nn.Module):
        def __init__(self, branch, shortcut):
            super().__init__()
            self.branch, self.shortcut = branch, shortcut

        def forward(self, x):
            return self.branch(x) + self.shortcut(x)

    class Convert(Visitor):
        """Carries a list of torch's modules, to which it appends one for each of ours."""

        def chain(self, module, x, name):
            inner = super().chain(module, [], name)
            return [*x, torch.nn.Sequential(OrderedDict((f"part{i}", part) for i, part in enumerate(inner)))]

        def residual(self, module, x, name):
            (branch,), (shortcut,) = self.visit(module.branch, [], name), self.visit(module.shortcut, [], name)
            return [*x, Sum(branch, shortcut)]

        def leaf(self, module, x, name):
            return [*x, _layer(module, torch)]

    (net,) = Convert(model).visit(model, [])
    return net.eval()


def _layer(module, torch):
    t, static = torch.nn, getattr(module, "static", {})
    if isinstance(module, nn.Conv2d):
        f, c, *kernel = module.weight.value.shape
        layer = t.Conv2d(
            c * module.groups,
            f,
            kernel,
            module.stride,
            module.padding,
            module.dilation,
            module.groups,
            module.bias is not None,
        )
    elif isinstance(module, nn.BatchNorm2d):
        layer = t.BatchNorm2d(len(module.affine_map()[0]), module.eps, module.momentum)
    elif isinstance(module, nn.GroupNorm):
        layer = t.GroupNorm(module.groups, len(module.weight.value), module.eps)
    elif isinstance(module, nn.Linear):
        layer = t.Linear(*module.weight.value.shape[::-1], module.bias is not None)
    elif isinstance(module, nn.MaxPool2d):
        return t.MaxPool2d(static["kernel"], static["stride"], static["padding"])
    elif isinstance(module, nn.GlobalAvgPool2d):
        return t.Sequential(t.AdaptiveAvgPool2d(1), t.Flatten())
    elif isinstance(module, nn.Subsample | nn.ZeroPadChannels):
        return _shortcut_a(module, torch)
    else:
        simple = {
            nn.ReLU: lambda: t.ReLU(inplace=True),
            nn.LeakyReLU: lambda: t.LeakyReLU(module.static["negative_slope"], inplace=True),
            nn.GELU: t.GELU,
            nn.SiLU: lambda: t.SiLU(inplace=True),
            nn.Identity: t.Identity,
            nn.Softmax: lambda: t.Softmax(1),
        }
        if type(module) not in simple:
            raise ValueError(f"{type(module).__name__} has no counterpart in the benchmark; use a plainer model")
        return simple[type(module)]()
    layer.load_state_dict({name: torch.tensor(array.value) for name, array in module.named_arrays()})
    return layer


def _shortcut_a(module, torch):
    class Function(torch.nn.Module):
        def forward(self, x):
            if isinstance(module, nn.Subsample):
                s = module.static["stride"]
                return x[:, :, ::s, ::s]
            return torch.nn.functional.pad(x, (0, 0, 0, 0, module.static["before"], module.static["after"]))

    return Function()


def onnx_file(model: nn.Module, x: Array, folder: str) -> str:
    """Write the model as an ONNX file for batches of any size; returns its path."""
    import warnings

    import torch

    path = str(Path(folder) / "model.onnx")
    with warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("ignore")
        torch.onnx.export(
            to_torch(model),
            (torch.from_numpy(x[:1]),),
            path,
            dynamo=False,
            input_names=["x"],
            output_names=["y"],
            dynamic_axes={"x": {0: "n"}, "y": {0: "n"}},
        )
    return path


def torch_inference(model: nn.Module, x: Array, threads: int, channels_last: bool, dtype: str = "float32") -> Run:
    """PyTorch in evaluation mode, in one of its two layouts; outputs in float32."""
    import torch

    torch.set_num_threads(threads)
    layout = torch.channels_last if channels_last else torch.contiguous_format
    kind = getattr(torch, dtype)
    net = to_torch(model).to(kind, memory_format=layout)
    batch = torch.from_numpy(x).contiguous(memory_format=layout)

    def run():
        with torch.inference_mode():
            return net(batch.to(kind)).float().numpy()

    return run


def onnxruntime_inference(model: nn.Module, x: Array, threads: int, file: str | None = None) -> Run:
    """ONNX Runtime with all its optimisations; ``file`` is the model in ONNX, if it has been written already."""
    with tempfile.TemporaryDirectory() as folder:
        session = onnxruntime_session(file or onnx_file(model, x, folder), threads)
    return lambda: np.asarray(session.run(None, {"x": x})[0])


def onnxruntime_session(file: str, threads: int) -> Any:
    """The network in a file, as ONNX Runtime runs it on the CPU."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_ALL
    options.log_severity_level = 3
    return onnxruntime.InferenceSession(file, options, ["CPUExecutionProvider"])


def openvino_inference(
    model: nn.Module, x: Array, threads: int, file: str | None = None, precision: str = "f32"
) -> Run:
    """OpenVINO in this precision, tuned for latency; ``file`` as for ONNX Runtime."""
    import openvino  # pyright: ignore[reportMissingImports]    # measured only where it is installed, like ncnn

    core = openvino.Core()
    with tempfile.TemporaryDirectory() as folder:
        net = core.compile_model(
            core.read_model(file or onnx_file(model, x, folder)),
            "CPU",
            {"INFERENCE_NUM_THREADS": threads, "INFERENCE_PRECISION_HINT": precision, "PERFORMANCE_HINT": "LATENCY"},
        )
    request = net.create_infer_request()
    return lambda: request.infer({0: x})[0].copy()


def ncnn_inference(model: nn.Module, x: Array, threads: int) -> Run:
    """ncnn, which takes one image at a time, converted by pnnx; its half-precision modes are off."""
    import ncnn  # pyright: ignore[reportMissingImports]
    import pnnx  # pyright: ignore[reportMissingImports]
    import torch

    if len(x) != 1:
        raise ImportError("ncnn takes one image at a time")
    folder = tempfile.TemporaryDirectory()
    with silent():
        pnnx.export(to_torch(model), str(Path(folder.name) / "model.pt"), (torch.from_numpy(x),), fp16=False)
    net = ncnn.Net()
    net.opt.num_threads, net.opt.use_winograd_convolution = threads, True
    net.opt.use_fp16_packed = net.opt.use_fp16_storage = net.opt.use_fp16_arithmetic = net.opt.use_bf16_storage = False
    net.load_param(str(Path(folder.name) / "model.ncnn.param"))
    net.load_model(str(Path(folder.name) / "model.ncnn.bin"))

    def run(kept=folder):  # the network's files, as long as it is used
        extractor = net.create_extractor()
        extractor.input("in0", ncnn.Mat(x[0]).clone())
        return np.array(extractor.extract("out0")[1])[None]

    return run


@contextmanager
def silent() -> Iterator[None]:
    """Discard standard output and standard error, also what native code writes there."""
    kept, nowhere = [os.dup(stream) for stream in (1, 2)], os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 1)
    os.dup2(nowhere, 2)
    try:
        yield
    finally:
        os.close(nowhere)
        for stream, copy in enumerate(kept, 1):
            os.dup2(copy, stream)
            os.close(copy)


def torch_training(model: nn.Module, x: Array, labels: Array, threads: int, channels_last: bool) -> Run:
    """Steps of SGD with momentum in PyTorch; each returns the loss."""
    import torch

    torch.set_num_threads(threads)
    layout = torch.channels_last if channels_last else torch.contiguous_format
    net = to_torch(model).to(memory_format=layout).train()
    batch, target = torch.from_numpy(x).contiguous(memory_format=layout), torch.from_numpy(labels)
    sgd = torch.optim.SGD(net.parameters(), lr=1e-3, momentum=0.9, weight_decay=1e-4)

    def run():
        sgd.zero_grad(set_to_none=True)
        loss = torch.nn.functional.cross_entropy(net(batch), target)
        loss.backward()
        sgd.step()
        return np.array([loss.item()])

    return run
