"""A cursor that cannot leave its bytes, the budget of a file of weights, and JSON that is paid for.

Reading past the end, JSON that is damaged or nested without end, and whatever goes past the budget are refused.
"""

import json
import struct
from typing import Any

from . import limits
from .errors import WeightsError

Bytes = bytes | bytearray | memoryview


class Budget(limits.Budget):
    """The bytes and the steps that reading one file of weights may still take; see npresnet.formats.limits."""

    error = WeightsError
    cure = "; if you trust it, raise the bound with max_bytes="


class Stream:
    """A cursor over bytes.  Reading past the end is an error, never a short answer, and allocates nothing."""

    def __init__(self, data: Bytes, position: int = 0):
        self.data, self.position = memoryview(data), position

    def read(self, count: int) -> memoryview:
        """The next ``count`` bytes, as a view."""
        end = self.position + count
        if count < 0 or end > len(self.data):
            raise WeightsError(f"truncated: {count:,} bytes wanted at offset {self.position:,} of {len(self.data):,}")
        view = self.data[self.position : end]
        self.position = end
        return view

    def peek(self, count: int) -> memoryview:
        """As read, without moving on."""
        view = self.read(count)
        self.position -= count
        return view

    def unpack(self, layout: str) -> tuple[Any, ...]:
        """The values of a layout of the module struct."""
        return struct.unpack(layout, self.read(struct.calcsize(layout)))

    def line(self, limit: int = 1024) -> bytes:
        """The bytes up to the next newline, which is consumed and left out."""
        size = min(limit, 1024)
        while (length := bytes(self.data[self.position : self.position + size]).find(b"\n")) < 0:
            if size >= min(limit, len(self.data) - self.position):
                raise WeightsError(f"no line ends within {limit:,} bytes of offset {self.position:,}")
            size = min(limit, 4 * size)
        window = bytes(self.data[self.position : self.position + length])
        self.position += length + 1
        return window


def non_negative(value: Any, what: str) -> int:
    """``value`` as it is, if it is an integer of at least 0 and below 2⁶³ (True and 3.0 are not)."""
    if type(value) is not int or not 0 <= value < 2**63:
        raise WeightsError(f"{what} must be an integer of at least 0 and below 2⁶³")
    return value


def parse_json(text: str | bytes, what: str, budget: limits.Budget | None = None, **options: Any) -> Any:
    """The value of a JSON document; paid for before it is parsed, from a budget of its own size where none is given.

    Every value stands behind one of ``[ { , :`` and takes at most 80 bytes of Python beside its text, an object's first
    member three times as much; a text takes up to four bytes a character.
    """
    count: Any = text.count  # of bytes in bytes, of str in str
    marks = sum(map(count, (b"[", b"{", b",", b":") if isinstance(text, bytes) else "[{,:"))
    budget = Budget(len(text)) if budget is None else budget
    budget.spend(80 * marks + 4 * len(text), what)
    try:
        # as bytes it would be of any encoding, which Python may have to import first
        text = text if isinstance(text, str) else str(text, "utf-8").removeprefix("\ufeff")
        return json.loads(text, **options)
    except WeightsError:
        raise
    except (ValueError, RecursionError) as error:
        raise WeightsError(f"{what} is no JSON ({str(error)[:80]})") from error
