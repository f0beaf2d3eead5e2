"""Figures with controls: a picture for every setting, one shown at first, and the right one for each place."""

import base64
import html
import io
import re
import shutil
import subprocess

import pytest

pytest.importorskip("matplotlib", reason="the notebooks extra is not installed").use("Agg")

from PIL import Image  # noqa: E402

from npresnet.teaching import plots  # noqa: E402
from npresnet.teaching.explore import CHOOSE, Explorer  # noqa: E402

COLOURS = {(1, "a"): "#ff0000", (1, "b"): "#00ff00", (2, "a"): "#0000ff", (2, "b"): "#ffff00"}


def draw(stride, kind):
    ax = plots.axes(width=1, height=1)
    ax.figure.set_facecolor(COLOURS[stride, kind])
    ax.set_axis_off()


@pytest.fixture(scope="module")
def explorer():
    return Explorer(draw, stride=(1, 2), kind=("a", "b"), start={"kind": "b"})


def shown_colours(text):
    """(the colour of each picture, whether it is shown), in order."""
    found = re.findall(r'<img alt="([^"]*)" style="([^"]*)" src="data:image/png;base64,([^"]*)">', text)
    for alt, style, data in found:
        pixel = Image.open(io.BytesIO(base64.b64decode(data))).convert("RGB").getpixel((2, 2))
        yield alt, "#" + bytes(pixel).hex(), "display:none" not in style


def test_a_picture_for_every_setting_and_one_is_shown(explorer):
    found = list(shown_colours(explorer._repr_html_()))
    assert [colour for _, colour, _ in found] == list(COLOURS.values())
    assert [alt for alt, _, shown in found if shown] == ["stride 1, kind b"]


def test_it_needs_neither_a_network_nor_a_script(explorer):
    text = explorer._repr_html_()
    assert "<script" not in text and "http" not in text
    assert repr(explorer) == "a figure with controls (stride: 2 values, kind: 2 values)"


def test_sliders_say_what_they_are(explorer):
    text = explorer._repr_html_()
    assert re.findall(r'data-values="([^"]*)" aria-valuetext="([^"]*)"', text) == [("1|2", "1"), ("a|b", "b")]
    assert text.count("<label") == 2 and html.escape(CHOOSE) in text


def test_a_slider_shows_its_setting(explorer):
    """The handler itself, run by Node on a stand-in for the page."""
    node = shutil.which("node")
    if not node:
        pytest.skip("Node is not installed")
    script = """
    const input=(max,value,values)=>({max,value,dataset:{values},nextElementSibling:{},setAttribute(k,v){this[k]=v}});
    const inputs=[input('1','1','1|2'),input('1','0','a|b')],images=[0,1,2,3].map(()=>({style:{}}));
    const box={querySelectorAll:what=>what==='input'?inputs:images};
    (function(){CHOOSE}).call({closest:()=>box});
    const values=inputs.map(i=>[i.nextElementSibling.value,i['aria-valuetext']]);
    console.log(JSON.stringify([images.map(i=>i.style.display),values]));
    """.replace("CHOOSE", CHOOSE)
    out = subprocess.run([node, "-e", script], capture_output=True, text=True, check=True).stdout
    assert out.strip() == '[["none","none","","none"],[["2","2"],["a","a"]]]'
