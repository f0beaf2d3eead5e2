"""Archives that lie about their members, in any of the places where a zip says the same thing twice."""

import struct
import zlib

import pytest

from ..support.pickles import central, end, local, program, pth, raw_zip, tensor

TREE = program({"w": tensor()})
DATA, PKL = "archive/data/0", "archive/data.pkl"
RAW = b"\0" * 16


def deflated(data):
    packer = zlib.compressobj(9, zlib.DEFLATED, -15)
    return packer.compress(data) + packer.flush()


def packed(data, **fields):
    """Fields of both headers for a deflated member."""
    both = {"packed": deflated(data), "method": 8, **fields}
    return {"in_local": {DATA: both}, "in_central": {DATA: both}}


def both(name=DATA, **fields):
    return {"in_local": {name: fields}, "in_central": {name: fields}}


def zip64(*values):
    return struct.pack(f"<2H{len(values)}Q", 1, 8 * len(values), *values)


FULL = {"size": 0xFFFFFFFF, "packed_size": 0xFFFFFFFF}  # the real sizes are in the zip64 field
ZEROS = b"\0" * (40 * 2**20)
CASES = {
    "bad checksum": pth(TREE, **both(crc=1)),
    "bad checksum of the pickle": pth(TREE, **both(PKL, crc=1)),
    "bad checksum in the directory": pth(TREE, in_central={DATA: {"crc": 1}}),
    "bad checksum in the header": pth(TREE, in_local={DATA: {"crc": 1}}),
    "size too small": pth(TREE, **both(size=8)),
    "size too large": pth(TREE, **both(size=32)),
    "packed size too large": pth(TREE, **both(packed_size=32)),
    "packed size huge": pth(TREE, **both(packed_size=0xFFFFFFFE, size=0xFFFFFFFE)),
    "packed size too small": pth(TREE, **both(packed_size=8)),
    "sizes disagree": pth(TREE, in_local={DATA: {"size": 8, "packed_size": 8}}),
    "names disagree": pth(TREE).replace(DATA.encode(), b"archive/data/1", 1),
    "methods disagree": pth(TREE, in_local={DATA: {"method": 8}}),
    "flags disagree": pth(TREE, in_local={DATA: {"flags": 1}}),
    "encrypted": pth(TREE, **both(flags=1)),
    "strongly encrypted": pth(TREE, **both(flags=0x41)),
    "bzip2": pth(TREE, **both(method=12)),
    "lzma": pth(TREE, **both(method=14)),
    "a deflate bomb": pth(TREE, data=(("0", ZEROS),), **packed(ZEROS)),
    "a deflate bomb that says it is small": pth(TREE, **packed(ZEROS, size=16, crc=zlib.crc32(RAW))),
    "a deflate bomb that says it is huge": pth(TREE, **packed(RAW, size=0xFFFFFFFE)),
    "deflate data behind the end": pth(TREE, **packed(RAW, packed=deflated(RAW) + b"more")),
    "broken deflate": pth(TREE, **packed(RAW, packed=b"\xff" * 20)),
    "truncated deflate": pth(TREE, **packed(RAW, packed=deflated(RAW)[:-2])),
    "a duplicate": raw_zip([(PKL, TREE), (DATA, RAW), (DATA, b"\1" * 16)]),
    "a duplicate pickle": raw_zip([(PKL, TREE), (PKL, program(1)), (DATA, RAW)]),
    "two pickles": raw_zip([(PKL, TREE), ("other/data.pkl", TREE), (DATA, RAW)]),
    "a pickle too deep": raw_zip([("a/b/data.pkl", TREE)]),
    "an absolute name": raw_zip([("/data.pkl", TREE), ("/data/0", RAW)]),
    "a climbing name": raw_zip([("../data.pkl", TREE), ("../data/0", RAW)]),
    "a name with a zero": raw_zip([("archive/data.pkl\0.txt", TREE)]),
    "a name in bad utf-8": pth(TREE).replace(b"archive/version", b"archive/versio\xff"),
    "an unknown byte order": raw_zip([(PKL, TREE), ("archive/byteorder", b"middle"), (DATA, RAW)]),
    "fewer entries than members": pth(TREE, entries=2),
    "more entries than members": pth(TREE, entries=9),
    "bytes behind the end": pth(TREE, behind=b"PK"),
    "no directory": b"PK\3\4" + b"\0" * 100,
    "an empty archive": end(0, 0, 0),
    "no member": b"PK\3\4" + b"\0" * 26 + end(0, 0, 30),
    "neither pickle nor npy": raw_zip([("a.txt", b"hello")]),
    "a keras archive": raw_zip([("config.json", b"{}"), ("model.weights.h5", b"\x89HDF")]),
    "zip64 sizes missing": pth(TREE, **both(**FULL)),
    "zip64 sizes huge": pth(TREE, **both(**FULL, extra=zip64(2**60, 2**60))),
    "zip64 sizes that wrap": pth(TREE, **both(**FULL, extra=zip64(2**64 - 1, 2**64 - 1))),
    "zip64 field too short": pth(TREE, **both(**FULL, extra=zip64(16))),
    "zip64 field that lies about its length": pth(TREE, **both(size=0xFFFFFFFF, extra=b"\1\0\xff\xff" + b"\0" * 8)),
}


