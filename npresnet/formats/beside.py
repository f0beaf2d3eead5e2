"""Files that a file of weights names and that must lie beside it, or in a folder beside it."""

import os
from pathlib import Path

from .errors import WeightsError, error_context, quoted
from .memory import Memory
from .stream import Budget

LONGEST = 1000  # characters of a name
MOST_FILES = 64


class Beside:
    """Reads files in one folder by the names that an untrusted file gives them, each once.

    A name is a relative path of plain parts.  What leaves the folder (an absolute path, "..", a symbolic link on the
    way), a device, and more than 64 files are refused.  What is read counts for the budget as the file itself does.
    """

    def __init__(self, folder: Path, budget: Budget):
        self.folder, self.budget = folder, budget
        self.read: dict[str, Memory] = {}

    def __call__(self, name: str) -> memoryview:
        if name not in self.read:
            path = self.folder / self.checked(name)
            if len(self.read) == MOST_FILES:
                raise WeightsError(f"its arrays lie in more than {MOST_FILES} files; join them")
            with error_context(quoted(name)):
                memory = Memory(path)
            self.budget.include(len(memory.view))
            self.read[name] = memory
        return self.read[name].view

    def checked(self, name: str) -> Path:
        """The relative path, every part of which is a plain name of no link."""
        parts = name.removeprefix("./").split("/")
        plain = 0 < len(name) <= LONGEST and all(part and part.strip(". ") and is_plain(part) for part in parts)
        if not plain:
            raise WeightsError(f"a file beside it cannot be called {quoted(name)}")
        for i in range(len(parts)):
            if os.path.islink(self.folder.joinpath(*parts[: i + 1])):
                raise WeightsError(f"{quoted(name)} is a symbolic link, which is not followed; copy the file itself")
        return Path(*parts)


def is_plain(part: str) -> bool:
    return part.isprintable() and not set(part) & set('\\:*?"<>|')
