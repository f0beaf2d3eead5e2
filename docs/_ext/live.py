"""What "Run here" needs on a lesson's page: npresnet's wheel, the lessons' files and the page's script."""

import subprocess
import sys
import zipfile
from pathlib import Path

import lessons
from sphinx.errors import ExtensionError

PYODIDE = "https://cdn.jsdelivr.net/pyodide/v0.27.7/full/"
PROMISE = "Python starts in your browser: some 20 MB the first time. Nothing to install; nothing leaves this page."
ROOT = Path(__file__).parents[2]


def build_wheel(folder):
    """Build npresnet's wheel."""
    command = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(folder)]
    run = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    if run.returncode:
        raise ExtensionError(f"npresnet's wheel could not be built: {run.stderr}")


def pack_files(path):
    """What lies beside the notebooks, in a zip that is unpacked into the browser's home folder."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.mkdir("notebooks")
        for file in sorted(lessons.NOTEBOOKS.rglob("*")):
            if file.is_file() and file.suffix != ".ipynb" and not any(part.startswith(".") for part in file.parts):
                archive.write(file, file.relative_to(ROOT))


def write(app, error):
    """Fill the site's folder _static/live."""
    if error is None and app.builder.format == "html":
        folder = Path(app.outdir) / "_static/live"
        build_wheel(folder)
        pack_files(folder / "files.zip")


def add_script(app, page, template, context, doctree):
    """Give the lessons' pages, and no others, the script."""
    if page.startswith("notebooks/") and page.split("/")[1][0].isdigit():
        wheel = f"npresnet-{app.config.version}-py3-none-any.whl"
        options = {"data-pyodide": PYODIDE, "data-wheel": wheel, "data-promise": PROMISE}
        app.add_js_file("live/page.js", **options)


def setup(app):
    app.connect("build-finished", write)
    app.connect("html-page-context", add_script)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
