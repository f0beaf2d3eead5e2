"""The steps of a model for one size of input: algorithms, buffers, and the parts the batch is carried through in."""

import numpy as np

from ...kernels.cpu.arrays import addresses
from ..buffers import ALIGN, Life, assign
from ..shapes import images
from .bind import bind
from .program import Program
from .step import read
from .table import table

CLOSE = 8 * 2**20      # bytes of activations that stay in the last cache
BATCH = 8              # large images that go through the whole net together


class Plan:
    """Steps in segments: ``segments`` is a list of (images at a time, steps)."""

    def __init__(self, nodes, n, image_shape, threads, packed, zeros):
        self.nodes, self.n, self.images = nodes, n, images(nodes, *image_shape)
        self.threads, self.program = threads, None
        self.segments = [(k, [bind(node, self.images, k, threads, packed, zeros) for node in part])
                         for k, part in segments(nodes, self.images, n)]
        lives, self.whole = lifetimes(nodes, self.images, self.segments, n)
        self.offsets, self.arena_bytes = assign(lives)
        self.work_bytes = max((step.work_bytes for step in self.steps), default=0)
        self.work_bytes = -(-self.work_bytes // ALIGN) * ALIGN + ALIGN
        self.seconds = dict.fromkeys(self.steps_by_node(), 0.0)
        self.calls = 0

    def __str__(self):
        return table(self)

    @property
    def steps(self):
        return [step for _, steps in self.segments for step in steps]

    def steps_by_node(self):
        return {step.node: step for step in self.steps}

    def run(self, x, buffers, profile=False) -> np.ndarray:
        """The result for a contiguous (N, C, H, W) array, worked out in ``buffers``."""
        at = {node: buffers.arena + offset for node, offset in self.offsets.items()}
        program = self.program
        if not (program and program.fits(buffers)):
            self.program = program = Program(self._launches(at), self.nodes[0], buffers)
        self.calls += 1
        for step, seconds in program.run(x, buffers, self.threads, self.work_bytes, profile):
            self.seconds[step.node] += seconds
        last = self.nodes[-1]
        y_at, = [at[last]] if last in at else addresses([x])
        return read(y_at, self.n, self.images[last], raw=last.kind == "input")

    def _launches(self, at):
        """Every step with its images, in the order they run: (step, n, address of x or offset in the input, …)."""
        def where(node, first):
            size = self.images[node].nbytes if node.kind != "input" else _input_bytes(self.images[node])
            return at.get(node, 0) + (first * size if node in self.whole else 0)

        for count, steps in self.segments:
            for first in range(0, self.n, count):
                for step in steps:
                    node, n = step.node, min(count, self.n - first)
                    yield step, n, [where(read, first) for read in node.inputs], where(node, first)


def _input_bytes(image) -> int:
    return image.channels * image.height * image.width * 4


def batch_limit(nodes, image_shape) -> int:
    """Images that go through the net together: BATCH large ones, or as many small ones as weigh the same."""
    pixels = image_shape[1] * image_shape[2]
    return max(BATCH, BATCH * 64 * 64 // pixels * 4)


def segments(nodes, images, n):
    """(images at a time, nodes): the early, large steps take few images, so that what one step leaves is still in the
    cache when the next one reads it.  Segments meet only where a single result is alive."""
    parts, current = [], []
    for i, node in enumerate(nodes[1:], 1):
        current.append(node)
        alive = [a for a in nodes[1:i + 1] if any(a in b.inputs for b in nodes[i + 1:])]
        if alive == [node] or i == len(nodes) - 1:
            parts.append((min(_close(part, images, n) for part in current), current))
            current = []
    joined = []
    for count, part in parts:
        if joined and joined[-1][0] == count:
            joined[-1][1].extend(part)
        else:
            joined.append((count, list(part)))
    return joined


def _close(node, images, n) -> int:
    """How many images keep a step's inputs and output in the cache: a power of two, or all of them."""
    need = sum(images[a].nbytes for a in (node, *node.inputs))
    count = 1
    while count < n and 2 * count * need <= CLOSE:
        count *= 2
    return min(count, n)


def lifetimes(nodes, images, segments, n):
    """The life of every result, and the set of those kept for the whole batch."""
    order = {node: i for i, node in enumerate(nodes)}
    segment_of = {step.node: s for s, (_, steps) in enumerate(segments) for step in steps}
    bounds = [(order[steps[0].node], order[steps[-1].node]) for _, steps in segments]
    lives, whole = {}, {nodes[0]}
    for node in nodes[1:]:
        s = segment_of[node]
        readers = [other for other in nodes if node in other.inputs]
        outside = node is nodes[-1] or any(segment_of[other] != s for other in readers)
        birth, death = order[node], max((order[other] for other in readers), default=len(nodes))
        count = segments[s][0]
        if outside:                     # read or written while the other images of a segment pass
            whole.add(node)
            birth, count = bounds[s][0], n
            death = max((bounds[segment_of[other]][1] for other in readers), default=len(nodes))
        lives[node] = Life(images[node].nbytes * count, birth, death)
    return lives, whole
