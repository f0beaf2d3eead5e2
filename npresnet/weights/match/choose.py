"""Which network of a file is meant, where it holds several."""

import re

from ...formats.errors import WeightsError, quoted
from .names import tail
from .search import Candidate

AVERAGES = re.compile(
    r"(^|[._/])(\w*ema|ema\w*|\w*_ema\w*|teacher\w*|\w*momentum\w*|encoder_k|key_encoder|target\w*|swa\w*|averaged?\w*|"
    r"shadow\w*|attacker|best\w*|old\w*|prev\w*)([._/]|$)",
    re.IGNORECASE,
)


def choose(found: list[Candidate], select: str | None = None, notes: list[str] | None = None) -> Candidate:
    """The one that ``select`` names by a part of its path; else the one that is no average of others.

    Raises WeightsError where that leaves none or several.
    """
    names = [candidate.name for candidate in found]
    if select is not None:
        kept = [candidate for candidate, name in zip(found, names) if select in name]
        if not kept:
            raise WeightsError(f"no network is called {quoted(select)}; there are {listed(names)}")
    else:
        kept = [candidate for candidate, name in zip(found, names) if not AVERAGES.search(tail(name))] or found
    if len(kept) > 1:
        raise WeightsError(
            f"holds {len(kept)} networks: {listed(names)}; say which with select=, a part of its name (--select NAME)"
        )
    others = [name for candidate, name in zip(found, names) if candidate is not kept[0]]
    if others and notes is not None:
        taken = quoted(kept[0].name)
        notes.append(f"took the network {taken}, left {listed(others)}; select=, or --select, takes another")
    return kept[0]


def listed(names: list[str]) -> str:
    return ", ".join(quoted(name) for name in names[:6]) + (", …" if len(names) > 6 else "")
