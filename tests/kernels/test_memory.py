"""Blocks of memory that are used again, and given back."""

import pytest

memory = pytest.importorskip("npresnet.kernels.cpu.memory")


def test_a_block_comes_again_once_the_last_view_is_gone_and_not_after_it_is_given_back():
    shape = (3, 12345)                                       # a size that nothing else asks for
    first = memory.empty(shape)
    at, view = first.ctypes.data, first[1:]
    del first
    assert memory.empty(shape).ctypes.data != at             # the view still sees the block
    del view
    blocks = [size for size, free in memory._free.items() if any(address == at for _, _, address in free)]
    assert len(blocks) == 1
    memory.give_back()
    assert not memory._free
