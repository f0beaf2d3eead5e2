"""Which network of a file is meant, where it holds several."""

import re

from ...formats.errors import WeightsError, quoted
from .network import Network

AVERAGES = re.compile(
    r"(^|[._/])(\w*ema|ema\w*|\w*_ema\w*|teacher\w*|\w*momentum\w*|encoder_k|key_encoder|target\w*|swa\w*|averaged?\w*|"
    r"shadow\w*|attacker|best\w*|old\w*|prev\w*)([._/]|$)",
    re.IGNORECASE,
)


def choose(found: list[Network], select: str | None = None, notes: list[str] | None = None) -> Network:
    """The one that ``select`` names by a part of its path; else the one that is no average of others.

    Raises WeightsError where that leaves none or several.
    """
    names = [".".join(network.scope) for network in found]
    if select is not None:
        kept = [network for network, name in zip(found, names) if select in name]
        if not kept:
            raise WeightsError(f"no network is called {quoted(select)}; there are {listed(names)}")
    else:
        kept = [network for network, name in zip(found, names) if not AVERAGES.search(name)] or found
    if len(kept) > 1:
        raise WeightsError(
            f"holds {len(kept)} networks: {listed(names)}; say which with select=, a part of its name (--select NAME)"
        )
    others = [name for network, name in zip(found, names) if network is not kept[0]]
    if others and notes is not None:
        taken = quoted(".".join(kept[0].scope))
        notes.append(f"took the network {taken}, left {listed(others)}; select=, or --select, takes another")
    return kept[0]


def listed(names: list[str]) -> str:
    return ", ".join(quoted(name) for name in names[:6]) + (", …" if len(names) > 6 else "")
