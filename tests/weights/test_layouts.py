"""Every kind of layout gives its writer's logits, or the one-line refusal that is right for it."""

from pathlib import Path

import pytest

pytest.importorskip("torch")

from .layouts.open import OPEN
from .layouts.result import result
from .layouts.table import KINDS

PAGE = Path(__file__).parents[2] / "docs/layouts.md"


def parameters():
    for name, kind in KINDS.items():
        marks = [pytest.mark.xfail(strict=True, raises=AssertionError, reason=OPEN[name])] if name in OPEN else []
        marks += [pytest.mark.slow] * kind.slow
        yield pytest.param(name, marks=marks, id=name)


@pytest.mark.parametrize("name", list(parameters()))
def test_a_file_of_this_kind_gives_its_writer_s_answer(name, tmp_path):
    result(KINDS[name], tmp_path)


def test_the_table_is_long_and_what_is_open_is_in_it():
    assert len(KINDS) >= 150 and OPEN.keys() <= KINDS.keys()


def test_the_committed_page_lists_every_kind():
    rows = [line.split(" | ")[:2] for line in PAGE.read_text().splitlines() if line.startswith("| ")][2:]
    expected = [[f"| {kind.name}", kind.source] for kind in KINDS.values()]
    assert rows == [[cell.replace("|", "\\|") if i else cell for i, cell in enumerate(row)] for row in expected]
