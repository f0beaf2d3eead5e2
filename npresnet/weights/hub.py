"""Fetches a network from the Hugging Face Hub, through its library huggingface_hub, which is loaded only then.

The configuration and the weights (safetensors before .bin, shards as their index lists them) come into one folder,
which load_model reads.  The library resumes a broken download; what arrived is compared with the hashes that the Hub
states.
"""

import hashlib
import os
import re
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from ..formats.errors import WeightsError, printable
from ..formats.limits import open_file
from ..formats.stream import parse_json
from .checkpoint import listed
from .folder import CONFIGS, INDICES, SUFFIXES, WHOLE, read_text, weight_map

NAME = re.compile(r"hf:(?P<repo>[\w.-]+/[\w.-]+)(?:@(?P<revision>[\w./-]+))?")
CHUNK = 2**20
REASONS = {  # the library's exception: what to do
    "GatedRepoError": "its owner asks for consent: give it on its page, and log in with: hf auth login",
    "RepositoryNotFoundError": "there is no such repository, or it is private",
    "RevisionNotFoundError": "it has no such revision",
    "OfflineModeIsEnabled": "HF_HUB_OFFLINE is set",
}


def download_hub(
    name: str,
    folder: str | os.PathLike[str] = ".",
    *,
    endpoint: str | None = None,
    force: bool = False,
    quiet: bool = False,
) -> Path:
    """Fetch "hf:owner/name", or "hf:owner/name@revision", into ``folder``/name; returns that folder.

    ``endpoint`` is the Hub's address, by default HF_ENDPOINT or huggingface.co; no token is sent to one that is given
    here.  A file that is already there and right is not fetched again; one with other bytes is replaced only with
    ``force``.  ``quiet`` shows no progress.  Raises WeightsError, ImportError without huggingface_hub.
    """
    found = NAME.fullmatch(name)
    if not found or ".." in name:
        raise WeightsError(f"{printable(name)}: write hf:owner/name or hf:owner/name@revision")
    repo, target = found["repo"], Path(folder) / found["repo"].rpartition("/")[2]
    with explained(name):
        hub = Repository(library(quiet), repo, found["revision"], endpoint, target, force)
        for config in CONFIGS:
            hub.fetch(config, missing_ok=True)
        weights = weights_among(hub.files)
        hub.fetch(weights)
        if weights.endswith(".index.json"):
            places = weight_map(parse_json(read_text(target / weights), weights))
            for shard in dict.fromkeys(places.values()):
                hub.fetch(shard)
    return target


def weights_among(names: Collection[str]) -> str:
    """The file of weights, or the index of several, that a repository holds."""
    order = (WHOLE[0], INDICES[0], WHOLE[1], INDICES[1])
    usual = next((name for name in order if name in names), None)
    others = [name for name in sorted(names) if "/" not in name and name.lower().endswith(SUFFIXES)]
    if usual is None and len(others) != 1:
        raise WeightsError(f"holds no {WHOLE[0]} or {WHOLE[1]}; its files of weights are {listed(others)}")
    return usual or others[0]


class Repository:
    """One revision of a repository, and the folder that its files go to."""

    def __init__(self, hub: Any, repo: str, revision: str | None, endpoint: str | None, target: Path, force: bool):
        self.repo, self.target, self.force, self.get = repo, target, force, hub.hf_hub_download
        self.token = None if endpoint is None else False
        self.endpoint = endpoint or os.environ.get("HF_ENDPOINT") or None
        info = hub.HfApi(self.endpoint, token=self.token).model_info(repo, revision=revision, files_metadata=True)
        self.revision, self.files = info.sha, {file.rfilename: file for file in info.siblings or ()}

    def fetch(self, name: str, missing_ok: bool = False) -> None:
        """Make the file of that name stand in the folder, with the bytes that the Hub states."""
        path = self.target / name
        if name not in self.files:
            if missing_ok:
                return
            raise WeightsError(f"holds no {name}")
        right = path.is_file() and self.matches(path)
        if right:
            return
        if os.path.lexists(path) and not self.force:
            raise WeightsError(f"{path} exists with other bytes; choose another folder, or replace it with --force")
        self.get(
            self.repo,
            name,
            revision=self.revision,
            local_dir=self.target,
            endpoint=self.endpoint,
            token=self.token,
            force_download=os.path.lexists(path),
        )
        if self.matches(path) is False:
            path.unlink()
            raise WeightsError(
                f"the bytes of {name} do not have the hash that the Hub states; nothing was kept, try later"
            )

    def matches(self, path: Path) -> bool | None:
        """Whether a file has the hash that the Hub states: SHA-256, or git's SHA-1, or None where it states none."""
        file = self.files[path.name]
        stated = getattr(file.lfs, "sha256", None)
        digest = hashlib.sha256() if stated else hashlib.sha1(f"blob {path.stat().st_size}\0".encode())
        stated = stated or file.blob_id
        if stated is None:
            return None
        with open_file(path) as content:
            while chunk := content.read(CHUNK):
                digest.update(chunk)
        return digest.hexdigest() == stated


def library(quiet: bool) -> Any:
    """huggingface_hub, with its progress bars or without.  Raises ImportError that says how to get it."""
    try:
        import huggingface_hub
        from huggingface_hub.utils import disable_progress_bars
    except ImportError:
        raise ImportError("the Hub needs huggingface_hub: pip install 'npresnet[hub]'") from None
    if quiet:
        disable_progress_bars()
    return huggingface_hub


@contextmanager
def explained(name: str) -> Iterator[None]:
    """Raise what the library raises as a WeightsError of one line."""
    try:
        yield
    except ImportError:
        raise
    except WeightsError as error:
        raise WeightsError(f"{name}: {error}") from error.__cause__
    except Exception as error:  # of huggingface_hub, of whatever it sends requests with, of the file system
        reasons = (REASONS[kind.__name__] for kind in type(error).__mro__ if kind.__name__ in REASONS)
        text = printable(str(error).strip().partition("\n")[0]) or type(error).__name__
        raise WeightsError(f"{name}: {next(reasons, f'cannot be fetched ({text})')}") from error
