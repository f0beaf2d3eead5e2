"""What keeps a reader within bounds: a cursor that cannot leave its bytes, and a budget that pays for everything."""

import json
import struct

from . import limits
from .errors import WeightsError


class Budget(limits.Budget):
    """The bytes and the steps that reading one file of weights may still take; see npresnet.formats.limits."""

    error = WeightsError
    cure = "; if you trust it, raise the bound with max_bytes="


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
    """``value`` as it is, if it is an integer of at least 0 (True and 3.0 are not) that a file can mean."""
    if type(value) is not int or not 0 <= value < 2**63:
        raise WeightsError(f"{what} must be an integer of at least 0 and below 2⁶³")
    return value


def parse_json(text, what, budget=None, **options):
    """The value of a JSON document, str or bytes; paid for before it is parsed, by its own size where nobody else does.

    Every value stands behind one of ``[ { , :`` and takes at most 80 bytes of Python beside its text, an object's first
    member three times as much; a text takes up to four bytes a character.
    """
    marks = (b"[", b"{", b",", b":") if isinstance(text, bytes) else ("[", "{", ",", ":")
    budget = Budget(len(text)) if budget is None else budget
    budget.spend(80 * sum(map(text.count, marks)) + 4 * len(text), what)
    try:
        return json.loads(text, **options)
    except WeightsError:
        raise
    except (ValueError, RecursionError) as error:
        raise WeightsError(f"{what} is no JSON ({str(error)[:80]})") from error
