"""The page in a browser: what is clicked, what is said, and that its numbers are npresnet's."""

import base64
import shutil
from unittest import mock

import numpy as np
import pytest

import npresnet
from npresnet.analysis.features import one_hot
from npresnet.data import example_image
from npresnet.explore import write_page
from npresnet.explore.detail import DETAILS
from npresnet.explore.trace import trace
from npresnet.nn import AvgPool2d

from .test_trace import network

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
THEMES = ("light", "dark")


@pytest.fixture(scope="module")
def browser():
    api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed (the extra 'site')")
    if CHROMIUM is None:
        pytest.skip("Chromium is not installed")
    with api.sync_playwright() as playwright:
        started = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield started
        started.close()


@pytest.fixture(scope="module")
def noise(tmp_path_factory):
    from PIL import Image

    path = tmp_path_factory.mktemp("photos") / "noise <b>.png"
    pixels = np.random.default_rng(7).integers(0, 256, (50, 60, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(path)
    return path


def large_network():
    """One of which a page holds a part."""
    return npresnet.create_model("resnet50", width=32, num_classes=12, seed=1)


def thin_page(path):
    """One on which two blocks of nine are stored."""
    with mock.patch("npresnet.explore.content.DETAILS", DETAILS[-1:]):
        return write_page(path, npresnet.create_model("resnet20"), example_image())


@pytest.fixture(scope="module")
def pages(tmp_path_factory, noise):
    """Pages of two images in the network that ships, and one of which a part is stored."""
    folder, model = tmp_path_factory.mktemp("pages"), npresnet.load_model()
    return {
        "cat": write_page(folder / "cat.html", model, example_image()),
        "noise": write_page(folder / "noise.html", model, noise),
        "thin": thin_page(folder / "thin.html"),
        "large": write_page(folder / "large.html", large_network(), example_image()),
    }


@pytest.fixture
def visit(browser, pages):
    """visit("cat", "dark") opens a page; in the end nothing may have been complained about or asked for."""
    contexts, complaints = [], []

    def visit(name, theme="light", width=1280):
        context = browser.new_context(viewport={"width": width, "height": 900}, color_scheme=theme)
        contexts.append(context)
        page = context.new_page()
        page.on("console", lambda message: complaints.append(message.text))
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.on("request", lambda request: asked(request.url))
        page.goto(pages[name].as_uri())
        return page

    def asked(url):
        if not url.startswith(("data:", *(path.as_uri() for path in pages.values()))):
            complaints.append(url)

    yield visit
    for context in contexts:
        context.close()
    assert not complaints


def press(page, name):
    page.get_by_role("button", name=name).click()


BASE64 = """(a) => {
    const bytes = new Uint8Array(a.buffer, a.byteOffset, a.byteLength);
    let text = "";
    for (const byte of bytes) text += String.fromCharCode(byte);
    return btoa(text);
}"""


def array(page, expression):
    """A Float32Array of the page."""
    return np.frombuffer(base64.b64decode(page.evaluate(f"({BASE64})({expression})")), "<f4")


@pytest.mark.parametrize("theme", THEMES)
@pytest.mark.parametrize("name", ["cat", "noise"])
def test_from_the_image_to_a_pixel_and_back(visit, noise, name, theme):
    """Block, layer, channel, pixel: the sum is npresnet's activation; then class and backward: so is dx."""
    page, model = visit(name, theme), npresnet.load_model()
    x = npresnet.preprocess(example_image() if name == "cat" else noise, model)
    best, second = np.argsort(-model(x)[0])[:2]
    assert model.classes[best] in page.locator("#lead").inner_text()
    press(page, "layer2.1:")
    press(page, "conv2, convolution")
    press(page, "channel 5,")
    page.locator("#lens canvas[tabindex]").click(position={"x": 100, "y": 60})
    row, column = page.evaluate("[state.row, state.column]")
    assert row > 0 and column > 0
    y = npresnet.features(model, x, "layer2.1.conv2")[0, 5, row, column]
    check = page.locator(".check").first
    assert abs(float(check.get_attribute("data-sum")) - y) < 1e-5
    assert float(check.get_attribute("data-value")) == pytest.approx(y, abs=1e-5)
    assert "✓" in check.inner_text() and f"row {row}, column {column}" in page.locator("#pixel").inner_text()

    press(page, "Backward: dy")
    page.locator("#class").get_by_role("button", name=model.classes[second]).click()
    with npresnet.use("numpy"):
        run = trace(model, x)
        run.back(one_hot(run.steps[-1].y, [second]))
    (step,) = (step for step in run.steps if step.name == "layer2.1.conv2")
    source = page.evaluate("state.source")
    check = page.locator(".check").first
    words = check.inner_text().split()
    i, j = (int(words[words.index(word) + 1].strip(",:")) for word in ("row", "column"))
    assert abs(float(check.get_attribute("data-sum")) - step.dx[0][0, source, i, j]) < 1e-5
    assert "✓" in check.inner_text()
    shown = page.locator("#pixel").inner_text()
    assert shown.startswith("dy of channel 5")
    dy = float(shown.rpartition(": ")[2].replace("−", "-"))
    assert dy == pytest.approx(float(step.dy[0, 5, row, column]), rel=1e-4, abs=1e-9)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["cat", "large"])
def test_every_derived_number_is_npresnets(visit, name):
    """Outputs and gradients of all steps, of which the page stores some and derives the others."""
    page = visit(name)
    model = npresnet.load_model() if name == "cat" else large_network()
    x = npresnet.preprocess(example_image(), model)
    classes = np.argsort(-model(x)[0])[:2]
    with npresnet.use("numpy"):
        run = trace(model, np.concatenate([x, x]))
        run.back(one_hot(run.steps[-1].y, classes))
    assert page.evaluate("steps.length") == len(run.steps)
    for k, step in enumerate(run.steps):
        channels = array(page, f"channels({k})").astype(int)
        np.testing.assert_array_equal(array(page, f"values({k})"), step.y[0, channels].ravel())
        for c in range(2):
            np.testing.assert_array_equal(array(page, f"gradients({k}, {c})"), step.dy[c, channels].ravel())


@pytest.mark.parametrize("name", ["cat", "large"])
def test_sums_at_all_stored_pixels(visit, name):
    """In every layer that multiplies, forward; and back, where the page has all that it takes."""
    sums = visit(name).evaluate("""() => {
        const found = [];
        steps.forEach((step, k) => {
            if (!step.w) return;
            const [C, h, w] = step.shape, pixels = step.pixels ?? [[0, 0], [h - 1, w >> 1], [h >> 1, w - 1]];
            for (const [row, column] of pixels) {
                const { sum, value } = sumOf(k, channels(k).length - 1, row, column);
                found.push([sum, value]);
            }
            const [, H, W] = steps[step.inputs[0]].shape, back = sumBack(k, 1, 1, H - 1, W >> 1);
            if (back) found.push([back.sum, back.value]);
        });
        return found;
    }""")
    sums = np.array(sums)
    assert len(sums) > 70 and abs(sums).max() > 1
    np.testing.assert_allclose(sums[:, 0], sums[:, 1], rtol=1e-5, atol=1e-5)


def gradient_reach(run, k, row, column):
    """Which pixels of the image the output pixel (row, column) of step k has a gradient with respect to."""
    for step in run.steps:
        step.gradient = np.zeros_like(step.y)
    run.steps[k].gradient[0, :, row, column] = 1
    for step in reversed(run.steps[1 : k + 1]):
        for source, dx in zip(step.inputs, step.pullback(step.dy)):
            run.steps[source].gradient = run.steps[source].dy + dx
    rows, columns = np.nonzero(run.steps[0].dy[0].any(axis=0))
    return [rows.min(), columns.min(), rows.max() + 1, columns.max() + 1]


@pytest.mark.parametrize("name", ["cat", "large"])
def test_what_a_pixel_sees_of_the_image(visit, name):
    """Where weights are positive and nothing is cut off, all that is seen has a gradient."""
    page = visit(name)
    model = npresnet.load_model() if name == "cat" else large_network()
    model = model.astype(np.float64).map_arrays(lambda a: abs(a) + 0.01)
    if name == "large":
        model.maxpool = AvgPool2d(3, stride=2, padding=1)  # of which all pixels get a part
    layers = ["conv1", "layer1.1.conv1", "layer2.0.downsample.0", "layer2.0.conv2", "layer3.0.conv1"]
    with npresnet.use("numpy"):
        for layer in layers:
            run = trace(model, np.ones((1, *page.evaluate("steps[0].shape"))))
            k = next(k for k, step in enumerate(run.steps) if step.name == layer)
            row, column = run.steps[k].y.shape[2] // 2, run.steps[k].y.shape[3] // 3
            assert page.evaluate(f"seenInImage({k}, {row}, {column})") == gradient_reach(run, k, row, column)


def test_batch_norms_two_directions(visit):
    """The three parts of dy are orthogonal, and the last is what the op lets pass."""
    page, eps = visit("cat"), 1e-5
    press(page, "Backward: dy")
    press(page, "layer1.1:")
    press(page, "bn2, batch norm")
    assert page.locator(".directions figure").count() == 4
    k, n, c = page.evaluate("[state.step, state.n, state.c]")
    parts = page.evaluate(f"Object.values(directions({k}, {n}, {c})).map((part) => Array.from(part))")
    one, x_hat, passes = np.array(parts)
    dy, x = array(page, f"map(gradients({k}, {c}), {k}, {n})"), array(page, f"map(values({k - 1}), {k}, {n})")
    np.testing.assert_allclose(one + x_hat + passes, dy, atol=1e-6)
    gamma, beta = np.ones(1, np.float32), np.zeros(1, np.float32)
    x, dy = x.reshape(1, 1, 32, 32), dy.reshape(1, 1, 32, 32)
    _, pullback, (_, var) = npresnet.ops.batch_norm_train(x, gamma, beta, eps=eps)
    np.testing.assert_allclose(passes, (pullback(dy)[0] * np.sqrt(var + eps)).ravel(), rtol=1e-3, atol=1e-6)


def test_a_page_of_few_blocks(visit):
    """A block that is left out cannot be chosen, unless a stored one reads its output: then that is shown."""
    page = visit("thin")
    assert page.get_by_role("button", name="layer2.1: 32 maps of 16 by 16, not stored").is_disabled()
    press(page, "layer3.1:")
    for direction in ("Forward: y", "Backward: dy"):
        press(page, direction)
        assert page.locator("#maps canvas").count() > 1 and page.locator("#sums").inner_text() == ""
    press(page, "layer3.2:")
    assert page.locator(".equation").count() == 1


@pytest.mark.slow
def test_every_layer_of_every_block_can_be_shown(visit):
    for name in ("cat", "large", "thin"):
        page = visit(name)
        for back in (False, True):
            page.evaluate(f"update({{ back: {str(back).lower()} }})")
            page.evaluate("steps.forEach((_, k) => chooseStep(k))")
            assert page.locator("#pixel").inner_text()


def test_by_keyboard_alone(visit):
    """Tab leads through the page in order; arrows choose among blocks and pixels; focus stays where it is."""
    page = visit("cat")
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.id") == "theme"
    page.locator("#strip button[aria-pressed=true]").focus()
    page.keyboard.press("ArrowRight")
    assert page.evaluate("[state.block, document.activeElement.dataset.key]") == ["layer1.1", "layer1.1"]
    for _ in range(3):
        page.keyboard.press("Tab")  # layers, maps, the lens
    assert page.evaluate("document.activeElement.dataset.key") == "output"
    row, column = page.evaluate("[state.row, state.column]")
    for key in ("ArrowUp", "ArrowLeft") if row and column else ("ArrowDown", "ArrowRight"):
        page.keyboard.press(key)
    step = -1 if row and column else 1
    assert page.evaluate("[state.row, state.column]") == [row + step, column + step]
    assert page.evaluate("document.activeElement.dataset.key") == "output"
    assert f"row {row + step}, column {column + step}" in page.locator("#pixel").inner_text()
    page.locator("#place").focus()
    page.keyboard.press("End")
    assert page.evaluate("[state.place, document.activeElement.id]") == [27, "place"]


def test_where_few_pixels_are_stored_the_arrows_lead_from_one_to_the_next(visit):
    page = visit("large")
    page.evaluate("chooseStep(steps.findIndex((step) => step.name === 'layer2.1.conv2'))")
    stored = page.evaluate("steps[state.step].pixels")
    assert page.locator(".mark").count() == len(stored) == 9
    page.locator("#lens canvas[tabindex]").focus()
    seen = []
    for key in ("ArrowUp", "ArrowUp", "ArrowLeft", "ArrowLeft", "ArrowRight", "ArrowDown"):
        page.keyboard.press(key)
        seen.append(page.evaluate("[state.row, state.column]"))
    assert seen[3] == stored[0] and seen[4] == stored[1] and seen[5] == stored[4]
    assert all(pixel in stored for pixel in seen)


def test_the_switch_of_themes(visit):
    page = visit("cat", "dark")
    dark = page.evaluate("getComputedStyle(document.body).backgroundColor")
    press(page, "Light theme")
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") != dark
    assert page.evaluate("palette().zero") == [255, 255, 255]
    press(page, "Dark theme")
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") == dark


VIEWS = (
    "1",
    "update({ back: true })",
    "chooseStep(steps.findIndex((step) => step.kind === 'norm'))",
    "chooseStep(steps.findIndex((step) => step.kind === 'sum'))",
    "chooseStep(steps.length - 1)",
)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["cat", "large"])
@pytest.mark.parametrize("width", [1280, 390])
@pytest.mark.parametrize("theme", THEMES)
def test_for_everyone(visit, name, theme, width):
    """axe-core finds nothing: roles, labels, focus, and text of at least 4.5:1; a phone shows it without scrolling."""
    axe = pytest.importorskip("axe_playwright_python.sync_playwright", reason="axe is not installed (the extra 'site')")
    page = visit(name, theme, width)
    for view in VIEWS:
        page.evaluate(view)
        found = axe.Axe().run(page)
        assert found.violations_count == 0, found.generate_report()
        assert page.evaluate("document.documentElement.scrollWidth") <= width


def test_groups_read_their_own_channels(browser, tmp_path):
    path = write_page(tmp_path / "grouped.html", network("grouped"), example_image())
    page = browser.new_page()
    page.goto(path.as_uri())
    k = page.evaluate("steps.findIndex((step) => step.groups > 1)")
    filters, per_group = page.evaluate(f"steps[{k}].shape[0]"), page.evaluate(f"steps[{k}].w.shape[1]")
    for n, channel in enumerate(page.evaluate(f"Array.from(channels({k}))")):
        found = page.evaluate(f"sumOf({k}, {n}, ...(steps[{k}].pixels ?? [[1, 1]])[0])")
        first = int(channel) // (filters // 4) * per_group
        assert [term["channel"] for term in found["terms"]] == list(range(first, first + per_group))
        assert found["sum"] == pytest.approx(found["value"], abs=1e-5)
    page.close()
