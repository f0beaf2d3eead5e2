"""Figures with controls: one picture for each setting, drawn beforehand, and sliders that choose among them.

The result is one piece of HTML without a script of its own: it works where a page is only a file, and where nothing
runs at all its first picture stays.
"""

import base64
import io
from collections.abc import Callable, Sequence
from html import escape
from itertools import product
from typing import Any

from .plots import pyplot

# The pictures stand in the order of itertools.product: the last control changes fastest.
CHOOSE = (
    "const box=this.closest('.explore');let k=0;"
    "for(const c of box.querySelectorAll('input')){k=k*(+c.max+1)+ +c.value;"
    "const v=c.dataset.values.split('|')[c.value];c.nextElementSibling.value=v;c.setAttribute('aria-valuetext',v)}"
    "box.querySelectorAll('img').forEach((image,j)=>{image.style.display=j===k?'':'none'})"
)


class Explorer:
    """``draw(**setting)``, which draws a figure, for every setting of the controls; the first one is shown at first.

    controls   {name: its values, in order}; the first value of each is where its slider begins, unless
    start      {name: value} says another
    """

    def __init__(self, draw: Callable[..., Any], start: dict[str, Any] | None = None, **controls: Sequence[Any]):
        self.controls = {name: list(values) for name, values in controls.items()}
        self.start = {name: values[0] for name, values in self.controls.items()} | (start or {})
        settings = [dict(zip(self.controls, values)) for values in product(*self.controls.values())]
        self.pictures = {tuple(setting.values()): picture(draw, setting) for setting in settings}

    def __repr__(self) -> str:
        counts = ", ".join(f"{name}: {len(values)} values" for name, values in self.controls.items())
        return f"a figure with controls ({counts})"

    def _repr_html_(self) -> str:
        shown = tuple(self.start.values())
        inputs = "".join(slider(name, values, self.start[name]) for name, values in self.controls.items())
        images = "".join(
            f'<img alt="{escape(described(dict(zip(self.controls, key))))}" style="max-width:100%'
            f'{"" if key == shown else ";display:none"}" src="data:image/png;base64,{data}">'
            for key, data in self.pictures.items()
        )
        return f'<div class="explore"><div>{inputs}</div>{images}</div>'


def slider(name: str, values: Sequence[Any], start: Any) -> str:
    """A labelled slider over ``values``, and the value that it shows."""
    texts, place = [escape(text(value)) for value in values], list(values).index(start)
    return (
        f'<label style="margin-right:2em">{escape(name.replace("_", " "))} '
        f'<input type="range" min="0" max="{len(values) - 1}" value="{place}" data-values="{"|".join(texts)}" '
        f'aria-valuetext="{texts[place]}" oninput="{escape(CHOOSE)}"> <output>{texts[place]}</output></label>'
    )


def text(value: Any) -> str:
    return f"{value:.3g}" if isinstance(value, float) else str(value)


def described(setting: dict[str, Any]) -> str:
    return ", ".join(f"{name.replace('_', ' ')} {text(value)}" for name, value in setting.items())


def picture(draw: Callable[..., Any], setting: dict[str, Any]) -> str:
    """The figure that ``draw(**setting)`` draws, as the base64 text of a PNG of few colours."""
    from PIL import Image

    plt, file = pyplot(), io.BytesIO()
    plt.close("all")
    draw(**setting)
    plt.gcf().savefig(file, dpi=100)
    plt.close("all")
    small = io.BytesIO()
    Image.open(file).convert("RGB").quantize(64).save(small, "PNG", optimize=True)
    return base64.b64encode(small.getvalue()).decode()
