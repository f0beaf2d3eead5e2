"""What a kind of layout is: who writes such files, one of them made from scratch, and what its network answers."""

import zlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import nn


@dataclass
class Layout:
    """One file: the writer's network, what is saved of it, and what loading must give.

    tree      what is saved; by default the network's state dict
    file      its name, whose suffix chooses the writer; or the path of a file (or folder) that lies there already
    refusal   a regular expression for the one line of the refusal; beside a network, right logits are as good
    note      a regular expression that one of the loaded model's notes must match
    doubt     the arrays do not tell this network from a commoner one: other logits are right where a note matches this
    features  the file holds no classifier: the pooled features are what it answers
    """

    net: Any = None
    tree: Any = None
    file: str | Path = "net.pth"
    refusal: str = ""
    note: str = ""
    doubt: str = ""
    features: bool = False
    size: int = 64
    channels: int = 3

    def image(self) -> np.ndarray:
        return np.random.default_rng(1).standard_normal((1, self.channels, self.size, self.size)).astype(np.float32)

    def answer(self) -> np.ndarray:
        with torch.no_grad():
            y = (self.net.features if self.features else self.net)(torch.from_numpy(self.image()))
        return y.flatten(1).float().numpy()

    def write(self, folder: Path) -> Path:
        if isinstance(self.file, Path):
            return self.file
        path = folder / self.file
        write(path, self.net.state_dict() if self.tree is None else self.tree)
        return path


def write(path: Path, tree: Any) -> None:
    """Save as the suffix asks: .npz, .safetensors, or anything else by torch.save."""
    if path.suffix == ".npz":
        np.savez(path, **{key: np.asarray(value) for key, value in tree.items()})
    elif path.suffix == ".safetensors":
        from safetensors.torch import save_file

        save_file({key: torch.as_tensor(value).contiguous() for key, value in tree.items()}, path)
    else:
        torch.save(tree, path)


class Kind(NamedTuple):
    name: str
    source: str
    make: Callable[[Path], Layout]  # called with a folder to write into
    slow: bool = False


KINDS: dict[str, Kind] = {}


def add(name: str, source: str, make: Callable[..., Any], slow: bool = False) -> None:
    """Enter a kind.  ``make`` returns a Layout, or a network whose state dict is saved; it may take the folder."""
    assert name not in KINDS, name
    takes = make.__code__.co_argcount - len(make.__defaults__ or ())

    def layout(folder: Path) -> Layout:
        torch.manual_seed(zlib.crc32(name.encode()))
        made = make(folder) if takes else make()
        return made if isinstance(made, Layout) else Layout(made, size=getattr(made, "size", 64))

    KINDS[name] = Kind(name, source, layout, slow)


def kind(name: str, source: str, slow: bool = False) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """add(), as a decorator."""

    def enter(make):
        add(name, source, make, slow)
        return make

    return enter


def lively(net: nn.Module, gain: float = 2) -> nn.Module:
    """Random weights and statistics far from where they start, some gammas negative; returns the net in eval mode."""
    norms = {id(m.weight) for m in net.modules() if hasattr(m, "eps") and getattr(m, "weight", None) is not None}
    with torch.no_grad():
        for name, value in [*net.named_parameters(), *net.named_buffers()]:
            if not value.is_floating_point():
                continue
            if name.endswith("var"):
                value.uniform_(0.5, 1.5)
            elif id(value) in norms:
                value.uniform_(0.5, 1.5).mul_(torch.where(torch.rand(value.shape) < 0.15, -1.0, 1.0))
            elif value.ndim > 1:
                value.normal_(0, (gain / value[0].numel()) ** 0.5)
            else:
                value.normal_(0, 0.2)
    return net.eval()
