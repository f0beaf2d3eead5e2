"""The laws that every op obeys, as functions of one case.  Each raises where the law is broken."""

import inspect
import pkgutil
import re
from contextlib import contextmanager
from functools import partial, wraps
from importlib import import_module
from itertools import chain, combinations
from unittest import mock

import numpy as np
import pytest

from npresnet import ops
from npresnet.backend import Kernel, load_kernels, use

from . import fake_cupy, loops

MODULES = [import_module(f"npresnet.ops.{module.name}") for module in pkgutil.iter_modules(ops.__path__)]
BACKENDS = ("numba",)
STEP = 2e-4  # of the numeric derivative: its error is of order STEP⁴
ADJOINT = 1e-10  # |⟨u, Jv⟩ − ⟨J′u, v⟩| / (|u| |Jv|)

# The largest error that each algorithm may add, as a part of the largest value.
# Direct sums differ in their order; Winograd's transforms grow with the constants in their matrices.
TOLERANCE = {np.float32: {"winograd_conv2d": 5e-5}, np.float64: {"winograd_conv2d": 1e-12}}
DIRECT = {np.float32: 2e-6, np.float64: 1e-13}


def tolerance(op, dtype):
    return TOLERANCE[dtype].get(op, DIRECT[dtype])


OWN_TESTS = {
    "add",
    "cast",
    "batch_norm_train_cast",
    "batch_norm_eval_cast",
    "group_norm_cast",  # in ops/test_cast_and_update.py
    "fake_quantize",  # in ops/test_quantize.py
    "momentum_step",
    "moving_statistics",
}
INTEGERS = {"Quantized", "dequantize", "quantize", "requantize", "integer_conv2d", "integer_linear"} | {
    f"quantized_{layer}" for layer in ("add", "avg_pool2d", "max_pool2d", "mean", "relu")
}  # which have no derivative; in ops/test_quantize.py


def differentiable_ops():
    """Every public function of ``npresnet.ops`` that returns a pullback, by name, exported or not."""
    public = {
        name: f
        for module in MODULES
        for name, f in vars(module).items()
        if getattr(f, "__module__", None) == module.__name__ and callable(f) and not name.startswith("_")
    }
    return {
        name: f
        for name, f in public.items()
        if name not in OWN_TESTS and (isinstance(f, Kernel) or (f.__doc__ and "Saves:" in f.__doc__))
    }


OPS = differentiable_ops()
ARGUMENTS = {name: list(inspect.signature(op).parameters) for name, op in {**OPS, "add": ops.add}.items()}


def reference(case):
    """The op's definition, whatever kernels are registered for it."""
    return getattr(OPS[case.op], "reference", OPS[case.op])


@contextmanager
def workspace(case):
    if case.workspace is None:
        yield
    else:
        with mock.patch.object(import_module("npresnet.ops.conv"), "WORKSPACE", case.workspace):
            yield


def run(function, case, arrays, constants):
    """(value, pullback, extras) of one call, under the case's workspace."""
    with workspace(case):
        y, pullback, *extras = call(function, case, arrays, constants)

    def cotangents(dy, **kwargs):
        with workspace(case):
            found = pullback(dy, **kwargs)
        found = dict(zip(ARGUMENTS[case.op], found if isinstance(found, tuple) else (found,), strict=False))
        assert all(found[name] is None for name in found.keys() - arrays.keys()), "what was not given has no gradient"
        return {name: found[name] for name in arrays}

    return y, cotangents, tuple(extras[0]) if extras else ()


def call(function, case, arrays, constants):
    """The first argument by its place, the others by name: a case may leave out one between others."""
    first, *others = arrays
    return function(arrays[first], **{name: arrays[name] for name in others}, **constants, **case.static)


def cotangent(y, seed=1):
    """A random cotangent: never ones, to which batch norm is blind."""
    return np.asarray(np.random.default_rng(seed).standard_normal(np.shape(y)), y.dtype)


def assert_close(found, wanted, bound, what=""):
    """Same shape, same dtype, and no error above ``bound`` parts of the largest value wanted."""
    assert np.shape(found) == np.shape(wanted), f"{what}: shape {np.shape(found)}, not {np.shape(wanted)}"
    assert found.dtype == wanted.dtype, f"{what}: {found.dtype}, not {wanted.dtype}"
    scale = np.abs(wanted).max(initial=0)
    np.testing.assert_allclose(found, wanted, rtol=0, atol=bound * scale, err_msg=what)


