"""bfloat16: rounding half to even, against its definition and PyTorch."""

import numpy as np

from npresnet.ops.bfloat16 import bfloat16_bits, from_bfloat16_bits
from tests.support import oracles


def test_every_bfloat16_is_itself():
    bits = np.arange(2**16, dtype=np.uint16)
    values = from_bfloat16_bits(bits)
    numbers = ~np.isnan(values)
    assert numbers.sum() == 2**16 - 2 * 127
    np.testing.assert_array_equal(bfloat16_bits(values[numbers]), bits[numbers])
    assert set(bfloat16_bits(values[~numbers])) == {0x7FC0}


def test_the_nearest_and_of_two_the_even_one():
    """Between two neighbours, every float32 near their middle and at their ends, over all exponents."""
    below = np.arange(0x7F7F, dtype=np.uint32)  # positive; the last one's neighbour is ∞
    for lower in (0x0001, 0x7FFF, 0x8000, 0x8001, 0xFFFF):
        x = (below << 16 | lower).view(np.float32)
        up = (lower > 0x8000) | ((lower == 0x8000) & (below % 2 == 1))
        for sign in (0, 0x8000):
            found = bfloat16_bits(-x if sign else x)
            np.testing.assert_array_equal(found, (below + up | sign).astype(np.uint16))


def test_beyond_the_last_number_is_infinity():
    largest = np.float32(3.3895314e38)
    assert bfloat16_bits(np.array([largest, np.finfo(np.float32).max, -np.inf])).tolist() == [0x7F7F, 0x7F80, 0xFF80]


def test_pytorch_rounds_alike():
    torch = oracles.torch()
    bits = np.random.default_rng(0).integers(0, 2**32, 100_000, dtype=np.uint32)
    x = bits.view(np.float32)
    x = x[~np.isnan(x)]
    theirs = torch.from_numpy(x).bfloat16().view(torch.int16).numpy().view(np.uint16)
    np.testing.assert_array_equal(bfloat16_bits(x), theirs)
    np.testing.assert_array_equal(from_bfloat16_bits(theirs), torch.from_numpy(x).bfloat16().float().numpy())


def test_neither_input_is_written_to():
    x = np.linspace(-3, 3, 7, dtype=np.float32)
    x.flags.writeable = False
    bits = bfloat16_bits(x)
    bits.flags.writeable = False
    assert from_bfloat16_bits(bits).shape == x.shape
