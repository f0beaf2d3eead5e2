"""The page holds the network's own numbers, in one file that asks nobody for anything."""

import re
from html.parser import HTMLParser

import numpy as np
import pytest
from PIL import Image

import npresnet
from npresnet.analysis.cam import grad_cam
from npresnet.analysis.features import feature_gradients, features
from npresnet.data import example_image
from npresnet.explore import content as contents
from npresnet.explore import page, write_page
from npresnet.explore.depth import gradient_norms
from npresnet.explore.detail import DETAILS
from npresnet.explore.pack import removed
from npresnet.nn import freeze_batch_norm
from npresnet.ops import Window, batch_norm_train, im2col, softmax_cross_entropy

from .reader import Page
from .test_trace import images, network


@pytest.fixture(scope="module")
def model():
    return npresnet.load_model()


@pytest.fixture(scope="module")
def shipped(model):
    return Page(page(model, example_image()))


def products(found, step, n):
    """(w · window + b at each stored output pixel, npresnet's y there) for the n-th channel of a convolution."""
    w, kernel = found.array(step["w"])[n], step["kernel"]
    source = found.steps[step["inputs"][0]]
    if "pixels" in step:
        pixels, windows = step["pixels"], found.array(step["windows"])
    else:
        window = Window.of(tuple(kernel), step["stride"], tuple(map(tuple, step["padding"])), step["dilation"])
        columns = im2col(found.array(source["y"])[None], window)[:, :, :, 0]
        pixels = list(np.ndindex(*columns.shape[-2:]))
        windows = np.stack([columns[..., row, column] for row, column in pixels])
    per_group, filters = source["shape"][0] // step["groups"], step["shape"][0] // step["groups"]
    first = found.channels(step)[n] // filters * per_group
    sums = (windows[:, first : first + per_group].astype(float) * w).sum(axis=(1, 2, 3))
    bias = found.array(step["b"])[n] if "b" in step else 0
    return sums + bias, [found.array(step["y"])[n][row, column] for row, column in pixels]