def value_is_the_sum(case):
    """1. The value equals the docstring's sum, written as loops."""
    arrays, constants = case.draw()
    y, _, extras = run(reference(case), case, arrays, constants)
    wanted = call(getattr(loops, case.op), case, arrays, constants)
    wanted, wanted_extras = wanted if isinstance(wanted, tuple) else (wanted, ())
    bound = 1e-12
    assert_close(y, wanted, bound, "value")
    assert len(extras) == len(wanted_extras)
    for found, extra in zip(extras, wanted_extras):
        assert_close(found, extra, bound, "extra")


def pullback_is_the_adjoint(case):
    """2. ⟨u, Jv⟩ = ⟨J′u, v⟩ in float64 with random u and v, one argument at a time."""
    arrays, constants = case.draw()
    y, cotangents, _ = run(reference(case), case, arrays, constants)
    u = cotangent(y)
    found = cotangents(u)
    assert found.keys() == arrays.keys()
    for name, array in arrays.items():
        v = np.random.default_rng(2).standard_normal(array.shape)

        def along(h, name=name, v=v):
            return run(reference(case), case, arrays | {name: arrays[name] + h * v}, constants)[0]

        def slope(h, along=along):
            return (along(h) - along(-h)) / (2 * h)

        jv = (4 * slope(STEP) - slope(2 * STEP)) / 3  # Richardson: the h² terms cancel
        assert found[name].shape == array.shape and found[name].dtype == array.dtype
        error = abs(np.vdot(u, jv) - np.vdot(found[name], v))
        assert error <= ADJOINT * np.linalg.norm(u) * np.linalg.norm(jv) + 1e-300, f"d{name}: {error}"


def purity(case):
    """3. Read-only inputs and cotangents are accepted, nothing changes, and a pullback answers twice alike."""
    arrays, constants = case.draw()
    for array in chain(arrays.values(), constants.values()):
        array.flags.writeable = False
    before = [array.copy() for array in chain(arrays.values(), constants.values())]
    y, cotangents, extras = run(reference(case), case, arrays, constants)
    dy = cotangent(y)
    dy.flags.writeable = False
    kept = [np.copy(a) for a in (y, *extras, dy)]
    first = {name: np.copy(d) for name, d in cotangents(dy).items()}
    second = cotangents(dy)
    for old, new in zip([*before, *kept], [*arrays.values(), *constants.values(), y, *extras, dy]):
        np.testing.assert_array_equal(old, new)
    for name in arrays:
        np.testing.assert_array_equal(first[name], second[name], err_msg=f"d{name} the second time")


def shape_and_dtype(case, dtype):
    """4. Shape and dtype are preserved, and float32 errs as float32 does."""
    arrays, constants = case.draw(dtype)
    y, cotangents, extras = run(reference(case), case, arrays, constants)
    dy = cotangent(y)
    found = cotangents(dy)
    exact = {name: array.astype(np.float64) for name, array in arrays.items()}
    exact_constants = {k: c.astype(np.float64) if c.dtype.kind == "f" else c for k, c in constants.items()}
    y64, cotangents64, extras64 = run(reference(case), case, exact, exact_constants)
    bound = 3 * tolerance(case.op, dtype)
    for array, truth in zip((y, *extras), (y64, *extras64)):
        assert_close(array, truth.astype(dtype), bound, "value")
    for name, truth in cotangents64(dy.astype(np.float64)).items():
        assert_close(found[name], truth.astype(dtype), bound, f"d{name}")


def another_dy_raises(case, backend):
    """4. A dy of another shape or dtype than y is refused, not stretched, and not read past its end."""
    arrays, constants = case.draw(np.float32)
    with use(backend):
        y, cotangents, _ = run(OPS[case.op], case, arrays, constants)
    for other in (y[:0], y[..., :1][:, :1], np.concatenate([y, y])):
        if other.shape != y.shape:
            with pytest.raises(ValueError, match="must have the shape of y"):
                cotangents(other)
    with pytest.raises(TypeError, match=r"dy.astype\(y.dtype\)"):
        cotangents(y.astype(np.float64))


