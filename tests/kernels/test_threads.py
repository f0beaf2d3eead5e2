"""How many threads there are, and that none is in another's way: Python's, those of a pool, those of a fork."""

import multiprocessing
import os
import subprocess
import sys
import threading

import numpy as np
import pytest

pytest.importorskip("numba")

import npresnet
from npresnet.backend import use
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


@pytest.fixture
def unasked(monkeypatch):
    """No threads of Numba's own have been started, and none were asked for."""

    def none():
        raise ValueError("Threading layer is not initialized.")

    monkeypatch.setattr(threads, "threading_layer", none)
    monkeypatch.setattr(threads, "cores", lambda: 3)
    monkeypatch.delenv("NUMBA_NUM_THREADS", raising=False)
    threads._configured.cache_clear()
    yield
    threads._configured.cache_clear()


def test_a_user_who_has_asked_for_threads_gets_them(unasked, monkeypatch):
    assert threads.default_threads() == 3
    monkeypatch.setattr("numba.core.config.NUMBA_NUM_THREADS", 7)
    monkeypatch.setenv("NUMBA_NUM_THREADS", "7")
    threads._configured.cache_clear()
    assert threads.default_threads() == 7
    monkeypatch.setattr(threads, "threading_layer", lambda: "omp")  # numba.set_num_threads() has been called
    monkeypatch.setattr(threads, "get_num_threads", lambda: 2)
    assert threads.default_threads() == 2


def test_use_says_how_many_threads_work(unasked):
    assert threads.threads_now() == 3
    with use("numba", threads=5):
        assert threads.threads_now() == 5
        with use("numpy"):
            assert threads.threads_now() == 5
        with use("numba", threads=1):
            assert threads.threads_now() == 1
        assert threads.threads_now() == 5
    assert threads.threads_now() == 3
    with pytest.raises(ValueError, match=r"^threads is how many may work at once, or None for all cores, not 0$"):
        with use("numba", threads=0):
            pass


def step(model, x):
    """The output, the gradient of the images and of every parameter, after one step's work."""
    model = model.copy().train()
    y, pullback = model.vjp(x)
    dx = pullback(y)
    return [y, dx, *(parameter.grad for parameter in model.parameters())]


def same(found, wanted) -> bool:
    return all(np.array_equal(a, b) for a, b in zip(found, wanted, strict=True))


NETWORKS = [("resnet20", 20), ("preresnet110", 8), ("resnet18", 48), ("resnet50", 40), ("resnext50_32x4d", 33)]


@pytest.mark.parametrize("name, size", NETWORKS)
def test_bits_are_the_same_for_any_number_of_threads(name, size):
    model = npresnet.create_model(name)
    x = np.random.default_rng(0).standard_normal((3, 3, size, size)).astype(np.float32)
    with use("numba", threads=1):
        wanted = step(model, x)
    for count in (2, 5):
        with use("numba", threads=count):
            assert same(step(model, x), wanted)


def test_python_threads_compute_at_once():
    """Each as if it were alone, with engines beside them."""
    models = [npresnet.create_model("resnet20", seed=seed) for seed in range(4)]
    x = np.random.default_rng(0).standard_normal((2, 3, 16, 16)).astype(np.float32)
    wanted = [step(model, x) for model in models]
    engines = [npresnet.optimize(model) for model in models[:2]]
    answers, found = [engine(x) for engine in engines], []

    def train(k):
        found.extend(same(step(models[k], x), wanted[k]) for _ in range(4))

    def predict(k):
        found.extend(np.array_equal(engines[k](x), answers[k]) for _ in range(20))

    workers = [threading.Thread(target=train, args=(k,)) for k in range(4)]
    workers += [threading.Thread(target=predict, args=(k,)) for k in range(2)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert len(found) == 56 and all(found)


def python(code, **env):
    done = subprocess.run(
        [sys.executable, "-c", code], env=os.environ | env, capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, done.stderr
    return done


FORK = """
import os, sys, numpy as np, npresnet
model = npresnet.create_model("resnet20").train()
x = np.random.default_rng(0).standard_normal((2, 3, 16, 16)).astype(np.float32)
wanted, pullback = model.vjp(x)
dx = pullback(wanted)
_, pullback = model.vjp(x)
sys.stdout.flush()
for _ in range(2):
    child = os.fork()
    if child == 0:
        print(np.array_equal(pullback(wanted), dx), np.array_equal(model(x), wanted))
        sys.stdout.flush()
        os._exit(0)
    assert os.waitpid(child, 0)[1] == 0
print(np.array_equal(model(x), wanted), np.array_equal(pullback(wanted), dx))
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
def test_a_forked_child_goes_on_training():
    assert python(FORK).stdout.split() == ["True"] * 6


POOLS = """
import multiprocessing, sys, numpy as np, npresnet

def gradient(seed):
    model = npresnet.create_model("resnet20", seed=seed).train()
    x = np.random.default_rng(seed).standard_normal((2, 3, 16, 16)).astype(np.float32)
    y, pullback = model.vjp(x)
    return pullback(y)

if __name__ == "__main__":
    wanted = [gradient(seed) for seed in range(3)]
    with multiprocessing.get_context(sys.argv[1]).Pool(2) as pool:
        found = pool.map(gradient, range(3))
    print(all(map(np.array_equal, found, wanted)))
"""


@pytest.mark.parametrize("method", multiprocessing.get_all_start_methods())
def test_pools_of_processes_train_after_a_step(method, tmp_path):
    script = tmp_path / "pools.py"
    script.write_text(POOLS)
    done = subprocess.run([sys.executable, script, method], capture_output=True, text=True, timeout=300)
    assert (done.stdout, done.returncode) == ("True\n", 0), done.stderr


IDLE = """
import time, numpy as np, npresnet
model = npresnet.create_model("resnet20").train()
y, pullback = model.vjp(np.ones((2, 3, 16, 16), np.float32))
pullback(y)
time.sleep(0.2)
before = time.process_time()
time.sleep(1)
print(time.process_time() - before)
"""


def test_what_is_idle_uses_no_processor():
    assert float(python(IDLE).stdout) < 0.05


@pytest.mark.parametrize("layer", ["workqueue", "omp", "tbb"])
def test_no_threading_layer_of_numba_is_started(layer):
    code = (
        "import numpy as np, npresnet, numba\n"
        "y, pullback = npresnet.create_model('resnet20').train().vjp(np.ones((2, 3, 16, 16), np.float32))\n"
        "pullback(y)\n"
        "try:\n    print(numba.threading_layer())\nexcept ValueError:\n    print('none')"
    )
    assert python(code, NUMBA_THREADING_LAYER=layer).stdout == "none\n"


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
