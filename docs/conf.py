"""The site: `python -m sphinx -W -c docs . build/site` from the top of a checkout; it needs no network.

Pages are docs/*.md and notebooks/*.ipynb as they lie there, so that their links also hold on a code host.
"""

import sys
from pathlib import Path

DOCS = Path(__file__).parent
sys.path[:0] = [str(DOCS / "_ext"), str(DOCS.parent)]

import npresnet  # noqa: E402

project = "npresnet"
author = copyright = "The npresnet authors"
version = release = npresnet.__version__

extensions = [
    "myst_nb",
    "sphinx.ext.autodoc",
    "sphinx.ext.viewcode",
    # of docs/_ext:
    "mathml",  # formulas, without JavaScript
    "docstrings",  # docstrings as reST
    "reference",  # a page for each package
    "contents",  # which page comes under which
    "links",  # to sources, to the reference, to lessons
    "live",  # what "Run here" needs
    "explorer",  # two pages to look inside a network
]

root_doc = "docs/index"
include_patterns = [
    "docs/*.md",
    "docs/api/*.rst",
    "notebooks/*.ipynb",
    "notebooks/README.md",
    "CONTRIBUTING.md",
    "CHANGELOG.md",
    "SECURITY.md",
    "weights/README.md",
]
exclude_patterns = [".*", "build", "dist", "runs", "tests", "npresnet", "docs/_*"]

nb_execution_mode = "off"  # the lessons show the outputs that are stored in them
nb_merge_streams = True
myst_enable_extensions = ["dollarmath", "amsmath"]
myst_heading_anchors = 3
suppress_warnings = ["mystnb.unknown_mime_type"]

autodoc_typehints = "signature"
autodoc_member_order = "bysource"
autodoc_preserve_defaults = True
python_maximum_signature_line_length = 88
add_module_names = False
toc_object_entries_show_parents = "hide"
viewcode_line_numbers = True

html_theme = "pydata_sphinx_theme"
html_title = "npresnet"
html_static_path = ["_static"]
html_extra_path = ["_root"]  # leads from the empty address to the start
html_css_files = ["site.css"]
html_show_sourcelink = False
html_copy_source = False
html_theme_options = {
    "logo": {"text": "npresnet"},
    "navbar_align": "left",
    "show_prev_next": True,
    "show_toc_level": 2,
    "footer_start": ["copyright"],
    "footer_end": [],
    "secondary_sidebar_items": ["page-toc"],
    "back_to_top_button": False,
}
html_sidebars = {"docs/index": []}
