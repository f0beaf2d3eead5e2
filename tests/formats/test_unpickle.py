"""The interpreter: equal to pickle on plain data, bounded, and blind to everything else."""

import pickle
import tracemalloc

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from npresnet.formats.stream import Stream
from npresnet.formats.torch.allowlist import latin1_bytes, ordered_dict, plain_set
from npresnet.formats.unpickle.stack_machine import Buildable, Refusal
from npresnet.formats.unpickle.unpickle import unpickle
from npresnet.weights import WeightsError

from ..support.pickles import PROTO2, call, glob, program, text, value

PLAIN = {
    "_codecs encode": latin1_bytes,
    "__builtin__ set": plain_set,
    "builtins set": plain_set,
    "__builtin__ bytes": bytes,
    "collections OrderedDict": ordered_dict,
}
KEYS = st.none() | st.booleans() | st.integers(-(2**59), 2**59) | st.text(max_size=5) | st.binary(max_size=5)
SCALARS = KEYS | st.integers(-(2**500), 2**500) | st.floats(allow_nan=False)
TREES = st.recursive(
    SCALARS | st.sets(KEYS, max_size=4),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.builds(tuple, st.lists(inner, max_size=5))
        | st.dictionaries(KEYS, inner, max_size=4)
    ),
    max_leaves=25,
)


@settings(max_examples=200, deadline=None)
@given(TREES, st.sampled_from([0, 1, 2, 3, 4]))
def test_plain_data_is_read_as_pickle_reads_it(tree, protocol):
    found = unpickle(pickle.dumps(tree, protocol), globals=PLAIN)
    assert found == tree and repr(found) == repr(pickle.loads(pickle.dumps(tree, protocol)))


def test_shared_and_cyclic_objects_stay_so():
    inner = [1]
    cycle = [inner, inner]
    cycle.append(cycle)
    for protocol in range(5):
        found = unpickle(pickle.dumps(cycle, protocol), globals={})
        assert found[0] is found[1] and found[2] is found


def test_pickles_in_a_row_are_read_from_one_stream():
    stream = Stream(pickle.dumps("one", 2) + pickle.dumps([2], 4) + b"rest")
    assert [unpickle(stream, globals={}), unpickle(stream, globals={})] == ["one", [2]]
    assert bytes(stream.read(4)) == b"rest"


def test_the_allow_list_is_an_argument_and_build_reaches_what_it_returns():
    class Array(Buildable):
        def build(self, state):
            self.state = state

    data = PROTO2 + call("numpy.core.multiarray _reconstruct", 3) + value((1, 2)) + b"b."
    array = unpickle(data, globals={"numpy.core.multiarray _reconstruct": lambda n: Array()})
    assert array.state == (1, 2)
    with pytest.raises(WeightsError, match=r"numpy\.core\.multiarray\._reconstruct"):
        unpickle(data, globals={})
    with pytest.raises(WeightsError, match="not today"):
        unpickle(data, globals={"numpy.core.multiarray _reconstruct": Refusal("not today")})


def test_byte_strings_of_python_2_are_text_or_bytes_as_asked():
    data = b"\x80\x02}U\x04dataT\x02\x00\x00\x00\xff\x00s."
    assert unpickle(data, globals={}, encoding=None) == {b"data": b"\xff\x00"}
    assert unpickle(b"\x80\x02U\x02hi.", globals={}) == "hi"
    assert unpickle(data, globals={}) == {"data": "\xff\0"}  # no UTF-8, so latin-1
    assert unpickle(b"\x80\x02U\x02\xc3\xa9.", globals={}) == "é"


def test_protocol_0_of_python_2_is_read():
    data = b"(dp0\nS'labels'\np1\n(lp2\nI3\naI01\naL7L\naF0.5\nas."
    assert unpickle(data, globals={}) == {"labels": [3, True, 7, 0.5]}


def test_persistent_ids_go_to_the_caller():
    assert unpickle(program(text("7") + b"Q"), globals={}, persistent_load=lambda key: [key]) == ["7"]
    assert unpickle(b"P7\n.", globals={}, persistent_load=lambda key: [key]) == ["7"]
    with pytest.raises(WeightsError, match="outside data"):
        unpickle(b"P7\n.", globals={})


def test_a_failing_handler_is_a_weights_error():
    for handler in (lambda: 1, lambda *a: 1 // 0, lambda *a: {}["x"], lambda *a: [].pop()):
        with pytest.raises(WeightsError, match=r"m\.f"):
            unpickle(program(call("m f", 1)), globals={"m f": handler})


@pytest.mark.parametrize(
    "body",
    [
        b"\x8f" * 60_000,
        b"}" * 60_000,
        b"(" * 60_000,
        b"]" * 60_000,
        b"N" * 60_000 + b"t",
        b"".join(b"Nr" + i.to_bytes(4, "little") for i in range(15_000)),
        b"]q\0" + b"h\0" * 60_000,
        (glob("collections OrderedDict") + b")R") * 3_000,
        b"K\1\x85" * 30_000,
        b"G@\0\0\0\0\0\0\0" * 10_000,
        b"J\xff\xff\xff\x7f" * 20_000,
    ],
    ids="sets dicts marks lists tuple memo gets calls tuples floats ints".split(),
)
def test_memory_is_within_the_docstring_s_bound(body):
    data = PROTO2 + body
    tracemalloc.start()
    with pytest.raises(WeightsError):
        unpickle(data, globals=PLAIN)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 128 * min(8 * len(data), 1_000_000 + len(data)) + 4 * len(data) + 100_000


def test_a_step_takes_no_more_than_128_bytes():
    """The same, against the steps that are really charged: the bound for large files."""
    for unit, steps in ((b"\x8f", 7), (b"}", 4), (b"(", 2), (b"N\x85", 2), (b"]", 4), (b"N\x94", 3)):
        count = 100_000 // steps
        tracemalloc.start()
        with pytest.raises(WeightsError, match="truncated"):
            unpickle(unit * count, globals={}, max_steps=100_000)
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert peak < 128 * 100_000
        with pytest.raises(WeightsError, match="too many steps"):
            unpickle(unit * (count + 2), globals={}, max_steps=100_000)
