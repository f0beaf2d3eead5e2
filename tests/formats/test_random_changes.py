"""Thousands of damaged files: whatever byte is hit, the answer is arrays or a WeightsError, and nothing else."""

import json
import random
import struct

import numpy as np
import pytest

from npresnet.weights import Checkpoint, WeightsError, read_weights

from ..support.hostile import BUGS
from ..support.pickles import legacy, program, pth, storage, tensor, value

TREE = program({"state_dict": {"module.a": tensor(), "module.b": tensor(size=(4,), stride=(1,))}, "epoch": 3})
OLD_TREE = TREE.replace(storage(), storage(view=(None,)))
SAFE = json.dumps({"a": {"dtype": "F32", "shape": [2, 2], "data_offsets": [0, 16]}}).encode()


def tar_file():
    from .test_hostile_others import old

    return old()


def npz_file():
    import io

    buffer = io.BytesIO()
    np.savez_compressed(buffer, a=np.arange(4.0), b=np.float16(3))
    return buffer.getvalue()


FILES = {
    "zip": pth(TREE),
    "legacy": legacy(OLD_TREE),
    "tar": tar_file(),
    "safetensors": struct.pack("<Q", len(SAFE)) + SAFE + b"\0" * 16,
    "npz": npz_file(),
}


def damaged(data, rng):
    """A byte changed, a bit flipped, a piece cut out, doubled or overwritten: one to four times."""
    data = bytearray(data)
    for _ in range(rng.randint(1, 4)):
        at, span = rng.randrange(len(data)), rng.randint(1, 9)
        change = rng.randrange(5)
        if change == 0:
            data[at] = rng.randrange(256)
        elif change == 1:
            data[at] ^= 1 << rng.randrange(8)
        elif change == 2:
            del data[at : at + span]
        elif change == 3:
            data[at:at] = data[at : at + span]
        else:
            data[at : at + span] = rng.choice([b"\xff", b"\0", b"\x7f", b"9", b"("]) * span
        data = data or bytearray(b"\0")
    return bytes(data)


@pytest.mark.parametrize("name", FILES)
def test_damage_gives_arrays_or_a_weights_error(name, tmp_path):
    rng, path, outcomes = random.Random(name), tmp_path / "file", {"arrays": 0, "errors": 0}
    path.write_bytes(FILES[name])
    assert len(read_weights(path)) in (1, 2)
    for _ in range(1000):
        path.write_bytes(damaged(FILES[name], rng))
        try:
            found = read_weights(path)
        except WeightsError as error:
            assert "\n" not in str(error) and not any(bug in str(error) for bug in BUGS)
            outcomes["errors"] += 1
        else:
            assert isinstance(found, Checkpoint) and all(type(array) is np.ndarray for array in found.values())
            outcomes["arrays"] += 1
    assert outcomes["errors"] > 200


@pytest.mark.parametrize("seed", range(3))
def test_random_programs_give_arrays_or_a_weights_error(seed, tmp_path):
    """Pickles of random opcodes, biased towards those that mean something."""
    rng, path = random.Random(seed), tmp_path / "file"
    pieces = [
        tensor(),
        storage(),
        *map(value, (1, "state_dict", (1, 2), [1], {"a": 1})),
        b"q\0",
        b"h\0",
        b"ccollections\nOrderedDict\n",
        b"ctorch.nn.parameter\nParameter\n",
        *(bytes([code]) for code in b"(tusaeRb02}])NQ\x81\x85\x86\x8f\x90\x94"),
    ]
    refusals = 0
    for _ in range(1000):
        path.write_bytes(pth(b"\x80\x02" + b"".join(rng.choices(pieces, k=rng.randint(1, 40))) + b"."))
        try:
            read_weights(path)
        except WeightsError as error:
            assert not any(bug in str(error) for bug in BUGS)
            refusals += 1
    assert refusals > 900
