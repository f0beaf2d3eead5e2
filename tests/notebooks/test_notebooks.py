"""Every notebook runs; its exercises fail until they are solved, and pass with the solution below them."""

import ast
import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

nbformat = pytest.importorskip("nbformat", reason="the notebooks extra is not installed")
nbclient = pytest.importorskip("nbclient", reason="the notebooks extra is not installed")

ROOT = Path(__file__).parents[2]
NOTEBOOKS = sorted((ROOT / "notebooks").glob("[0-9]*.ipynb"), key=lambda path: int(path.name.split("-")[0]))
MACHINE = re.compile(r"(?<![\w.])/(?:home|root|tmp|usr|work|Users|opt|var)/|[A-Z]:\\\\Users")
HEAD = re.compile(
    r"\*\*Needs:\*\* .+\n\*\*Afterwards you can\*\* .+\n\*\*Time:\*\* [^\n]*to run, [^\n]*exercises", re.S
)
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


def test_they_are_numbered_without_a_gap():
    numbers = {int(path.name.split("-")[0]) for path in NOTEBOOKS}
    assert sorted(numbers) == list(range(1, 14))


@every_notebook
def test_its_head_says_what_it_needs_what_it_gives_and_how_long_it_takes(path):
    assert HEAD.search(read(path).cells[0].source)


@every_notebook
def test_it_has_three_to_five_exercises_with_hints_and_the_first_is_to_read(path):
    texts = "\n".join(cell.source for cell in read(path).cells if cell.cell_type == "markdown")
    headings = re.findall(r"^## (Exercise \d.*)$", texts, re.M)
    assert 3 <= len(headings) <= 5 and [int(text[9]) for text in headings] == list(range(1, len(headings) + 1))
    assert "(reading)" in headings[0]
    assert texts.count("<summary>Hint") >= len(headings) - 1
    assert texts.count("<summary>Solution") == len(headings)


@every_notebook
def test_what_a_browser_cannot_run_nothing_later_needs(path):
    """The names that a cell marked not-in-browser sets are read only in such cells."""
    hidden, elsewhere = set(), set()
    for cell in read(path).cells:
        if cell.cell_type != "code":
            continue
        tree = ast.parse(cell.source)
        names = {name.id for name in ast.walk(tree) if isinstance(name, ast.Name) and isinstance(name.ctx, ast.Store)}
        names |= {part.name for part in ast.walk(tree) if isinstance(part, ast.FunctionDef | ast.ClassDef)}
        names |= {part.arg for part in ast.walk(tree) if isinstance(part, ast.arg)}
        read_here = {
            name.id for name in ast.walk(tree) if isinstance(name, ast.Name) and isinstance(name.ctx, ast.Load)
        }
        if "not-in-browser" in tags(cell):
            hidden |= names - elsewhere
        else:
            assert not (read_here - names) & hidden, cell.source
            elsewhere |= names
            hidden -= names


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


@pytest.mark.slow
@every_notebook
def test_where_only_numpy_is_it_prints_what_is_stored(path):
    """As in a browser: without Numba, SciPy and threads.  What depends on times, in lesson 10, is not compared."""
    command = [sys.executable, "-m", "tests.notebooks.plainly", str(path)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-2000:]
    cells, texts = read(path).cells, json.loads(done.stdout)
    timed = "perf_counter" in cells[1].source
    for number, text in texts.items():
        stored = "".join(o.text for o in cells[int(number)].get("outputs", ()) if o.output_type == "stream")
        assert timed or text == stored, cells[int(number)].source
    assert any(texts.values())


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
