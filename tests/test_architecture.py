"""The shape of the package itself: who imports whom, how fast it loads, and what it runs without."""

import ast
import re
import subprocess
import sys
import textwrap
from graphlib import TopologicalSorter
from pathlib import Path

import numpy as np
import pytest

import npresnet

ROOT = Path(npresnet.__file__).parent
FILES = sorted(ROOT.rglob("*.py"))
# Each part may import those before it; what stands in one place does not know each other.
LAYERS = [
    {"backend", "printer", "tables"},
    {"formats", "distributed"},
    {"ops", "data"},
    {"nn", "kernels"},
    {"models"},
    {"weights"},
    {"zoo", "quantized"},
    {"engine", "training", "verify", "analysis"},
    {"bench", "teaching", "explore", "scikit_learn"},
    {"cli"},
]
RANK = {part: rank for rank, layer in enumerate(LAYERS) for part in layer}
HEAVY = ("numba", "scipy", "cupy", "torch", "PIL", "rich", "llvmlite", "h5py")


def part_of(path):
    return path.relative_to(ROOT).parts[0].removesuffix(".py")


def imports(path):
    """The parts of the package that a file imports, wherever in the file it does."""
    package = ["npresnet", *path.relative_to(ROOT).parts[:-1]]
    for node in ast.walk(ast.parse(path.read_text())):
        names = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            base = ".".join(package[: len(package) - node.level + 1]) if node.level else ""
            module = ".".join(filter(None, [base, node.module]))
            names = [module] if module != "npresnet" else [f"npresnet.{alias.name}" for alias in node.names]
        for name in names:
            if name.startswith("npresnet."):
                yield name.split(".")[1], node.lineno


@pytest.mark.parametrize(
    "path", [p for p in FILES if p.parent != ROOT or part_of(p) in RANK], ids=lambda p: str(p.relative_to(ROOT))
)
def test_imports_point_one_way(path):
    here = part_of(path)
    assert here in RANK, f"{here} has no place in the order of imports"
    for part, line in imports(path):
        if part == here or part not in RANK:
            assert part == here or part in ("__init__", "__version__"), f"line {line} imports {part}"
            continue
        assert RANK[part] < RANK[here], f"line {line}: {here} may not import {part}"
        assert part != "kernels" or here in ("engine", "bench"), f"line {line}: kernels are loaded by backend alone"


def modules(path):
    """The modules of the package that a file imports, wherever in the file it does."""
    package = ["npresnet", *path.relative_to(ROOT).parts[:-1]]
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom):
            above = package[: len(package) - node.level + 1] if node.level else []
            base = ".".join([*above, *filter(None, [node.module])])
            yield from (f"{base}.{alias.name}" if f"{base}.{alias.name}" in MODULES else base for alias in node.names)


MODULES = {
    ".".join(["npresnet", *path.relative_to(ROOT).with_suffix("").parts]).removesuffix(".__init__"): path
    for path in FILES
}


def test_no_module_imports_one_that_imports_it():
    """Nor by way of others; a package's own names stand in its ``__init__``."""
    order = TopologicalSorter(
        {
            name: {other for other in modules(path) if other in MODULES and other != name}
            for name, path in MODULES.items()
        }
    )
    order.prepare()  # CycleError names the circle


def test_no_private_name_is_imported():
    for path in FILES:
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.ImportFrom) and (node.level or (node.module or "").startswith("npresnet")):
                private = [alias.name for alias in node.names if re.match("_(?!_)", alias.name)]
                assert not private, f"{path.relative_to(ROOT)}: {private}"


def test_formats_know_no_model():
    for path in FILES:
        if part_of(path) == "formats":
            assert {part for part, _ in imports(path)} <= {"formats", "backend"}, path


def test_kernels_import_only_what_they_speed_up():
    for path in FILES:
        if part_of(path) == "kernels":
            assert {part for part, _ in imports(path)} <= {"kernels", "ops", "backend"}, path


