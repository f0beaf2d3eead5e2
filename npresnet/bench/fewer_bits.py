"""Our network in 8 or 16 bits beside those of other libraries: one float model, and in 8 bits the same calibration."""

import tempfile
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from ..backend import Array
from ..models.classifier import Classifier
from ..weights.export_onnx import save_onnx
from .cpu import check_names, cores, machine, take_turns
from .libraries import import_or_leave_out, onnxruntime_session, openvino_inference, torch_inference
from .report import Report, Run, on_host

CALIBRATION = 16  # images
ALIKE = 0.98  # the correlation of a network's scores with the float model's, below which nothing is timed


def bench_fewer_bits(
    model: Classifier,
    precision: str,
    batch: int = 8,
    against: Sequence[str] = ("onnxruntime", "openvino"),
    size: tuple[int, int] = (224, 224),
    threads: int | None = None,
    rounds: int = 9,
    calls: int = 2,
    show: Callable[[int, int], None] | None = None,
) -> Report:
    """Time ``model`` in int8 or bfloat16 against the libraries named, and our engine in float32."""
    from ..engine import optimize

    check_names(against, "infer")
    threads, rng = threads or cores(), np.random.default_rng(0)
    images = rng.standard_normal((CALIBRATION + batch, model.spec.in_channels, *size)).astype(np.float32)
    calibration, x = images[:CALIBRATION], images[CALIBRATION:]
    given = calibration if precision == "int8" else None
    engines: dict[str, Any] = {
        "npresnet": optimize(model, threads=threads, precision=precision, images=given),
        "npresnet float32": optimize(model, threads=threads),
    }
    runs: dict[str, Run] = {name: partial(engine, x) for name, engine in engines.items()}
    with tempfile.TemporaryDirectory() as folder:
        file = save_onnx(model, Path(folder) / "model.onnx", fold=True)
        known: dict[str, dict[str, Callable[[], Run]]] = {
            "int8": {
                "onnxruntime": lambda: onnxruntime_int8(file, calibration, x, threads),
                "openvino": lambda: openvino_int8(file, calibration, x, threads),
            },
            "bfloat16": {
                "torch": lambda: torch_inference(model, x, threads, channels_last=True, dtype="bfloat16"),
                "openvino": lambda: openvino_bfloat16(model, x, threads, file),
            },
        }
        makers = known[precision]
        others, left_out = import_or_leave_out({name: makers[name] for name in makers if name in against})
    left_out |= {name: f"not compared in {precision}" for name in against if name not in makers}
    runs |= others
    check_alike(runs)
    entries = take_turns(runs, rounds, calls, show)
    return Report(model.spec.name, batch, f"infer in {precision}", threads, machine(), entries, left_out)


def check_alike(runs: dict[str, Run]) -> None:
    """Raise ValueError unless all scores follow those of the float model."""
    answers = {name: on_host(run()).astype(np.float64).ravel() for name, run in runs.items()}
    for name, answer in answers.items():
        alike = np.corrcoef(answer, answers["npresnet float32"])[0, 1]
        if not alike > ALIKE:
            raise ValueError(f"{name} gives other outputs (a correlation of {alike:.3f}): nothing was timed")


def onnxruntime_int8(file: Path, calibration: Array, x: Array, threads: int) -> Run:
    """ONNX Runtime's static quantization as it recommends for this processor: QDQ, u8 activations, a scale a filter."""
    from onnxruntime import quantization
    from onnxruntime.quantization.shape_inference import quant_pre_process

    prepared, quantized = (file.with_name(name) for name in ("prepared.onnx", "qdq.onnx"))
    quant_pre_process(str(file), str(prepared), skip_symbolic_shape=True)

    class Images(quantization.CalibrationDataReader):
        def __init__(self):
            self.left = iter(calibration)

        def get_next(self) -> Any:
            image = next(self.left, None)
            return None if image is None else {"images": image[None]}

    quantization.quantize_static(
        str(prepared),
        str(quantized),
        Images(),
        quant_format=quantization.QuantFormat.QDQ,
        per_channel=True,
        activation_type=quantization.QuantType.QUInt8,
        weight_type=quantization.QuantType.QInt8,
    )
    session = onnxruntime_session(str(quantized), threads)
    return lambda: np.asarray(session.run(None, {"images": x})[0])


def openvino_int8(file: Path, calibration: Array, x: Array, threads: int) -> Run:
    """OpenVINO with the quantization of its own tools, NNCF, tuned for latency."""
    import nncf  # pyright: ignore[reportMissingImports]
    import openvino  # pyright: ignore[reportMissingImports]

    core = openvino.Core()
    quantized = nncf.quantize(
        core.read_model(str(file)), nncf.Dataset([image[None] for image in calibration]), subset_size=len(calibration)
    )
    hints = {"INFERENCE_NUM_THREADS": threads, "PERFORMANCE_HINT": "LATENCY"}
    request = core.compile_model(quantized, "CPU", hints).create_infer_request()
    return lambda: request.infer({0: x})[0].copy()


def openvino_bfloat16(model: Classifier, x: Array, threads: int, file: Path) -> Run:
    """OpenVINO in bfloat16, where it computes so on this processor."""
    import openvino  # pyright: ignore[reportMissingImports]

    if "BF16" not in openvino.Core().get_property("CPU", "OPTIMIZATION_CAPABILITIES"):
        raise ImportError("on this processor it does not compute in bfloat16")
    return openvino_inference(model, x, threads, str(file), "bf16")
