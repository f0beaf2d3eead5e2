"""What keeps a reader within bounds: a cursor that cannot leave its bytes and a budget of memory."""

import struct

from .errors import WeightsError

FLOOR = 16 * 2**20  # a small file may always grow to this


class Budget:
    """The bytes that reading one file may still allocate.

    By default 16 MiB plus four times the file's real size: room for float16 widened to float32 and for a few tied
    arrays, and none for an archive that inflates a thousandfold or a stride of 0 that repeats one number for ever.
    """

    def __init__(self, file_bytes, max_bytes=None):
        self.left = self.total = FLOOR + 4 * file_bytes if max_bytes is None else max_bytes

    def spend(self, nbytes, what):
        if nbytes > self.left:
            raise WeightsError(
                f"{what} would take {nbytes:,} bytes, past the bound of {self.total:,} for this file; "
                "if you trust it, raise the bound with max_bytes=")
        self.left -= nbytes


class Stream:
    """A cursor over bytes.  Reading past the end is an error, never a short answer, and allocates nothing."""

    def __init__(self, data, position=0):
        self.data, self.position = memoryview(data), position

    def read(self, count):
        """The next ``count`` bytes, as a view."""
        end = self.position + count
        if count < 0 or end > len(self.data):
            raise WeightsError(f"truncated: {count:,} bytes wanted at offset {self.position:,} of {len(self.data):,}")
        view = self.data[self.position:end]
        self.position = end
        return view

    def peek(self, count):
        """As read, without moving on."""
        view = self.read(count)
        self.position -= count
        return view

    def unpack(self, layout):
        return struct.unpack(layout, self.read(struct.calcsize(layout)))

    def line(self, limit=1024):
        """The bytes up to the next newline, which is consumed and left out."""
        window = bytes(self.data[self.position:self.position + limit])
        length = window.find(b"\n")
        if length < 0:
            raise WeightsError(f"no line ends within {limit} bytes of offset {self.position:,}")
        self.position += length + 1
        return window[:length]


def natural(value, what):
    """``value`` as it is, if it is an integer of at least 0 (True and 3.0 are not)."""
    if type(value) is not int or value < 0:
        raise WeightsError(f"{what} must be an integer of at least 0")
    return value