def what_is_not_finite_stays(case, backend):
    """A dy of ∞ or NaN reaches the pixels that a finite one reaches at its place, and leaves the others finite."""
    arrays, constants = case.draw(np.float32)
    with use(backend):
        y, cotangents, _ = run(OPS[case.op], case, arrays, constants)
    reached, first, dy = None, next(iter(arrays)), cotangent(y)
    place = tuple(size // 2 for size in y.shape)
    for value in (1, np.inf, np.nan):
        alone = np.zeros_like(dy)
        alone[place] = value
        if reached is None:
            reached = cotangents(alone)[first] != 0
            continue
        alone = np.where(alone == 0, dy, alone)
        with np.errstate(invalid="ignore"):  # ∞ − ∞, where it is reached
            assert np.isfinite(cotangents(alone)[first][~reached]).all(), value


def other_dtypes_raise(case):
    """4. An array of integers, or of another precision than the rest, raises with the cure."""
    arrays, constants = case.draw()
    for group in (arrays, constants):
        for name in group.keys() - {"labels"}:
            with pytest.raises(TypeError, match=rf"{name} is int64.*astype"):
                run(reference(case), case, *_replaced(arrays, constants, name, np.int64))
            if len(arrays) + len(constants.keys() - {"labels"}) > 1:
                with pytest.raises(TypeError, match=rf"{name} is float32.*astype"):
                    run(reference(case), case, *_replaced(arrays, constants, name, np.float32))


def _replaced(arrays, constants, name, dtype):
    return ({k: a.astype(dtype) if k == name else a for k, a in group.items()} for group in (arrays, constants))


def skip_leaves_none(case):
    """A skipped gradient is None; the others are what they are without skip."""
    arrays, constants = case.draw()
    y, cotangents, _ = run(reference(case), case, arrays, constants)
    dy = cotangent(y)
    whole = cotangents(dy)
    for skip in chain.from_iterable(combinations(arrays, r) for r in range(1, len(arrays) + 1)):
        found = cotangents(dy, skip=set(skip))
        for name in arrays:
            if name in skip:
                assert found[name] is None, f"d{name} was to be skipped"
            else:
                np.testing.assert_array_equal(found[name], whole[name])


def saves_what_it_says(case, function=None):
    """The docstring's line ``Saves: a, b.`` names exactly the arrays that the pullback holds."""
    dtype = np.float32 if function else np.float64  # kernels for the CPU are made for float32
    function = function or reference(case)
    arrays, constants = case.draw(dtype)
    with workspace(case):
        _, pullback, *_ = call(function, case, arrays, constants)
    arguments = arrays | constants
    held = {
        next((arg for arg, a in arguments.items() if array.base is a or np.shares_memory(a, array)), name)
        for name, array in held_arrays(pullback)
    }
    assert held in (declared(function), declared(reference(case)))  # a kernel may hand a case to its reference


def declared(function):
    """The names in a docstring's ``Saves:`` line: identifiers with commas between, up to the first ";" or "."."""
    found = re.search(r"^\s*Saves: ([^;.]*)[;.]", function.__doc__ or "", re.M)
    assert found, f"{function.__name__} has no line 'Saves: a, b.' in its docstring"
    names = {name.strip() for name in found[1].split(",")}
    assert all(name.isidentifier() for name in names), f"not a list of names: {found[1]!r}"
    return names - {"nothing"}


def held_arrays(thing, name="", seen=None, kind=np.ndarray):
    """(name, array) for all arrays, not counting scalars, that a function, list, tuple or dict keeps alive."""
    seen = set() if seen is None else seen
    if id(thing) in seen:
        return
    seen.add(id(thing))
    if isinstance(thing, kind):
        if thing.ndim:
            yield name, thing
    elif inspect.isfunction(thing):
        for variable, cell in zip(thing.__code__.co_freevars, thing.__closure__ or ()):
            yield from held_arrays(_content(cell), variable, seen, kind)
        yield from held_arrays((thing.__defaults__, thing.__kwdefaults__), name, seen, kind)
    elif inspect.ismethod(thing):
        yield from held_arrays((thing.__func__, thing.__self__), name, seen, kind)
    elif isinstance(thing, list | tuple | set):
        for part in thing:
            yield from held_arrays(part, name, seen, kind)
    elif isinstance(thing, dict):
        yield from held_arrays(list(thing.values()), name, seen, kind)
    elif type(thing).__module__ == "functools":  # partial
        yield from held_arrays((thing.func, thing.args, thing.keywords), name, seen, kind)


def _content(cell):
    try:
        return cell.cell_contents
    except ValueError:  # not filled yet, or emptied
        return None


def devices_do_not_mix(case):
    """One argument on another device than the rest raises with the cure."""
    arrays, constants = case.draw()
    if len(arrays) + len(constants) < 2:
        return
    with fake_cupy.installed() as cupy:
        for group in (arrays, constants):
            for name in group:
                there = ({k: cupy.asarray(a) if k == name else a for k, a in g.items()} for g in (arrays, constants))
                with pytest.raises(TypeError, match=r"different devices; move them with to_device\(\)"):
                    run(reference(case), case, *there)


def runs_on_any_device(case):
    """The same lines on the arrays of another library, and nothing comes back to the host on the way."""
    arrays, constants = case.draw()
    y, cotangents, extras = run(reference(case), case, arrays, constants)
    dy = cotangent(y)
    with fake_cupy.installed() as cupy:
        there = ({k: cupy.asarray(a) for k, a in group.items()} for group in (arrays, constants))
        y_there, cotangents_there, extras_there = run(reference(case), case, *there)
        found = cotangents_there(cupy.asarray(dy))
        assert fake_cupy.transfers == []
        for array, truth in zip((y_there, *extras_there), (y, *extras), strict=True):
            np.testing.assert_array_equal(array.get(), truth)
        for name, truth in cotangents(dy).items():
            np.testing.assert_array_equal(found[name].get(), truth, err_msg=f"d{name}")


def kernels(name):
    """(backend, function) for every kernel registered for the op of this name, its reference where it says no."""
    for backend in BACKENDS:
        load_kernels(backend)
    op = OPS[name]
    return [
        (backend, wraps(function)(partial(op.run_on, backend)))
        for backend, function in getattr(op, "faster", {}).items()
        if backend in BACKENDS
    ]


def kernel_equals_reference(faster, case, dtype):
    """5. A registered kernel equals its reference: value, every cotangent, extras."""
    arrays, constants = case.draw(dtype)
    bound = 2 * tolerance(case.op, dtype)
    y, cotangents, extras = run(faster, case, arrays, constants)
    y_ref, cotangents_ref, extras_ref = run(reference(case), case, arrays, constants)
    for array, truth in zip((y, *extras), (y_ref, *extras_ref), strict=True):
        assert_close(array, truth, bound, "value")
    dy = cotangent(y_ref)
    found = cotangents(dy)
    for name, truth in cotangents_ref(dy).items():
        assert_close(found[name], truth, bound, f"d{name}")


def _reversed(a):
    return a[(slice(None, None, -1),) * a.ndim]


def _inside(a):
    """``a`` as every other element of something larger."""
    larger = np.full([2 * size for size in a.shape], np.nan if a.dtype.kind == "f" else 0, a.dtype)
    larger[(slice(None, None, 2),) * a.ndim] = a
    return larger[(slice(None, None, 2),) * a.ndim]


def _locked(a):
    a = a.copy()
    a.flags.writeable = False
    return a


LAYOUTS = {
    "Fortran order": np.asfortranarray,
    "channels last": lambda a: np.moveaxis(np.ascontiguousarray(np.moveaxis(a, 1, -1)), -1, 1) if a.ndim > 1 else a,
    "a slice": _inside,
    "backwards": lambda a: _reversed(np.ascontiguousarray(_reversed(a))),
    "read-only": _locked,
}


def memory_order_is_free(function, case, layouts, dtype=np.float64):
    """Any strides are accepted: the results are those on C-contiguous copies."""
    arrays, constants = case.draw(dtype)
    moved = [{name: LAYOUTS[next(layouts)](a) for name, a in group.items()} for group in (arrays, constants)]
    bound = 2 * tolerance(case.op, dtype)
    y, cotangents, extras = run(function, case, arrays, constants)
    y_moved, cotangents_moved, extras_moved = run(function, case, *moved)
    for array, truth in zip((y_moved, *extras_moved), (y, *extras), strict=True):
        assert_close(array, truth, bound, "value")
    dy = cotangent(y)
    found = cotangents_moved(LAYOUTS[next(layouts)](dy))
    for name, truth in cotangents(dy).items():
        assert_close(found[name], truth, bound, f"d{name}")
