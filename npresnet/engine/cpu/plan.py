"""The steps of a model for one size of input: algorithms, buffers, and how many images a segment takes at a time."""

from collections.abc import Callable, Iterator, Sequence

from ...backend import Array
from ...kernels.cpu.arrays import addresses
from ..buffers import ALIGN, LiveRange, assign
from ..graph import Node
from ..shapes import Image, images
from .buffers import Buffers
from .program import Program
from .step import Step, read
from .table import table

Segments = list[tuple[int, list[Step]]]  # (images at a time, steps)

CACHE = 8 * 2**20  # bytes of activations that stay in the last cache


class Plan:
    """The steps for ``n`` images of ``image_shape`` (C, H, W), in segments.

    ``bind(node, images, n)`` is the step of a node for n images at a time.
    """

    def __init__(
        self,
        nodes: list[Node],
        n: int,
        image_shape: tuple[int, ...],
        threads: int,
        bind: Callable[[Node, dict[Node, Image], int], Step],
    ):
        self.nodes, self.n, self.images = nodes, n, images(nodes, *image_shape)
        self.threads = threads
        self.program: Program | None = None
        self.segments: Segments = [
            (k, [bind(node, self.images, k) for node in part]) for k, part in segments(nodes, self.images, n)
        ]
        ranges, self.whole_batch = live_ranges(nodes, self.images, self.segments, n)
        self.offsets, self.arena_bytes = assign(ranges)
        self.work_bytes = max((step.work_bytes for step in self.steps), default=0)
        self.work_bytes = -(-self.work_bytes // ALIGN) * ALIGN + ALIGN
        self.seconds = dict.fromkeys(self.steps_by_node(), 0.0)
        self.calls = 0

    def __str__(self) -> str:
        return table(self)

    @property
    def steps(self) -> list[Step]:
        return [step for _, steps in self.segments for step in steps]

    def steps_by_node(self) -> dict[Node, Step]:
        return {step.node: step for step in self.steps}

    def run(self, x: Array, buffers: Buffers, profile: bool = False) -> Array:
        """The result for a contiguous (N, C, H, W) array, computed in ``buffers``."""
        at = {node: buffers.arena + offset for node, offset in self.offsets.items()}
        program = self.program
        if not (program and program.fits(buffers)):
            self.program = program = Program(self._launches(at), self.nodes[0], buffers)
        self.calls += 1
        for step, seconds in program.run(x, buffers, self.threads, self.work_bytes, profile):
            self.seconds[step.node] += seconds
        last = self.nodes[-1]
        (y_at,) = [at[last]] if last in at else addresses([x])
        return read(y_at, self.n, self.images[last], channels_first=last.kind == "input")

    def _launches(self, at) -> Iterator[tuple[Step, int, list[int], int]]:
        """(step, images, addresses it reads, address it writes) in the order they run; of the input its offset."""

        def where(node, first):
            size = self.images[node].nbytes if node.kind != "input" else _input_bytes(self.images[node])
            return at.get(node, 0) + (first * size if node in self.whole_batch else 0)

        for count, steps in self.segments:
            for first in range(0, self.n, count):
                for step in steps:
                    node, n = step.node, min(count, self.n - first)
                    yield step, n, [where(read, first) for read in node.inputs], where(node, first)


def _input_bytes(image) -> int:
    return image.channels * image.height * image.width * 4


def segments(nodes: list[Node], images: dict[Node, Image], n: int) -> list[tuple[int, list[Node]]]:
    """(images at a time, nodes) of each segment.

    The early, large steps take few images, so that one step's output is still in the cache when the next one reads it.
    A segment ends only where a single result is live.
    """
    parts, current = [], []
    for i, node in enumerate(nodes[1:], 1):
        current.append(node)
        live = [a for a in nodes[1 : i + 1] if any(a in b.inputs for b in nodes[i + 1 :])]
        if live == [node] or i == len(nodes) - 1:
            parts.append((min(_images_in_cache(part, images, n) for part in current), current))
            current = []
    joined: list[tuple[int, list[Node]]] = []
    for count, part in parts:
        if joined and joined[-1][0] == count:
            joined[-1][1].extend(part)
        else:
            joined.append((count, list(part)))
    return joined


def _images_in_cache(node, images, n) -> int:
    """For how many images a step's inputs and output stay in the cache: a power of two, or all of them."""
    need = sum(images[a].nbytes for a in (node, *node.inputs))
    count = 1
    while count < n and 2 * count * need <= CACHE:
        count *= 2
    return min(count, n)


def live_ranges(
    nodes: list[Node], images: dict[Node, Image], segments: Sequence[tuple[int, list[Step]]], n: int
) -> tuple[dict[Node, LiveRange], set[Node]]:
    """The live range of every result, and the set of those kept for the whole batch."""
    order = {node: i for i, node in enumerate(nodes)}
    segment_of = {step.node: s for s, (_, steps) in enumerate(segments) for step in steps}
    bounds = [(order[steps[0].node], order[steps[-1].node]) for _, steps in segments]
    ranges, whole_batch = {}, {nodes[0]}
    for node in nodes[1:]:
        s = segment_of[node]
        readers = [other for other in nodes if node in other.inputs]
        outside = node is nodes[-1] or any(segment_of[other] != s for other in readers)
        start, end = order[node], max((order[other] for other in readers), default=len(nodes))
        count = segments[s][0]
        if outside:  # needed while other images of the batch are computed
            whole_batch.add(node)
            start, count = bounds[s][0], n
            end = max((bounds[segment_of[other]][1] for other in readers), default=len(nodes))
        ranges[node] = LiveRange(images[node].nbytes * count, start, end)
    return ranges, whole_batch
