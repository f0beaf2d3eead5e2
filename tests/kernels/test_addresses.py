"""No kernel reads memory whose array is gone: how an address may be taken, held to the source.

Python's side hands arrays to a kernel and :func:`npresnet.kernels.cpu.arrays.addresses` turns them to addresses while
the caller's list holds them.  Compiled code takes the address of a named array and ends with ``hold`` of that name.
"""

import ast
from pathlib import Path

import pytest

import npresnet

ROOT = Path(npresnet.__file__).parent
FILES = sorted(path for folder in ("kernels/cpu", "engine") for path in (ROOT / folder).rglob("*.py"))
TAKES = {"ctypes", "__array_interface__", "from_address", "data_as", "as_ctypes", "addressof"}
# Where an address is taken by other means, and why its array outlives it.
TAKERS = {
    ("vector.py", "address"): "the construct",
    ("arrays.py", "addresses"): "the construct",
    ("arrays.py", "_address"): "one of those that addresses gives",
    ("arrays.py", "__init__"): "_Lease holds its block",
    ("step.py", "_view"): "the other way round: an array at an address, copied from or to while the engine holds it",
    ("arrays.py", "_Lease"): "the name of the slot",
    ("arrays.py", "empty"): "_Lease holds the block",
}


def functions(tree):
    return [node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)]


def inside(node):
    """The nodes below this one, without the insides of functions among them."""
    for child in ast.iter_child_nodes(node):
        yield child
        if not isinstance(child, ast.FunctionDef):
            yield from inside(child)


def called(node, name):
    return [
        call
        for call in [node, *inside(node)]
        if isinstance(call, ast.Call) and isinstance(call.func, ast.Name) and call.func.id == name
    ]


def faults(source):
    """What in a source takes an address that may outlive its array, a line each."""
    for function in functions(ast.parse(source)):
        taken = called(function, "address")
        if not taken:
            continue
        where = f"line {function.lineno}, {function.name}"
        if any(not isinstance(call.args[0], ast.Name) for call in taken):
            yield f"{where}: the address of an array without a name"
            continue
        names, body = {call.args[0].id for call in taken}, list(function.body)
        value = body.pop() if isinstance(body[-1], ast.Return) and isinstance(body[-1].value, ast.Name) else None
        end = body[-1]
        held = called(end, "hold") if isinstance(end, ast.Expr) else []
        missing = names - {arg.id for call in held for arg in call.args if isinstance(arg, ast.Name)}
        if missing:
            yield f"{where}: the last line does not hold {', '.join(sorted(missing))}"
        if any(isinstance(node, ast.Return) and node is not value for node in inside(function)):
            yield f"{where}: a return may come before its hold"
        first = min(call.lineno for call in taken)
        late = {
            name.id
            for name in inside(function)
            if isinstance(name, ast.Name) and isinstance(name.ctx, ast.Store) and name.lineno > first
        }
        if late & names:
            yield f"{where}: {', '.join(sorted(late & names))} becomes another array after its address was taken"


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_whoever_takes_an_address_holds_its_array(path):
    source = path.read_text()
    assert list(faults(source)) == []
    for scope in ast.walk(ast.parse(source)):
        if isinstance(scope, (ast.FunctionDef, ast.ClassDef)) and (path.name, scope.name) not in TAKERS:
            inner = {
                id(node)
                for part in ast.walk(scope)
                if part is not scope and isinstance(part, (ast.FunctionDef, ast.ClassDef))
                for node in ast.walk(part)
            }
            for node in ast.walk(scope):
                assert id(node) in inner or getattr(node, "attr", getattr(node, "id", None)) not in TAKES, (
                    f"line {node.lineno}: {scope.name} takes an address; give the array itself to the kernel"
                )


@pytest.mark.parametrize(
    "body, found",
    [
        ("at = address(a)\n    use(at)\n    hold(a)", None),
        ("at, to = address(a), address(b)\n    use(at, to)\n    hold(a, b)", None),
        ("at = address(a)\n    total = use(at)\n    hold(a)\n    return total", None),
        ("at = address(a)\n    hold(a)\n    return use(at)", "the last line does not hold a"),
        ("at = address(a)\n    use(at)", "the last line does not hold a"),
        ("at, to = address(a), address(b)\n    use(at, to)\n    hold(a)", "the last line does not hold b"),
        ("at = address(a)\n    hold(a)\n    use(at)", "the last line does not hold a"),
        ("def inner(b):\n        use(address(b))\n        hold(b)\n    return inner", None),
        (
            "def inner(b):\n        use(address(b))\n    at = address(a)\n    hold(a, b)",
            "the last line does not hold b",
        ),
        ("use(address(np.empty(3)))", "the address of an array without a name"),
        ("at = address(a)\n    if at:\n        return\n    hold(a)", "a return may come before its hold"),
        ("at = address(a)\n    a = other(a)\n    use(at)\n    hold(a)", "a becomes another array"),
    ],
)
def test_the_check_itself(body, found):
    said = list(faults(f"def kernel(a, b):\n    {body}\n"))
    assert said == [] if found is None else found in said[0]
