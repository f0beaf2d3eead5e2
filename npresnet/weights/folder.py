"""Which files a path stands for: itself, the one file of weights in a folder, or the shards that an index lists.

    model.safetensors, pytorch_model.bin      Hugging Face's and timm's, with their config.json
    *.safetensors.index.json, *.bin.index.json   Hugging Face's, of weights in several files ("shards")
    best.safetensors, final.safetensors       what ``npresnet train --out`` leaves
    any other file of weights                 if it is the only one

Nothing outside the folder is opened: an index names files beside it, and no path leads out of it.
"""

import re
from pathlib import Path
from typing import Any, NamedTuple

from ..formats import limits
from ..formats.errors import WeightsError, error_context, quoted
from ..formats.stream import parse_json
from .checkpoint import listed

WHOLE = ("model.safetensors", "pytorch_model.bin")  # Hugging Face's and timm's names
INDICES = tuple(f"{name}.index.json" for name in WHOLE)
RUN = ("best.safetensors", "final.safetensors")
CONFIGS = ("config.json", "preprocessor_config.json")
SUFFIXES = (".pth", ".pt", ".th", ".tar", ".ckpt", ".bin", ".safetensors", ".npz", ".h5", ".hdf5", ".keras", ".onnx")
SHARD = re.compile(r"(.+)-\d{5}-of-(\d{5})(\.safetensors|\.bin)")
MOST_BYTES = 64 * 2**20  # of a configuration or an index
MOST_SHARDS = 1024
OTHERS = {  # what a folder of another kind holds, and how to read it
    "saved_model.pb": "is TensorFlow's SavedModel; load it there and save it as .keras",
    "data.pkl": "is an unpacked .pth; read the file that it was unpacked from, or pack it again: zip -0 -r net.pth DIR",
    ".metadata": "is a torch.distributed checkpoint; make one file of it: "
    "python -m torch.distributed.checkpoint.format_utils dcp_to_torch DIR net.pth",
    "adapter_config.json": "holds an adapter (PEFT) and not the network that it is for; merge and save the network",
}


class Source(NamedTuple):
    """The files to read.  ``places`` (array → file name) is what an index says, ``texts`` (name → text) the configs."""

    files: tuple[Path, ...]
    texts: dict[str, str] = {}
    places: dict[str, str] = {}
    note: str = ""

    def promised(self, file: Path) -> set[str]:
        """The arrays that the index says a file holds."""
        return {array for array, name in self.places.items() if name == file.name}


def source_of(path: Path) -> Source:
    """The files that a path stands for.  Raises WeightsError where a folder has none or several, OSError."""
    if path.is_dir():
        return in_folder(path)
    if path.parts[0].startswith("hf:") and not path.exists():
        raise WeightsError("is a name on the Hugging Face Hub; fetch it with npresnet download, and give that folder")
    if path.name.endswith(".index.json"):
        return from_index(path)
    found = SHARD.fullmatch(path.name)
    if found and int(found[2]) > 1:
        index = path.with_name(f"{found[1]}{found[3]}.index.json")
        cure = f"give {index.name}, or the folder" if index.exists() else f"fetch the others, and {index.name}"
        raise WeightsError(f"is one of {int(found[2])} files that hold the network together; {cure}")
    return Source((path,), texts(path.parent) if path.name in WHOLE else {})


def in_folder(folder: Path) -> Source:
    """The files of a folder, the likeliest kind first."""
    names = sorted(entry.name for entry in folder.iterdir())
    whole = next((name for name in (*WHOLE, *INDICES, *RUN) if name in names), None)
    if whole in INDICES:
        return from_index(folder / whole)
    if whole:
        left = [name for name in WHOLE + RUN if name in names and name != whole]
        note = f"read {whole} in that folder" + (f", not {listed(left)}" if left else "")
        return Source((folder / whole,), texts(folder) if whole in WHOLE else {}, note=note)
    if "snapshots" in names:
        return in_folder(snapshot(folder))
    return only_file(folder, names)


def only_file(folder: Path, names: list[str]) -> Source:
    """The one file of weights, by its suffix."""
    indices = [name for name in names if name.endswith((".safetensors.index.json", ".bin.index.json"))]
    weights = indices or [name for name in names if name.lower().endswith(SUFFIXES) and (folder / name).is_file()]
    if len(weights) == 1:
        file = folder / weights[0]
        return from_index(file) if indices else Source((file,), texts(folder), note=f"read {file.name} in that folder")
    other = next((text for name, text in OTHERS.items() if name in names), None)
    if other:
        raise WeightsError(f"this folder {other}")
    if weights:
        raise WeightsError(f"this folder holds {len(weights)} files of weights: {listed(weights)}; name one of them")
    inside = [name for name in names if (folder / name).is_dir()]
    raise WeightsError(
        "this folder holds no file of weights"
        + (f"; it has the folders {listed(inside)}: give the file that lies in one" if inside else "")
    )


def snapshot(folder: Path) -> Path:
    """The revision in a folder of Hugging Face's cache: main's, else the only one."""
    revisions = sorted(entry.name for entry in (folder / "snapshots").iterdir() if entry.is_dir())
    main = folder / "refs" / "main"
    current = main.read_bytes()[:64].decode("ascii", "replace").strip() if main.is_file() else ""
    if current not in revisions and len(revisions) != 1:
        raise WeightsError(f"this folder holds the revisions {listed(revisions)}; name one: snapshots/REVISION")
    return folder / "snapshots" / (current if current in revisions else revisions[0])


def from_index(index: Path) -> Source:
    """The shards that an index lists, which lie beside it."""
    with error_context(index.name):
        places = weight_map(parse_json(read_text(index), "the index"))
        shards = list(dict.fromkeys(places.values()))
        absent = [name for name in shards if not (index.parent / name).is_file()]
        if absent:
            raise WeightsError(f"{len(absent)} of the {len(shards)} files that it lists are missing: {listed(absent)}")
    files = tuple(index.parent / name for name in shards)
    return Source(files, texts(index.parent), places, f"read the {len(shards)} files that {index.name} lists")


def weight_map(index: Any) -> dict[str, str]:
    """array → file name, of an index whose names are checked."""
    places = index.get("weight_map") if type(index) is dict else None
    if type(places) is not dict or not places or any(type(name) is not str for name in places.values()):
        raise WeightsError('is no index of weights: it has no "weight_map" from arrays to files')
    bad = next((name for name in places.values() if not plain(name)), None)
    if bad is not None:
        raise WeightsError(f"lists {quoted(bad)}, which is no name of a .safetensors or .bin file beside it")
    if len(set(places.values())) > MOST_SHARDS:
        raise WeightsError(f"lists more than {MOST_SHARDS} files")
    return places


def plain(name: str) -> bool:
    """Whether a name is that of a file of weights right beside the index."""
    return not re.search(r"[/\\:\0]", name) and not name.startswith(".") and name.endswith((".safetensors", ".bin"))


def texts(folder: Path) -> dict[str, str]:
    """name → text of the configurations that lie in a folder."""
    return {name: read_text(folder / name) for name in CONFIGS if (folder / name).is_file()}


def read_text(path: Path) -> str:
    """A small text file.  Raises WeightsError for one that is larger than any configuration."""
    with error_context(path.name), limits.open_file(path) as file:
        text = file.read(MOST_BYTES + 1)
        if len(text) > MOST_BYTES:
            raise WeightsError(f"has more than {MOST_BYTES:,} bytes")
        return text.decode("utf-8-sig")
