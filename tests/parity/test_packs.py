"""The golden packs say what PyTorch says today."""

import pytest

from npresnet.verify import golden, replay

from ..scripts import make_golden
from ..support import oracles

QUICK = ("resnet20", "preresnet18", "resnet18 stem=pool-first")


def stored(pack):
    return {case["name"]: (case, answers) for case, answers in golden.read_pack(pack)}


def assert_same(case, fresh, answers, bound):
    assert fresh.keys() == answers.keys()
    report = golden.Verification(case["name"], tuple(golden.compared(case, fresh, answers, "float64", bound)))
    assert report, report


def test_ops():
    oracles.torch()
    packed = stored("ops")
    cases = make_golden.op_cases()
    assert [str(case) for case in cases] == list(packed)
    for case in cases:
        about, fresh = make_golden.op_answers(case)
        assert_same(about, fresh, packed[str(case)][1], 1e-13)


@pytest.mark.parametrize("case", [pytest.param(case, id=case["name"], marks=() if case["name"] in QUICK else
                                               pytest.mark.slow) for case in make_golden.network_cases()])
def test_networks(case):
    oracles.torch()
    packed, answers = stored("networks")[case["name"]]
    assert case.items() <= packed.items()
    model, (x, labels) = replay.narrow(case), replay.given(case)
    fresh = make_golden.answers(case, model, x, labels, packed["rate"])
    assert_same(packed, replay.compact(fresh, case["projected"]), answers, 1e-9)
