"""Every image that Pillow reads becomes 8-bit RGB; everything else is one clear ImageError."""

import io
import os
import struct

import numpy as np
import pytest
from PIL import Image

from npresnet.data import ImageError, ImageFolder, read_image
from npresnet.data.images import FORMATS

RNG = np.random.default_rng(0)
RGB = RNG.integers(0, 256, (12, 10, 3), dtype=np.uint8)
GREY = np.linspace(0, 255, 120).astype(np.uint8).reshape(12, 10)


def saved(path, image, **options):
    image.save(path, **options)
    return path


def pixels(source):
    image = read_image(source)
    assert image.mode == "RGB"
    return np.asarray(image)


def repeated(grey):
    return np.repeat(grey[:, :, None], 3, axis=2)


def test_rgb_is_untouched(tmp_path):
    path = saved(tmp_path / "a.png", Image.fromarray(RGB))
    for source in (path, str(path), io.BytesIO(path.read_bytes()), Image.open(path), RGB, RGB[::-1][::-1]):
        np.testing.assert_array_equal(pixels(source), RGB)


def test_an_array_that_cannot_be_written_to_is_read():
    array = RGB.copy()
    array.flags.writeable = False
    np.testing.assert_array_equal(pixels(array), RGB)


@pytest.mark.parametrize("mode", ["L", "LA", "1", "RGBA", "CMYK", "YCbCr"])
def test_modes_are_converted_as_pillow_does(tmp_path, mode):
    image = Image.fromarray(RGB).convert(mode)
    path = saved(tmp_path / "a.tif", image)
    np.testing.assert_array_equal(pixels(path), np.asarray(image.convert("RGB")))


def test_alpha_is_dropped_not_blended(tmp_path):
    rgba = np.dstack([RGB, np.zeros((12, 10), np.uint8)])
    np.testing.assert_array_equal(pixels(saved(tmp_path / "a.png", Image.fromarray(rgba))), RGB)
    np.testing.assert_array_equal(pixels(rgba), RGB)


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("transparency", [None, 1, bytes([0, 100, 255])])
def test_palettes(tmp_path, transparency):
    image = Image.fromarray(RGB).quantize(8)
    options = {} if transparency is None else {"transparency": transparency}
    np.testing.assert_array_equal(pixels(saved(tmp_path / "a.png", image, **options)), np.asarray(image.convert("RGB")))


@pytest.mark.parametrize("suffix", [".png", ".tif"])
def test_sixteen_bit_grey_keeps_its_high_byte(tmp_path, suffix):
    noise = RNG.integers(0, 256, GREY.shape, dtype=np.uint16)
    path = saved(tmp_path / f"a{suffix}", Image.fromarray(GREY.astype(np.uint16) * 256 + noise))
    np.testing.assert_array_equal(pixels(path), repeated(GREY))


def test_sixteen_bit_pgm(tmp_path):
    path = tmp_path / "a.pgm"
    path.write_bytes(b"P5 10 12 65535\n" + (GREY.astype(">u2") * 257).tobytes())
    np.testing.assert_array_equal(pixels(path), repeated(GREY))


def test_an_animation_gives_its_first_frame(tmp_path):
    frames = [Image.fromarray(GREY), Image.fromarray(255 - GREY)]
    path = saved(tmp_path / "a.gif", frames[0], save_all=True, append_images=frames[1:])
    np.testing.assert_array_equal(pixels(path), repeated(GREY))


