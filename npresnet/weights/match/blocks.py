"""Reads a sequence of convolutions as a stem, residual blocks and what is left over."""

from collections.abc import Iterator
from itertools import pairwise
from typing import NamedTuple

from ...formats.errors import WeightsError
from .layers import Layer

BRANCH = {"basic": 2, "bottleneck": 3}  # convolutions in a block's residual branch


class Block(NamedTuple):
    branch: tuple[Layer, ...]
    projection: Layer | None  # the convolution on the shortcut

    @property
    def layers(self) -> tuple[Layer, ...]:
        return self.branch if self.projection is None else (*self.branch, self.projection)


class Body(NamedTuple):
    """A network up to its head: ``stem`` has one, three or four convolutions, ``rest`` are those behind the blocks."""

    kind: str
    stem: tuple[Layer, ...]
    blocks: tuple[Block, ...]
    rest: tuple[Layer, ...]

    @property
    def layers(self) -> tuple[Layer, ...]:
        return self.stem + tuple(layer for block in self.blocks for layer in block.layers)

    @property
    def doubles(self) -> bool:
        """Whether there are stages, each twice as wide as the one before."""
        outs = [stage[0].branch[-1].out for stage in self.stages()]
        return len(outs) > 1 and all(after == 2 * before for before, after in pairwise(outs))

    def stages(self) -> list[list[Block]]:
        """The blocks by their output channels."""
        stages: list[list[Block]] = []
        for block in self.blocks:
            if not stages or stages[-1][-1].branch[-1].out != block.branch[-1].out:
                stages.append([])
            stages[-1].append(block)
        return stages


class Effort:
    """The blocks that may still be looked for; a file can be made so that there is no end of them."""

    left = 1_000_000

    def spend(self) -> None:
        self.left -= 1
        if self.left < 0:
            raise WeightsError("its convolutions follow one another in more ways than can be tried: no network's do")


def bodies(convs: list[Layer], effort: Effort) -> list[Body]:
    """The readings of all the convolutions, but for some behind the last block, that take in the most of them."""
    found: list[Body] = []
    for start, stem in stems(convs):
        others = convs[:start] + convs[start + len(stem) :]
        for kind in BRANCH:
            for place in (None, *range(BRANCH[kind] + 1)):
                blocks, count = blocks_of(others, stem[-1].out, kind, place, effort)
                if len(blocks) >= 3:
                    found.append(Body(kind, tuple(stem), tuple(blocks), tuple(others[count:])))
        if start == 0 and len(stem) == 1 and any(not body.rest for body in found):
            break
    most = max((len(body.layers) for body in found), default=0)
    found = [body for body in found if len(body.layers) == most]
    single = [body for body in found if len(body.stem) == 1]  # three 3×3 may be a stem and the first block
    return unlike(single or found)


def unlike(found: list[Body]) -> list[Body]:
    """The readings without repetitions, where the names decide only those that they allow."""
    different = list({tuple(map(id, body.layers)): body for body in found}.values())
    if len(different) < 2:
        return different
    return [body for body in different if names_agree(body)] or different


def names_agree(body: Body) -> bool:
    """Whether the branches of all blocks have convolutions of the same names."""
    names = {tuple(layer.parts[-2:] for layer in block.branch) for block in body.blocks}
    last = {tuple(layer.parts[-1:] for layer in block.branch) for block in body.blocks}
    return min(len(names), len(last)) == 1


def stems(convs: list[Layer]) -> Iterator[tuple[int, list[Layer]]]:
    """(position, convolutions) of what may be the stem; that at the start comes first."""
    for i, conv in enumerate(convs):
        if conv.kernel < 3 or (i and conv.channels > 16):
            continue
        deep = convs[i : i + 3]
        if len(deep) == 3 and all(c.kernel == 3 for c in deep) and chained(deep) and deep[0].channels <= 16:
            pooling = convs[i + 3 : i + 4]  # a convolution that strides in the place of the pooling
            if pooling and pooling[0].shape == (deep[-1].out, deep[-1].out, 3, 3):
                yield i, deep + pooling
            yield i, deep
        yield i, [conv]


def chained(convs: list[Layer]) -> bool:
    """Whether each convolution takes what the one before gives."""
    return all(after.channels == before.out for before, after in pairwise(convs))


def blocks_of(
    convs: list[Layer], channels: int, kind: str, place: int | None, effort: Effort
) -> tuple[list[Block], int]:
    """(blocks, convolutions in them) from the start on; ``place`` is where a projection stands among the others."""
    blocks, position = [], 0
    while True:
        effort.spend()
        block = block_at(convs, position, channels, kind, place)
        if block is None:
            return blocks, position
        blocks.append(block)
        position += len(block.layers)
        channels = block.branch[-1].out


def block_at(convs: list[Layer], position: int, channels: int, kind: str, place: int | None) -> Block | None:
    """The block whose convolutions start at ``position``, or None."""
    count = BRANCH[kind]
    plain = tuple(convs[position : position + count])
    bare = Block(plain, None) if is_branch(plain, kind, channels) else None
    if place is None:
        return bare
    group = convs[position : position + count + 1]
    if len(group) <= count:
        return bare if bare and bare.branch[-1].out == channels else None
    projection, branch = group[place], tuple(group[:place] + group[place + 1 :])
    fits = is_branch(branch, kind, channels) and is_projection(projection, channels, branch[-1].out)
    if bare and bare.branch[-1].out == channels and not (fits and ends(convs, position + count + 1, kind)):
        return bare
    return Block(branch, projection) if fits else None


def ends(convs: list[Layer], position: int, kind: str) -> bool:
    """Whether a block with a projection may end here: behind a bottleneck comes a 1×1, not the next block's 3×3."""
    return kind == "basic" or position >= len(convs) or convs[position].kernel != 3


def is_branch(convs: tuple[Layer, ...], kind: str, channels: int) -> bool:
    """Whether the convolutions can follow one another as a block's branch."""
    if len(convs) < BRANCH[kind] or convs[0].channels != channels:
        return False
    if kind == "basic":
        return all(conv.kernel == 3 for conv in convs) and chained(list(convs))
    first, second, third = convs
    return (
        (first.kernel, second.kernel, third.kernel) == (1, 3, 1)
        and first.out % second.channels == 0
        and second.out == first.out
        and third.channels == second.out
    )


def is_projection(conv: Layer, channels: int, out: int) -> bool:
    return conv.kernel == 1 and (conv.channels, conv.out) == (channels, out)


def block_prefixes(body: Body) -> list[tuple[str, ...]]:
    """For each block the fewest components with which its convolutions' names begin, and no others'; () for none."""
    owners: dict[tuple[str, ...], set[int]] = {}
    for number, block in enumerate(body.blocks):
        for conv in block.layers:
            for length in range(1, len(conv.parts)):
                owners.setdefault(conv.parts[:length], set()).add(number)
    found = []
    for number, block in enumerate(body.blocks):
        parts = block.branch[0].parts
        prefixes = (parts[:length] for length in range(1, len(parts)))
        own = (p for p in prefixes if owners[p] == {number} and all(c.parts[: len(p)] == p for c in block.layers))
        found.append(next(own, ()))
    return found
