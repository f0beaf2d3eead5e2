"""Is the proof a proof?  Break one thing at a time in ops/ or nn/, and see whether the tests notice.

    python -m tests.scripts.mutation ops            # npresnet/ops against tests/ops alone
    python -m tests.scripts.mutation nn -j 2        # npresnet/nn against tests/nn alone

Every mutant is one small change of the syntax tree: an operator or a sign flipped, a term dropped, a constant moved,
an axis swapped, a slice or a range off by one, a comparison changed, a ``not`` lost, an argument replaced by its
neighbour, a statement left out.  It lives in a child process only; no file is changed.  A mutant is killed when a test
fails or runs out of time.  Those that mean the same as the original stand in ``mutation_equivalents.txt``.

Exit status 0 if at least 97 % of the other mutants are killed.
"""

import argparse
import ast
import contextlib
import copy
import inspect
import os
import signal
import sys
import time
from importlib import import_module
from itertools import islice
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
EQUIVALENTS = Path(__file__).with_name("mutation_equivalents.txt")
OPERATORS = {
    ast.Add: ast.Sub,
    ast.Sub: ast.Add,
    ast.Mult: ast.Div,
    ast.Div: ast.Mult,
    ast.FloorDiv: ast.Mult,
    ast.Mod: ast.Mult,
    ast.MatMult: ast.Mult,
    ast.Pow: ast.Mult,
    ast.BitAnd: ast.BitOr,
    ast.BitOr: ast.BitAnd,
}
COMPARISONS = {
    ast.Lt: (ast.LtE, ast.Gt),
    ast.LtE: (ast.Lt, ast.Gt),
    ast.Gt: (ast.GtE, ast.Lt),
    ast.GtE: (ast.Gt, ast.Lt),
    ast.Eq: (ast.NotEq,),
    ast.NotEq: (ast.Eq,),
    ast.Is: (ast.IsNot,),
    ast.IsNot: (ast.Is,),
    ast.In: (ast.NotIn,),
    ast.NotIn: (ast.In,),
}
COMMUTATIVE = ("add", "max", "min", "maximum", "minimum", "swapaxes", "array_namespace")


def changes(node):
    """Functions that each turn a copy of ``node`` into another node."""
    if isinstance(node, ast.BinOp | ast.AugAssign) and type(node.op) in OPERATORS:
        yield lambda n: _set(n, op=OPERATORS[type(n.op)]())
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Add | ast.Sub | ast.Mult | ast.Div):
        yield lambda n: n.left
        yield lambda n: n.right if not isinstance(n.op, ast.Sub) else ast.UnaryOp(ast.USub(), n.right)
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub | ast.Not):
        yield lambda n: n.operand
    if isinstance(node, ast.Compare):
        for other in COMPARISONS.get(type(node.ops[0]), ()):
            yield lambda n, other=other: _set(n, ops=[other(), *n.ops[1:]])
    if isinstance(node, ast.BoolOp):
        yield lambda n: _set(n, op=ast.And() if isinstance(n.op, ast.Or) else ast.Or())
        yield lambda n: n.values[0]
        yield lambda n: n.values[-1]
    if isinstance(node, ast.IfExp):
        yield lambda n: n.body
        yield lambda n: n.orelse
    if isinstance(node, ast.Constant) and isinstance(node.value, bool):
        yield lambda n: ast.Constant(not n.value)
    elif isinstance(node, ast.Constant) and isinstance(node.value, int | float):
        yield lambda n: ast.Constant(n.value + 1)
        yield lambda n: ast.Constant(n.value - 1 if isinstance(n.value, int) else n.value * 2)
    if isinstance(node, ast.Slice):
        for part in ("lower", "upper", "step"):
            if getattr(node, part) is not None:
                yield lambda n, part=part: _set(n, **{part: None})
        if node.upper is not None:
            yield lambda n: _set(n, upper=ast.BinOp(n.upper, ast.Sub(), ast.Constant(1)))
    if isinstance(node, ast.Tuple) and isinstance(node.ctx, ast.Load) and len(node.elts) == 2:
        yield lambda n: _set(n, elts=n.elts[::-1])
    if isinstance(node, ast.Call):
        yield from _call_changes(node)


def _call_changes(node):
    if len(node.args) > 1 and not any(isinstance(a, ast.Starred) for a in node.args):
        if getattr(node.func, "attr", getattr(node.func, "id", "")) not in COMMUTATIVE:
            yield lambda n: _set(n, args=[n.args[1], n.args[0], *n.args[2:]])
        yield lambda n: _set(n, args=[n.args[0], n.args[0], *n.args[2:]])
    if len(node.keywords) > 1 and all(k.arg for k in node.keywords):
        yield lambda n: _set(n, keywords=[ast.keyword(n.keywords[0].arg, n.keywords[1].value), *n.keywords[1:]])
    for i, keyword in enumerate(node.keywords):
        if keyword.arg:
            yield lambda n, i=i: _set(n, keywords=n.keywords[:i] + n.keywords[i + 1 :])


def _set(node, **fields):
    for name, value in fields.items():
        setattr(node, name, value)
    return node


