"""Docstrings as reST.

Ours are plain text, to be read in an editor beside the code: an indented block is an equation; `Shapes:`, `Saves:` and
`Raises:` begin a line; a name, two spaces and a text are a row of a table; the rest is prose, in which ``code`` and
:func:`roles` alone are markup.
"""

import re
from textwrap import dedent

from equations import latex

FIELD = re.compile(r"(Shapes|Saves|Raises): +")
RAISES = re.compile(r"(Raises) (?=[A-Z])")
ROW = re.compile(r"(?P<names>[\w\"'./*-]+(?:, [\w.]+)*(?: = \S+)?)(?:  +)(?P<text>\S.*)$")
ITEM = re.compile(r"- |\d\. ")
EQUATION = re.compile(r"\(?[^\W\d_][\w\u0302\u0303]*(?:\[[\w,]+\])?(?:, \w\))? [=←~] ")
MARKUP = re.compile(r"(``[^`]+``|:[\w:]+:`[^`]+`)")
SOURCE = re.compile(r" {3,}(\[[A-Z][\w-]*\].*|the (?:chain|sum) rule.*)$")


def rest(docstring):
    """The reST of a docstring's text."""
    summary, *paragraphs = blocks(docstring)
    found = [summary_of(summary), *map(paragraph, paragraphs)]
    return "\n\n".join(found).rstrip() + "\n"


def blocks(docstring):
    """Its paragraphs: runs of lines without an empty one, cut where the indentation or the kind of line changes."""
    parts = []
    for text in re.split(r"\n\s*\n", docstring.rstrip()):
        lines = text.strip("\n").split("\n")
        start = 0
        for k in range(1, len(lines)):
            deeper = lines[k].startswith("    ") != lines[k - 1].startswith("    ")
            if FIELD.match(lines[k]) or (deeper and not ROW.match(lines[start]) and not FIELD.match(lines[start])):
                parts.append("\n".join(lines[start:k]))
                start = k
        parts.append("\n".join(lines[start:]))
    return parts


def summary_of(text):
    """The first sentence: prose with its source behind it, or an equation and its pullback."""
    if EQUATION.match(text) and "\n" not in text:
        return math(re.sub(r"\.(?=$| {3,})", "", text), r";\s+| {4,}")
    return prose(text)


def math(text, separator=r" {3,}"):
    """Equations, each in a line of its own where they are many; what their source is at the end."""
    named = SOURCE.search(text)
    text = text[: named.start()] if named else text
    equations = [latex(part) for part in re.split(separator, text.strip())]
    equations = [r"\qquad ".join(equations)] if short(text) else equations
    lines = [f".. math:: {equation}" for equation in equations]
    return "\n\n".join(lines + ([f".. rst-class:: source\n\n{inline(named[1])}"] if named else []))


def short(text):
    """Whether equations fit into one line of a phone's or a page's width."""
    return len(re.sub(r"\s+", " ", text)) < 88


def paragraph(text):
    """What a paragraph is: an example, a field, an equation, a table, a list, prose."""
    first = text.split("\n")[0]
    if first.lstrip().startswith(">>>"):
        return dedent(text)
    if match := FIELD.match(first) or RAISES.match(first):
        return f":{match[1]}: {prose(text[match.end() :])}".replace("\n", "\n    ")
    if first.startswith("    "):
        return "\n\n".join(map(indented, dedent(text).split("\n")))
    if ROW.match(first):
        return table(text)
    if item := ITEM.match(first):
        lines = map(inline, text.split("\n"))
        return "\n".join(line if ITEM.match(line) else " " * len(item[0]) + line.strip() for line in lines)
    return prose(text)


def indented(line):
    """A line of an indented block: equations, or text as it stands."""
    if re.search(r"[=←~]", line):
        return math(line)
    return f".. code-block:: text\n\n    {line}"


def table(text):
    """Rows of a name and what it is, as a list of definitions."""
    rows = []
    for line in text.split("\n"):
        match = ROW.match(line)
        if match:
            rows.append([match["names"], match["text"]])
        else:
            rows[-1][1] += "\n    " + line.strip()
    return "\n\n".join(f"``{names}``\n    {inline(text)}" for names, text in rows)


def prose(text):
    """Prose, with its source, if one stands at the end of a line, in brackets as it is."""
    return "\n".join(inline(re.sub(r" {2,}", " ", line.strip())) for line in text.split("\n"))


def inline(text):
    """Text in which only what is meant as markup is."""
    pieces = MARKUP.split(text)
    return "".join(p if k % 2 else re.sub(r"([\\*`|]|_(?!\w))", r"\\\1", p) for k, p in enumerate(pieces))


def process(app, what, name, obj, options, lines):
    """autodoc's hook: its list of lines is replaced in place."""
    if any(line.strip() for line in lines):
        lines[:] = rest("\n".join(lines)).split("\n")


ARRAY = re.compile(r"~?numpy\.ndarray\[tuple\[~?typing\.Any, \.\.\.\], ~?numpy\.dtype\[~?typing\.Any\]\]")
PULLBACK = re.compile(r"~?collections\.abc\.Callable\[\[?\.\.\.\]?, ~?typing\.Any\]")


def shorten(app, what, name, obj, options, signature, returned):
    """autodoc's hook: the types of arrays and pullbacks as the code writes them."""
    signature = signature and ARRAY.sub("Array", signature)
    return signature, returned and PULLBACK.sub("Pullback", ARRAY.sub("Array", returned))


def skip(app, what, name, obj, skipped, options):
    """autodoc's hook: the fields of a named tuple, which its docstring describes."""
    return True if str(getattr(obj, "__doc__", "")).startswith("Alias for field number") else None


def setup(app):
    app.connect("autodoc-skip-member", skip)
    app.connect("autodoc-process-signature", shorten)
    app.connect("autodoc-process-docstring", process)
    return {"parallel_read_safe": True}
