"""The lessons in a browser: "Run here" loads Python, every cell runs to its end and prints what is stored."""

import functools
import json
import os
import re
import sys
import threading
import time
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from shutil import which

import pytest

ROOT = Path(__file__).parents[2]
sys.path.append(str(ROOT / "docs/_ext"))

import lessons  # noqa: E402

pytestmark = pytest.mark.slow
CHROMIUM = which("chromium") or which("chromium-browser")
PYODIDE = os.environ.get("NPRESNET_PYODIDE", "")
FIRST_RESULT = 20  # seconds, with the files in the browser's cache
WHOLE_LESSON = 900
ROUNDING = 1e-4  # numbers below this are errors of float32 or float64, which other kernels round otherwise
TYPES = {".js": "text/javascript", ".wasm": "application/wasm", ".json": "application/json"}
NUMBER = re.compile(r"[-−+]?\d[\d,]*(?:\.\d+)?(?:e[-+]?\d+)?")
# A time, a speed or a ratio of times: a number before such a unit, or what is left of a progress bar.
MEASURED = re.compile(r"\d[\d.,]*\s*(?:ns|µs|ms|s|min|seconds|minutes|GFLOP/s|GB/s|images/s|times|×|%)(?!\w)")


class Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *_):
        pass


@pytest.fixture(scope="module")
def address(site):
    """The site, served on loopback."""
    with ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Quiet, directory=str(site))) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}/"
        server.shutdown()
        thread.join()


@pytest.fixture(scope="module")
def browser():
    """Chromium, without a window."""
    playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    if not CHROMIUM:
        pytest.skip("there is no chromium")
    with playwright.sync_playwright() as running:
        started = running.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield started
        started.close()


@pytest.fixture
def page(browser, address):
    """An empty page whose requests for Pyodide are answered from a folder, and which may ask no other host."""
    live = pytest.importorskip("live")
    if not PYODIDE:
        pytest.skip("NPRESNET_PYODIDE names no folder with Pyodide (python -m tests.scripts.fetch_pyodide FOLDER)")
    context, elsewhere, complaints = browser.new_context(), [], []

    def answer(route):
        url = route.request.url
        if url.startswith(address):
            return route.continue_()
        file = Path(PYODIDE) / url.rpartition("/")[2]
        if not (url.startswith(live.PYODIDE) and file.is_file()):
            elsewhere.append(url)
            return route.abort()
        kind = TYPES.get(file.suffix, "application/octet-stream")
        return route.fulfill(path=file, headers={"Access-Control-Allow-Origin": "*", "Content-Type": kind})

    context.route("**/*", answer)
    page = context.new_page()
    page.on("console", lambda message: message.type == "error" and complaints.append(message.text))
    page.on("pageerror", lambda error: complaints.append(str(error)))
    yield page
    context.close()
    assert not elsewhere and not [text for text in complaints if "theme mode" not in text]  # a notice of the theme's


def start(page, address, path):
    """Open a lesson and press its button; the seconds until a cell has run."""
    page.goto(f"{address}notebooks/{path.stem}.html")
    begin = time.monotonic()
    page.get_by_role("button", name="Run here").click()
    page.wait_for_selector("progress:not([hidden])", timeout=5000)
    page.wait_for_selector("[data-live=done], .live-failed", timeout=120_000)
    assert not page.query_selector(".live-failed"), page.inner_text(".live-bar")
    taken = time.monotonic() - begin
    page.evaluate("window.scrollTo(0, 1500)")  # the bar stays in sight, and live cells are no wider than the page
    assert 0 <= page.locator(".live-bar").bounding_box()["y"] < 200
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    return taken


def wait(page):
    page.wait_for_selector("[data-live=waiting], [data-live=running]", state="detached", timeout=1000 * WHOLE_LESSON)


def printed(outputs):
    """What a cell of a notebook has printed."""
    return "".join("".join(output["text"]) for output in outputs if output["output_type"] == "stream")


def differences(found, stored):
    """The lines that differ in more than times and the last roundings."""
    found, stored = ([line.rstrip() for line in text.strip().split("\n")] for text in (found, stored))
    if len(found) != len(stored):
        return [(found, stored)]
    return [(one, two) for one, two in zip(found, stored) if not alike(MEASURED.sub("…", one), MEASURED.sub("…", two))]


def alike(one, two):
    """Whether the words are the same, and the numbers but for those of the size of rounding errors."""
    if re.sub(r"\s+", " ", NUMBER.sub("#", one)) != re.sub(r"\s+", " ", NUMBER.sub("#", two)):
        return False
    pairs = zip(NUMBER.findall(one), NUMBER.findall(two))
    return all(a == b or max(map(size, (a, b))) < ROUNDING for a, b in pairs)


def size(text):
    return abs(float(text.replace(",", "").replace("−", "-")))


