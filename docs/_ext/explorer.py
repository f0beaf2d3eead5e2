"""Two pages of `npresnet explore` in the site, and on its how-to page the links to them."""

from pathlib import Path

import npresnet
from npresnet.explore import write_page

IMAGES = {
    "cat": Path(npresnet.__file__).parent / "data/example/cat.jpg",
    "rocket": Path(npresnet.__file__).parent / "teaching/photos/rocket.png",
}
HOME = "docs/explore"


def write(app, error):
    """Fill the site's folder _static/explore."""
    if error is None and app.builder.format == "html":
        folder = Path(app.outdir) / "_static/explore"
        folder.mkdir(parents=True, exist_ok=True)
        for name, image in IMAGES.items():
            write_page(folder / f"{name}.html", npresnet.load_model(), image)


def add_links(app, page, template, context, doctree):
    """Lead from the how-to page, which a code host shows without the site, to the pages that the site has."""
    if page == HOME:
        links = " or ".join(f'<a href="../_static/explore/{name}.html">a {name}</a>' for name in IMAGES)
        context["body"] = context["body"].replace(
            "</h1>", f"</h1>\n<p>Open one now: the network looks at {links}.</p>", 1
        )


def setup(app):
    app.connect("build-finished", write)
    app.connect("html-page-context", add_links)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
