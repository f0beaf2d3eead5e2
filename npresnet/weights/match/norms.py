"""Finds the norm of each convolution: by its name, by its place beside the convolution, by its size."""

from collections import defaultdict

from ...formats.errors import WeightsError, quoted
from .blocks import Body, block_prefixes
from .layers import Layer
from .names import masked, without_end, without_last_word

Norms = dict[str, Layer]  # path of a convolution → its norm


def paired(convs: list[Layer], norms: list[Layer]) -> Norms:
    """Each convolution's norm where there is one: that of the same name, else the n-th of the n-th in one part.

    A part is what has one path but for its end, or at last all.  A norm has the output or the input channels of its
    convolution.  In a large part the n-th are only paired where convolutions and norms take turns, or all of one kind
    come first.
    """
    pairs: Norms = {}
    for key, strict in (
        (lambda layer: masked(layer.path), False),
        (lambda layer: without_last_word(layer.path), False),
        (lambda layer: layer.parts[:-1], False),
        (lambda layer: without_end(layer.path), False),
        (lambda layer: layer.parts[:-2], True),
        (lambda layer: (), True),
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
            rows = sorted(group, key=lambda layer: layer.position), theirs[name]
            strict = strict or not name  # all layers are one part where no name has any
            if len(group) == len(theirs[name]) and fit(*rows, strict):
                pairs |= {conv.path: norm for conv, norm in zip(*rows)}
    return pairs


def fit(convs: list[Layer], norms: list[Layer], strict: bool) -> bool:
    """Whether the n-th norm may be that of the n-th convolution: by its size, and, if strict, by the order of all."""
    order = "".join(kind for _, kind in sorted([(c.position, "c") for c in convs] + [(n.position, "n") for n in norms]))
    half = len(convs)
    turns = order in ("cn" * half, "nc" * half, "c" * half + "n" * half, "n" * half + "c" * half)
    return (turns or not strict) and all(norm.out in (conv.out, conv.channels) for conv, norm in zip(convs, norms))


def norms_of(body: Body, norms: list[Layer]) -> tuple[Norms, Layer | None, bool]:
    """(path of a convolution → its norm, the norm behind the last block or None, whether norms come before).

    After its convolution a norm has the convolution's output channels, before it (pre-activation) its input channels.
    Raises WeightsError where some norms are of neither kind.
    """
    pairs = stem_norms(body, norms)
    taken = {id(norm) for norm in pairs.values()}
    convs = [conv for conv in body.layers if conv.path not in pairs]
    pairs |= paired(convs, [norm for norm in norms if id(norm) not in taken])
    pairs |= paired_in_blocks(body, norms, pairs)
    if len(pairs) == len(norms) and all(pairs[conv.path].out == conv.out for conv in body.layers if conv.path in pairs):
        return pairs, None, False
    before = before_convolutions(body, norms)
    if before is None:
        used = {id(norm) for norm in pairs.values()}
        other = next((norm for norm in norms if id(norm) not in used), norms[0])
        if len(body.stem) > 1 and body.stem[0].parts[:-1] == other.parts[:-1]:
            raise WeightsError(
                f"its stem, from {quoted(body.stem[0].path)} on, is none of the family's: "
                f"{len(body.stem)} convolutions, and not a norm behind each"
            )
        raise WeightsError(f"the norm {quoted(other.path)} belongs to no convolution of a network of the family")
    return *before, True


def paired_in_blocks(body: Body, norms: list[Layer], pairs: Norms) -> Norms:
    """The norms of those convolutions in each block that have none yet, the n-th that of the n-th.

    That of the shortcut's projection is the one whose name no block without a projection has.
    """
    taken, found = {id(norm) for norm in pairs.values()}, {}
    inside = []
    for block, prefix in zip(body.blocks, block_prefixes(body)):
        own = [norm for norm in norms if prefix and norm.within(prefix) and id(norm) not in taken]
        inside.append((block, len(prefix), own))
    usual = {norm.parts[length:] for block, length, own in inside if not block.projection for norm in own}
    for block, length, own in inside:
        bare = [conv for conv in block.branch if conv.path not in pairs]
        shortcut = [conv for conv in (block.projection,) if conv and conv.path not in pairs]
        other = [norm for norm in own if norm.parts[length:] not in usual] if shortcut else []
        branch = [norm for norm in own if norm not in other]
        if (len(bare), len(shortcut)) == (len(branch), len(other)) and fit(bare, branch, strict=False):
            found |= by_rank([*bare, *shortcut], branch + other)
    return found


def stem_norms(body: Body, norms: list[Layer]) -> Norms:
    """The norms of a deep stem: those beside its convolutions, and for the last one that may stand elsewhere."""
    if len(body.stem) == 1:
        return {}
    part = body.stem[0].parts[:-1]
    beside = [norm for norm in norms if part and norm.parts[:-1] == part]
    blocks = {conv.parts[:-1] for block in body.blocks for conv in block.layers}
    outside = [n for n in norms if n not in beside and n.out == body.stem[-1].out and n.parts[:-1] not in blocks - {()}]
    outside = [norm for norm in outside if len(norm.parts) <= len(part)] or outside
    if len(beside) == 2 and outside:
        beside = [*beside, outside[0]]
    return by_rank(list(body.stem), beside) if len(beside) == 3 else {}


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