def test_stored_numbers_are_the_networks(shipped, model):
    x = npresnet.preprocess(example_image(), model)
    names = [step["name"] for step in shipped.steps if step["kind"] == "conv"]
    followed = [row["class"] for row in shipped.values["scores"] if row["followed"] is not None]
    assert len(names) == 19 and followed == np.argsort(-model(x)[0])[:2].tolist()
    with npresnet.use("numpy"):
        values = features(model, x, names)
        gradients = feature_gradients(model, np.concatenate([x, x]), "conv1", followed)[1]["conv1"]
        cam = grad_cam(model, np.concatenate([x, x]), followed)
    for step in shipped.steps:
        if step["kind"] == "conv":
            np.testing.assert_allclose(shipped.array(step["y"]), values[step["name"]][0], rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(shipped.array(shipped.values["cam"]), cam, rtol=1e-4, atol=1e-6)
    stem, first = shipped.steps[2], next(step for step in shipped.steps if step["name"] == "layer1.0.conv1")
    assert stem["kind"] == "norm" and shipped.array(first["dx"]).shape == (2, 16, 32, 32)
    dx = model.conv1.vjp(x)[1](gradients[:1])
    np.testing.assert_allclose(shipped.array(shipped.steps[1]["dx"])[0], dx[0], rtol=1e-4, atol=1e-6)


def test_products_of_the_first_convolution_sum_to_its_output(shipped):
    for n in (0, 7, 15):
        sums, due = products(shipped, shipped.steps[1], n)
        assert len(sums) == 1024
        np.testing.assert_allclose(sums, due, atol=1e-5)


@pytest.mark.parametrize("name", ["resnet20", "resnet50", "grouped", "keras", "gated"])
@pytest.mark.parametrize(
    "detail", [d for d in DETAILS[1:] if d.channels], ids=lambda detail: f"{detail.channels}-{detail.blocks}"
)
def test_with_less_detail_the_stored_windows_still_sum_to_the_output(name, detail, monkeypatch):
    monkeypatch.setattr(contents, "DETAILS", (detail,))
    found, checked = Page(page(network(name), example_image())), 0
    for step in found.steps:
        assert len(found.channels(step)) == min(detail.channels, step["shape"][0]) or step["shape"][0] <= 3
        for n in range(len(found.channels(step)) if "pixels" in step else 0):
            sums, due = products(found, step, n)
            np.testing.assert_allclose(sums, due, rtol=1e-5, atol=1e-5)
            checked += len(sums)
    assert checked >= detail.channels * detail.lattice**2 and found.values["detail"] == str(detail)


def test_of_many_blocks_some_are_stored_and_the_page_says_which(monkeypatch):
    monkeypatch.setattr(contents, "DETAILS", (DETAILS[-1],))
    found = Page(page(npresnet.create_model("resnet56"), example_image()))
    stored = [block["name"] for block in found.values["blocks"] if block["stored"]]
    assert stored == ["image", "stem", "layer1.0", "layer3.8", "scores"]
    assert all("forward" in block for block in found.values["blocks"] if block["name"].startswith("layer"))
    held = {step["block"] for step in found.steps}
    assert {"layer1.0", "layer3.7", "layer3.8"} <= held and "layer2.4" not in held  # layer3.8 reads layer3.7


def test_sizes():
    """A resnet20 whole, in less than 5 MB."""
    assert len(page(npresnet.load_model(), example_image())) < 5e6


@pytest.mark.slow
@pytest.mark.parametrize("name", ["resnet50", "resnext50_32x4d", "resnet152", "resnet110", "resnet1202"])
def test_sizes_of_large_networks(name):
    deep = name == "resnet1202"  # whose scores overflow where no statistics are known
    found = Page(page(npresnet.create_model(name, zero_init_residual=deep), example_image()))
    assert 6e6 < len(found.html) < 15e6
    assert found.values["detail"].startswith("To keep the page small")


def test_a_network_too_large_for_a_page(monkeypatch):
    monkeypatch.setattr(contents, "BUDGET", 1000)
    with pytest.raises(ValueError, match="need more than a page"):
        page(npresnet.load_model(), example_image())


def test_what_a_batch_norm_removes():
    """The op's own pullback, put together from the stored moments."""
    rng = np.random.default_rng(0)
    x, dy = rng.standard_normal((1, 3, 6, 5)), rng.standard_normal((2, 3, 6, 5))
    (mean, inverse), means = removed(x, dy, 1e-5)
    x_hat = (x - mean[:, None, None]) * inverse[:, None, None]
    left = dy - means[:, 0, :, None, None] - x_hat * means[:, 1, :, None, None]
    np.testing.assert_allclose(left.mean(axis=(2, 3)), 0, atol=1e-12)
    np.testing.assert_allclose((left * x_hat).mean(axis=(2, 3)), 0, atol=1e-4)  # ε
    due = [batch_norm_train(x, np.ones(3), np.zeros(3), eps=1e-5)[1](one[None])[0][0] for one in dy]
    np.testing.assert_allclose(left * inverse[:, None, None], due, rtol=1e-12)


def test_norms_of_the_depth_experiment(shipped):
    """They are those of the pullback, and say what [R1] says: the plain network's gradient grows by orders."""
    model, x = npresnet.create_model("plain20", seed=4).train(), images(4)
    with npresnet.use("numpy"):
        found = gradient_norms(model.copy(), x)
        due = norm_after_the_last_block(model.copy(), x)
    assert len(found) == 10
    np.testing.assert_allclose(found[-1], due, rtol=1e-4)
    depth = shipped.values["depth"]
    grown = {kind: norms[0] / norms[-1] for kind, norms in depth["56"].items()}
    assert grown["plain"] > 1000 > 100 > grown["residual"]


def norm_after_the_last_block(model, x):
    """‖∂loss/∂y‖ there, from the layers that follow alone."""
    for layer in model.layers()[:-2]:
        x = layer(x)
    pooled, pool_pullback = model.avgpool.vjp(x)
    scores, pullback = model.fc.vjp(pooled)
    dy = softmax_cross_entropy(scores, np.zeros(len(x), int))[1]()
    return np.linalg.norm(pool_pullback(pullback(dy)))


def test_followed_classes(model):
    found = Page(page(model, example_image(), classes=[8, 3, 1]))
    assert found.values["followed"] == ["ship", "cat", "automobile"]
    assert found.array(found.steps[-1]["dy"])[:, :, 0, 0].argmax(axis=1).tolist() == [8, 3, 1]
    with pytest.raises(ValueError, match="one class of 0 … 9"):
        page(model, example_image(), classes=[10])


def test_frozen_and_group_norms_and_grey_images():
    model = freeze_batch_norm(npresnet.create_model("resnet20", in_channels=1, num_classes=1, seed=2))
    model.preprocessing = npresnet.data.Preprocessing(32, 32, (0.5,), (0.5,))
    found = Page(page(model, Image.new("L", (40, 50), 90)))
    assert found.steps[0]["shape"] == [1, 32, 32] and len(found.values["scores"]) == 1
    group = npresnet.create_model("resnet20", norm="group", norm_groups=4)
    kinds = {step["kind"] for step in Page(page(group, example_image())).steps}
    assert "GroupNorm" in kinds and "norm" not in kinds


@pytest.mark.parametrize("damage", [np.nan, np.inf])
def test_damaged_weights_are_refused(damage):
    model = npresnet.create_model("resnet20")
    model.fc.bias.value = np.full(10, damage, np.float32)
    with pytest.raises(ValueError, match="NaN or infinity"):
        page(model, example_image())


def test_a_network_without_a_classifier_is_refused():
    with pytest.raises(ValueError, match="no classifier"):
        page(npresnet.create_model("resnet20", num_classes=0), example_image())


# --- one file, nothing executed, nobody asked -------------------------------------------------------------------------


class Addresses(HTMLParser):
    """Every address in a page's markup, and every tag."""

    def __init__(self):
        super().__init__()
        self.found, self.tags = [], []

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.found += [v for k, v in attrs if k in ("src", "href", "srcset", "action", "data", "poster", "content")]


def test_the_page_asks_no_host(shipped):
    reader = Addresses()
    reader.feed(shipped.html)
    policy = [address for address in reader.found if address.startswith("default-src 'none'; ")]
    assert len(policy) == 1 and "data:," in reader.found
    assert all(a.startswith("data:") for a in reader.found if ":" in a and a not in policy), reader.found
    without = shipped.html.replace("http://www.w3.org/2000/svg", "")  # the name of SVG's elements, which nobody fetches
    for word in ("http:", "https:", "url(", "@import", "fetch(", "XMLHttpRequest", "import(", "WebSocket", "eval("):
        assert word not in without, word
    assert shipped.values["photo"].startswith("data:image/jpeg;base64,")


EVIL = "</script><img src=x onerror=alert(1)>&amp;\u202e\x1b\"'"


def test_names_stay_names(tmp_path):
    model = npresnet.create_model("resnet20")
    model.classes = [f"{EVIL}{k}" for k in range(10)]
    plain, evil = Addresses(), Addresses()
    plain.feed(page(npresnet.create_model("resnet20"), example_image(), name="a"))
    html = page(model, example_image(), name=EVIL)
    evil.feed(html)
    assert evil.tags == plain.tags and "<img" not in html and "\u202e" not in html
    assert Page(html).values["image"] == EVIL.replace("\u202e", r"\u202e").replace("\x1b", r"\x1b")


def test_a_failed_write_leaves_the_old_page(tmp_path, monkeypatch, model):
    path = tmp_path / "page.html"
    path.write_text("old")
    monkeypatch.setattr("os.fsync", lambda handle: (_ for _ in ()).throw(OSError(28, "No space left on device")))
    with pytest.raises(OSError, match="No space"):
        write_page(path, model, example_image())
    assert path.read_text() == "old" and list(tmp_path.iterdir()) == [path]


def test_the_script_is_small_and_complete():
    """Every function that a script calls by its name is defined in one of them; a file fits on a few screens."""
    from npresnet.explore.page import SCRIPTS, WEB

    assert {f"{name}.js" for name in SCRIPTS} == {path.name for path in WEB.glob("*.js")}
    assert all(len((WEB / f"{name}.js").read_text(encoding="utf-8").splitlines()) <= 140 for name in SCRIPTS)
    names = re.findall(r"^function\*? (\w+)", "".join((WEB / f"{s}.js").read_text() for s in SCRIPTS), re.M)
    assert len(names) == len(set(names))
