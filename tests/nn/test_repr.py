"""How a module shows itself."""

from html.parser import HTMLParser

import npresnet
from npresnet import nn


class Balanced(HTMLParser):
    """Counts what is open; collects the text."""

    def __init__(self, html):
        super().__init__()
        self.stack, self.text = [], ""
        self.feed(html)

    def handle_starttag(self, tag, attrs):
        self.stack.append(tag)

    def handle_endtag(self, tag):
        assert self.stack.pop() == tag

    def handle_data(self, data):
        self.text += data


def test_a_layer_is_one_line():
    assert repr(nn.Conv2d(3, 64, 7, bias=True)) == "Conv2d(weight 64×3×7×7, bias 64, 9,472 parameters)"
    assert repr(nn.ReLU()) == "ReLU()"
    assert repr(npresnet.create_model("resnet18")) == "ResNet(11,689,512 parameters)"


def test_a_notebook_gets_every_module_once_in_a_tree():
    model = npresnet.create_model("resnet20")
    shown = Balanced(model._repr_html_())
    assert not shown.stack and "conv1 Conv2d(weight 16×3×3×3, 432 parameters)" in shown.text
    assert shown.text.count("Conv2d(") == sum(isinstance(m, nn.Conv2d) for m in model.modules())


def test_names_are_escaped():
    part = nn.Sequential(nn.ReLU())
    setattr(part, "<b>", nn.ReLU())
    assert "&lt;b&gt;" in part._repr_html_()
