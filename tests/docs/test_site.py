"""The site: built without a warning, no dead link, every public name, and what a reader seeks near the start."""

import pkgutil
import re
import sys
from functools import cache
from html.parser import HTMLParser
from importlib import import_module
from pathlib import Path
from urllib.parse import unquote, urldefrag

import pytest

import npresnet

ROOT = Path(__file__).parents[2]
sys.path.append(str(ROOT / "docs/_ext"))

pytestmark = pytest.mark.slow
START = "docs/index.html"
OUTSIDE = re.compile(r"(?:[a-z]+:|//|#$)")


class Page(HTMLParser):
    """What a page has: names to jump to, links, files that it loads, and of its article the links and the text."""

    def __init__(self, text):
        super().__init__()
        self.ids, self.links, self.loads, self.onward, self.text = set(), [], [], [], []
        self.inside = 0
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        attrs = dict(attrs)
        self.inside += tag == "article"
        self.ids |= {attrs[key] for key in ("id", "name") if attrs.get(key)}
        if tag == "a" and attrs.get("href"):
            self.links.append(attrs["href"])
            self.onward += [attrs["href"]] * bool(self.inside)
        elif tag in ("script", "img", "iframe", "source") and attrs.get("src"):
            self.loads.append(attrs["src"])
        elif tag == "link" and attrs.get("href") and attrs.get("rel") in ("stylesheet", "icon", "preload"):
            self.loads.append(attrs["href"])

    def handle_endtag(self, tag):
        self.inside -= tag == "article"

    def handle_data(self, data):
        if self.inside:
            self.text.append(data)


@pytest.fixture(scope="module")
def pages(site):
    """Address of a page below the site's folder → what it has."""
    found = {path.relative_to(site).as_posix(): path for path in sorted(site.rglob("*.html"))}
    return {
        name: Page(path.read_text(encoding="utf-8")) for name, path in found.items() if not name.startswith("_static/")
    }


def target(page, link):
    """The address that a link on a page leads to, and the name there."""
    path, name = urldefrag(link)
    path = path.partition("?")[0]
    joined = (Path("/") / Path(page).parent / unquote(path)).as_posix() if path else f"/{page}"
    parts = []
    for part in joined.split("/")[1:]:
        parts = parts[:-1] if part == ".." else [*parts, part]
    return "/".join(parts), unquote(name)


def test_no_link_and_no_image_is_dead(site, pages):
    dead = []
    for page, found in pages.items():
        for link in {*found.links, *found.loads}:
            if OUTSIDE.match(link):
                continue
            path, name = target(page, link)
            if not (site / path).is_file() or (name and path in pages and name not in pages[path].ids):
                dead.append(f"{page}: {link}")
    assert len(pages) > 100 and not dead


def test_a_page_loads_nothing_from_elsewhere(pages):
    assert not [
        (page, load) for page, found in pages.items() for load in found.loads if re.match("(?:https?:)?//", load)
    ]


@pytest.mark.parametrize(
    ("question", "answer"),
    [
        ("how dX is computed", "dcols = w_mat.swapaxes(1, 2) @ dy_mat                   # dX̃ = Wᵀ dY"),
        ("how to load a .pth", 'npresnet.load_model("resnet18.pth")'),
        ("how to check a gradient", "npresnet.gradcheck(swish, "),
    ],
)
def test_what_a_reader_seeks_is_at_most_three_clicks_away(pages, question, answer):
    seen, edge = {START}, [START]
    for _clicks in range(4):
        if any(answer in "".join(pages[page].text) for page in edge):
            return
        links = [target(page, link)[0] for page in edge for link in pages[page].onward if not OUTSIDE.match(link)]
        edge = [page for page in dict.fromkeys(links) if page in pages and page not in seen]
        seen.update(edge)
    pytest.fail(f"{question} is further away")


def test_the_empty_address_leads_to_the_start(site):
    assert f"url={START}" in (site / "index.html").read_text(encoding="utf-8")


@cache
def public():
    """The packages that say what is public, without the kernels, which are reached through the ops."""
    names = [f"npresnet.{m.name}" for m in pkgutil.iter_modules(npresnet.__path__) if m.ispkg]
    return ["npresnet"] + [name for name in names if hasattr(import_module(name), "__all__")]


def test_every_public_name_is_in_the_reference(pages):
    reference = import_module("reference")
    assert set(public()) <= set(reference.PACKAGES)
    ids = set().union(*(found.ids for page, found in pages.items() if page.startswith("docs/api/")))
    first = {path for _, path in reference.public_names()}
    missing = {f"{package}.{name}" for package in public() for name in import_module(package).__all__} - ids
    assert len(ids) > 300 and not missing & first
    assert all(isinstance(npresnet_value(path), type) for path in missing)  # a class with two names stands under one


def npresnet_value(path):
    package, _, name = path.rpartition(".")
    return getattr(import_module(package), name)


def test_equations_are_formulas(site):
    text = (site / "docs/api/npresnet.ops.html").read_text(encoding="utf-8")
    formulas = re.findall(r'<div class="formula">(.*?)</div>', text, re.S)
    assert len(formulas) > 40 and not [formula for formula in formulas if "\\" in formula]
    assert (
        '<mover><mrow><mi>X</mi></mrow><mo stretchy="false">&#x0007E;</mo></mover>' in text
        and "<munder><mo>&#x02211;</mo>" in text
    )


def test_lessons_and_reference_lead_to_each_other(site, pages):
    lessons = import_module("lessons")
    for path in lessons.paths():
        page = f"notebooks/{path.stem}.html"
        onward = [target(page, link) for link in pages[page].onward]
        reference = {name for there, name in onward if there.startswith("docs/api/")}
        assert reference, page
        backward = [link for there, found in pages.items() if there.startswith("docs/api/") for link in found.onward]
        assert any(link.endswith(page) for link in backward), page


def test_lessons_stand_in_their_order(pages):
    lessons = import_module("lessons")
    expected = [f"notebooks/{path.stem}.html" for path in lessons.paths()]
    assert [int(Path(page).name.split("-")[0]) for page in expected] == sorted(
        int(Path(p).name.split("-")[0]) for p in expected
    )
    found = [target("notebooks/README.html", link)[0] for link in pages["notebooks/README.html"].links]
    positions = [found.index(page) for page in expected]
    assert positions == sorted(positions)


def test_pages_are_plain_markdown():
    for path in (ROOT / "docs").glob("*.md"):
        text = path.read_text(encoding="utf-8")
        assert not re.search(r"^(?:`{3,}|:{3,})\{", text, re.M) and not re.search(r"\{\w+(?::\w+)?\}`", text), path.name
