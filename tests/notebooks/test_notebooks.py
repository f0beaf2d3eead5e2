"""Every notebook runs; its exercises fail until they are solved, and pass with the solution below them."""

import json
import re
from pathlib import Path

import pytest

nbformat = pytest.importorskip("nbformat", reason="the notebooks extra is not installed")
nbclient = pytest.importorskip("nbclient", reason="the notebooks extra is not installed")

ROOT = Path(__file__).parents[2]
NOTEBOOKS = sorted((ROOT / "notebooks").glob("[0-9]*.ipynb"), key=lambda path: int(path.name.split("-")[0]))
MACHINE = re.compile(r"(?<![\w.])/(?:home|root|tmp|usr|work|Users|opt|var)/|[A-Z]:\\\\Users")
SOLUTION = re.compile(r"<details>.*?```python\n(.*?)```", re.S)

every_notebook = pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)


def read(path):
    return nbformat.read(path, as_version=4)


def tags(cell):
    return cell.metadata.get("tags", [])


def errors(cell):
    return [output for output in cell.get("outputs", ()) if output.output_type == "error"]


def with_solutions(notebook):
    """The notebook, and after each check the solution that follows it and the same check again, which must pass."""
    cells = []
    for k, cell in enumerate(notebook.cells):
        cells.append(cell)
        if "check" in tags(cell):
            solution = SOLUTION.search(notebook.cells[k + 1].source)
            assert solution, f"no solution below {cell.source!r}"
            cells += [nbformat.v4.new_code_cell(solution[1]), nbformat.v4.new_code_cell(cell.source)]
    return nbformat.v4.new_notebook(cells=cells, metadata=notebook.metadata)


def test_there_are_nine():
    assert [int(path.name.split("-")[0]) for path in NOTEBOOKS] == list(range(1, 10))


@pytest.mark.slow
@every_notebook
def test_it_runs_and_its_solutions_are_right(path, monkeypatch, tmp_path):
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    monkeypatch.setenv("IPYTHONDIR", str(tmp_path))
    notebook = with_solutions(read(path))
    nbclient.NotebookClient(
        notebook, timeout=600, kernel_name="python3", resources={"metadata": {"path": str(path.parent)}}
    ).execute()
    checks = [cell for cell in notebook.cells if "check" in tags(cell)]
    assert checks and all([error.ename for error in errors(cell)] == ["NotYet"] for cell in checks)
    failed = [cell.source for cell in notebook.cells if errors(cell) and "check" not in tags(cell)]
    assert not failed


@every_notebook
def test_its_stored_outputs_tell_no_path_and_no_time(path):
    notebook = read(path)
    stored = json.dumps([cell.get("outputs", []) for cell in notebook.cells])
    assert not MACHINE.search(stored) and "stderr" not in stored
    assert not any("execution" in cell.metadata for cell in notebook.cells)
    assert path.stat().st_size < 1_000_000


@every_notebook
def test_it_was_stored_after_a_run_from_top_to_bottom(path):
    code = [cell for cell in read(path).cells if cell.cell_type == "code"]
    assert [cell.execution_count for cell in code] == list(range(1, len(code) + 1))
    for cell in code:
        assert [error.ename for error in errors(cell)] == (["NotYet"] if "check" in tags(cell) else []), cell.source


@every_notebook
def test_every_exercise_has_a_stub_a_check_and_a_solution(path):
    cells = read(path).cells
    stubs = [k for k, cell in enumerate(cells) if "exercise" in tags(cell)]
    assert stubs
    for k in stubs:
        assert "check" in tags(cells[k + 1]) and SOLUTION.search(cells[k + 2].source)


def test_links_between_notebooks_lead_somewhere():
    for path in [*NOTEBOOKS, ROOT / "notebooks/README.md"]:
        for target in re.findall(r"\]\(([\w./-]+\.(?:ipynb|md|png|svg))\)", path.read_text(encoding="utf-8")):
            assert (path.parent / target).exists(), f"{path.name} links to {target}"
