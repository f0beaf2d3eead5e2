"""The stand-in for a GPU finds what a GPU would not forgive."""

import numpy as np
import pytest

from npresnet.kernels.gpu import implicit_gemm, tiles
from npresnet.kernels.gpu.conv import explicit_gemm
from npresnet.kernels.gpu.im2col import Columns
from npresnet.kernels.gpu.launch import source
from npresnet.ops.window import Window

from ..support import fake_cupy
from ..support.cuda import emulate

REVERSE = """
extern "C" __global__ void reverse(const float *x, float *y, int n)
{
    __shared__ float shared[64];
    shared[threadIdx.x] = x[threadIdx.x];
    BARRIER
    y[threadIdx.x] = shared[n - 1 - threadIdx.x];
}
"""


@pytest.fixture
def cupy():
    if emulate.compiler is None:
        pytest.skip("no GPU, and no C++ compiler to run its kernels without one")
    with fake_cupy.installed(kernels=True) as module:
        yield module


def reverse(cupy, monkeypatch, barrier, *more, block=(64,)):
    monkeypatch.setattr(emulate, "with_barriers", lambda: {"reverse"})
    x = np.arange(64, dtype=np.float32)
    y = cupy.empty(64, np.float32)
    module = cupy.RawModule(code=REVERSE.replace("BARRIER", barrier))
    module.get_function("reverse")((1,), block, (cupy.asarray(x), y, *more))
    return np.array_equal(y.get(), x[::-1])


def test_threads_of_a_block_meet_at_barriers(cupy, monkeypatch):
    assert reverse(cupy, monkeypatch, "__syncthreads();", np.int32(64))


def test_a_forgotten_barrier_shows(cupy, monkeypatch):
    assert not reverse(cupy, monkeypatch, "", np.int32(64))


def test_a_barrier_that_some_threads_miss_raises(cupy, monkeypatch):
    with pytest.raises(RuntimeError, match="only some threads"):
        reverse(cupy, monkeypatch, "if (threadIdx.x < 32) __syncthreads();", np.int32(64))


PLANTED = {
    "a piece is read before it has come": ("wait_for_copies<STAGES - 2>()", "wait_for_copies<STAGES - 1>()"),
    "a piece is overwritten while others read it": (f"__syncthreads();{' ' * 41}// for all", "//"),
    "sums are read before others have stored theirs": ("lane);\n    __syncthreads();", "lane);"),
}


@pytest.mark.parametrize("mistake", PLANTED)
def test_a_mistake_in_a_pipeline_shows(cupy, monkeypatch, mistake):
    """A convolution whose copies run beside its products, with one barrier or one wait too little."""
    right, wrong = PLANTED[mistake]
    text = source(implicit_gemm.SOURCES)
    assert text.count(right) == 1
    options = tiles.tile_options(np.dtype(np.float32), implicit_gemm.TILES.plain[1])
    for code, well in ((text, True), (text.replace(right, wrong), False)):
        monkeypatch.setattr(
            tiles,
            "kernel",
            lambda cupy, name, *_, code=code: cupy.RawModule(code=code, options=options).get_function(name),
        )
        assert convolves(cupy) == well


def convolves(cupy):
    rng = np.random.default_rng(0)
    x, w = rng.standard_normal((2, 9, 9, 64), np.float32), rng.standard_normal((1, 64, 9 * 64), np.float32)
    columns = Columns(Window.of((3, 3), padding=1), (2, 64, 9, 9), 1)
    there = cupy.asarray(x), cupy.asarray(w)
    y = implicit_gemm.implicit_gemm(*there, columns, tile=implicit_gemm.TILES.plain[1]).get()
    return np.allclose(y, explicit_gemm(*there, columns).get(), atol=1e-3)


