"""Weights that stand in a file as several arrays [P], and are one in the network: pruned and normalised ones.

    pruned                    weight = weight_orig · weight_mask
    weight norm               weight = weight_v · weight_g / ‖weight_v‖, the norm over the axes where weight_g has one
    weight norm, new names    the same of parametrizations.weight.original1 and original0
    spectral norm             weight = weight_orig / (uᵀ W v), W = weight_orig as a matrix with a row for each output

What does not fit together, or has the weight itself beside it, is left as it is.

[P] torch/nn/utils: prune.py, weight_norm.py, spectral_norm.py, parametrizations.py
"""

from collections import Counter
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

NEW = "parametrizations."


def pruned(weight: np.ndarray, mask: np.ndarray) -> np.ndarray | None:
    return weight * mask.astype(weight.dtype) if mask.shape == weight.shape else None


def weight_norm(g: np.ndarray, v: np.ndarray) -> np.ndarray | None:
    axes = tuple(i for i in range(v.ndim) if g.ndim == 0 or g.shape[i : i + 1] == (1,))
    if g.ndim not in (0, v.ndim) or any(g.shape[i] != v.shape[i] for i in range(g.ndim) if i not in axes):
        return None
    norm = np.sqrt(np.sum(np.square(v, dtype=np.float64), axis=axes, keepdims=g.ndim > 0))
    return (v * (g / norm)).astype(v.dtype)


def spectral_norm(weight: np.ndarray, u: np.ndarray, v: np.ndarray) -> np.ndarray | None:
    if weight.ndim < 2 or u.shape != weight.shape[:1] or v.shape != (weight[:1].size,):
        return None
    sigma = u.astype(np.float64) @ (weight.reshape(len(u), -1) @ v)
    return (weight / sigma).astype(weight.dtype)


# the names of the arrays of one weight, what it is called then, how it is computed, and what a note calls it
Rule = tuple[tuple[str, ...], str, Callable[..., np.ndarray | None], str]
RULES: tuple[Rule, ...] = (
    (("{}_orig", "{}_mask"), "{}", pruned, "pruned"),
    (("{}_g", "{}_v"), "{}", weight_norm, "weight-normed"),
    (("{}_orig", "{}_u", "{}_v"), "{}", spectral_norm, "spectral-normed"),
    ((NEW + "{}.original0", NEW + "{}.original1"), "{}", weight_norm, "weight-normed"),
    ((NEW + "{}.original", NEW + "{}.0._u", NEW + "{}.0._v"), "{}", spectral_norm, "spectral-normed"),
)


def merge_pairs(arrays: Mapping[str, np.ndarray]) -> tuple[dict[str, np.ndarray], list[str]]:
    """(the arrays with one weight in the place of those that make it, notes)."""
    merged: dict[str, np.ndarray] = dict(arrays)
    counts: Counter[str] = Counter()
    renamed: dict[str, str] = {}
    for key in arrays:
        for patterns, target, compute, words in RULES:
            name = stem(key, patterns[0])
            if name is None:
                continue
            keys, weight = [placed(name, pattern) for pattern in patterns], placed(name, target)
            if weight in merged or not all(is_float(merged.get(part)) for part in keys):
                continue
            value = compute(*(merged[part] for part in keys))
            if value is not None:
                counts[words] += 1
                merged[key], renamed[key] = value, weight
                for part in keys[1:]:
                    del merged[part]
                break
    notes = [f"made {count} {words} weights of the arrays that stand for them" for words, count in counts.items()]
    return {renamed.get(key, key): array for key, array in merged.items()}, notes


def is_float(array: Any) -> bool:
    return array is not None and array.dtype.kind in "fb"


def stem(key: str, pattern: str) -> tuple[str, str] | None:
    """(module, parameter) of a key of that pattern: ("layer1.0.conv1", "weight") of "layer1.0.conv1.weight_orig"."""
    before, after = pattern.split("{}")
    if not key.endswith(after):
        return None
    path, _, name = key.removesuffix(after).rpartition(".")
    if before:
        if path != before[:-1] and not path.endswith("." + before[:-1]):
            return None
        path = path.removesuffix(before[:-1]).removesuffix(".")
    return (path, name) if name else None


def placed(name: tuple[str, str], pattern: str) -> str:
    path, parameter = name
    return (f"{path}." if path else "") + pattern.format(parameter)
