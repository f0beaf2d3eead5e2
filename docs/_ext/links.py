"""Links between what the pages name and where it is shown.

A page links to a file of the package, as on a code host: here the link leads to the site's page of its source.  A
lesson gets links to the reference of the names that it uses; in a name's docstring stand the lessons that use it.
"""

import json
import re
from pathlib import Path

import lessons
import reference
from docutils import nodes
from sphinx.addnodes import download_reference

BACK = re.compile(r'id="([\w.]+)">\n<a class="viewcode-back" href="[^"]*">')


def to_sources(app, doctree, page):
    """Turn downloads of modules into links to the pages that show them, where there are such pages."""
    shown = getattr(app.env, "_viewcode_modules", {})
    for node in list(doctree.findall(download_reference)):
        path = (Path(app.srcdir) / Path(page).parent / node["reftarget"]).resolve()
        if path.suffix != ".py" or not path.is_relative_to(Path(app.srcdir) / "npresnet"):
            continue
        module = ".".join(path.relative_to(app.srcdir).with_suffix("").parts)
        if shown.get(module):
            target = app.builder.get_relative_uri(page, f"_modules/{module.replace('.', '/')}")
            node.replace_self(nodes.reference("", "", *node.children, internal=True, refuri=target))


def back(app, page, template, context, doctree):
    """Lead from a page of source code to the entries of its names; viewcode knows one package for each module."""
    if page.startswith("_modules/npresnet") and "body" in context:
        module = page.removeprefix("_modules/").replace("/", ".")

        def corrected(match):
            name, _, member = match[1].partition(".")
            value = lessons.value(f"{module}.{name}")
            path = next((path for other, path in reference.public_names() if other is value), None)
            if path is None:
                return f'id="{match[1]}">\n<a hidden>'
            target = app.builder.get_relative_uri(page, f"docs/api/{reference.package_of(path)}")
            return f'id="{match[1]}">\n<a class="viewcode-back" href="{target}#{path}{member and "." + member}">'

        context["body"] = BACK.sub(corrected, context["body"])


def to_reference(app, page, source):
    """Add a cell to a lesson: the public names that it uses."""
    path = Path(app.srcdir) / f"{page}.ipynb"
    if path not in lessons.paths():
        return
    things = [lessons.value(name) for name in lessons.used(path)]
    found = [public for value, public in reference.public_names() if any(value is thing for thing in things)]
    links = ", ".join(f"{{py:obj}}`~{name}`" for name in found)
    notebook = json.loads(source[0])
    text = f"**In the reference:** {links}"
    notebook["cells"].append({"cell_type": "markdown", "id": "reference", "metadata": {}, "source": text})
    source[0] = json.dumps(notebook)


def to_lessons(app, what, name, obj, options, lines):
    """Add a field to a docstring: the lessons that use the name."""
    if what in ("class", "function") and (found := lessons.that_use(obj)):
        lines += ["", ":Lessons: " + ", ".join(f":doc:`/notebooks/{path.stem}`" for path in found), ""]


def setup(app):
    app.connect("html-page-context", back)
    app.connect("source-read", to_reference)
    app.connect("autodoc-process-docstring", to_lessons, priority=600)  # after docstrings.process
    app.connect("doctree-resolved", to_sources)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
