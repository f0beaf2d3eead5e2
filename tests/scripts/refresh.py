"""Run notebooks again and store their outputs:  python -m tests.scripts.refresh [NAME ...]   (all without a name)

Cell ids, the kernel's name and execution counts are made the same whoever runs this; times are left out.
"""

import os
import sys

import nbclient
import nbformat

from ..notebooks.test_notebooks import NOTEBOOKS, ROOT, read

KERNEL = {
    "kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"},
    "language_info": {"name": "python"},
}


def refresh(path):
    notebook = read(path)
    nbclient.NotebookClient(
        notebook,
        timeout=600,
        record_timing=False,
        kernel_name="python3",
        resources={"metadata": {"path": str(path.parent)}},
    ).execute()
    notebook.metadata = nbformat.from_dict(KERNEL)
    for number, cell in enumerate(notebook.cells, 1):
        cell["id"] = f"cell-{number}"
        cell.metadata.pop("execution", None)
    path.write_text(nbformat.writes(notebook) + "\n", encoding="utf-8")


if __name__ == "__main__":
    os.environ["PYTHONPATH"] = str(ROOT)
    for path in NOTEBOOKS:
        if not sys.argv[1:] or path.stem in sys.argv[1:]:
            refresh(path)
            print(path.name)
