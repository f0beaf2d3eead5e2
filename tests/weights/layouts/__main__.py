"""Print docs/layouts.md: every kind, its source and what loading one gives.   python -m tests.weights.layouts"""

import tempfile
from pathlib import Path

from .open import OPEN
from .result import result
from .table import KINDS

HEAD = """# Layouts of weights that are tried

Each row is a way in which public projects, tutorials and bug reports leave a ResNet. `tests/weights/layouts/` makes a
small file of each kind from scratch, loads it by `load_model` and compares the logits with what the writer's own
network answers in PyTorch (to 1e-4 of the largest). A refusal is one line that says what the file is or lacks.
`python -m tests.weights.layouts` prints this page.
"""


def cell(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ")


def main() -> None:
    print(HEAD)
    print("| kind | source | result |\n| --- | --- | --- |")
    for entry in KINDS.values():
        with tempfile.TemporaryDirectory() as folder:
            told = "not yet" if entry.name in OPEN else result(entry, Path(folder))
        print(f"| {cell(entry.name)} | {cell(entry.source)} | {cell(told)} |")


if __name__ == "__main__":
    main()
