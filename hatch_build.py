"""The metadata that depends on where the project's files are published: its URLs, and the README of a package index.

``source`` in pyproject.toml, under ``[tool.hatch.metadata.hooks.custom]``, is the one place for that address.  An index
shows the README alone, so that its relative links and images lead there; while ``source`` is empty, links become their
texts, and images are left out with their captions.
"""

import re
from pathlib import Path

from hatchling.metadata.plugin.interface import MetadataHookInterface

RELATIVE = r"\]\((?!https?:|#)([^)\s]+)\)"
FIGURE = r"!\[[^]]*" + RELATIVE + r"\n(?:\n\*[^*]+\*\n)?\n?"


def readme_for_index(text: str, source: str) -> str:
    """The README with absolute links to files of ``source``, or without relative links."""
    if not source:
        return re.sub(r"\[([^][]+)" + RELATIVE, r"\1", re.sub(FIGURE, "", text))
    text = re.sub(r"(!\[[^]]*)" + RELATIVE, rf"\1]({source}/raw/main/\2)", text)
    return re.sub(RELATIVE, rf"]({source}/blob/main/\1)", text)


class CustomMetadataHook(MetadataHookInterface):
    def update(self, metadata: dict) -> None:
        source = self.config["source"]
        text = (Path(self.root) / "README.md").read_text(encoding="utf-8")
        metadata["readme"] = {"content-type": "text/markdown", "text": readme_for_index(text, source)}
        pages = {"Source": "", "Documentation": "/tree/main/docs", "Changelog": "/blob/main/CHANGELOG.md"}
        metadata["urls"] = {name: source + path for name, path in pages.items() if source}
