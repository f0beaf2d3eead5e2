"""What runs a lesson's cells in the browser, in IPython's place: values, figures and errors are sent to the page."""

import ast
import base64
import builtins
import io
import json
import linecache
import logging
import os
import sys
import traceback
from importlib import import_module
from importlib.util import find_spec
from types import ModuleType

REPRESENTATIONS = {"text/html": "_repr_html_", "image/svg+xml": "_repr_svg_", "image/png": "_repr_png_"}
names = sys.modules["__main__"].__dict__  # of the cells


class Stream(io.TextIOBase):
    """Standard output, sent as it is written."""

    def write(self, text):
        send("stream", text)
        return len(text)


def start(post):
    """Send outputs by ``post(kind, text)``, and show values where IPython would."""
    global send
    send = post
    sys.stdout = sys.stderr = Stream()
    builtins.display = display
    logging.getLogger("matplotlib.font_manager").setLevel(logging.ERROR)  # no word of its cache of fonts
    import_module("products")
    os.chdir("notebooks")
    ipython, shown = ModuleType("IPython"), ModuleType("IPython.display")
    ipython.get_ipython = lambda: None
    vars(shown).update(display=display, HTML=HTML)
    sys.modules |= {"IPython": ipython, "IPython.display": shown}


class HTML:
    """IPython.display.HTML: a text that is shown as HTML."""

    def __init__(self, data):
        self.data = data

    def _repr_html_(self):
        return self.data


class Shown:
    """What display() returns where it is asked for an id: the output, which ``update`` replaces."""

    last = 0

    def __init__(self):
        Shown.last += 1
        self.place = Shown.last

    def update(self, value):
        send("data", json.dumps(represented(value) | {"place": self.place}))


def missing(code):
    """An import statement of the modules that the code imports and that are not there; "" where all are."""
    try:
        nodes = list(ast.walk(ast.parse(code)))
    except SyntaxError:
        return ""
    found = [alias.name for node in nodes if isinstance(node, ast.Import) for alias in node.names]
    found += [node.module for node in nodes if isinstance(node, ast.ImportFrom) and node.module and not node.level]
    first = {name.partition(".")[0] for name in found}
    absent = sorted(name for name in first if name not in sys.modules and find_spec(name) is None)
    return "import " + ", ".join(absent) if absent else ""


def run(code, number):
    """Run a cell, show the value of its last line and its figures, or its error."""
    file = f"cell {number}"
    linecache.cache[file] = (len(code), None, code.splitlines(keepends=True), file)
    try:
        tree = ast.parse(code, file)
        shows = tree.body and isinstance(tree.body[-1], ast.Expr) and not code.rstrip().endswith(";")
        last = tree.body.pop() if shows else None
        exec(compile(tree, file, "exec"), names)
        if last is not None:
            value = eval(compile(ast.Expression(last.value), file, "eval"), names)
            if value is not None:
                display(value)
        show_figures()
    except BaseException as error:
        show_figures()
        send("error", described(error))


def display(*values, display_id=None):
    """Show values as IPython does: as HTML or an image where they have one, else as text."""
    if display_id:
        shown = Shown()
        shown.update(values[0])
        return shown
    for value in values:
        send("data", json.dumps(represented(value)))


def represented(value):
    """Type → text of what a value says of itself."""
    data = {"text/plain": repr(value)}
    for kind, method in REPRESENTATIONS.items():
        found = getattr(value, method)() if hasattr(value, method) and not isinstance(value, type) else None
        if found is not None:
            data[kind] = base64.b64encode(found).decode() if isinstance(found, bytes) else found
    return data


def show_figures():
    """Send Matplotlib's open figures, and close them."""
    if "matplotlib.pyplot" not in sys.modules:
        return
    from matplotlib import pyplot

    for number in pyplot.get_fignums():
        file, figure = io.BytesIO(), pyplot.figure(number)
        figure.savefig(file, format="png", bbox_inches="tight", dpi=figure.dpi)
        send("data", json.dumps({"text/plain": repr(figure), "image/png": base64.b64encode(file.getvalue()).decode()}))
    pyplot.close("all")


def described(error):
    """A traceback, from the cell on; a single line where the exception asks for that, as an exercise's check does."""
    if hasattr(error, "_render_traceback_"):
        return "\n".join(error._render_traceback_())
    frames = error.__traceback__
    while frames and not frames.tb_frame.f_code.co_filename.startswith("cell "):
        frames = frames.tb_next
    return "".join(traceback.format_exception(type(error), error, frames)).rstrip()
