"""What a name says: which array of a layer it is, where the layer stands, and which layers belong together."""

import re
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
ROLE = re.compile(
    r"(?:(.*?)[./:_~\\|;-]+)?("
    + "|".join(re.escape(word) for word in sorted(WORDS, key=len, reverse=True))
    + r")(?::\d+)?",
    re.IGNORECASE | re.DOTALL,
)
SEPARATOR = re.compile(r"[./:\\|;~]+")
COLLECTION = re.compile(r"(^|.*[./])(params|batch_stats)[./](?=.)", re.DOTALL)  # Flax keeps a layer in two places
KIND = (
    r"batch_?norm(?:ali[sz]ation)?(?:_?2d)?|group_?norm|layer_?norm|instance_?norm|norm(?:ali[sz]ation)?(?:_?layer)?|"
    r"conv(?:olution)?(?:_?2d)?|fixed_?batchnorm|scale|res(?=\d)|bn|gn"
)
MASK = re.compile(rf"(?:(?:{KIND})_?)*(?:{KIND})", re.IGNORECASE)
MOST_TOKENS = 64


def split_role(key: str) -> tuple[str, str]:
    """(path of the layer, role of the array), as "layer1.0.conv1.weight" is of "layer1.0.conv1"; the role may be ""."""
    found = ROLE.fullmatch(key)
    return (found[1] or "", WORDS[found[2].lower()]) if found else (key, "")


def components(path: str) -> tuple[str, ...]:
    """The parts of a path between dots, slashes and the like."""
    return tuple(part for part in SEPARATOR.split(path) if part)


def masked(path: str) -> str:
    """The path without the words for a kind of layer: a convolution and its norm often differ in nothing else.

    layer1.0.conv1, layer1.0.bn1 → layer1.0.#1;  unit1.body.conv1.conv, unit1.body.conv1.bn → unit1.body.#1
    """
    return re.sub(r"(?<=.)(?:[./:_~]+#)+$", "", MASK.sub("#", path))


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
