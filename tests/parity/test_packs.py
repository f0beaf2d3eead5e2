"""The golden packs say what PyTorch says today."""

import pytest

from npresnet.verify import golden, replay

from ..scripts import make_golden
from ..support import oracles

QUICK = ("resnet20", "preresnet18", "resnet18 stem=pool-first")


def stored(pack):
    return {case["name"]: (case, expected) for case, expected in golden.read_pack(pack)}


def assert_same(case, fresh, expected, bound):
    assert fresh.keys() == expected.keys()
    report = golden.Verification(case["name"], tuple(golden.compared(case, fresh, expected, "float64", bound)))
    assert report, report


def test_ops():
    oracles.torch()
    packed = stored("ops")
    cases = make_golden.op_cases()
    assert [str(case) for case in cases] == list(packed)
    for case in cases:
        about, fresh = make_golden.op_results(case)
        assert_same(about, fresh, packed[str(case)][1], 1e-13)


@pytest.mark.parametrize(
    "case",
    [
        pytest.param(case, id=case["name"], marks=() if case["name"] in QUICK else pytest.mark.slow)
        for case in make_golden.network_cases()
    ],
)
def test_networks(case):
    oracles.torch()
    packed, expected = stored("networks")[case["name"]]
    assert case.items() <= packed.items()
    model, (x, labels) = replay.narrow(case), replay.given(case)
    fresh = make_golden.torch_results(case, model, x, labels, packed["rate"])
    assert_same(packed, replay.compact(fresh), expected, 1e-9)
