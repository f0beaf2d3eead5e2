"""The published weights and datasets that are known by name and by hash.

Files, hashes and metrics are torchvision's (BSD-3-Clause), from the WeightsEnum classes of its models/resnet.py.  The
CIFAR-10 networks are Yerlan Idelbayev's pytorch_resnet_cifar10; their metrics are its README's.  CIFAR's archives are
Alex Krizhevsky's; their page states MD5 sums, and the SHA-256 are those that Keras checks (keras/src/datasets).
"""

from dataclasses import dataclass
from difflib import get_close_matches

from ..formats.errors import WeightsError

TORCHVISION = "https://download.pytorch.org/models/"
TORONTO = "https://www.cs.toronto.edu/~kriz/"
CIFAR = "https://raw.githubusercontent.com/akamaster/pytorch_resnet_cifar10/master/pretrained_models/"


@dataclass(frozen=True)
class Entry:
    """One file.  ``macs`` are the multiply-accumulates of one image; top1 and top5 are percentages, None if unknown."""

    model: str
    version: str
    file: str
    parameters: int
    macs: int
    top1: float
    top5: float | None
    resize: int
    sha256: str = ""  # in full where known; the file's name always carries its start
    dataset: str = "imagenet"
    base_url: str = TORCHVISION

    @property
    def name(self) -> str:
        """ "resnet50:V2", as ``find`` takes it."""
        return f"{self.model}:{self.version}"

    @property
    def url(self) -> str:
        return self.base_url + self.file

    @property
    def sha256_prefix(self) -> str:
        """The SHA-256 as far as it is known, at least its first eight digits."""
        return self.sha256 or self.file.rpartition("-")[2].partition(".")[0]

    @property
    def largest(self) -> int:
        """A bound on the file's bytes."""
        return 8 * self.parameters + (1 << 20)

    @property
    def preprocessing(self) -> str:
        """The preset of npresnet.data that the file was trained for."""
        return {256: "imagenet-v1", 232: "imagenet-v2", 32: "cifar10"}[self.resize]


_SIZES = {  # model: (parameters, MACs at 224×224)
    "resnet18": (11689512, 1814073344),
    "resnet34": (21797672, 3663761408),
    "resnet50": (25557032, 4089184256),
    "resnet101": (44549160, 7801405440),
    "resnet152": (60192808, 11513626624),
    "resnext50_32x4d": (25028904, 4230479872),
    "resnext101_32x8d": (88791336, 16414015488),
    "resnext101_64x4d": (83455272, 15460270080),
    "wide_resnet50_2": (68883240, 11398021120),
    "wide_resnet101_2": (126886696, 22753050624),
}


_HASHES = (  # those known in full
    "f37072fd47e89c5e827621c5baffa7500819f7896bbacec160b1a16c560e07ec",
    "b627a593bcbe140c234610266fe4f8ae95ea42fc881d091c9b6052e6b1d0590f",
    "0676ba61b6795bbe1773cffd859882e5e297624d384b6993f7c9e683e722fb8a",
    "11ad3fa62ca79e40addfd354a8ec4b7c75143b3038b8d2a807fbc68deab379ca",
    "63fe2227b86e8f1f2063f43a75c84d195911b6a0eace650907dd3dc62dd49a0a",
    "cd907fc2a0de2292b2ba2b27d2216bc672d84632d1cf20058d01c0c03b5e020e",
    "394f9c45966e3651a89bbb78a48410a6755854ce4a5ab64927cf1c7247f85e58",
)


def _entry(model, version, start, top1, top5, resize):
    sha256 = next((full for full in _HASHES if full.startswith(start)), "")
    return Entry(model, version, f"{model}-{start}.pth", *_SIZES[model], top1, top5, resize, sha256)


