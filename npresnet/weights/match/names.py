"""What a name says: which array of a layer it is, where the layer stands, and which layers belong together."""

import re
import string
from collections.abc import Iterable

ROLES = {
    "weight": "weight weights kernel kernels gamma scale filter filters w w_0 g",
    "bias": "bias biases beta offset b b_0",
    "mean": "mu running_mean moving_mean mean mean_ema.average mean_ema/average mean/EMA mean_EMA TrainedMean",
    "var": "sigma2 running_var moving_variance moving_var running_variance variance var var_ema.average "
    "var_ema/average variance/EMA variance_EMA TrainedVariance",
    "count": "num_batches_tracked total_ops total_params counter",
}
WORDS = {word.lower(): role for role, words in ROLES.items() for word in words.split()}
LONGEST_FIRST = sorted(WORDS, key=len, reverse=True)
SEPARATORS = "./:_~\\|;-"
SEPARATOR = re.compile(r"[./:\\|;~]+")
COLLECTIONS = ("params", "batch_stats")  # Flax keeps a layer in two places
KIND = (
    r"batch_?norm(?:ali[sz]ation)?(?:_?2d)?|group_?norm|layer_?norm|instance_?norm|norm(?:ali[sz]ation)?(?:_?layer)?|"
    r"conv(?:olution)?(?:_?2d)?|fixed_?batchnorm|scale|res(?=\d)|bn|gn"
)
MASK = re.compile(rf"(?:(?:{KIND})_?)*(?:{KIND})", re.IGNORECASE)
MOST_TOKENS, MOST = 64, 200
DIGITS, LETTERS = string.digits, string.ascii_letters


def split_role(key: str) -> tuple[str, str]:
    """(path of the layer, role of the array), as "layer1.0.conv1.weight" is of "layer1.0.conv1"; the role may be ""."""
    end = key.rstrip("0123456789")
    name = end[:-1] if end != key and end.endswith(":") else key  # TensorFlow's ":0"
    lower = name[-MOST:].lower()
    for word in LONGEST_FIRST:
        rest = name[: len(name) - len(word)]
        if lower.endswith(word) and (not rest or rest[-1] in SEPARATORS):
            return rest.rstrip(SEPARATORS), WORDS[word]
    return key, ""


def without_collection(key: str) -> str:
    """The key without the name of the first collection that its layer is kept in."""
    for name in COLLECTIONS:
        for separator in "./":
            at = key.find(f"{name}{separator}")
            if at == 0 or (at > 0 and key[at - 1] in "./"):
                return key[:at] + key[at + len(name) + 1 :] or key
    return key


def components(path: str) -> tuple[str, ...]:
    """The parts of a path between dots, slashes and the like, or underscores where it has none of these."""
    parts = SEPARATOR.split(path)
    return tuple(part for part in (parts if len(parts) > 1 else path.split("_")) if part)


def masked(path: str) -> str:
    """The path without the words for a kind of layer: a convolution and its norm often differ in nothing else.

    layer1.0.conv1, layer1.0.bn1 → layer1.0.#1;  unit1.body.conv1.conv, unit1.body.conv1.bn → unit1.body.#1
    """
    name = MASK.sub("#", path)
    while name.endswith("#"):
        shorter = name[:-1].rstrip(SEPARATORS)
        if not shorter or shorter == name[:-1]:
            break
        name = shorter
    return name


def without_last_word(path: str) -> str:
    """The path with "#" for its last word; the number behind that stays."""
    name = path.rstrip(DIGITS)
    return name.rstrip(LETTERS) + "#" + path[len(name) :]


def without_end(path: str) -> str:
    """The path without its last word, the number behind that, and what stands before."""
    name = path.rstrip(DIGITS).rstrip(LETTERS)
    return name[:-1] if name.endswith((".", "_", "/")) else name


def tail(path: str) -> str:
    """The end of a path, in which words are looked for: a file may hold names of any length."""
    return path[-MOST:]


def in_order(paths: Iterable[str]) -> list[int]:
    """The positions of the paths in the order of a network: as they come, but numbered parts by their numbers.

    Many files are sorted by name, so that block 10 stands before block 2; in some the layers of each block come in
    another order, so that the first block's counts for all.
    """
    nodes: dict[tuple[int, str], int] = {}  # (the part above, a name or "" for any number) → the part, by appearance
    keys = []
    for path in paths:
        node, key = 0, []
        for token in re.findall(r"\d{1,18}|\D+", path)[:MOST_TOKENS]:
            number = token.isdecimal()
            node = nodes.setdefault((node, "" if number else token), len(nodes) + 1)
            key += [node, int(token) if number else 0]
        keys.append(key)
    return sorted(range(len(keys)), key=keys.__getitem__)