def overlapping():
    """Two entries of the directory point at one local header (the quoted-overlap bomb in its simplest form)."""
    one, two = local(PKL.encode(), TREE), local(DATA.encode(), RAW)
    body = one + two
    directory = central(PKL.encode(), TREE, 0) + central(DATA.encode(), RAW, len(one)) * 1
    inner = central(b"archive/data/1", RAW, len(one))
    return body + directory + inner + end(3, len(directory) + len(inner), len(body))


def quoted():
    """A member whose data contain the local header of the next."""
    inner = local(DATA.encode(), RAW)
    outer = local(b"archive/x", inner)
    at = len(outer) - len(inner)
    head = local(PKL.encode(), TREE)
    directory = (
        central(PKL.encode(), TREE, 0)
        + central(b"archive/x", inner, len(head))
        + central(DATA.encode(), RAW, len(head) + at)
    )
    return head + outer + directory + end(3, len(directory), len(head) + len(outer))


def zip64_end(record_at=None, **fields):
    """An archive with a zip64 end record; consistent unless arguments say otherwise."""
    archive = pth(TREE)
    honest = dict(zip(("count", "size", "start"), struct.unpack("<H2L", archive[-12:-2])))
    count, size, start = (honest | fields).values()
    at = len(archive) - 22
    record = struct.pack("<4sQ2H2L4Q", b"PK\6\6", 44, 45, 45, 0, 0, count, count, size, start)
    locator = struct.pack("<4sLQL", b"PK\6\7", 0, at if record_at is None else record_at, 1)
    return archive[:-22] + record + locator + archive[-22:]


CASES |= {
    "overlapping members": overlapping(),
    "quoted members": quoted(),
    "zip64 end with a huge count": zip64_end(count=2**62),
    "zip64 end with a huge size": zip64_end(size=2**62),
    "zip64 end with a huge start": zip64_end(start=2**63),
    "zip64 end somewhere else": zip64_end(record_at=2**62),
    "zip64 end in the middle": zip64_end(record_at=3),
}


@pytest.mark.parametrize("name", CASES)
def test_an_archive_that_lies_is_refused(name, refused):
    refused(CASES[name])


def test_an_honest_archive_of_the_same_maker_is_read(tmp_path):
    from npresnet.weights import read_weights

    for number, data in enumerate([pth(TREE), zip64_end(), pth(TREE, **packed(RAW)), pth(TREE, **both(flags=0x800))]):
        path = tmp_path / f"{number}.pth"
        path.write_bytes(data)
        assert read_weights(path)["w"].tolist() == [[0, 0], [0, 0]]


def test_every_prefix_is_refused(tmp_path):
    from npresnet.weights import WeightsError, read_weights

    data, path = pth(TREE), tmp_path / "cut.pth"
    for length in range(len(data)):
        path.write_bytes(data[:length])
        with pytest.raises(WeightsError):
            read_weights(path)


def test_a_million_tiny_entries_take_bounded_time_and_memory(refused):
    count = 60_000
    directory = b"".join(central(b"%07d" % i, b"", 0) for i in range(count))
    refused(b"PK\3\4" + b"\0" * 26 + directory + end(count, len(directory), 30))
