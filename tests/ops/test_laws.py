"""The laws, over the whole table of cases."""

import inspect
from itertools import cycle

import numpy as np
import pytest

from npresnet import ops
from npresnet.backend import Kernel

from ..support import laws
from ..support.cases import CASES

every_case = pytest.mark.parametrize("case", CASES, ids=str)
DTYPES = [np.float32, np.float64]


def test_the_table_has_cases_for_every_op():
    others = {"Window", "col2im", "im2col", "op", "same_padding"} | laws.INTEGERS
    assert laws.OPS.keys() >= set(ops.__all__) - others - laws.OWN_TESTS
    assert laws.OPS.keys() == {case.op for case in CASES}
    assert len({str(case) for case in CASES}) == len(CASES)


@every_case
def test_the_value_is_the_docstrings_sum(case):
    laws.value_is_the_sum(case)


@every_case
def test_the_pullback_is_the_adjoint(case):
    laws.pullback_is_the_adjoint(case)


@every_case
def test_nothing_is_written_to(case):
    laws.purity(case)


@pytest.mark.parametrize("dtype", DTYPES)
@every_case
def test_shape_and_dtype_are_preserved(case, dtype):
    laws.shape_and_dtype(case, dtype)


@every_case
def test_other_dtypes_raise(case):
    laws.other_dtypes_raise(case)


KERNELS = [case for case in CASES if isinstance(laws.OPS[case.op], Kernel) and case.op != "softmax_cross_entropy"]


@pytest.mark.parametrize("backend", ["numpy", "numba"])
@pytest.mark.parametrize("case", KERNELS, ids=str)
def test_another_dy_raises(case, backend):
    laws.another_dy_raises(case, backend)


# Batch norm in training couples all of a channel, and Winograd's transforms all of a tile.
LOCAL = {
    "adaptive_avg_pool2d",
    "avg_pool2d",
    "batch_norm_eval",
    "blur_pool2d",
    "conv2d",
    "constant_pad2d",
    "conv_channels",
    "global_avg_pool2d",
    "linear",
    "max_pool2d",
    "relu",
    "scale_channels",
    "sigmoid",
    "subsample",
    "zero_pad2d",
    "zero_pad_channels",
}


@pytest.mark.parametrize("backend", ["numpy", "numba"])
@pytest.mark.parametrize("case", [c for c in CASES if c.op in LOCAL and 0 not in c.shapes["x"]], ids=str)
def test_what_is_not_finite_stays(case, backend):
    if backend == "numba":
        pytest.importorskip("numba")
    laws.what_is_not_finite_stays(case, backend)


@every_case
def test_other_devices(case):
    laws.devices_do_not_mix(case)
    laws.runs_on_any_device(case)


@pytest.mark.parametrize("case", [c for c in CASES if "skip=" in inspect.getsource(laws.reference(c))], ids=str)
def test_a_skipped_gradient_is_none(case):
    laws.skip_leaves_none(case)


@every_case
def test_the_pullback_saves_what_its_docstring_says(case):
    laws.saves_what_it_says(case)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("case", [case for case in CASES if isinstance(laws.OPS[case.op], Kernel)], ids=str)
def test_every_registered_kernel_equals_its_reference(case, dtype):
    for _, faster in laws.kernels(case.op):
        laws.kernel_equals_reference(faster, case, dtype)
        laws.memory_order_is_free(faster, case, cycle(["a slice", "backwards", "Fortran order", "read-only"]), dtype)


@pytest.mark.parametrize("case", {case.op: case for case in CASES}.values(), ids=str)
def test_every_registered_kernel_saves_what_its_docstring_says(case):
    for _, faster in laws.kernels(case.op):
        laws.saves_what_it_says(case, faster)
