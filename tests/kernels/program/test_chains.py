"""Chains compute what the launches do one by one, whatever they share."""

import numpy as np
import pytest

pytest.importorskip("numba")

from npresnet.backend import use
from npresnet.kernels.cpu.codegen.vector import floats
from npresnet.kernels.cpu.program import entry_point as module
from npresnet.kernels.cpu.program.chains import Row, chained, parts
from npresnet.kernels.cpu.program.entry_point import Address, Shared, entry_point, run


def row(name, *spans, images=0):
    """A launch that touches these (first, last, shared); its kernel's address is its name."""
    return Row(name, 1, [], [(*span, False)[:3] for span in spans], images, 1 if images else 0, 0)


def order(*rows):
    return [[step.kernel for step in steps] for steps in chained(rows)]


A, B, C, D = (0, 8), (8, 16), (16, 24), (24, 32)


def test_launches_by_image_follow_each_other():
    assert order(row("a", A, B, images=4), row("b", B, C, images=4), row("c", C, D, images=4)) == [["a", "b", "c"]]
    assert order(row("a", A, images=4), row("b", A, images=3)) == [["a"], ["b"]]


def test_what_has_nothing_to_do_with_a_chain_runs_before_it():
    assert order(row("a", A, images=4), row("pack", D), row("b", A, B, images=4)) == [["pack"], ["a", "b"]]


def test_what_reads_a_chain_runs_behind_it_and_what_reads_that_begins_another():
    chain = row("a", A, images=4), row("sum", A, C), row("b", B, images=4), row("c", C, images=4)
    assert order(*chain) == [["a", "b"], ["sum"], ["c"]]
    assert order(*chain[:2], row("more", C, D), row("b", D, images=4)) == [["a"], ["sum"], ["more"], ["b"]]


def test_memory_that_overlaps_in_part_ends_a_chain():
    assert order(row("a", A, images=4), row("b", (4, 12), images=4)) == [["a"], ["b"]]


def test_what_all_images_share_is_not_written_image_by_image():
    weights = (*B, True)
    assert order(row("a", A, weights, images=4), row("b", C, weights, images=4)) == [["a", "b"]]
    assert order(row("a", A, weights, images=4), row("b", C, B, images=4)) == [["a"], ["b"]]


def test_random_launches_keep_the_order_of_whatever_they_share():
    rng = np.random.default_rng(0)
    for _ in range(300):
        rows = [
            row(k, *[(int(s), int(s) + int(rng.integers(1, 4))) for s in rng.integers(0, 12, 2)], images=int(n))
            for k, n in enumerate(rng.choice([0, 4, 4, 4, 3], 8))
        ]
        steps = order(*rows)
        place = {name: k for k, step in enumerate(steps) for name in step}
        assert sorted(place) == list(range(8))
        for first in range(8):
            for second in range(first + 1, 8):
                spans = [(a, b) for a in rows[first].spans for b in rows[second].spans]
                touching = [(a, b) for a, b in spans if not (a[1] <= b[0] or b[1] <= a[0])]
                if touching:
                    together = place[first] == place[second]
                    assert place[first] <= place[second]
                    assert not together or all(a == b for a, b in touching)
                    assert not together or steps[place[first]].index(first) < steps[place[first]].index(second)


@entry_point
def shifted(item, work, x: Address, n: int, shift: Shared, y: Address):
    """y = x + shift, an image of n floats an item."""
    for k in range(n):
        floats(y + (item * n + k) * 4, 1)[0] = floats(x + (item * n + k) * 4, 1)[0] + floats(shift, 1)[0]


@entry_point
def part_sums(part, work, x: Address, images: int, n: int, sums: Address):
    """The sum of a part of the images."""
    count, total = parts_of(images), 0.0
    for k in range(part * images // count * n, (part + 1) * images // count * n):
        total += floats(x + k * 4, 1)[0]
    floats(sums + part * 4, 1)[0] = total


parts_of = module.njit(lambda images: min(images, 32))


@pytest.mark.parametrize("images", [1, 2, 5, 32, 33, 100])
@pytest.mark.parametrize("threads", [1, 3])
def test_a_chain_runs_every_item_once(images, threads):
    x = np.arange(images * 6, dtype=np.float32)
    y, z, sums = np.empty_like(x), np.empty_like(x), np.empty(parts(images), np.float32)
    one, ten = np.ones(1, np.float32), np.full(1, 10, np.float32)
    with use("numba", threads=threads):
        run(
            shifted.by_image(images, 1, x, 6, one, y),
            shifted.by_image(images, 2, y, 3, ten, z),
            part_sums.by_part(images, z, images, 6, sums),
        )
    np.testing.assert_array_equal(z, x + 11)
    firsts = [p * images // parts(images) * 6 for p in range(parts(images))]
    np.testing.assert_array_equal(sums, np.add.reduceat(x + 11, firsts))
