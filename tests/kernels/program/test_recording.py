"""Recordings: the same launches for other arrays, and the calls of Python between them at their places."""

import numpy as np
import pytest

pytest.importorskip("numba")

from npresnet import ops, use
from npresnet.backend import between_launches, recording, recordings


def twice_relu(x, heard):
    """relu(−relu(x) + 1), the negation and the one by Python, which notes how often it is called."""
    y, _ = ops.relu(x)
    z = np.empty_like(y)

    def between():
        heard.append(len(heard))
        np.subtract(1, y, out=z)

    between_launches(between)
    return ops.relu(z)[0]


def drawn(seed):
    return np.random.default_rng(seed).standard_normal((2, 16, 4, 4)).astype(np.float32)


def test_a_call_between_launches_is_made_again_at_its_place():
    x, heard = drawn(0), []
    with use("numba"):
        notes = recordings().Recording()
        with recording(notes):
            y = twice_relu(x, heard)
        program = notes.program([x])
        for seed in (1, 2):
            other = drawn(seed)
            program.run([other])
            np.testing.assert_array_equal(y, np.maximum(1 - np.maximum(other, 0), 0))
    assert heard == [0, 1, 2]


def test_without_a_recording_it_is_a_call():
    heard = []
    with use("numba"):
        x = drawn(3)
        np.testing.assert_array_equal(twice_relu(x, heard), np.maximum(1 - np.maximum(x, 0), 0))
    assert heard == [0]


def test_an_error_in_it_is_raised_where_the_program_runs():
    x, broken = drawn(4), []

    def between():
        if broken:
            raise OSError("the other rank is gone")

    with use("numba"):
        notes = recordings().Recording()
        with recording(notes):
            ops.relu(x)
            between_launches(between)
            ops.relu(x)
        program = notes.program([x])
        broken.append(True)
        with pytest.raises(OSError, match="gone"):
            program.run([x])
