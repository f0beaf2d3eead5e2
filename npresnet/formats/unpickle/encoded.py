"""Bytes as Python 3 writes them in protocol 2: a call of _codecs.encode(text, "latin1"), a letter for each byte."""

from ..errors import WeightsError
from ..memory import read_through
from ..stream import Bytes
from .record import Record


class EncodedText(Record):
    """Such a text, long, of which no str is made: an array's bytes would be in memory three times."""

    __slots__ = ("content", "raw")

    def __init__(self, raw: Bytes):
        super().__init__("builtins.str", ())
        self.raw: Bytes = raw  # UTF-8
        self.content: bytes | None = None

    def __len__(self) -> int:
        """At least as many as the bytes that it stands for."""
        return len(self.raw)

    def encoded(self) -> bytes:
        """The bytes, made once; the text is given back where it lies in Pages."""
        if self.content is None:
            self.content = str(self.raw, "utf-8").encode("latin1")
            read_through(memoryview(self.raw))
        return self.content


def latin1_bytes(text, encoding="latin1"):
    """What _codecs.encode makes of a text."""
    if type(text) not in (str, EncodedText) or encoding not in ("latin1", "latin-1"):
        raise WeightsError("only latin1 text can become bytes")
    return text.encode("latin1") if type(text) is str else text.encoded()
