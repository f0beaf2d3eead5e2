"""Run notebooks again and store their outputs:  python -m tests.scripts.refresh [NAME ...]   (all without a name)

Cell ids, the kernel's name and execution counts are made the same whoever runs this; times are left out.
"""

import base64
import io
import os
import sys

import nbclient
import nbformat
from PIL import Image

from ..notebooks.test_notebooks import NOTEBOOKS, ROOT, read

KERNEL = {
    "kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"},
    "language_info": {"name": "python"},
}


def smaller(png):
    """The base64 text of the same picture in 256 colours, a third of the size; or as it is, if that is smaller."""
    picture, file = Image.open(io.BytesIO(base64.b64decode(png))).convert("RGB"), io.BytesIO()
    picture.quantize(256).save(file, "PNG", optimize=True)
    return min(png, base64.b64encode(file.getvalue()).decode() + "\n", key=len)


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
        for output in cell.get("outputs", ()):
            if "image/png" in output.get("data", {}):
                output.data["image/png"] = smaller(output.data["image/png"])
    path.write_text(nbformat.writes(notebook) + "\n", encoding="utf-8")


if __name__ == "__main__":
    os.environ["PYTHONPATH"] = str(ROOT)
    for path in NOTEBOOKS:
        if not sys.argv[1:] or path.stem in sys.argv[1:]:
            refresh(path)
            print(path.name)