def droppable(statement):
    """Statements whose absence is a change: assignments to parts, augmented ones, calls, raises, ifs."""
    return (
        isinstance(statement, ast.AugAssign | ast.Raise | ast.If)
        or (isinstance(statement, ast.Assign) and not isinstance(statement.targets[0], ast.Name | ast.Tuple))
        or (isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Call))
    )


def silent(tree):
    """Nodes whose change nobody computes with: docstrings, messages, annotations, exports."""
    found = set()
    for node in ast.walk(tree):
        quiet = []
        if isinstance(node, ast.Raise) and isinstance(node.exc, ast.Call):
            quiet = node.exc.args
        elif isinstance(node, ast.FunctionDef):
            quiet = [node.returns, *(a.annotation for a in (*node.args.args, *node.args.kwonlyargs))]
            quiet += [a.annotation for a in (node.args.vararg, node.args.kwarg) if a]
        elif isinstance(node, ast.AnnAssign):
            quiet = [node.annotation, *[node.value] * (getattr(node.annotation, "id", "") == "TypeAlias")]
        elif isinstance(node, ast.Assign) and getattr(node.targets[0], "id", "") in ("__all__", "__slots__"):
            quiet = [node.value]
        found |= {id(part) for part in quiet if part is not None for part in ast.walk(part)}
    return found


def mutants(path):
    """(line, what the line becomes, source) for every mutant of a file."""
    tree = ast.parse(path.read_text())
    quiet, texts = silent(tree), [ast.unparse(part) for part in tree.body]
    for at, part in enumerate(tree.body):  # copied and written out by itself: a file is 20 times as long
        for line, change, text in _mutants_of(part, texts[at], quiet):
            yield line, change, "\n".join([*texts[:at], text, *texts[at + 1 :]])


def _mutants_of(tree, original, quiet):
    for index, node in enumerate(ast.walk(tree)):
        if id(node) in quiet:
            continue
        for k, _ in enumerate(changes(node)):
            yield from _mutant(tree, original, index, lambda n, k=k: list(changes(n))[k](n))
        for field in ("body", "orelse"):
            block = getattr(node, field, None)
            for at, statement in enumerate(block if isinstance(block, list) else ()):
                if droppable(statement):
                    yield from _mutant(tree, original, index, lambda n, f=field, at=at: _drop(n, f, at))


def _drop(node, field, at):
    getattr(node, field)[at] = ast.copy_location(ast.Pass(), getattr(node, field)[at])
    return node


def _mutant(tree, original, index, change):
    changed = copy.deepcopy(tree)
    target = next(islice(ast.walk(changed), index, None))
    line = getattr(target, "lineno", 0)
    replacement = change(target)
    if replacement is not target:
        changed = _Replace(target, replacement).visit(changed)
    try:
        source = ast.unparse(ast.fix_missing_locations(changed))
        compile(source, "mutant", "exec")
    except (SyntaxError, ValueError):
        return
    if source != original:
        old, new = original.splitlines(), source.splitlines()
        at = next(i for i, (a, b) in enumerate(zip(old, new)) if a != b)
        yield line, f"{old[at].strip()}  →  {new[at].strip()}", source


class _Replace(ast.NodeTransformer):
    def __init__(self, target, replacement):
        self.target, self.replacement = target, replacement

    def visit(self, node):
        return self.replacement if node is self.target else self.generic_visit(node)


def plant(module, path, source):
    """Give the functions, classes and constants of an imported module what a mutant of its source says."""
    namespace = {"__name__": module.__name__, "__package__": module.__package__, "__file__": str(path)}
    exec(compile(source, str(path), "exec"), namespace)
    for name, new in namespace.items():
        if not name.startswith("__"):
            _replace(module, name, vars(module)[name], new)


def _replace(owner, name, old, new):
    old, new = (getattr(f, "reference", getattr(f, "__func__", getattr(f, "fget", f))) for f in (old, new))
    if getattr(new, "__module__", owner.__name__) not in (owner.__name__, getattr(owner, "__module__", None)):
        return  # imported, or inherited
    if getattr(old, "__module__", None) != getattr(new, "__module__", None):
        return  # put there by another file
    if inspect.isfunction(new):
        old.__code__, old.__defaults__, old.__kwdefaults__ = new.__code__, new.__defaults__, new.__kwdefaults__
    elif inspect.isclass(new):
        for attribute, value in vars(new).items():
            if attribute in vars(old) and (not attribute.startswith("__") or inspect.isfunction(value)):
                _replace(old, attribute, vars(old)[attribute], value)
    elif not inspect.ismodule(new) and repr(new) != repr(old):
        setattr(owner, name, new)


