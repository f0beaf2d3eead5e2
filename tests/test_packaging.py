"""What a package index, a citation manager and a reader of the README find."""

import importlib.util
import re
import sys
from pathlib import Path
from types import ModuleType

import pytest

import npresnet

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", ROOT / "SECURITY.md", *sorted((ROOT / "docs").glob("*.md"))]
LINK = re.compile(r"\]\((?!https?:)([^)\s]+)\)")


@pytest.fixture
def readme_for_index(monkeypatch):
    """The function of hatch_build.py, without its library."""
    interface = ModuleType("hatchling.metadata.plugin.interface")
    interface.MetadataHookInterface = object
    for name in ("hatchling", "hatchling.metadata", "hatchling.metadata.plugin"):
        monkeypatch.setitem(sys.modules, name, ModuleType(name))
    monkeypatch.setitem(sys.modules, interface.__name__, interface)
    spec = importlib.util.spec_from_file_location("hatch_build", ROOT / "hatch_build.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.readme_for_index


def text(path):
    return path.read_text(encoding="utf-8")


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_relative_link_leads_to_a_file(page):
    missing = [link for link in LINK.findall(text(page)) if not (page.parent / link.partition("#")[0]).exists()]
    assert not missing


def test_on_an_index_links_lead_to_the_published_files(readme_for_index):
    links = re.findall(r"\]\(([^)\s]+)\)", text(ROOT / "README.md"))
    shown = readme_for_index(text(ROOT / "README.md"), "https://a.example/b")
    assert len(links) > 10 and all(re.match("https?:", link) for link in re.findall(r"\]\(([^)\s]+)\)", shown))
    for image in re.findall(r"!\[[^]]*\]\(([^)\s]+)\)", shown):
        assert re.match("https://a.example/b/raw/main/(notebooks|docs)/images/", image)
    assert "(https://a.example/b/blob/main/docs/architecture.md)" in shown


def test_without_an_address_an_index_shows_no_dead_link(readme_for_index):
    readme = text(ROOT / "README.md")
    shown = readme_for_index(readme, "")
    assert not LINK.findall(shown) and "![" not in shown
    assert "docs/architecture.md says how to add an op" in shown  # a link's text stays
    figures = readme.count("![")
    assert len(readme.splitlines()) - len(shown.splitlines()) <= 6 * figures  # and nothing else is lost


def test_the_version_stands_the_same_everywhere():
    project = text(ROOT / "pyproject.toml")
    assert re.findall(r'^version = "(.*)"$', project, re.M) == [npresnet.__version__]
    assert re.findall(r"^version: (.*)$", text(ROOT / "CITATION.cff"), re.M) == [npresnet.__version__]


def test_the_classifiers_begin_where_the_package_begins():
    project = text(ROOT / "pyproject.toml")
    versions = [int(minor) for minor in re.findall(r'Python :: 3\.(\d+)"', project)]
    assert versions == list(range(versions[0], versions[-1] + 1))
    assert re.search(rf'^requires-python = ">=3\.{versions[0]}"$', project, re.M)
    assert f'target-version = "py3{versions[0]}"' in project and f'pythonVersion = "3.{versions[0]}"' in project
