"""The official CIFAR archives, written here by hand in both versions."""

import bz2
import gzip
import io
import lzma
import pickle
import tarfile
import tracemalloc

import numpy as np
import pytest

from npresnet.data import ImageError, class_names
from npresnet.data.cifar import is_cifar, read_cifar
from npresnet.training import open_dataset

RNG = np.random.default_rng(0)
PIXELS = RNG.integers(0, 256, (6, 4, 3072)).astype(np.uint8)  # six batches of four images
LABELS = RNG.integers(0, 10, (6, 4))


def binary10():
    names = [f"data_batch_{k}.bin" for k in range(1, 6)] + ["test_batch.bin"]
    return {
        f"cifar-10-batches-bin/{name}": np.hstack([y[:, None].astype(np.uint8), x]).tobytes()
        for name, x, y in zip(names, PIXELS, LABELS)
    }


def binary100():
    def rows(part):
        x, y = PIXELS[part].reshape(-1, 3072), LABELS[part].reshape(-1, 1).astype(np.uint8)
        return np.hstack([y // 5, y + 50, x]).tobytes()

    return {"cifar-100-binary/train.bin": rows(slice(0, 5)), "cifar-100-binary/test.bin": rows(slice(5, 6))}


def python2(pixels, labels, key):
    """{"data": array, key: labels} as Python 2 pickled it: protocol 2, texts and bytes as byte strings."""

    def text(value):
        short = len(value) < 256
        return (b"U" + bytes([len(value)]) if short else b"T" + len(value).to_bytes(4, "little")) + value

    def number(value):
        return b"K" + bytes([value]) if value < 256 else b"M" + value.to_bytes(2, "little")

    dtype = (
        b"cnumpy\ndtype\n"
        + text(b"u1")
        + b"K\x00K\x01\x87R"
        + b"(K\x03"
        + text(b"|")
        + b"NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tb"
    )
    shape = b"".join(map(number, pixels.shape)) + b"\x86"
    array = (
        b"cnumpy.core.multiarray\n_reconstruct\ncnumpy\nndarray\nK\x00\x85"
        + text(b"b")
        + b"\x87R"
        + b"(K\x01"
        + shape
        + dtype
        + b"\x89"
        + text(pixels.tobytes())
        + b"tb"
    )
    listed = b"](" + b"".join(number(int(label)) for label in labels) + b"e"
    return b"\x80\x02}(" + text(b"data") + array + text(key) + listed + b"u."


def python10():
    names = [f"data_batch_{k}" for k in range(1, 6)] + ["test_batch"]
    return {f"cifar-10-batches-py/{name}": python2(x, y, b"labels") for name, x, y in zip(names, PIXELS, LABELS)}


def python100():
    return {
        "cifar-100-python/train": python2(PIXELS[:5].reshape(-1, 3072), LABELS[:5].ravel() + 50, b"fine_labels"),
        "cifar-100-python/test": python2(PIXELS[5], LABELS[5] + 50, b"fine_labels"),
    }


def as_tar(root, files, suffix=".tar.gz"):
    with tarfile.open(root / f"archive{suffix}", "w:gz" if suffix.endswith("gz") else "w") as archive:
        for name, content in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    return root / f"archive{suffix}"


def as_folder(root, files):
    for name, content in files.items():
        (root / name).parent.mkdir(exist_ok=True)
        (root / name).write_bytes(content)
    return (root / name).parent


MAKERS = {"cifar10": (binary10, python10), "cifar100": (binary100, python100)}


@pytest.mark.parametrize(
    "pack", [as_tar, lambda root, files: as_tar(root, files, ".tar"), as_folder], ids=["tar.gz", "tar", "folder"]
)
@pytest.mark.parametrize("version", [0, 1], ids=["binary", "python"])
@pytest.mark.parametrize("dataset", MAKERS)
def test_every_version_gives_the_same(dataset, version, pack, tmp_path):
    path = pack(tmp_path, MAKERS[dataset][version]())
    assert is_cifar(path)
    for part, chosen in (("train", slice(0, 5)), ("test", slice(5, 6))):
        pixels, labels, classes = read_cifar(path, part)
        expected = PIXELS[chosen].reshape(-1, 3, 32, 32).transpose(0, 2, 3, 1)
        np.testing.assert_array_equal(pixels, expected)
        np.testing.assert_array_equal(labels, LABELS[chosen].ravel() + (50 if dataset == "cifar100" else 0))
        assert classes == class_names(dataset) and labels.dtype == np.int64
    source, broken = open_dataset(path, "cifar10", part="test")
    assert len(source) == 4 and not broken


def test_what_numpy_pickles_today_is_read(tmp_path):
    files = {
        name: pickle.dumps({"data": x, "labels": y.tolist()}, protocol=4)
        for name, x, y in zip(python10(), PIXELS, LABELS)
    }
    pixels, labels, _ = read_cifar(as_folder(tmp_path, files), "train")
    np.testing.assert_array_equal(labels, LABELS[:5].ravel())
    np.testing.assert_array_equal(pixels[0], PIXELS[0, 0].reshape(3, 32, 32).transpose(1, 2, 0))


class Evil:
    def __reduce__(self):
        return print, ("executed",)


BAD = {
    "code": (pickle.dumps({"data": Evil(), "labels": [1]}), "refused global"),
    "short": (python2(PIXELS[0], LABELS[0][:2], b"labels"), "no array"),
    "floats": (pickle.dumps({"data": np.zeros((4, 3072)), "labels": [0] * 4}), "dtype"),
    "keyless": (python2(PIXELS[0], LABELS[0], b"fine_labels"), "no list of numbers"),
    "label": (python2(PIXELS[0], [1, 2, 3, 11], b"labels"), "labels outside"),
    "cut": (python2(PIXELS[0], LABELS[0], b"labels")[:-500], "damaged"),
    "empty": (b"", "damaged"),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_pickles_are_one_clear_error(case, tmp_path, capsys):
    content, message = BAD[case]
    files = {**python10(), "cifar-10-batches-py/data_batch_3": content}
    with pytest.raises(ImageError, match=message):
        read_cifar(as_folder(tmp_path, files))
    assert "executed" not in capsys.readouterr().out


def test_other_bad_archives(tmp_path):
    files = binary10()
    files["cifar-10-batches-bin/data_batch_2.bin"] += b"!"
    with pytest.raises(ImageError, match="whole number of records"):
        read_cifar(as_folder(tmp_path, files))
    whole = as_tar(tmp_path, python10())
    cut = tmp_path / "cut.tar.gz"
    cut.write_bytes(whole.read_bytes()[:40_000])
    with pytest.raises(ImageError, match=r"cut\.tar\.gz: damaged archive"):
        read_cifar(cut)
    others = as_tar(tmp_path, {"a/readme.txt": b"hello"}, ".tar")
    with pytest.raises(ImageError, match="none of the CIFAR archives"):
        read_cifar(others)
    (tmp_path / "other" / "train").mkdir(parents=True)
    assert not is_cifar(tmp_path / "other")  # a folder called train is no archive


# --- archives that cost more than they are ---------------------------------------------------------------------------


def header(kind, size, name="././@LongLink"):
    info = tarfile.TarInfo(name)
    info.type, info.size = kind, size
    return info.tobuf(tarfile.GNU_FORMAT)


COSTLY = {
    "a long name of gigabytes": header(tarfile.GNUTYPE_LONGNAME, 2 << 30) + bytes(4096),
    "a pax header of gigabytes": header(tarfile.XHDTYPE, 1 << 30, "x") + bytes(4096),
    "a global pax header of gigabytes": header(tarfile.XGLTYPE, 1 << 30, "x") + bytes(4096),
    "a member of gigabytes": header(tarfile.REGTYPE, 6 << 30, "data_batch_1.bin") + bytes(4096),
    "tens of thousands of members": header(tarfile.REGTYPE, 0, "a") * 30_000,
}


@pytest.mark.parametrize(
    "pack", [lambda data: data, gzip.compress, bz2.compress, lzma.compress], ids=["plain", "gz", "bz2", "xz"]
)
@pytest.mark.parametrize("name", COSTLY)
def test_an_archive_pays_for_what_it_unpacks_to(name, pack, tmp_path):
    path = tmp_path / "a.tar"
    path.write_bytes(pack(COSTLY[name]))
    assert is_cifar(path)
    tracemalloc.start()
    try:
        with pytest.raises(ImageError, match=r"in one piece|past the bound|too many steps"):
            read_cifar(path)
        assert tracemalloc.get_traced_memory()[1] < 2**26
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("pack", [gzip.compress, bz2.compress, lzma.compress], ids=["gz", "bz2", "xz"])
@pytest.mark.parametrize(
    "damage",
    [
        lambda data: data[: len(data) // 2],
        lambda data: data[: len(data) // 2] + b"\xff" * 99 + data[len(data) // 2 + 99 :],
    ],
    ids=["cut", "changed"],
)
def test_a_damaged_packing_is_one_clear_line(pack, damage, tmp_path):
    whole = as_tar(tmp_path, python10(), ".tar")
    path = tmp_path / "b.tar"
    path.write_bytes(damage(pack(whole.read_bytes())))
    words = r"damaged archive|none of the CIFAR archives|fetch the archive again"
    with pytest.raises(ImageError, match=words) as caught:
        read_cifar(path)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("tree", [5, [1], None, {b"\xff\xfe": 1}, {b"data": 5, b"labels": [0]}, {b"labels": [2**70]}])
def test_a_pickle_of_something_else_is_one_clear_line(tree, tmp_path):
    path = as_tar(tmp_path, {name: pickle.dumps(tree, 2) for name in python10()})
    with pytest.raises(ImageError, match="damaged archive"):
        read_cifar(path)


def test_reading_goes_forwards_however_the_members_lie(tmp_path):
    files = python10()
    turned = dict(reversed(files.items()))
    for one, other in zip(read_cifar(as_tar(tmp_path, files)), read_cifar(as_tar(tmp_path, turned, ".tar"))):
        np.testing.assert_array_equal(one, other)


def test_a_folder_of_both_archives_is_refused(tmp_path):
    for name in ("cifar-10-python.tar.gz", "cifar-100-python.tar.gz"):
        (tmp_path / name).write_bytes(b"")
    with pytest.raises(ImageError, match="name the one that is meant"):
        read_cifar(tmp_path)
