"""Tables of checks: as text, as HTML for notebooks, as plain data."""

from dataclasses import asdict
from html import escape

from ..tables import html_table, text_lines


class Table:
    """What reports share; true where something was checked, more than kinks, and nothing is wrong.

    A subclass has ``title``, ``rows`` (dataclasses with a ``verdict``), ``cells()`` and ``conclusion()``.
    """

    def __bool__(self):
        return self.checked and not self.wrong

    @property
    def checked(self) -> bool:
        return any(row.verdict != "kink" for row in self.rows)

    @property
    def wrong(self) -> tuple:
        return tuple(row for row in self.rows if row.verdict == "WRONG")

    def __str__(self):
        return "\n".join([self.title, "", *text_lines(self.cells(), rule=True), "", self.conclusion()])

    def _repr_html_(self):
        return f"{html_table(self.cells(), self.title)}<p>{escape(self.conclusion())}</p>"

    def to_dict(self) -> dict:
        """Plain numbers, strings, lists and dicts, ready for json.dumps."""
        return {"title": self.title, "ok": bool(self), "conclusion": self.conclusion(),
                "rows": [asdict(row) for row in self.rows]}


def number(value) -> str:
    """Three digits; nothing for what was not measured."""
    return "" if value is None else f"{value:.3g}"