def test_exif_orientation_is_not_applied(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6  # "turn by 90 degrees"
    path = saved(tmp_path / "a.png", Image.fromarray(RGB), exif=exif)
    np.testing.assert_array_equal(pixels(path), RGB)


def png_bytes():
    file = io.BytesIO()
    Image.fromarray(RNG.integers(0, 256, (64, 64, 3), dtype=np.uint8)).save(file, "PNG")
    return file.getvalue()


BROKEN = {
    "empty": b"",
    "text": b"this is no image",
    "truncated": png_bytes()[:3000],
    "header": png_bytes()[:20],
    "postscript": b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 8 8\n%%EndComments\n",
    "bomb": b"P5 20000 20000 255\n",
}


@pytest.mark.parametrize("content", BROKEN.values(), ids=BROKEN)
def test_broken_images_are_named(tmp_path, content):
    path = tmp_path / "photo.png"
    path.write_bytes(content)
    with pytest.raises(ImageError, match=r"photo\.png: ") as caught:
        read_image(path)
    assert "\n" not in str(caught.value)


def test_a_bomb_is_called_one(tmp_path):
    path = tmp_path / "a.pgm"
    path.write_bytes(BROKEN["bomb"])
    with pytest.raises(ImageError, match="decompression bomb"):
        read_image(path)


def test_floats_and_wide_integers_have_no_known_range(tmp_path):
    for array in (np.ones((4, 4), np.float32), np.full((4, 4), 70000, np.int32)):
        with pytest.raises(ImageError, match="8 or 16 bits"):
            read_image(saved(tmp_path / "a.tif", Image.fromarray(array)))
    for array in (RGB.astype(np.float32), RGB[:, :, :2], RGB[:0], RGB.astype(np.int64)):
        with pytest.raises(ImageError, match="uint8"):
            read_image(array)


@pytest.mark.parametrize("suffix", [".png", ".tif"])
def test_twelve_bits_in_sixteen_are_not_taken_for_black(suffix, tmp_path):
    path = saved(tmp_path / f"a{suffix}", Image.fromarray(GREY.astype(np.uint16) * 16))
    with pytest.raises(ImageError, match="none of its 16-bit values exceeds 4080, so that it would be black: scale"):
        read_image(path)
    black = saved(tmp_path / f"b{suffix}", Image.fromarray(np.zeros((4, 4), np.uint16)))
    assert pixels(black).max() == 0


def test_a_pgm_tells_its_largest_value(tmp_path):
    for largest, values in ((4095, GREY.astype(">u2") * 16), (65535, GREY.astype(">u2"))):
        (tmp_path / "a.pgm").write_bytes(b"P5 10 12 %d\n" % largest + values.astype(">u2").tobytes())
        due = values.astype(float) * 255 / largest
        assert abs(pixels(tmp_path / "a.pgm") - repeated(due)).max() <= 1


@pytest.mark.parametrize("dtype", [*np.typecodes["AllInteger"], *np.typecodes["AllFloat"], "?", "O", "U1", "M8[s]"])
@pytest.mark.parametrize("shape", [(4, 4), (4, 4, 3), (4, 4, 1), (3, 5, 7), (4,), (), (0, 4, 3), (2, 4, 4, 3)])
def test_arrays_of_every_dtype_and_shape_are_read_or_refused_in_one_line(dtype, shape):
    array = np.zeros(shape, dtype)
    if array.dtype == np.uint8 and shape in ((4, 4), (4, 4, 3), (4, 4, 1)):
        assert read_image(array).size == (4, 4)
        return
    with pytest.raises(ImageError, match="an image array is uint8") as caught:
        read_image(array)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("path", ["", "a\0b"])
def test_what_no_file_can_be_called(path):
    with pytest.raises(ImageError, match="no image can be called"):
        read_image(path)


def test_bytes_are_no_file():
    with pytest.raises(ImageError, match=r"the image: bytes is neither .* io\.BytesIO"):
        read_image(png_bytes())


def test_a_missing_file_is_an_oserror(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"none\.png"):
        read_image(tmp_path / "none.png")


def test_no_file_stays_open(tmp_path):
    path = saved(tmp_path / "a.png", Image.fromarray(RGB))
    before = len(os.listdir("/proc/self/fd")) if os.path.isdir("/proc/self/fd") else None
    for _ in range(20):
        read_image(path)
    assert before is None or len(os.listdir("/proc/self/fd")) <= before + 1


def tiff_of_12_bits(path, values):
    """A grey TIFF with two values in three bytes, which Pillow reads and does not write."""
    (height, width), packed = values.shape, bytearray()
    for a, b in values.reshape(-1, 2):
        packed += bytes([a >> 4, (a & 15) << 4 | b >> 8, b & 255])
    tags = [
        (256, width),
        (257, height),
        (258, 12),
        (259, 1),
        (262, 1),
        (273, 8 + 2 + 9 * 12 + 4),
        (277, 1),
        (278, height),
        (279, len(packed)),
    ]
    entries = b"".join(struct.pack("<HHII", tag, 4, 1, value) for tag, value in tags)
    path.write_bytes(b"II*\0" + struct.pack("<IH", 8, len(tags)) + entries + bytes(4) + packed)


def test_twelve_bits_are_no_black_image(tmp_path):
    values = np.arange(0, 4096, 64).reshape(8, 8)
    tiff_of_12_bits(tmp_path / "a.tif", values)
    np.testing.assert_array_equal(np.asarray(read_image(tmp_path / "a.tif"))[:, :, 0], values // 16)


@pytest.mark.parametrize(
    "array, line",
    [
        (np.arange(64, dtype=np.int32).reshape(8, 8), "32-bit integers, whose range is not known"),
        (np.linspace(0, 1, 64, dtype=np.float32).reshape(8, 8), "32-bit floats, whose range is not known"),
        (np.arange(64, dtype=np.uint16).reshape(8, 8), "none of its 16-bit values exceeds 63"),
    ],
)
def test_values_of_unknown_range_are_refused(tmp_path, array, line):
    image = Image.fromarray(array)
    image.save(tmp_path / "a.tif")
    for source in (image, tmp_path / "a.tif"):
        with pytest.raises(ImageError, match=line):
            read_image(source)


@pytest.mark.parametrize("suffix, kind", [("jfif", "JPEG"), ("avif", "AVIF")])
def test_other_formats_that_pillow_reads(tmp_path, suffix, kind):
    if kind not in FORMATS:
        pytest.skip("this Pillow has no AVIF")
    for name in ("cat", "dog"):
        (tmp_path / name).mkdir()
        Image.new("RGB", (16, 16), (200, 100, 50)).save(tmp_path / f"{name}/1.{suffix}", kind)
    data = ImageFolder(tmp_path)
    assert len(data) == 2
    with data.open(0) as file:
        assert abs(np.asarray(read_image(file)).astype(int) - [200, 100, 50]).max() < 8
