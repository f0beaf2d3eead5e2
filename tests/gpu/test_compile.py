"""Every CUDA kernel compiles to machine code for Ampere and Hopper, moves packs in one access and spills nothing."""

import re

import numpy as np
import pytest

from npresnet.kernels.gpu import filter_gradient, implicit_gemm, tiles
from npresnet.kernels.gpu.launch import ACCESS, DTYPES, compile_options, source

from ..support.cuda import emulate, nvrtc

BYTES = {"float16": 2, "bfloat16": 2, "float32": 4, "float64": 8}
NAMES = set(emulate.KERNEL.findall(source()))


@pytest.fixture(scope="module", autouse=True)
def installed():
    if nvrtc.found() is None:
        pytest.skip("no GPU, and no NVRTC to compile its kernels: pip install nvidia-cuda-nvrtc nvidia-cuda-runtime")


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("wide", [False, True])
@pytest.mark.parametrize("architecture", ["sm_80", "sm_90"])
def test_the_sources_compile(architecture, wide, dtype):
    width = ACCESS // BYTES[dtype] if wide else 1
    code, ptx, log = nvrtc.compiled(source(), (f"--gpu-architecture={architecture}", *compile_options(dtype, width)))
    assert code[:4] == b"\x7fELF" and all(name.encode() in code for name in NAMES)
    packs = {"float64": "v2"}.get(dtype, "v4") if wide else "no vectors"
    assert len(re.findall(rf"ld\.global\S*\.{packs}", ptx)) >= (len(NAMES) if wide else 0)
    spills = [int(n) for n in re.findall(r"(\d+) bytes spill", log)]
    assert len(spills) >= 2 * len(NAMES) and not any(spills), log


def test_a_mistake_is_found():
    with pytest.raises(ValueError, match="error"):
        nvrtc.compiled(
            source() + "\nint wrong = undeclared;", ("--gpu-architecture=sm_90", *compile_options("float32", 1))
        )


def test_no_kernel_is_larger_than_a_multiprocessor_takes():
    """256 threads of 80 registers: at least three blocks at a time, which keeps 24 KB and more on their way."""
    *_, log = nvrtc.compiled(source(), ("--gpu-architecture=sm_90", *compile_options("float16", 8)))
    registers = [int(n) for n in re.findall(r"Used (\d+) registers", log)]
    assert len(registers) == len(NAMES) and np.max(registers) <= 80, log


KINDS = [(dtype, False) for dtype in DTYPES] + [("float32", True)]
MODULES = {"implicit_gemm": implicit_gemm, "gradient": filter_gradient}
TILED = [
    (name, dtype, tf32, tile)
    for name, module in MODULES.items()
    for dtype, tf32 in KINDS
    for tile in module.TILES.of(np.dtype("float16" if dtype == "bfloat16" else dtype), tf32)
]
MULTIPROCESSOR = {"sm_80": (65536, 164 * 1024), "sm_90": (65536, 228 * 1024)}  # registers, bytes of shared memory


@pytest.mark.parametrize("architecture", [pytest.param("sm_80", marks=pytest.mark.slow), "sm_90"])
@pytest.mark.parametrize("name, dtype, tf32, tile", TILED, ids=str)
def test_products_without_columns_compile(architecture, name, dtype, tf32, tile):
    """Nothing is spilled, as many blocks fit as the tile says, and the tensor cores' instruction is there."""
    module = MODULES[name]
    real = np.dtype("float16" if dtype == "bfloat16" else dtype)  # NumPy has no bfloat16 of its own
    options = [
        f"-DREAL_{dtype.upper()}" if option.startswith("-DREAL") else option
        for option in tiles.tile_options(real, tile, tf32)
    ]
    code, ptx, log = nvrtc.compiled(source(module.SOURCES), (f"--gpu-architecture={architecture}", *options))
    assert code[:4] == b"\x7fELF" and not any(int(n) for n in re.findall(r"(\d+) bytes spill", log)), log
    assert not any(int(n) for n in re.findall(r"(\d+) bytes stack frame", log)), log
    registers, shared = MULTIPROCESSOR[architecture]
    used = max(int(n) for n in re.findall(r"Used (\d+) registers", log))
    assert used * tile.threads * tile.blocks <= registers
    assert module.shared(tile, real) + 1024 <= shared  # CUDA keeps 1 KiB of each block's
    kinds = {"float16": "f16.f16", "bfloat16": "bf16.bf16", "float32": "tf32.tf32"}
    assert ("mma.sync" in ptx) == tiles.on_tensor_cores(real, tf32) == (f"{kinds.get(dtype)}.f32" in ptx)
    assert ptx.count("cp.async.cg.shared.global") >= 2