def run(code, *flags):
    """The output of a fresh interpreter."""
    done = subprocess.run(
        [sys.executable, *flags, "-c", textwrap.dedent(code)],
        capture_output=True,
        text=True,
        cwd=ROOT.parent,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    return done


def test_importing_the_package_is_quick_and_loads_nothing_heavy():
    loaded = run("import npresnet, sys; print(*sys.modules)").stdout.split()
    assert not set(HEAVY) & set(loaded)
    times = []
    for _ in range(5):
        trace = run("import npresnet", "-X", "importtime").stderr
        own = next(line for line in reversed(trace.splitlines()) if re.search(r"\bnpresnet\s*$", line))
        times.append(int(own.split("|")[1]) / 1e6)
    assert min(times) <= 0.3, f"{min(times):.2f} s"


def test_building_and_running_a_model_loads_nothing_it_does_not_use():
    code = """
        import sys, numpy as np, npresnet
        with npresnet.use("numpy"):
            npresnet.create_model("resnet20")(np.zeros((1, 3, 32, 32), np.float32))
        print(*sys.modules)
    """
    assert not set(HEAVY) & set(run(code).stdout.split())


STEP = """
    import sys

    class Blocked:
        def find_spec(self, name, path=None, target=None):
            if name.partition(".")[0] in {blocked!r}:
                raise ImportError(f"{{name}} is not installed")

    sys.meta_path.insert(0, Blocked())
    import importlib.util
    real = importlib.util.find_spec
    importlib.util.find_spec = lambda name, *a: None if name.partition(".")[0] in {blocked!r} else real(name, *a)
    import numpy as np
    import npresnet
    from npresnet import ops
    model = npresnet.create_model("resnet20", seed=3).train()
    rng = np.random.default_rng(0)
    x, labels = rng.standard_normal((2, 3, 32, 32), np.float32), np.array([1, 7])
    logits, pullback = model.vjp(x)
    loss, loss_pullback = ops.softmax_cross_entropy(logits, labels)
    dx = pullback(loss_pullback())
    norm = sum(float((parameter.grad.astype(float)**2).sum()) for parameter in model.parameters())
    print(float(loss), float(abs(dx).sum()), norm, npresnet.backend.default_backend())
"""


def test_everything_runs_where_only_numpy_is_installed():
    """A forward and a backward pass: the reference's numbers."""
    others = ("numba", "scipy", "llvmlite", "PIL", "rich")
    *bare, name = run(STEP.format(blocked=others)).stdout.split()
    assert name == "numpy"
    *full, _ = run(STEP.format(blocked=())).stdout.split()
    np.testing.assert_allclose([float(v) for v in bare], [float(v) for v in full], rtol=1e-4)


@pytest.mark.parametrize("path", sorted((ROOT / "ops").glob("*.py")), ids=lambda p: p.name)
def test_an_op_fits_on_a_screen(path):
    source = path.read_text()
    assert len(source.splitlines()) <= 130
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.FunctionDef):
            lines = source.splitlines()[node.body[ast.get_docstring(node) is not None].lineno - 1 : node.end_lineno]
            code = len(list(filter(str.strip, lines)))
            assert code <= 40, f"{node.name} has {code} lines of code"


def test_every_public_name_exists():
    for name in npresnet.__all__:
        assert getattr(npresnet, name) is not None
        assert name in dir(npresnet)
    with pytest.raises(AttributeError, match="no attribute 'resnet'"):
        npresnet.resnet  # noqa: B018


def test_no_file_knows_where_it_was_written():
    roots = [ROOT, ROOT.parent / "tests", ROOT.parent / "notebooks", ROOT.parent / "weights"]
    forbidden = re.compile(r"(?<![\w.])/(?:" + "|".join(("work", "tmp/dev", "home", "root")) + r")/\w")
    kinds = (".py", ".md", ".toml", ".ipynb", ".json")
    for path in [p for root in roots for p in root.rglob("*") if p.suffix in kinds]:
        found = forbidden.search(path.read_text(errors="replace"))
        assert not found, f"{path}: {found[0]}"
