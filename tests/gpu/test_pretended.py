"""The pretended GPU itself (see pretended.py): its memory, its graphs, and what a stream that captures refuses."""

import numpy as np
import pytest

from npresnet.backend import captured

from .conftest import usable_gpu

pytestmark = pytest.mark.gpu


@pytest.fixture
def cupy():
    found = usable_gpu()
    if found is None or found.cuda.runtime.getDeviceProperties(0)["name"] != b"pretended GPU":
        pytest.skip("no pretended GPU: -p tests.support.cuda.pretended makes one")
    return found


def test_fresh_memory_is_nan(cupy):
    assert np.isnan(cupy.ndarray(1000, np.float64, cupy.cuda.MemoryPointer(cupy.cuda.Memory(8000), 0)).get()).all()


def test_a_graph_does_it_again(cupy):
    x = cupy.zeros(3)
    graph, _ = captured(cupy, lambda: cupy.add(x, 1, out=x))
    assert x.get().tolist() == [0, 0, 0]  # nothing has run
    graph.launch()
    graph.launch()
    assert x.get().tolist() == [2, 2, 2]


@pytest.mark.parametrize("what", ["get", "number", "host", "stream", "device", "event", "other", "product"])
def test_what_a_capture_refuses(cupy, what):
    a, before = cupy.ones((4, 4)), cupy.cuda.Stream.null.record()
    deeds = {
        "get": a.get,
        "number": lambda: float(a[0, 0]),
        "host": lambda: cupy.asarray(np.ones(4)),
        "stream": lambda: cupy.cuda.get_current_stream().synchronize(),
        "device": cupy.cuda.Device().synchronize,
        "event": lambda: cupy.cuda.get_current_stream().record().synchronize(),
        "other": lambda: cupy.cuda.get_current_stream().wait_event(before),
        "product": lambda: a @ a,
    }
    with pytest.raises((RuntimeError, NotImplementedError), match=r"captur|Captur"):
        captured(cupy, deeds[what])


def test_work_outside_of_the_graph_fails_a_test_that_swallows_it(cupy):
    from ..support.cuda.pretended import failures

    def work():
        with cupy.cuda.Stream(non_blocking=True):
            return cupy.ones(3)

    with pytest.raises(NotImplementedError):
        captured(cupy, work)
    assert "work on stream" in str(failures.pop()) and not failures
