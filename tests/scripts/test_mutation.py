"""The mutation run runs, finds what is there to find, and its list of equivalent mutants is not stale."""

import ast
import subprocess
import sys

import pytest

from . import mutation

ADD = '''
def f(x, axis=1):
    """x[1:] - 2"""
    if not x.any():
        raise ValueError("no " + "numbers")
    return x[1:] - 2, x.sum(axis=axis, keepdims=True)
'''


def test_the_mutants_of_a_small_function(tmp_path):
    path = tmp_path / "f.py"
    path.write_text(ADD)
    found = {change.partition("  →  ")[2] for _, change, _ in mutation.mutants(path)}
    assert found == {
        "def f(x, axis=2):",
        "def f(x, axis=0):",
        "if x.any():",
        "pass",
        "return (x[1:] + 2, x.sum(axis=axis, keepdims=True))",
        "return (x[1:], x.sum(axis=axis, keepdims=True))",
        "return (-2, x.sum(axis=axis, keepdims=True))",
        "return (x.sum(axis=axis, keepdims=True), x[1:] - 2)",
        "return (x[:] - 2, x.sum(axis=axis, keepdims=True))",
        "return (x[2:] - 2, x.sum(axis=axis, keepdims=True))",
        "return (x[0:] - 2, x.sum(axis=axis, keepdims=True))",
        "return (x[1:] - 3, x.sum(axis=axis, keepdims=True))",
        "return (x[1:] - 1, x.sum(axis=axis, keepdims=True))",
        "return (x[1:] - 2, x.sum(axis=axis))",
        "return (x[1:] - 2, x.sum(keepdims=True))",
        "return (x[1:] - 2, x.sum(axis=axis, keepdims=False))",
        "return (x[1:] - 2, x.sum(axis=True, keepdims=True))",
    }


@pytest.mark.slow
@pytest.mark.parametrize("arguments", [("ops", "activation"), ("nn", "compose", "init")])
def test_the_tests_catch_nearly_every_mutant(arguments):
    done = subprocess.run(
        [sys.executable, "-m", "tests.scripts.mutation", *arguments],
        cwd=mutation.ROOT,
        text=True,
        capture_output=True,
        timeout=600,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "mutants killed" in done.stdout


def lines(path):
    return {line.strip() for part in ast.parse(path.read_text()).body for line in ast.unparse(part).splitlines()}


def test_every_line_with_an_equivalent_mutant_exists():
    """What a renamed variable makes stale; the whole of it is slow, and below."""
    existing = {
        (path.name, line)
        for part in ("ops", "nn")
        for path in (mutation.ROOT / "npresnet" / part).glob("*.py")
        for line in lines(path)
    }
    stale = [
        (file, change) for file, change in mutation.equivalents() if (file, change.split("  →  ")[0]) not in existing
    ]
    assert not stale, f"no longer lines: {stale}"


@pytest.mark.slow
def test_every_mutant_called_equivalent_exists():
    listed = mutation.equivalents()
    assert all(reason for reason in listed.values())
    existing = {
        (path.name, change)
        for part in ("ops", "nn")
        for path in (mutation.ROOT / "npresnet" / part).glob("*.py")
        if path.name in {file for file, _ in listed}
        for _, change, _ in mutation.mutants(path)
    }
    stale = sorted(set(listed) - existing)
    assert not stale, f"no longer mutants: {stale}"