CATALOGUE = (
    _entry("resnet18", "V1", "f37072fd", 69.758, 89.078, 256),
    _entry("resnet34", "V1", "b627a593", 73.314, 91.420, 256),
    _entry("resnet50", "V1", "0676ba61", 76.130, 92.862, 256),
    _entry("resnet50", "V2", "11ad3fa6", 80.858, 95.434, 232),
    _entry("resnet101", "V1", "63fe2227", 77.374, 93.546, 256),
    _entry("resnet101", "V2", "cd907fc2", 81.886, 95.780, 232),
    _entry("resnet152", "V1", "394f9c45", 78.312, 94.046, 256),
    _entry("resnet152", "V2", "f82ba261", 82.284, 96.002, 232),
    _entry("resnext50_32x4d", "V1", "7cdf4587", 77.618, 93.698, 256),
    _entry("resnext50_32x4d", "V2", "1a0047aa", 81.198, 95.340, 232),
    _entry("resnext101_32x8d", "V1", "8ba56ff5", 79.312, 94.526, 256),
    _entry("resnext101_32x8d", "V2", "110c445d", 82.834, 96.228, 232),
    _entry("resnext101_64x4d", "V1", "173b62eb", 83.246, 96.454, 232),
    _entry("wide_resnet50_2", "V1", "95faca4d", 78.468, 94.086, 256),
    _entry("wide_resnet50_2", "V2", "9ba9bcbe", 81.602, 95.758, 232),
    _entry("wide_resnet101_2", "V1", "32ee1156", 78.848, 94.284, 256),
    _entry("wide_resnet101_2", "V2", "d733dc28", 82.510, 96.020, 232),
)

CIFAR_CATALOGUE = (
    Entry(
        "resnet20",
        "V1",
        "resnet20-12fca82f.th",
        269722,
        40551040,
        91.7,
        None,
        32,
        "12fca82f0bebc4135bf1f32f6e3710e61d5108578464b84fd6d7f5c1b04036c8",
        "cifar10",
        CIFAR,
    ),
    Entry(
        "resnet32",
        "V1",
        "resnet32-d509ac18.th",
        464154,
        68862592,
        92.6,
        None,
        32,
        "d509ac1820d7f25398913559d7e81a13229b1e7adc5648e3bfa5e22dc137f850",
        "cifar10",
        CIFAR,
    ),
)

ENTRIES = {entry.name: entry for entry in (*CATALOGUE, *CIFAR_CATALOGUE)}


@dataclass(frozen=True)
class DatasetEntry:
    """A dataset's archive, which :func:`npresnet.data.open_dataset.open_dataset` reads as it is."""

    dataset: str
    file: str
    bytes: int
    images: int
    sha256: str
    base_url: str = TORONTO

    @property
    def url(self) -> str:
        return self.base_url + self.file

    @property
    def sha256_prefix(self) -> str:
        return self.sha256

    @property
    def largest(self) -> int:
        return self.bytes + (1 << 20)


DATASETS = {
    entry.dataset: entry
    for entry in (
        DatasetEntry(
            "cifar10",
            "cifar-10-python.tar.gz",
            170_498_071,
            60_000,
            "6d958be074577803d12ecdefd02955f39262c83c16fe9348329d7fe0b5c001ce",
        ),
        DatasetEntry(
            "cifar100",
            "cifar-100-python.tar.gz",
            169_001_437,
            60_000,
            "85cd44d02ba6437773c5bbd22e183051d648de2e7d6b014e1ef29b855ba677a7",
        ),
    )
}


def find_file(name: str) -> Entry | DatasetEntry:
    """The dataset of this name, else the weights that :func:`find` finds."""
    return DATASETS.get(name.lower()) or find(name)


def find(name: str) -> Entry:
    """The entry "resnet50:V2"; "resnet50" alone means V1.  Raises WeightsError for any other name."""
    model, _, version = name.partition(":")
    entry = ENTRIES.get(f"{model}:{version.upper() or 'V1'}")
    if entry is None:
        close = get_close_matches(name, [*ENTRIES, *DATASETS], n=3)
        raise WeightsError(
            f"no published weights are called {name!r}; "
            + (f"did you mean {' or '.join(close)}? " if close else "")
            + "npresnet download lists them all"
        )
    return entry


def by_hash(sha256: str) -> Entry | None:
    """The entry whose file has this SHA-256, given in full."""
    return next((entry for entry in ENTRIES.values() if sha256.startswith(entry.sha256_prefix)), None)
