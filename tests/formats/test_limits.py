"""What a file may cost, and that everything that parses one pays for it in the one place that decides."""

import ast
import io
import os
import re
import sys
import time
from importlib import import_module
from pathlib import Path

import pytest

import npresnet
from npresnet.data import ImageError, ImageFolder
from npresnet.data.images import read_image
from npresnet.formats import limits
from npresnet.formats.hdf5.tree import natural_order
from npresnet.formats.stream import Budget, parse_json
from npresnet.weights import WeightsError, read_weights
from npresnet.weights.match.names import MOST

ROOT = Path(npresnet.__file__).parent
READERS = [path for folder in ("formats", "weights", "data") for path in ROOT.glob(f"{folder}/**/*.py")]
LONG = 20_000


def calls(path):
    """(dotted name, the call) of each call in a file."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Call):
            yield ast.unparse(node.func), node


def test_only_one_place_opens_foreign_files_or_parses_json():
    allowed = {
        "limits.py": {"open"},
        "stream.py": {"json.loads"},
        "metadata.py": {"json.loads"},
        "atomic.py": {"open"},
        "partial_file.py": {"open"},
        "memory.py": {"mmap.mmap"},
    }  # what is written; memory without a file
    for path in READERS:
        found = {name for name, _ in calls(path)} & {
            "open",
            "io.open",
            "json.loads",
            "json.load",
            "mmap.mmap",
            "tarfile.is_tarfile",
            "np.load",
            "pickle.load",
            "pickle.loads",
        }
        assert found <= allowed.get(path.name, set()), f"{path.name}: {found}"


TAILED = {"GATE", "NO_CLASSIFIER", "CONTRASTIVE", "AVERAGES", "RELATIVES", "NECK", "COUNTER", "GROUP", "CAFFE"}


def patterns():
    """(file, how it is used, pattern, letters of text) of every regular expression of the readers.

    Those in ``TAILED`` look at the end of a name alone (weights/match/names.py, tail()).
    """
    for path in READERS:
        module = import_module(".".join(path.relative_to(ROOT.parent).with_suffix("").parts).removesuffix(".__init__"))
        for name, value in vars(module).items():
            compiled = value.values() if name in TAILED and isinstance(value, dict) else [value]
            for pattern in compiled:
                text = pattern.pattern if isinstance(pattern, re.Pattern) else pattern if name in TAILED else None
                if text is not None and module.__name__.startswith("npresnet"):
                    use = "search" if name in TAILED else "sub" if path.parent.name == "match" else "fullmatch"
                    yield path.name, use, text, MOST if name in TAILED else LONG
        for name, node in calls(path):
            if name in ("re.sub", "re.match", "re.search", "re.fullmatch") and isinstance(node.args[0], ast.Constant):
                yield path.name, name[3:], node.args[0].value, LONG


def pumped(pattern, letters_of_text):
    """Long texts of a pattern's own letters, with an end that does not fit."""
    letters = sorted(set(re.sub(r"\\.|[^\w./:, -]", "", pattern)) | set("0a._-/"))
    for unit in [*letters, "0.", "0,", "a/", "/0", "-0"]:
        yield unit * (letters_of_text // len(unit)) + "\0!"


@pytest.mark.parametrize("file, use, pattern, length", sorted(set(patterns()), key=str))
def test_no_regular_expression_takes_more_than_linear_time(file, use, pattern, length):
    """20,000 letters, squared, would be seconds for each of the texts."""
    compiled, raw = re.compile(pattern), isinstance(pattern, bytes)
    for text in pumped(pattern.decode("latin-1") if raw else pattern, length):
        text = text.encode("latin-1") if raw else text
        start = time.process_time()
        compiled.sub(text[:0], text) if use == "sub" else getattr(compiled, use)(text)
        assert time.process_time() - start < 1, text[:20]


def test_the_natural_order_of_names_needs_no_regular_expression():
    slow = re.compile(r"(.*?)_?(\d*)", re.DOTALL)
    for name in ("conv", "conv_2", "conv2d_10", "12", "_12", "a__1", "a_1_2", "1a", "", "_", "a\n3"):
        stem, number = slow.fullmatch(name).groups()
        assert natural_order(name) == (stem, int(number or -1), name)
    assert natural_order("1" * 1_000_000 + "a")[1] == -1


def test_a_budget_pays_for_bytes_and_for_steps():
    budget = Budget(1000)
    budget.spend(limits.FLOOR + 4000, "all of it")
    with pytest.raises(WeightsError, match=r"one more would take 1 bytes, past the bound of 16,781,216 for this file"):
        budget.spend(1, "one more")
    with pytest.raises(WeightsError, match="more than 2⁶³"):
        budget.spend(10**5000, "nothing that a file could mean")
    budget.step(limits.STEPS + 1000 // 64, "it")
    with pytest.raises(WeightsError, match="it takes too many steps"):
        budget.step(1, "it")
    assert Budget(2**30).steps > 16 * limits.STEPS and Budget(10, max_bytes=7).left == 7


def test_integer_keys_cost_what_they_may_collide():
    assert limits.collisions(10) == 0 and limits.collisions(1000) < 2000
    one_by_one = sum(limits.collisions(1, present) for present in range(20_000))
    assert one_by_one == pytest.approx(limits.collisions(20_000), rel=0.05)
    assert limits.collisions(30_000) > limits.STEPS > limits.collisions(20_000)


@pytest.mark.parametrize("text", ["[" + "[]," * 10**6 + "[]]", "[" + "{}," * 10**6 + "{}]", '{"":' * 300_000])
def test_json_is_paid_for_before_it_is_parsed(text):
    with pytest.raises(WeightsError, match=r"the document would take .* bytes"):
        parse_json(text, "the document")


@pytest.mark.parametrize("text", ["", "[", "9" * 5000, "[" * 10_000, "nope", b"\xff", '{"a": 1e}'])
def test_what_is_no_json_is_one_short_line(text):
    with pytest.raises(WeightsError, match="is no JSON") as caught:
        parse_json(text, "the document")
    assert len(str(caught.value)) < 200 and "\n" not in str(caught.value)
    assert parse_json('{"a": [1, "b"]}', "it") == {"a": [1, "b"]}


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no named pipes here")
def test_pipes_and_devices_are_no_files(tmp_path):
    pipe = tmp_path / "cat" / "x.png"
    pipe.parent.mkdir()
    os.mkfifo(pipe)
    for path in (pipe, "/dev/zero"):
        with pytest.raises(WeightsError, match=r"is a pipe or a device, not a regular file; .*'-'"):
            read_weights(path)
        with pytest.raises(OSError, match="is a pipe or a device"):
            read_image(path)
    with pytest.raises(OSError, match="is a pipe or a device"):
        ImageFolder(tmp_path).open(0)


def test_a_hyphen_is_standard_input(monkeypatch):
    class Input:
        buffer = io.BytesIO((ROOT.parent / "notebooks/images/im2col.png").read_bytes())

    monkeypatch.setattr(sys, "stdin", Input)
    assert read_image("-").width > 100
    with pytest.raises(WeightsError, match="-: the file is empty"):
        read_weights("-")
    Input.buffer = io.BytesIO(next((ROOT.parent / "tests/fuzz/corpus").glob("npz")).read_bytes())
    assert "conv1.weight" in read_weights("-")


def png(width, height):
    """The head of a PNG that claims a size."""
    import struct
    import zlib

    head = b"IHDR" + struct.pack(">2I5B", width, height, 1, 0, 0, 0, 0)
    body = b"IDAT" + zlib.compress(b"\0" * 100)
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(part) - 4) + part + struct.pack(">I", zlib.crc32(part)) for part in (head, body, b"IEND")
    )


@pytest.mark.parametrize(
    "width, height, words",
    [
        (1, 80_000_000, "too long and thin"),
        (70_000, 300, "too long and thin"),
        (9000, 9000, "past the bound"),
        (30_000, 30_000, "refused as a decompression bomb|past the bound"),
        (0, 5, "broken|not an image"),
    ],
)
@pytest.mark.filterwarnings("ignore:Image size")
def test_an_image_is_paid_for_by_the_size_that_its_header_tells(width, height, words):
    with pytest.raises(ImageError, match=words):
        read_image(io.BytesIO(png(width, height)))


def test_a_photograph_of_a_hundred_million_pixels_may_cost_what_it_takes():
    budget = limits.Budget(12_000_000, floor=limits.IMAGE_FLOOR, per_byte=limits.IMAGE_BYTES)
    budget.spend(limits.PIXEL_BYTES * 102_000_000, "a photograph of 12 MB")
    assert budget.left > 0
