"""Formulas as MathML, which browsers draw by themselves, in STIX Two Math, the font that comes with ziamath."""

from importlib.resources import files
from pathlib import Path
from shutil import copyfileobj

from docutils.nodes import SkipNode
from latex2mathml.converter import convert
from sphinx.util import logging

FONT = files("ziamath") / "fonts/STIXTwoMath-Regular.ttf"


def mathml(formula, display):
    """The MathML of a formula in LaTeX."""
    text = convert(formula.replace("{aligned}", "{align*}"), display=display)  # it knows one of these synonyms
    if "\\" in text or "&<" in text:
        logging.getLogger(__name__).warning("a formula is not understood: %s", formula)
    return text


def visit_inline(translator, node):
    translator.body.append(mathml(node.astext(), "inline"))
    raise SkipNode


def visit_block(translator, node):
    translator.body.append(f'<div class="formula">{mathml(node.astext(), "block")}</div>\n')
    raise SkipNode


def copy_font(app, error):
    """Put the font beside the style sheet that names it."""
    if error is None and app.builder.format == "html":
        target = Path(app.outdir) / "_static" / FONT.name
        with FONT.open("rb") as font, target.open("wb") as file:
            copyfileobj(font, file)


def setup(app):
    app.add_html_math_renderer("mathml", inline_renderers=(visit_inline, None), block_renderers=(visit_block, None))
    app.config.html_math_renderer = "mathml"
    app.connect("build-finished", copy_font)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
