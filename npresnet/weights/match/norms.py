"""Finds the norm of each convolution: by its name, by its place beside the convolution, by its size."""

from collections import defaultdict

from ...formats.errors import WeightsError, quoted
from .blocks import Body
from .layers import Layer
from .names import masked

Norms = dict[str, Layer]  # path of a convolution → its norm


def paired(convs: list[Layer], norms: list[Layer]) -> Norms:
    """Each convolution's norm where there is one: that of the same name, else the n-th of the n-th in one part, in all.

    A part is what has one path but for the last component.
    """
    pairs: Norms = {}
    for key in (
        lambda layer: masked(layer.path),
        lambda layer: layer.parts[:-1],
        lambda layer: layer.parts[:-2],
        lambda layer: (),
    ):
        taken = {id(norm) for norm in pairs.values()}
        ours, theirs = defaultdict(list), defaultdict(list)
        for conv in convs:
            if conv.path not in pairs:
                ours[key(conv)].append(conv)
        for norm in norms:
            if id(norm) not in taken:
                theirs[key(norm)].append(norm)
        for name, group in ours.items():
            if len(group) == len(theirs[name]):
                pairs |= {conv.path: norm for conv, norm in zip(group, theirs[name])}
    return pairs


def norms_of(body: Body, norms: list[Layer]) -> tuple[Norms, Layer | None, bool]:
    """(path of a convolution → its norm, the norm behind the last block or None, whether norms come before).

    After its convolution a norm has the convolution's output channels, before it (pre-activation) its input channels.
    Raises WeightsError where some norms are of neither kind.
    """
    pairs = paired(list(body.layers), norms)
    if len(pairs) == len(norms) and all(pairs[conv.path].out == conv.out for conv in body.layers if conv.path in pairs):
        return pairs, None, False
    before = before_convolutions(body, norms)
    if before is None:
        used = {id(norm) for norm in pairs.values()}
        other = next((norm.path for norm in norms if id(norm) not in used), norms[0].path)
        raise WeightsError(f"the norm {quoted(other)} belongs to no convolution of a network of the family")
    return *before, True


def before_convolutions(body: Body, norms: list[Layer]) -> tuple[Norms, Layer | None] | None:
    """The same of a pre-activation network: a norm before each convolution of a branch, none on a shortcut.

    The stem has one, or the first block, and one may follow the last block.
    """
    branch = [conv for block in body.blocks for conv in block.branch]
    named = paired(branch, norms)
    if not right_sizes(named, branch):
        rows = [(norms[skip:], branch[without:]) for skip in (0, 1) for without in (0, 1)]
        named = next((pairs for ours, convs in rows if right_sizes(pairs := by_rank(convs, ours), branch)), {})
    used = {id(norm) for norm in named.values()}
    others = [norm for norm in norms if id(norm) not in used]
    final = next((norm for norm in others[::-1] if norm.out == branch[-1].out), None)
    stem = next((norm for norm in others if norm is not final and norm.out == body.stem[-1].out), None)
    if not named or len(others) > sum(norm is not None for norm in (final, stem)):
        return None
    if stem:
        named[body.stem[-1].path] = stem
    return (named, final) if stem or branch[0].path in named else None


def by_rank(convs: list[Layer], norms: list[Layer]) -> Norms:
    return {conv.path: norm for conv, norm in zip(convs, norms)}


def right_sizes(pairs: Norms, branch: list[Layer]) -> bool:
    """Whether each convolution but, at most, the first has a norm of its input channels."""
    return all(conv.path in pairs for conv in branch[1:]) and all(
        pairs[conv.path].out == conv.channels for conv in branch if conv.path in pairs
    )
