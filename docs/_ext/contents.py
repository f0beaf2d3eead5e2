"""Which page comes under which.

The pages themselves stay plain Markdown, so their tables of contents are added when Sphinx reads them.
"""

import lessons
import reference

HOW_TO = """
    classify-a-folder load-my-checkpoint nearest-neighbours grad-cam explore fine-tune data many-machines
    check-a-gradient write-your-own-layer export-onnx quantize service commands layouts
""".split()
TOPS = ("docs/index", "docs/how-to", "docs/architecture", "docs/reference")
ABOUT = ["/CONTRIBUTING", "/CHANGELOG", "/SECURITY", "/weights/README"]


def contents(app):
    """Page → the pages under it; a how-to page that is not named above comes last."""
    pages = sorted(page for page in app.env.found_docs if page.startswith("docs/") and page not in TOPS)
    how_to = [f"docs/{name}" for name in HOW_TO]
    return {
        "docs/index": ["/notebooks/README", "how-to", "reference", "architecture"],
        "docs/how-to": dict.fromkeys(f"/{page}" for page in [*how_to, *pages] if page in pages and "/api/" not in page),
        "docs/reference": [f"api/{package}" for package in reference.PACKAGES],
        "docs/architecture": ABOUT,
        "notebooks/README": [path.stem for path in lessons.paths()],
    }


def add(app, page, source):
    if pages := contents(app).get(page):
        source[0] += "\n\n```{toctree}\n:hidden:\n\n" + "\n".join(pages) + "\n```\n"


def setup(app):
    app.connect("source-read", add)
    return {"parallel_read_safe": True}
