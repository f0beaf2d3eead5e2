"""How many threads there are, how they wait, and what becomes of them in a fork."""

import os
import re
import subprocess
import sys

import pytest

pytest.importorskip("numba")

from npresnet.kernels.cpu import threads


def system(folder, groups, **files):
    """A root directory as Linux shows control groups in it."""
    for name, text in {"proc/self/cgroup": groups, **files}.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return folder


@pytest.fixture
def many(monkeypatch):
    monkeypatch.setattr(threads, "_affinity", lambda: 16)


@pytest.mark.parametrize(
    "quota, wanted",
    [
        ("200000 100000\n", 2),
        ("150000 100000", 2),
        ("10000 100000", 1),
        ("max 100000", 16),
        ("3200000 100000", 16),
        ("", 16),
        ("nonsense", 16),
        ("100000 0", 16),
    ],
)
def test_the_quota_of_a_control_group_of_version_2(tmp_path, many, quota, wanted):
    for place in ("cpu.max", "some/cpu.max", "some/service/cpu.max"):  # its own, and all those around it
        root = system(tmp_path / place, "0::/some/service\n", **{f"sys/fs/cgroup/{place}": quota})
        assert threads.cores(root) == wanted


@pytest.mark.parametrize("quota, wanted", [("300000", 3), ("250000", 3), ("-1", 16), ("0", 16)])
@pytest.mark.parametrize("path", ["", "docker/1234/"])
def test_the_quota_of_a_control_group_of_version_1(tmp_path, many, quota, wanted, path):
    root = system(
        tmp_path,
        "4:memory:/other\n2:cpu,cpuacct:/docker/1234\n0::/\n",
        **{
            f"sys/fs/cgroup/cpu/{path}cpu.cfs_quota_us": quota + "\n",
            f"sys/fs/cgroup/cpu/{path}cpu.cfs_period_us": "100000\n",
        },
    )
    assert threads.cores(root) == wanted


def test_without_control_groups_there_are_as_many_as_cores(tmp_path, many):
    assert threads.cores(tmp_path) == 16 and 1 <= threads.cores() <= 16


def test_a_user_who_has_asked_for_threads_gets_them(monkeypatch):
    monkeypatch.setattr(threads, "layer", lambda: "")
    monkeypatch.setattr(threads, "cores", lambda: 1)
    monkeypatch.setattr("numba.config.NUMBA_NUM_THREADS", 7)
    monkeypatch.delenv("NUMBA_NUM_THREADS", raising=False)
    assert threads.default_threads() == 1
    monkeypatch.setenv("NUMBA_NUM_THREADS", "7")
    assert threads.default_threads() == 7


