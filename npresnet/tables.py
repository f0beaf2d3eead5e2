"""Tables whose cells are text: as lines in aligned columns, and as HTML for a notebook.

Rich's tables are for a terminal: they fit its width.  These read the same in a file, a log and a test, and need
nothing but Python.
"""

from collections.abc import Container, Sequence
from html import escape

Rows = Sequence[Sequence[str]]  # of one length; the first is the header, where there is one


def text_lines(rows: Rows, right: Container[int] = (), rule: bool = False) -> list[str]:
    """One line for each row, columns two spaces apart; those in ``right`` are aligned at their right end.

    ``rule`` draws a line below the header.

    >>> print(*text_lines([("layer", "MACs"), ("conv1", "118"), ("fc", "2")], right={1}, rule=True), sep="\\n")
    layer  MACs
    -----------
    conv1   118
    fc        2
    """
    widths = [max(map(len, column)) for column in zip(*rows)]
    lines = [
        "  ".join(
            cell.rjust(width) if place in right else cell.ljust(width)
            for place, (cell, width) in enumerate(zip(row, widths))
        ).rstrip()
        for row in rows
    ]
    return [lines[0], "-" * max(map(len, lines)), *lines[1:]] if rule else lines


def html_table(rows: Rows, title: str = "") -> str:
    """The rows, the first of them the header, as an HTML table; spaces that indent a cell are kept."""
    header, *body = [[escape(cell).replace("  ", "&emsp;") for cell in row] for row in rows]
    lines = ["<tr><th>" + "</th><th>".join(header) + "</th></tr>"]
    lines += ["<tr><td>" + "</td><td>".join(row) + "</td></tr>" for row in body]
    caption = f"<caption>{escape(title)}</caption>" if title else ""
    return f"<table>{caption}{''.join(lines)}</table>"
