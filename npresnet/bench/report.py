"""Times side by side: what was measured, as a table and as plain data, and the check before that."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from statistics import median, quantiles
from typing import Any

import numpy as np

from ..backend import Array
from ..tables import text_lines
from .roofline import Roofline

AGREE = 1e-3  # of the largest output: another library's rounding, not a difference of networks

Run = Callable[[], Any]  # one call of a network, or one training step; returns its outputs, or its loss


@dataclass
class Entry:
    """One library's times in milliseconds."""

    name: str
    times: list[float] = field(default_factory=list)

    @property
    def median(self) -> float:
        """The median of the times."""
        return median(self.times)

    @property
    def spread(self) -> tuple[float, float]:
        """The quartiles."""
        low, _, high = quantiles(self.times, n=4)
        return low, high


@dataclass
class Report:
    """The times of each library, ours first, and why others are missing."""

    model: str
    batch: int
    mode: str
    threads: int
    machine: str
    entries: list[Entry]
    left_out: dict[str, str]
    roofline: Roofline | None = None  # on a CPU

    def ratio(self, entry: Entry) -> float:
        """An entry's median time divided by ours: above 1 where we are faster."""
        return entry.median / self.entries[0].median

    def to_dict(self) -> dict[str, Any]:
        """Plain numbers, strings, lists and dicts, ready for json.dumps."""
        rows = [
            {
                "name": e.name,
                "median_ms": round(e.median, 3),
                "quartiles_ms": [round(q, 3) for q in e.spread],
                "best_ms": round(min(e.times), 3),
                "ratio": round(self.ratio(e), 3),
            }
            for e in self.entries
        ]
        return {**asdict(self), "entries": rows}

    def __str__(self) -> str:
        rows = [("", "median", "quartiles", "best", "ratio")]
        for e in self.entries:
            low, high = e.spread
            rows.append(
                (
                    e.name,
                    f"{e.median:.2f} ms",
                    f"{low:.2f}-{high:.2f} ms",
                    f"{min(e.times):.2f} ms",
                    f"{self.ratio(e):.2f}",
                )
            )
        head = f"{self.model}, batch {self.batch}, {self.mode}, {self.threads} thread(s); {self.machine}"
        lines = [head, *text_lines(rows, right=range(1, 5)), *left_out_lines(self.left_out)]
        if self.roofline:
            reached = self.roofline.bound_ms / self.entries[0].median
            bound = f"bound {self.roofline.bound_ms:.2f} ms, of which npresnet reaches {reached:.0%}"
            lines.append(f"{bound}: {self.roofline}")
        return "\n".join(lines)


def left_out_lines(left_out: Mapping[str, str]) -> Sequence[str]:
    """One line for each library that was not measured."""
    return [f"left out: {name} ({why})" for name, why in left_out.items()]


def check(runs: Mapping[str, Run], bound: float = AGREE) -> None:
    """Raise ValueError unless the first answer of every run is that of "npresnet", within ``bound`` of the largest."""
    answers = {name: on_host(run()).astype(np.float64) for name, run in runs.items()}
    wanted = answers.pop("npresnet")
    for name, answer in answers.items():
        error = abs(answer - wanted).max() / abs(wanted).max()
        if not error < bound:
            raise ValueError(f"{name} gives other outputs (by {error:.1e} of the largest): nothing was timed")


def on_host(answer: Any) -> Array:
    """An array of NumPy, CuPy or PyTorch as NumPy's."""
    if isinstance(answer, np.ndarray):
        return answer
    return answer.cpu().numpy() if hasattr(answer, "cpu") else answer.get()