@pytest.mark.parametrize("path", lessons.paths(), ids=lambda path: path.stem)
def test_a_lesson_runs_and_prints_what_is_stored(page, address, path):
    start(page, address, path)
    wait(page)
    cells = [c for c in json.loads(path.read_text(encoding="utf-8"))["cells"] if c["cell_type"] == "code"]
    shown = page.query_selector_all("div.cell")
    assert len(shown) == len(cells) > 3
    wrong, figures = [], 0
    timed = "perf_counter" in "".join(cells[0]["source"])  # lesson 10: what depends on times is not compared
    for element, cell in zip(shown, cells):
        tags = cell["metadata"].get("tags", [])
        if "not-in-browser" in tags:
            continue
        found = "".join(part.text_content() for part in element.query_selector_all(".cell_output .stream pre"))
        error = "".join(part.text_content() for part in element.query_selector_all(".live-error"))
        state = element.get_attribute("data-live")
        assert state == ("failed" if "check" in tags else "done"), error or state
        assert not error or error.startswith("Not yet: ")
        if not timed:
            wrong += differences(found, printed(cell["outputs"]))
        images = [output for output in cell["outputs"] if "image/png" in output.get("data", {})]
        figures += len(images)
        assert len(element.query_selector_all(".cell_output img")) >= len(images)
    assert not wrong and (figures or not any("plots." in "".join(c["source"]) for c in cells))


def test_the_first_result_comes_soon(page, address):
    path = lessons.paths()[0]
    taken = min(start(page, address, path) for _ in range(2))  # the second time with a warm cache
    print(f"the first result after {taken:.1f} s")
    assert taken < FIRST_RESULT


def write(page, number, code):
    """Put code into a cell and run it by the keyboard."""
    page.fill(f'textarea[aria-label="Code of cell {number}"]', code)
    page.press(f'textarea[aria-label="Code of cell {number}"]', "Shift+Enter")
    wait(page)
    return page.query_selector_all("div.cell")[number - 1]


def test_a_reader_changes_a_cell(page, address):
    start(page, address, lessons.paths()[0])
    wait(page)
    cell = write(page, 2, "import sys\nanswer = 6 * 7\nprint('the answer is', answer)\nanswer + 1")
    assert cell.query_selector(".stream").inner_text().strip() == "the answer is 42"
    assert cell.query_selector_all(".output")[-1].inner_text().strip() == "43"
    cell = write(page, 3, "print('before')\n1 / 0")
    error = cell.query_selector(".live-error")
    assert "ZeroDivisionError: division by zero" in error.inner_text() and 'File "cell 3", line 2' in error.inner_text()
    red, _, _ = map(int, re.findall(r"\d+", error.evaluate("e => getComputedStyle(e).color"))[:3])
    assert red > 120 and "Cell 3 ended with an error" in page.inner_text(".live-bar")
    page.get_by_role("button", name="Restart").click()
    page.wait_for_function("document.querySelector('.live-text').textContent.startsWith('Ready')", timeout=60_000)
    assert "NameError" in write(page, 2, "answer").inner_text()


def test_all_stops_at_an_error_but_not_at_an_exercise(page, address):
    start(page, address, lessons.paths()[0])
    wait(page)
    page.fill('textarea[aria-label="Code of cell 2"]', "raise ValueError('stop here')")
    page.get_by_role("button", name="Run all").click()
    wait(page)
    states = [cell.get_attribute("data-live") for cell in page.query_selector_all("div.cell")]
    assert states[:2] == ["done", "failed"] and not any(states[2:])
    assert "stop here" in page.query_selector(".live-error").inner_text()


def test_what_is_printed_appears_while_the_cell_runs(page, address):
    start(page, address, lessons.paths()[0])
    wait(page)
    code = "import time\nfor k in range(100):\n    print(k, end='\\r')\n    time.sleep(0.1)\nprint('done')"
    page.fill('textarea[aria-label="Code of cell 2"]', code)
    page.get_by_role("button", name="Run cell 2", exact=True).click()
    page.wait_for_function(
        "/^\\d+$/.test(document.querySelectorAll('div.cell')[1].querySelector('.stream pre')?.textContent.trim())"
    )
    assert page.query_selector_all("div.cell")[1].get_attribute("data-live") == "running"
    wait(page)
    assert page.query_selector_all("div.cell")[1].query_selector(".stream").inner_text().strip() == "done"


@pytest.mark.parametrize("width", [1280, 390])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_no_page_is_wider_than_the_screen(browser, address, scheme, width):
    context = browser.new_context(viewport={"width": width, "height": 844}, color_scheme=scheme)
    page = context.new_page()
    for name in (
        "docs/index",
        "docs/how-to",
        "docs/api/npresnet.ops",
        *(f"notebooks/{p.stem}" for p in lessons.paths()),
    ):
        page.goto(f"{address}{name}.html")
        assert page.evaluate("document.documentElement.scrollWidth <= innerWidth"), name
        assert page.evaluate("document.documentElement.dataset.theme") == scheme
    context.close()