def test_lanes_of_a_warp_meet_and_banks_are_watched(cupy, monkeypatch):
    text = source(implicit_gemm.SOURCES)
    options = tiles.tile_options(np.dtype(np.float32), implicit_gemm.TILES.tensor[3], tf32=True)

    def with_source(code):
        monkeypatch.setattr(
            tiles, "kernel", lambda cupy, name, *_: cupy.RawModule(code=code, options=options).get_function(name)
        )
        x, w = cupy.ones((1, 8, 8, 96), dtype=np.float32), cupy.ones((1, 64, 96), dtype=np.float32)
        return implicit_gemm.implicit_gemm(
            x, w, Columns(Window.of((1, 1)), (1, 96, 8, 8), 1), tile=implicit_gemm.TILES.tensor[3], tf32=True
        )

    assert (with_source(text).get() == 96).all()
    with pytest.raises(RuntimeError, match="the same banks"):
        with_source(text.replace("(chunk ^ row % CHUNKS)", "chunk"))
    with pytest.raises(RuntimeError, match="only some of its lanes"):
        with_source(text.replace("load_matrices(rows[i]", "if (lane) load_matrices(rows[i]"))
    with pytest.raises(RuntimeError, match="beyond its shared memory"):
        with_source(text.replace("*b = a + TILE_M * CHUNKS", "*b = a + (TILE_M + 1) * CHUNKS"))


def test_more_shared_memory_than_was_said_raises(cupy):
    with pytest.raises(RuntimeError, match="50000 bytes of shared memory are more than it may"):
        cupy.RawModule(code=REVERSE).get_function("reverse")((1,), (64,), (), shared_mem=50000)


def test_arguments_of_the_wrong_size_raise(cupy, monkeypatch):
    with pytest.raises(TypeError, match=r"takes arguments of \[8, 8, 4\] bytes, not \[8, 8, 8\]"):
        reverse(cupy, monkeypatch, "", np.int64(64))
    with pytest.raises(TypeError, match="not int"):
        reverse(cupy, monkeypatch, "", 64)


@pytest.mark.parametrize("block", [(0,), (2048,)])
def test_blocks_that_no_gpu_takes_raise(cupy, monkeypatch, block):
    with pytest.raises(RuntimeError, match="no GPU takes"):
        reverse(cupy, monkeypatch, "", np.int32(64), block=block)


def test_fresh_memory_is_poisoned(cupy):
    assert np.isnan(cupy.empty(3, np.float32).get()).all() and (cupy.empty(3, np.uint8).get() == 171).all()


def test_a_capture_takes_no_memory_but_its_own_and_hands_nothing_to_the_host(cupy):
    stream, x = cupy.cuda.Stream(non_blocking=True), cupy.ones(3)
    stream.begin_capture()
    try:
        for forbidden in (
            lambda: cupy.empty(3),
            lambda: x + 1,
            lambda: float(x[0]),
            lambda: x.get(),
            lambda: cupy.asarray(np.ones(3)),
        ):
            with pytest.raises(RuntimeError, match="while a stream captures"):
                forbidden()
        with cupy.cuda.using_allocator(None):
            y = x + 1
        x[...] = 4
    finally:
        graph = stream.end_capture()
    np.testing.assert_array_equal(x.get(), 1)
    graph.launch()
    np.testing.assert_array_equal(y.get(), 2)
    graph.launch()
    np.testing.assert_array_equal(y.get(), 5)


def test_cupys_own_products_are_not_captured(cupy):
    x = cupy.ones((3, 3))
    with cupy.cuda.using_allocator(None), cupy.cuda.Stream(non_blocking=True) as stream:
        stream.begin_capture()
        try:
            for forbidden in (
                lambda: x @ x,
                lambda: cupy.matmul(x, x),
                lambda: x.dot(x),
                lambda: cupy.einsum("ij->j", x),
            ):
                with pytest.raises(NotImplementedError, match="cuBLAS API during stream capture"):
                    forbidden()
        finally:
            stream.end_capture()
    np.testing.assert_array_equal((x @ x).get(), np.full((3, 3), 3))


def test_a_capture_needs_a_stream_of_its_own(cupy):
    with pytest.raises(RuntimeError, match="default"):
        cupy.cuda.get_current_stream().begin_capture()
    with cupy.cuda.Stream(non_blocking=True) as stream:
        assert cupy.cuda.get_current_stream() is stream and not stream.is_capturing()
