"""The images that a person names: in which order they come, what is left out, and which errors come first."""

import io
import os
import sys
import zipfile
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image

from npresnet.data import ImageError, read_image
from npresnet.data.image_source import ImageSource


@pytest.fixture
def photos(tmp_path, monkeypatch):
    """photos/ with three images, each of its own grey value, a hidden one and a text; and a zip of it."""
    monkeypatch.chdir(tmp_path)
    for k, name in enumerate(["b.png", "a/c.jpg", "a/A.BMP", ".hidden/d.png"]):
        (tmp_path / "photos" / name).parent.mkdir(parents=True, exist_ok=True)
        Image.new("L", (8, 8), 10 * k).save(tmp_path / "photos" / name)
    (tmp_path / "photos/notes.txt").write_text("no image")
    with zipfile.ZipFile("photos.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        for file in sorted((tmp_path / "photos").rglob("*.*")):
            if file.is_file():
                archive.write(file, file.relative_to(tmp_path))
    return tmp_path


def found(*paths):
    """(name, grey value) of each image, and the source."""
    source = ImageSource([str(path) for path in paths])
    return [(item.name, round(np.asarray(read_image(item.open())).mean() / 10)) for item in source], source


IN_FOLDER = [("photos/a/A.BMP", 2), ("photos/a/c.jpg", 1), ("photos/b.png", 0)]


def test_a_folder_is_walked_in_sorted_order(photos):
    images, source = found("photos")
    assert images == IN_FOLDER and source.count == 3
    assert source.notes == ["photos: 2 of 5 files left out, hidden or without an image's suffix"]


def test_a_zip_is_read_member_by_member(photos):
    images, source = found("photos.zip")
    assert images == [(f"photos.zip/{name}", value) for name, value in IN_FOLDER]
    assert source.count == 3 and "photos.zip: 2 of 5 files left out" in source.notes[0]


@pytest.mark.parametrize(
    ("pattern", "names"),
    [
        ("photos/*.png", ["photos/b.png"]),
        ("photos/**/*.jpg", ["photos/a/c.jpg"]),
        ("photos/*/*", ["photos/a/A.BMP", "photos/a/c.jpg"]),
        ("../{here}/photos/?.png", ["../{here}/photos/b.png"]),
    ],
)
def test_patterns(photos, pattern, names):
    images, source = found(pattern.format(here=photos.name))
    assert [name for name, _ in images] == [name.format(here=photos.name) for name in names]
    assert source.count == len(names)


def test_several_paths_in_the_order_given(photos):
    images, source = found("photos/b.png", "photos/a", "photos/b.png")
    assert images == [IN_FOLDER[2], *IN_FOLDER[:2], IN_FOLDER[2]] and source.count == 4


def test_a_file_whose_name_looks_like_a_pattern_is_a_file(photos):
    os.rename("photos/b.png", "photos/[b].png")
    assert [name for name, _ in found("photos/[b].png")[0]] == ["photos/[b].png"]


@pytest.mark.parametrize(
    ("path", "error", "message"),
    [
        ("none.png", FileNotFoundError, "none.png"),
        ("none/*.png", ImageError, "none/\\*.png: no images here"),
        ("photos/*.txt", ImageError, "no images here, among 1 files"),
        ("broken.zip", ImageError, "neither a folder nor a zip"),
        ("dangling.png", FileNotFoundError, "dangling.png"),
        ("empty", ImageError, "empty: no images here"),
    ],
)
def test_what_is_not_there_is_an_error_before_the_first_image(photos, path, error, message):
    (photos / "broken.zip").write_bytes(b"PK")
    (photos / "dangling.png").symlink_to("nowhere")
    (photos / "empty").mkdir()
    with pytest.raises(error, match=message):
        ImageSource(["photos", path])


def test_a_pipe_is_refused_without_waiting_for_it(photos):
    os.mkfifo("pipe.png")
    with pytest.raises(OSError, match="pipe or a device"):
        ImageSource(["pipe.png"])


class Standard(io.BytesIO):
    """Standard input that counts what has been read."""

    @property
    def buffer(self):
        return self


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "GIF", "BMP", "PPM", "WEBP", "TIFF"])
def test_standard_input_with_the_bytes_of_an_image(photos, monkeypatch, kind):
    content = io.BytesIO()
    Image.new("RGB", (16, 16), (40, 40, 40)).save(content, format=kind)
    monkeypatch.setattr(sys, "stdin", Standard(content.getvalue()))
    images, source = found("-")
    assert images == [("-", 4)] and source.count is None


@pytest.mark.parametrize("end", ["\n", "\r\n", ""])
def test_standard_input_with_names(photos, monkeypatch, end):
    names = [name for name, _ in IN_FOLDER] * 20  # more than the first bytes
    os.rename("photos/a/c.jpg", "-")
    names = [name if name != "photos/a/c.jpg" else "-" for name in names]
    monkeypatch.setattr(sys, "stdin", Standard(((end or "\n").join(names) + end).encode()))
    images, source = found("-")
    assert [name for name, _ in images] == names and [value for _, value in images] == [2, 1, 0] * 20
    assert source.count is None


def test_names_are_read_as_they_are_needed(photos, monkeypatch):
    standard = Standard(b"photos/b.png\n" * 1000)
    monkeypatch.setattr(sys, "stdin", SimpleNamespace(buffer=standard))
    images = iter(ImageSource(["-"]))
    assert next(images).name == "photos/b.png" and standard.tell() < 200
