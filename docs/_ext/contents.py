"""Which page comes under which.

The pages themselves stay plain Markdown, so their tables of contents are added when Sphinx reads them.
"""

import reference

HOW_TO = [
    "classify-a-folder", "load-my-checkpoint", "fine-tune", "nearest-neighbours", "grad-cam", "explore", "check-a-gradient",
    "write-your-own-layer", "quantize", "export-onnx", "service", "many-machines", "data", "commands", "layouts",
]  # fmt: skip


def contents(app):
    """page → the pages under it; of the how-to pages those that there are, and all others behind them."""
    pages = sorted(
        page.removeprefix("docs/") for page in app.env.found_docs if page.startswith("docs/") and "/" not in page[5:]
    )
    own = ("index", "how-to", "architecture", "reference")
    how_to = [page for page in [*HOW_TO, *pages] if page in pages and page not in own]
    return {
        "docs/index": ["/notebooks/README", "how-to", "architecture", "reference"],
        "docs/how-to": list(dict.fromkeys(how_to)),
        "docs/reference": [f"api/{package}" for package in reference.PACKAGES],
        "notebooks/README": sorted(
            (
                page.removeprefix("notebooks/")
                for page in app.env.found_docs
                if page.startswith("notebooks/") and page[10].isdigit()
            ),
            key=lambda page: int(page.split("-")[0]),
        ),
    }


def add(app, page, source):
    if pages := contents(app).get(page):
        source[0] += "\n\n```{toctree}\n:hidden:\n\n" + "\n".join(pages) + "\n```\n"


def setup(app):
    app.connect("source-read", add)
    return {"parallel_read_safe": True}