class Loop:
    """A pytest plugin: once the tests are collected, it forks a child for each mutant and runs them there.

    The tests that killed the last mutants of a file come first.
    """

    def __init__(self, paths, mutants, jobs, limit, report):
        self.originals = [(path, 0, "", path.read_text()) for path in paths if path.stem != "__init__"]
        self.queue, self.jobs, self.limit, self.report = list(mutants)[::-1], jobs, limit, report
        self.failed, self.running, self.order, self.sound, self.culprit = False, {}, [], False, ""

    def pytest_runtest_logreport(self, report):
        self.failed |= report.failed

    def pytest_runtestloop(self, session):
        self.order = sorted(session.items, key=lambda item: ("memory_order" in item.nodeid, "planted" in item.nodeid))
        self.sound = self._verdict(self._start(*self.originals)) == "survived"
        while self.sound and (self.queue or self.running):
            while self.queue and len(self.running) < self.jobs:
                mutant = self.queue.pop()
                self.running[self._start(mutant)] = mutant
            time.sleep(0.005)
            for child in list(self.running):
                if verdict := self._verdict(child, wait=False):
                    self.report(self.running.pop(child), verdict)
        return True

    def _start(self, *mutants):
        read, write = os.pipe()
        if pid := os.fork():
            os.close(write)
            return pid, read, time.monotonic()
        for stream in (1, 2):
            os.dup2(os.open(os.devnull, os.O_WRONLY), stream)
        culprit = b""
        try:
            for path, _, _, source in mutants:
                plant(import_module(".".join(path.relative_to(ROOT).with_suffix("").parts)), path, source)
            for item, after in zip(self.order, [*self.order[1:], None]):
                item.ihook.pytest_runtest_protocol(item=item, nextitem=after)
                if self.failed:
                    culprit = item.nodeid.encode()
                    break
            os.write(write, b"killed " + culprit if culprit else b"survived")
        except BaseException:
            os.write(write, b"unimportable ")
        finally:
            os._exit(0)

    def _verdict(self, child, wait=True):
        pid, read, began = child
        ended, _ = os.waitpid(pid, 0 if wait else os.WNOHANG)
        late = not ended and time.monotonic() - began > self.limit
        if late:
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)
        if not (ended or late):
            return None
        verdict, _, self.culprit = os.read(read, 10_000).decode().partition(" ")
        os.close(read)
        self.order.sort(key=lambda item: item.nodeid != self.culprit)  # stable: the last culprit moves to the front
        return "timed out" if late else verdict or "killed"  # nothing said: the interpreter itself died


def collect(part, loop):
    """Collect the tests of one part, and hand them to the loop."""
    import pytest

    arguments = [
        "-q",
        "-p",
        "no:cacheprovider",
        "-p",
        "no:xdist",
        "-m",
        "not slow",
        "--no-header",
        "-W",
        "ignore",
        "--tb=no",
        "-k",
        "not test_torch and not timm",
        f"tests/{part}",
    ]
    with open(os.devnull, "w") as null, contextlib.redirect_stdout(null):
        pytest.main(arguments, plugins=[loop])


def equivalents():
    """{(file, change): reason} of the mutants that mean the same."""
    found, reason = {}, ""
    for line in EQUIVALENTS.read_text().splitlines() if EQUIVALENTS.exists() else []:
        if line.startswith("# "):
            reason = line[2:]
        elif line.strip():
            file, _, change = line.partition(": ")
            found[file, change] = reason
    return found


def main(argv=None):
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("part", choices=("ops", "nn"))
    parser.add_argument("files", nargs="*", help="only these files, by their stems")
    parser.add_argument("-j", "--jobs", type=int, default=2)
    parser.add_argument("--again", type=Path, help="only the mutants that an earlier run printed into this file")
    parser.add_argument("--limit", type=float, default=60, help="seconds a mutant")
    args = parser.parse_args(argv)
    os.chdir(ROOT)
    os.environ |= {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "HYPOTHESIS_PROFILE": "mutation"}
    began, known = time.monotonic(), equivalents()
    paths = [p for p in sorted((ROOT / "npresnet" / args.part).glob("*.py")) if not args.files or p.stem in args.files]
    everything = [(path, *mutant) for path in paths for mutant in mutants(path)]
    if args.again:
        survivors = args.again.read_text().splitlines()
        everything = [m for m in everything if f"{m[0].name}: {m[2]}" in survivors]
    todo = [m for m in everything if (m[0].name, m[2]) not in known]
    counts, out = dict.fromkeys(("killed", "unimportable", "timed out", "survived"), 0), sys.stdout

    def report(mutant, verdict):
        counts[verdict] += 1
        if verdict == "survived":
            print(f"{mutant[0].name}: {mutant[2]}", file=out, flush=True)

    loop = Loop(paths, todo, args.jobs, args.limit, report)
    collect(args.part, loop)
    if not loop.sound:
        sys.exit(f"without any mutant the tests fail or are not found: {loop.culprit}")
    killed, same = len(todo) - counts["survived"], len(everything) - len(todo)
    print(
        f"{args.part}: {killed} of {len(todo)} mutants killed ({counts['unimportable']} by their import, "
        f"{counts['timed out']} by the clock): {killed / max(1, len(todo)):.1%}.  "
        f"{same} more mean the same as the original.  "
        f"{time.monotonic() - began:.0f} s, {sum(os.times()[:4]):.0f} s of them computing"
    )
    return 0 if killed >= 0.97 * len(todo) else 1


if __name__ == "__main__":
    sys.exit(main())
