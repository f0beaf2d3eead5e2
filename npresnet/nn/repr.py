"""How a module shows itself: one line in a terminal, a tree to open and close in a notebook."""

from html import escape
from typing import Any  # a Module is one, whose file imports this


def line(module: Any) -> str:
    """Conv2d(weight 64×3×7×7, 9,408 parameters)"""
    arrays = {name: parameter.value for name, parameter in module.named_parameters()}
    shapes = [f"{name} {'×'.join(map(str, a.shape))}" for name, a in arrays.items() if "." not in name]
    count = sum(a.size for a in arrays.values())
    inside = ", ".join([*shapes, f"{count:,} parameters"] if arrays else [])
    return f"{type(module).__name__}({inside})"


def tree_html(module: Any, name: str = "") -> str:
    """Nested <details>, one for each module with parts."""
    title = f"<b>{escape(name)}</b> <code>{escape(line(module))}</code>"
    parts = "".join(tree_html(child, key) for key, child in module.children().items())
    if not parts:
        return f"<div style='margin-left: 1.1em'>{title}</div>"
    opened = "" if name else " open"
    return f"<details{opened}><summary>{title}</summary><div style='margin-left: 1.5em'>{parts}</div></details>"
