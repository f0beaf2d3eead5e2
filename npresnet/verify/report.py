"""Tables of checks: as text, as HTML for notebooks, as plain data."""

from dataclasses import asdict
from html import escape
from typing import Any

from ..tables import html_table, text_lines


class Table:
    """A report; true where something was checked, more than kinks, and nothing is wrong."""

    title: str
    rows: tuple[Any, ...]  # dataclasses with a ``verdict``

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
        return "\n".join([self.title, "", *text_lines(self.cells(), rule=True), "", self.conclusion()])

    def _repr_html_(self) -> str:
        return f"{html_table(self.cells(), self.title)}<p>{escape(self.conclusion())}</p>"

    def to_dict(self) -> dict[str, Any]:
        """Plain numbers, strings, lists and dicts, ready for json.dumps."""
        return {
            "title": self.title,
            "ok": bool(self),
            "conclusion": self.conclusion(),
            "rows": [asdict(row) for row in self.rows],
        }


def number(value: float | None) -> str:
    """Three digits; nothing for what was not measured."""
    return "" if value is None else f"{value:.3g}"
