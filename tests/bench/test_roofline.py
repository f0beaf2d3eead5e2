"""The bound of a network's time: what is counted, and what is measured."""

import numpy as np
import pytest

from npresnet import create_model, summary
from npresnet.bench.report import Entry, Report
from npresnet.bench.roofline import Roofline, passes, roofline

roof = pytest.importorskip("npresnet.kernels.cpu.roof")
SHAPE = (2, 3, 32, 32)
STEM = 2 * 16 * 32 * 32 * 27  # multiply-adds of the first layer


@pytest.fixture
def measured(monkeypatch):
    """A machine of 1 G multiply-adds a second; the fixture sets its bandwidth."""

    def bandwidth(value):
        monkeypatch.setattr(roof, "macs_per_second", lambda: 1e9)
        monkeypatch.setattr(roof, "bytes_per_second", lambda size: value)

    return bandwidth


def test_a_training_step_multiplies_three_times_but_for_the_first_layers_dx(measured):
    measured(1e30)
    model = create_model("resnet20")
    once, thrice = (roofline(model, SHAPE, mode, 2) for mode in ("infer", "train"))
    total = summary(model, SHAPE).macs
    assert once.macs == total and thrice.macs == 3 * total - STEM
    assert once.bound_ms == pytest.approx(total / 1e6)


def test_each_layer_has_the_higher_of_its_two_roofs(measured):
    measured(3e7)  # the classifier's bytes take longer, the convolutions' multiply-adds
    found = roofline(create_model("resnet20"), SHAPE, "infer", 2)
    arithmetic, memory = found.macs / 1e9, found.bytes / 3e7
    assert max(arithmetic, memory) < found.bound_ms / 1e3 < arithmetic + memory


def test_bytes_are_those_of_x_and_y(measured):
    measured(1e-3)  # so slow that nothing else counts
    found = roofline(create_model("plain20"), (1, 3, 32, 32), "infer", 1)
    planes = 3 + 16 + 6 * 2 * 16 + (16 + 32 / 4) + 5 * 2 * 32 / 4 + (32 / 4 + 64 / 16) + 5 * 2 * 64 / 16
    assert found.bytes == 4 * (1024 * planes + 64 + 10)
    assert found.bound_ms == pytest.approx(1e6 * found.bytes)


def test_passes():
    assert passes(5, 7, "infer", True) == [(5, 7)]
    assert passes(5, 7, "train", True) == [(5, 7)] * 2
    assert passes(5, 7, "train", False) == [(5, 7)] * 3


def test_the_report_says_what_share_is_reached():
    entries = [Entry("npresnet", [10.0, 10.0])]
    text = str(Report("m", 1, "infer", 2, "a machine", entries, {}, Roofline(1e9, 1e9, 4_000_000, 1_000_000, 4.0)))
    assert "bound 4.00 ms, of which npresnet reaches 40%: 0.00 G multiply-adds at 1 G/s: 4.00 ms; 1 MB at" in text


def test_what_is_timed_computes():
    out = np.full((3, roof.LANES), 0.5, np.float32)
    roof.multiply_add(3, 2, out)
    wanted = 0.5 + sum((k * 0.5 + 0.5) * 0.5 + 0.5 for k in range(roof.SUMS))
    np.testing.assert_allclose(out, wanted, rtol=1e-6)
    source = np.arange(12, dtype=np.float32)
    target = np.zeros(13, np.float32)
    roof.copy_chunk(3, source, target, 4)
    np.testing.assert_array_equal(target, [*range(12), 0])


def test_both_roofs_are_those_of_a_machine():
    assert roof.macs_per_second() > 1e8 and roof.bytes_per_second(2**24) > 1e8
