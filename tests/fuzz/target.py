"""What a fuzzed input meets: the readers, from its first byte to the recognised network, under watch.

Allowed are arrays within the bound or a WeightsError in good time; anything else is a Finding.
"""

import io
import lzma
import struct
import sys
import tarfile
import time
import tracemalloc
import zlib

import numpy as np

import npresnet.data.preprocessing  # noqa: F401    # what recognising imports when an input first asks for it
from npresnet.data import ImageError, cifar, images
from npresnet.formats.errors import error_context
from npresnet.formats.limits import IMAGE_FLOOR
from npresnet.formats.stream import Budget, parse_json
from npresnet.formats.zip_archive import ZipArchive
from npresnet.quantized import file as quantized
from npresnet.weights import WeightsError, folder, recognise
from npresnet.weights.read import read_memory

SECONDS = 2.0
SAMPLED = 64  # every so many inputs, the memory is traced; the limit on the address space holds for each
EVENTS = (
    "open",
    "exec",
    "compile",
    "import",
    "os.",
    "subprocess.",
    "pickle.",
    "marshal.",
    "socket.",
    "shutil.",
    "ctypes.",
    "tempfile.",
    "urllib.",
    "code.",
)
DAMAGE = (
    KeyError,
    IndexError,
    TypeError,
    ValueError,
    OverflowError,
    struct.error,
    zlib.error,
    OSError,
    EOFError,
    RuntimeError,
    tarfile.TarError,
    lzma.LZMAError,
)  # what damaged bytes may raise inside; NameError,
#                                                            AttributeError, MemoryError … would be ours


class Finding(AssertionError):
    """An input does what no input may."""


class Watch:
    """An audit hook: what the interpreter did on behalf of the input."""

    def __init__(self):
        self.on, self.seen, self.count = False, [], 0
        sys.addaudithook(self.hook)

    def hook(self, event, args):
        if self.on and event.startswith(EVENTS):
            self.seen.append(f"{event} {str(args)[:200]}")


def read(data):
    """What read_weights does with a file's bytes, and load_model with the result: the checkpoint, or None."""
    try:
        with error_context("input"):
            found = read_memory(memoryview(data), Budget(len(data)))
    except WeightsError as error:
        check_error(error)
        return None
    for array in found.values():
        if type(array) is not np.ndarray or not array.flags.c_contiguous or not array.dtype.isnative:
            raise Finding(f"no plain array: {type(array)}")
        if not array.flags.writeable:
            raise Finding("an array is a view of the input")
    return recognised(found)


def recognised(found):
    """The checkpoint, whether or not its network is one of the family."""
    try:
        recognise(found)
    except WeightsError as error:
        check_error(error)
    return found


def read_folder(data):
    """What read_weights and load_model do with a folder, whose files are a zip's members here: the arrays or None."""
    try:
        with error_context("input"):
            budget = Budget(len(data))
            archive = ZipArchive(memoryview(data), budget)
            for name in folder.INDICES:
                if name in archive:
                    return folder.weight_map(parse_json(bytes(archive.read(name)), "the index"))
            found = read_memory(archive.read("model.safetensors"), budget)
            found.metadata |= {name: str(archive.read(name), "utf-8") for name in folder.CONFIGS if name in archive}
    except WeightsError as error:
        check_error(error)
        return None
    return recognised(found)


def read_quantized(data):
    """What load_quantized does with a file's bytes: the network or None."""
    try:
        with error_context("input"):
            return quantized.network_in(memoryview(data))
    except WeightsError as error:
        check_error(error)
        return None


def read_images(data):
    """What read_image does with a file's bytes: the image or None."""
    try:
        return images.read_image(io.BytesIO(data))
    except ImageError as error:
        check_error(error, anything=True)  # Pillow has no one type for bad bytes
        return None


def read_cifar(data):
    """What train --data does with an archive's bytes: the arrays or None."""
    try:
        return cifar.read_archive(io.BytesIO(data), "input")
    except ImageError as error:
        check_error(error)
        return None


READERS = {  # name: which seeds, and what reads them
    "torch-zip": ("torch-zip-*", read),
    "torch-legacy": ("torch-legacy-*", read),
    "torch-tar": ("torch-tar-*", read),
    "pickle": ("pickle-*", read),
    "archive": ("archive-*", read),
    "export": ("export-*", read),
    "mxnet": ("mxnet*", read),
    "msgpack": ("msgpack*", read),
    "safetensors": ("safetensors-*", read),
    "npz": ("npz*", read),
    "hdf5": ("keras-*h5", read),
    "keras": ("keras-[gz]*", read),
    "onnx": ("onnx-*", read),
    "network": ("network-*", read),
    "folder": ("folder-*", read_folder),
    "quantized": ("quantized-*", read_quantized),
    "weights": ("[!cfi]*", read),
    "cifar": ("cifar-*", read_cifar),
    "images": ("image-*", read_images),
}


def check_error(error, anything=False):
    """A WeightsError may stand for damage, not for a mistake of the reader, and takes one line."""
    if error.__cause__ is not None and not anything and not isinstance(error.__cause__, DAMAGE):
        raise Finding(f"not damage but a mistake: {error}") from error.__cause__
    if "\n" in str(error) or len(str(error)) > 1000:
        raise Finding(f"not one short line: {error}")


def bound(size):
    """What the docstrings of read_weights and unpickle promise for an input of ``size`` bytes; for all but the smallest
    that is more than what whole networks keep within, 64 MiB and one and a half times the file, which holds then."""
    return min(16 * 2**20 + 4 * size + 512 * size + 4 * size + 2**20, 64 * 2**20 + 3 * size // 2)


def watched(data, watch, reader=None):
    """read(data), and a Finding for time, memory or events that it must not cause; the checkpoint or None."""
    reader = reader or read
    watch.count += 1
    sampled = watch.count % SAMPLED == 0
    if sampled:
        tracemalloc.start()
    start, watch.on = time.process_time(), True
    try:
        found = reader(data)
    finally:
        watch.on, seconds = False, time.process_time() - start
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
    if watch.seen:
        raise Finding(f"the input caused {watch.seen}")
    if seconds > SECONDS * (4 if sampled else 1):
        raise Finding(f"took {seconds:.1f} s")
    if peak > bound(len(data)) + (0 if reader is read else IMAGE_FLOOR):
        raise Finding(f"took {peak:,} bytes")
    return found
