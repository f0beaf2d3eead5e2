"""Which images are whose: all of them, each once, as evenly as can be."""

import numpy as np
import pytest

from npresnet.data import Preprocessing
from npresnet.data.batches import Batches
from npresnet.data.share import Share, portion

from ..support.drawn import drawn_source


@pytest.mark.parametrize("size", [1, 2, 3, 7])
@pytest.mark.parametrize("n", [0, 1, 5, 12])
def test_portions_follow_each_other_and_differ_by_one_at_most(n, size):
    cuts = [portion(n, rank, size) for rank in range(size)]
    assert [i for cut in cuts for i in range(cut.start, cut.stop)] == list(range(n))
    lengths = {cut.stop - cut.start for cut in cuts}
    assert max(lengths) - min(lengths) <= 1
    assert [cut.stop - cut.start for cut in cuts] == [len(part) for part in np.array_split(np.arange(n), size)]


@pytest.mark.parametrize("parts", [1, 2, 5])
@pytest.mark.parametrize("n", [1, 3, 12, 13])
def test_the_ranks_slices_of_each_part_make_the_part(n, parts):
    slices = [Share(rank, 3, parts).slices(n) for rank in range(3)]
    whole = [part for part in np.array_split(np.arange(n), parts) if len(part)]
    assert [len(own) for own in slices] == [len(whole)] * 3
    for k, part in enumerate(whole):
        assert [i for own in slices for i in range(own[k].start, own[k].stop)] == part.tolist()


@pytest.mark.parametrize("batch_size", [4, 13])
def test_the_ranks_batches_are_the_batch(batch_size):
    """Random numbers belong to the image, so that it is changed alike, whoever has it."""
    how = (drawn_source(15), Preprocessing(8, 8), batch_size, "crop-flip")
    whole = list(Batches(*how, seed=3).epoch(2))
    ranks = [Batches(*how, seed=3, share=Share(rank, 4)) for rank in range(4)]
    shares = [list(batches.epoch(2)) for batches in ranks]
    for step, batch in enumerate(whole):
        assert ranks[0].images_in(step) == len(batch.labels)
        np.testing.assert_array_equal(np.concatenate([share[step].x for share in shares]), batch.x)
        np.testing.assert_array_equal(np.concatenate([share[step].labels for share in shares]), batch.labels)