def python(code, **env):
    clean = {
        name: value
        for name, value in os.environ.items()
        if name not in (*threads.WAITING, "KMP_BLOCKTIME", "NUMBA_NUM_THREADS", "NUMBA_THREADING_LAYER")
    }
    done = subprocess.run([sys.executable, "-c", code], env=clean | env, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    return done


LOAD = """
import os, npresnet.kernels.cpu, numba.np.ufunc.omppool
print([name for name in os.environ if "WAIT" in name or "SPIN" in name])
"""


@pytest.mark.skipif(sys.platform != "linux", reason="GNU's OpenMP is Linux's")
@pytest.mark.parametrize(
    "env, policy, turns",
    [
        ({}, "PASSIVE", "30000"),
        ({"OMP_WAIT_POLICY": "ACTIVE"}, "ACTIVE", r"\d{6,}"),
        ({"GOMP_SPINCOUNT": "7"}, ".*", "7"),
    ],
)
def test_waiting_threads_sleep_soon_unless_the_user_wants_otherwise(env, policy, turns):
    pytest.importorskip("numba.np.ufunc.omppool")
    done = python(LOAD, OMP_DISPLAY_ENV="VERBOSE", **env)
    assert re.search(f"OMP_WAIT_POLICY = '{policy}'", done.stderr), done.stderr
    assert re.search(f"GOMP_SPINCOUNT = '{turns}'", done.stderr), done.stderr
    assert done.stdout.strip() == str(list(env))  # and no other library is told


def test_a_quota_is_told_to_numba():
    code = (
        "import sys, types, importlib.util as u, npresnet\n"
        "spec = u.spec_from_file_location('threads', npresnet.__path__[0] + '/kernels/cpu/threads.py')\n"
        "threads = u.module_from_spec(spec); spec.loader.exec_module(threads)\n"
        "threads.cores, threads._affinity = lambda: 3, lambda: 8\n"
        "threads.prepare(); import numba; print(numba.config.NUMBA_NUM_THREADS, threads.default_threads())"
    )
    assert python(code).stdout.split() == ["3", "3"]
    assert python(code, NUMBA_NUM_THREADS="5").stdout.split() == ["5", "5"]


TURNS = """
import threading, numpy as np, numba, npresnet
model = npresnet.create_model("resnet20")
x = np.random.default_rng(0).standard_normal((2, 3, 16, 16)).astype(np.float32)
wanted, found = model(x), []
threads = [threading.Thread(target=lambda: [found.append(model(x)) for _ in range(5)]) for _ in range(4)]
[t.start() for t in threads]; [t.join() for t in threads]
print(numba.threading_layer(), len(found), all(np.array_equal(y, wanted) for y in found))
"""


@pytest.mark.parametrize("layer", ["workqueue", "omp"])
def test_python_threads_take_turns_at_parallel_kernels(layer):
    pytest.importorskip(f"numba.np.ufunc.{'workqueue' if layer == 'workqueue' else 'omppool'}")
    assert python(TURNS, NUMBA_THREADING_LAYER=layer).stdout.split() == [layer, "20", "True"]


FORK = """
import os, sys, warnings, numpy as np, numba, npresnet
from npresnet import backend
model = npresnet.create_model("resnet20")
x = np.random.default_rng(0).standard_normal((2, 3, 16, 16)).astype(np.float32)
engine, (wanted, pullback) = npresnet.optimize(model), model.vjp(x)
answer = engine(x)
sys.stdout.flush()
child = os.fork()
if child == 0:
    warnings.simplefilter("ignore")
    same = np.allclose(model(x), wanted, atol=1e-4) and np.array_equal(engine(x), answer)
    try:
        pullback(wanted)
        left = "works"
    except RuntimeError as error:
        left = "refused" if "'spawn'" in str(error) else str(error)
    print(numba.threading_layer(), same, backend.default_backend(), left)
    sys.stdout.flush()
    os._exit(0)
assert os.waitpid(child, 0)[1] == 0
print(np.array_equal(model(x), wanted))
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
@pytest.mark.parametrize(
    "layer, wanted", [("omp", "omp True numpy refused True"), ("workqueue", "workqueue True numba works True")]
)
def test_a_forked_child_computes_what_its_parent_does(layer, wanted):
    pytest.importorskip(f"numba.np.ufunc.{'workqueue' if layer == 'workqueue' else 'omppool'}")
    assert python(FORK, NUMBA_THREADING_LAYER=layer).stdout.split() == wanted.split()


JIT = """
import sys, warnings, numpy as np, npresnet
x = np.ones((2, 3, 16, 16), np.float32)
model = npresnet.create_model("resnet20")
with npresnet.use("numpy"):
    wanted = model(x)
with warnings.catch_warnings(record=True) as said:
    warnings.simplefilter("always")
    engine = npresnet.optimize(model)
print(np.array_equal(model(x), wanted), engine is model, *[w.message for w in said])
try:
    with npresnet.use("numba"):
        pass
except ImportError as error:
    print(error)
"""


def test_where_the_compiler_is_switched_off_the_reference_runs():
    first, second = python(JIT, NUMBA_DISABLE_JIT="1").stdout.splitlines()
    assert first == "True True optimize() runs the model itself: NUMBA_DISABLE_JIT keeps numba from compiling"
    assert second == "NUMBA_DISABLE_JIT keeps numba from compiling"
