"""Which code runs, and on what."""

import sys
import threading

import numpy as np
import pytest

from npresnet import array_namespace, create_model, to_device, use
from npresnet.backend import Kernel, backend_of, dispatch, namespace_for

from ..support import fake_cupy


class Answer(tuple):
    """The code that ran and its argument, in the place of an array."""

    shape, dtype = (), None


@pytest.fixture
def named(monkeypatch):
    """An op whose value and gradient name the code that computed them."""
    monkeypatch.setattr(dispatch, "default_backend", lambda: "numba")

    @Kernel
    def op(x, scale=1):
        """The reference."""
        return Answer(("reference", scale)), lambda dy: ("reference", dy)

    @op.register("numba")
    def faster(x, scale=1):
        return Answer(("numba", scale)), lambda dy: ("numba", dy)

    return op


def test_a_kernel_looks_like_its_reference(named):
    assert named.__name__ == "op" and named.__doc__ == "The reference."
    assert named.reference(0)[0] == ("reference", 1) and list(named.faster) == ["numba"]


def test_use_selects_a_backend_and_restores_the_one_before(named):
    x = np.ones(2)
    assert named(x)[0][0] == "numba"
    with use("numpy"):
        assert named(x, scale=3)[0] == ("reference", 3) and backend_of(x) == "numpy"
        with use("numba"):
            assert named(x, 2)[0] == ("numba", 2) and backend_of(x) == "numba"
        assert named(x)[0][0] == "reference"
    assert named(x)[0][0] == "numba"
    with pytest.raises(ZeroDivisionError), use("numpy"):
        raise ZeroDivisionError
    assert backend_of(x) == "numba"


def test_without_a_kernel_the_reference_runs(named):
    named.faster.clear()
    with use("numba"):
        assert named(np.ones(2))[0][0] == "reference"


def test_where_a_kernel_does_not_support_the_arguments_the_reference_runs(named):
    @named.register("numba", supports=lambda x, scale=1: scale < 3)
    def picky(x, scale=1):
        return Answer(("picky", scale)), lambda dy: ("picky", dy)

    with use("numba"):
        assert [named(np.ones(2), scale=k)[0][0] for k in (2, 3)] == ["picky", "reference"]
        assert named(np.ones(2), 3)[1](1) == ("reference", 1)
    assert named.faster["numba"] is picky


def test_the_pullback_comes_from_the_code_that_ran_forwards(named):
    with use("numpy"):
        _, pullback = named(np.ones(2))
    with use("numba"):
        assert pullback(1) == ("reference", 1)
        _, pullback = named(np.ones(2))
    found = []
    with use("numpy"):
        thread = threading.Thread(target=lambda: found.append((pullback(2), named(np.ones(2))[0][0])))
        thread.start()
        thread.join()
    assert found == [(("numba", 2), "numba")]  # and a new thread starts from the default


def test_a_choice_does_not_leak_into_another_thread(named):
    inside, outside, release = threading.Event(), [], threading.Event()

    def other():
        with use("numpy"):
            inside.set()
            release.wait(10)

    thread = threading.Thread(target=other)
    thread.start()
    inside.wait(10)
    outside.append(named(np.ones(2))[0][0])
    release.set()
    thread.join()
    assert outside == ["numba"]


def test_unknown_backends_raise_with_the_cure(monkeypatch):
    with pytest.raises(ValueError, match=r"'numpy' or 'numba', not 'cupy'; GPU arrays choose cupy by themselves"):
        with use("cupy"):
            pass
    monkeypatch.setattr(dispatch, "without_numba", lambda: "numba is not installed (pip install numba)")
    with pytest.raises(ImportError, match="pip install numba"):
        with use("numba"):
            pass
    with use("numpy"):
        pass


def test_array_namespace():
    assert array_namespace(np.ones(1)) is np and array_namespace() is np
    assert array_namespace(None, np.ones(1), None) is np
    assert "cupy" not in sys.modules or sys.modules["cupy"] is not np


def test_one_floating_dtype():
    x32, x64 = np.ones(1, np.float32), np.ones(1)
    assert namespace_for(x=x32, w=x32, b=None) is np
    assert namespace_for(x=np.ones(1, np.float16)) is np
    with pytest.raises(TypeError, match="one dtype is needed, but x is float32, w is float64; convert"):
        namespace_for(x=x32, w=x64)
    with pytest.raises(TypeError, match=r"floating-point arrays are needed, but x is int64; convert with astype"):
        namespace_for(x=np.ones(1, np.int64))
    with pytest.raises(TypeError, match="x is list"):
        namespace_for(x=[1.0])
    with pytest.raises(TypeError, match="x is bool"):
        namespace_for(x=np.ones(1, bool), w=None)


def test_bfloat16_is_a_floating_dtype_on_a_gpu_alone():
    bfloat16 = pytest.importorskip("ml_dtypes", reason="no GPU library brought ml_dtypes along").bfloat16
    with pytest.raises(TypeError, match="floating-point arrays are needed, but x is bfloat16"):
        namespace_for(x=np.ones(2, bfloat16))
    with fake_cupy.installed() as cupy:
        x, w = cupy.asarray(np.ones(2), bfloat16), cupy.asarray(np.ones(2))
        assert namespace_for(x=x, w=x) is cupy
        with pytest.raises(TypeError, match="one dtype is needed"):
            namespace_for(x=x, w=w)
        with pytest.raises(TypeError, match="floating-point arrays are needed"):
            namespace_for(x=x, labels=cupy.asarray(np.ones(2, int)))


def test_a_model_goes_to_bfloat16_and_back():
    bfloat16 = pytest.importorskip("ml_dtypes", reason="no GPU library brought ml_dtypes along").bfloat16
    short = create_model("resnet20").astype(bfloat16)
    assert {a.dtype.name for a in short.state_dict().values()} == {"bfloat16", "int64"}
    assert {a.dtype.name for a in short.astype(np.float32).state_dict().values()} == {"float32", "int64"}


def test_to_device_copies_on_the_host():
    x = np.arange(3.0)
    there = to_device(x, "cpu")
    np.testing.assert_array_equal(there, x)
    assert there.dtype == x.dtype and not np.shares_memory(there, x)
    model = create_model("resnet20")
    copy = to_device(model, "cpu")
    for key, array in model.state_dict().items():
        np.testing.assert_array_equal(copy.state_dict()[key], array)
        assert not np.shares_memory(copy.state_dict()[key], array)


@pytest.mark.parametrize("device", ["gpu", "cuda:x", "cpu:0x", "CUDA", "cuda:-1", ""])
def test_unknown_devices_raise_with_the_cure(device):
    with pytest.raises(ValueError, match=r"unknown device .* use 'cpu', 'cuda' or 'cuda:1'"):
        to_device(np.ones(1), device)


def test_a_gpu_without_cupy_raises_with_the_cure(monkeypatch):
    monkeypatch.setitem(sys.modules, "cupy", None)  # import cupy fails
    with pytest.raises(ImportError, match=r"npresnet\[cuda12\]"):
        to_device(np.ones(1), "cuda")
