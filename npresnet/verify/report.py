"""Tables of checks: as text, as HTML for notebooks, as plain data."""

from dataclasses import asdict
from html import escape
from typing import Any


class Table:
    """A report; true where something was checked, more than kinks, and nothing is wrong."""

    title: str
    rows: tuple[Any, ...]         # dataclasses with a ``verdict``

    def cells(self) -> list[tuple[str, ...]]:
        """The table as text: a header, then one line a row."""
        raise NotImplementedError

    def conclusion(self) -> str:
        """The result in a sentence."""
        raise NotImplementedError

    def __bool__(self) -> bool:
        return self.checked and not self.wrong

    @property
    def checked(self) -> bool:
        """Whether any row says more than that there is no derivative."""
        return any(row.verdict != "kink" for row in self.rows)

    @property
    def wrong(self) -> tuple[Any, ...]:
        """The rows that found something wrong."""
        return tuple(row for row in self.rows if row.verdict == "WRONG")

    def __str__(self) -> str:
        header, *body = self.cells()
        widths = [max(map(len, column)) for column in zip(header, *body)]
        lines = ["  ".join(text.ljust(width) for text, width in zip(line, widths)).rstrip()
                 for line in (header, *body)]
        return "\n".join([self.title, "", lines[0], "-" * len(lines[0]), *lines[1:], "", self.conclusion()])

    def _repr_html_(self) -> str:
        header, *body = [[escape(text) for text in line] for line in self.cells()]
        lines = ["<tr><th>" + "</th><th>".join(header) + "</th></tr>"]
        lines += ["<tr><td>" + "</td><td>".join(line) + "</td></tr>" for line in body]
        return (f"<table><caption>{escape(self.title)}</caption>{''.join(lines)}</table>"
                f"<p>{escape(self.conclusion())}</p>")

    def to_dict(self) -> dict[str, Any]:
        """Plain numbers, strings, lists and dicts, ready for json.dumps."""
        return {"title": self.title, "ok": bool(self), "conclusion": self.conclusion(),
                "rows": [asdict(row) for row in self.rows]}


def number(value: float | None) -> str:
    """Three digits; nothing for what was not measured."""
    return "" if value is None else f"{value:.3g}"
