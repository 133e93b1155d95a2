"""Single images: formats, depths, modes, orientation, memory, and the errors for files that cannot be read."""

import os
import re
import socket
import struct
import subprocess
import sys
import warnings
import zlib

import numpy as np
import pytest

from tinycnn.data import image as module
from tinycnn.data.image import as_value_range, read_image, read_image_and_bits
from tinycnn.errors import DataError

Image = pytest.importorskip("PIL.Image")
ImageFile = pytest.importorskip("PIL.ImageFile")

RAMP = np.tile(np.arange(0, 256, 4, dtype=np.uint8), (64, 1))
DEEP = RAMP.astype(np.uint16) * 256 + 200  # a value whose upper byte is the ramp


def chunk(kind, data):
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png_bytes(width, height, depth, colour, rows):
    """Return a PNG of raw rows, without filters."""
    header = struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0)
    body = zlib.compress(b"".join(b"\0" + row for row in rows))
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", body) + chunk(b"IEND", b"")


def tiff_bytes(values, byte_order="<", **tags):
    """Return a TIFF of one strip; `tags` are BitsPerSample (b), photometric (p) and SampleFormat (s)."""
    height, width = values.shape
    data = values.astype(values.dtype.newbyteorder(byte_order)).tobytes()
    bits = tags.get("b", 8 * values.dtype.itemsize)
    fields = [(256, width), (257, height), (258, bits), (259, 1), (262, tags.get("p", 1)), (273, 8), (277, 1)]
    fields += [(278, height), (279, len(data)), (339, tags.get("s", 1))]
    mark = b"II*\0" if byte_order == "<" else b"MM\0*"
    head = mark + struct.pack(f"{byte_order}I", 8 + len(data))
    entries = b"".join(struct.pack(f"{byte_order}HHII", tag, 4, 1, value) for tag, value in fields)
    return head + data + struct.pack(f"{byte_order}H", len(fields)) + entries + bytes(4)


def save(path, pixels, **options):
    Image.fromarray(pixels).save(path, **options)
    return path


def test_sixteen_bits_of_png_keep_the_upper_byte(tmp_path):
    path = save(tmp_path / "a.png", DEEP)
    for channels in (1, 3):
        pixels, bits = read_image_and_bits(path, 64, channels)
        np.testing.assert_array_equal(pixels, np.stack([RAMP] * channels))
        assert (pixels.dtype, bits) == (np.uint8, 16)


@pytest.mark.parametrize("byte_order", ["<", ">"])
def test_sixteen_bits_of_tiff_in_both_byte_orders(tmp_path, byte_order):
    (tmp_path / "a.tif").write_bytes(tiff_bytes(DEEP, byte_order))
    np.testing.assert_array_equal(read_image(tmp_path / "a.tif", 64, 1)[0], RAMP)


def test_sixteen_bits_of_pgm(tmp_path):
    path = tmp_path / "a.pgm"
    path.write_bytes(b"P5 64 64 65535\n" + DEEP.astype(">u2").tobytes())
    np.testing.assert_array_equal(read_image(path, 64, 1)[0], RAMP)
    path.write_bytes(b"P2 2 2 4095\n0 4095\n4095 2048\n")  # other maxima are scaled to the whole range
    np.testing.assert_allclose(read_image(path, 2, 1)[0], [[0, 255], [255, 127]], atol=1)
    path.write_bytes(b"P6 64 64 65535\n" + np.stack([DEEP] * 3, axis=-1).astype(">u2").tobytes())
    np.testing.assert_allclose(read_image(path, 64, 3)[1], RAMP, atol=1)


def test_white_is_zero_and_twelve_bits_of_tiff(tmp_path):
    (tmp_path / "a.tif").write_bytes(tiff_bytes(65535 - DEEP, p=0))
    np.testing.assert_array_equal(read_image(tmp_path / "a.tif", 64, 1)[0], RAMP)
    pairs = np.repeat(RAMP[:, :32].astype(np.uint16) * 16 + 9, 2, axis=1)  # two equal values of 12 bits: 3 bytes
    first, second = pairs[:, ::2], pairs[:, 1::2]
    packed = np.stack([first >> 4, ((first & 15) << 4) | (second >> 8), second & 255], axis=-1).astype(np.uint8)
    data = tiff_bytes(packed.reshape(64, 96), b=12)
    data = data.replace(struct.pack("<HHII", 256, 4, 1, 96), struct.pack("<HHII", 256, 4, 1, 64))
    (tmp_path / "b.tif").write_bytes(data)
    pixels, bits = read_image_and_bits(tmp_path / "b.tif", 64, 1)
    assert bits == 12
    np.testing.assert_array_equal(pixels[0], np.repeat(RAMP[:, :32], 2, axis=1))


def test_sixteen_bits_of_colour_png(tmp_path):
    samples = np.stack([DEEP, DEEP.T, DEEP[:, ::-1]], axis=-1).astype(">u2")
    (tmp_path / "a.png").write_bytes(png_bytes(64, 64, 16, 2, [row.tobytes() for row in samples]))
    expected = np.stack([RAMP, RAMP.T, RAMP[:, ::-1]])
    np.testing.assert_array_equal(read_image(tmp_path / "a.png", 64, 3), expected)


@pytest.mark.parametrize("dtype", [np.int32, np.uint32, np.int16, np.float32])
def test_other_depths_need_a_range(tmp_path, dtype):
    values = RAMP.astype(dtype) * 100 if dtype != np.float32 else RAMP.astype(dtype) / 255
    sample_format = {"u": 1, "i": 2, "f": 3}[np.dtype(dtype).kind]
    path = tmp_path / "a.tif"
    path.write_bytes(tiff_bytes(values, s=sample_format))
    with pytest.raises(DataError, match=rf"^{re.escape(str(path))}: its pixels are .*value_range=\(LOW, HIGH\)"):
        read_image(path, 64, 1)
    high = 25500 if dtype != np.float32 else 1.0
    np.testing.assert_array_equal(read_image(path, 64, 1, (0, high))[0], RAMP)
    np.testing.assert_array_equal(read_image(path, 64, 3, f"0,{high}")[2], RAMP)


def test_a_range_clips_and_holds_for_sixteen_bits_but_not_for_eight(tmp_path):
    (tmp_path / "a.tif").write_bytes(tiff_bytes(np.array([[-5, 0], [10, 20]], np.float32), s=3))
    assert read_image(tmp_path / "a.tif", 2, 1, (0, 10))[0].tolist() == [[0, 0], [255, 255]]
    save(tmp_path / "a.png", np.array([[0, 1000], [2000, 4095]], np.uint16))
    assert read_image(tmp_path / "a.png", 2, 1, (0, 4095))[0].tolist() == [[0, 62], [125, 255]]
    save(tmp_path / "b.png", RAMP)
    np.testing.assert_array_equal(read_image(tmp_path / "b.png", 64, 1, (0, 1))[0], RAMP)


def test_unsigned_integers_beyond_two_to_the_31(tmp_path):
    (tmp_path / "a.tif").write_bytes(tiff_bytes(np.array([[0, 2**31], [3 * 2**30, 2**32 - 1]], np.uint32)))
    assert read_image(tmp_path / "a.tif", 2, 1, (0, 2**32))[0].tolist() == [[0, 128], [191, 255]]


@pytest.mark.parametrize("wrong", [np.nan, np.inf, -np.inf])
def test_values_that_are_not_finite_are_refused(tmp_path, wrong):
    values = np.array([[0, 1], [wrong, 1]], np.float32)
    (tmp_path / "a.tif").write_bytes(tiff_bytes(values, s=3))
    with pytest.raises(DataError, match=r"a\.tif: it holds values that are not finite"):
        read_image(tmp_path / "a.tif", 2, 1, (0, 1))


@pytest.mark.parametrize("value_range", [(1, 0), (0, 0), (0, float("nan")), (0, float("inf")), (1,), "1", "a,b", 3])
def test_bad_ranges_are_refused_by_name(value_range):
    with pytest.raises(DataError, match=r"^read_image: value_range is .*expected two numbers LOW,HIGH with LOW < HIGH"):
        read_image("a.png", 4, 1, value_range)
    assert as_value_range("-1,1", "x") == (-1.0, 1.0) and as_value_range(None, "x") is None


@pytest.mark.parametrize(
    ("mode", "suffix"),
    [("L", "png"), ("LA", "png"), ("P", "png"), ("RGB", "png"), ("RGBA", "png"), ("P", "gif"), ("RGB", "bmp")]
    + [("PA", "tif"), ("CMYK", "tif"), ("YCbCr", "tif"), ("LAB", "tif"), ("RGB", "ppm"), ("RGB", "webp")],
)
def test_modes_keep_a_grey_ramp(tmp_path, mode, suffix):
    grey = Image.fromarray(RAMP)
    if mode == "LAB":
        stored = Image.merge("LAB", [grey, Image.new("L", (64, 64), 128), Image.new("L", (64, 64), 128)])
    elif mode in ("CMYK", "YCbCr", "RGBA"):
        stored = grey.convert("RGB").convert(mode)
    else:
        stored = grey.convert(mode)
    stored.save(tmp_path / f"a.{suffix}", **({"lossless": True} if suffix == "webp" else {}))
    for channels in (1, 3):
        found = read_image(tmp_path / f"a.{suffix}", 64, channels).astype(int)
        assert found.shape == (channels, 64, 64)
        if mode == "LAB":
            assert (np.diff(found[0, 0]) >= 0).all() and found[0, 0, 0] < 9 and found[0, 0, -1] > 240
        else:
            assert np.abs(found - RAMP).max() <= 2


def test_one_bit_and_transparency_as_bytes_without_a_warning(tmp_path):
    save(tmp_path / "a.png", RAMP > 127)
    assert set(np.unique(read_image(tmp_path / "a.png", 64, 1))) == {0, 255}
    Image.fromarray(RAMP).convert("P").save(tmp_path / "b.png", transparency=bytes(range(256)))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for channels in (1, 3):
            assert np.abs(read_image(tmp_path / "b.png", 64, channels).astype(int) - RAMP).max() <= 2


def test_animations_give_their_first_frame(tmp_path):
    frames = [Image.new("L", (8, 8), value) for value in (10, 200)]
    for suffix in ("gif", "png", "webp", "tif"):
        options = {"lossless": True} if suffix == "webp" else {}
        frames[0].save(tmp_path / f"a.{suffix}", save_all=True, append_images=frames[1:], **options)
        assert abs(int(read_image(tmp_path / f"a.{suffix}", 4, 1).max()) - 10) <= 1


def reference(path, size, channels):
    """Return an image by its definition: turn upright, convert, resize the whole, cut out the centre."""
    from PIL import ImageOps

    with Image.open(path) as opened:
        upright = ImageOps.exif_transpose(opened).convert({1: "L", 3: "RGB"}[channels])
    shorter = min(upright.size)
    width, height = (max(size, round(side * size / shorter)) for side in upright.size)
    left, top = (width - size) // 2, (height - size) // 2
    resized = upright.resize((width, height), Image.Resampling.BILINEAR)
    cut = resized.crop((left, top, left + size, top + size))
    return np.asarray(cut, np.uint8).reshape(size, size, channels).transpose(2, 0, 1)


def write_random(path, rng, modes=("L", "RGB", "RGBA", "LA", "P", "1")):
    height, width = rng.integers(1, 60, 2)
    pixels = rng.integers(0, 256, (height, width, 3), dtype=np.uint8)
    exif = Image.Exif()
    exif[0x0112] = int(rng.integers(1, 9))
    Image.fromarray(pixels).convert(str(rng.choice(modes))).save(path, exif=exif)
    return int(rng.integers(1, 50)), int(rng.choice([1, 3]))


def test_ordinary_images_are_resized_whole_and_cut(tmp_path):
    rng = np.random.default_rng(0)
    for _ in range(60):
        size, channels = write_random(tmp_path / "a.png", rng)
        np.testing.assert_array_equal(
            read_image(tmp_path / "a.png", size, channels), reference(tmp_path / "a.png", size, channels)
        )


@pytest.mark.parametrize("max_decoded", [1 << 20, 50])
def test_images_in_bands_agree_with_those_read_whole(tmp_path, monkeypatch, max_decoded):
    monkeypatch.setattr(module, "_MAX_WHOLE", 0)
    monkeypatch.setattr(module, "_BAND_PIXELS", 150)
    monkeypatch.setattr(module, "MAX_DECODED", max_decoded)  # 50: decoded in bands too
    rng = np.random.default_rng(1)
    for _ in range(60):
        size, channels = write_random(tmp_path / "a.png", rng)
        found = read_image(tmp_path / "a.png", size, channels).astype(int)
        assert np.abs(found - reference(tmp_path / "a.png", size, channels)).max() <= 2  # rounded between two passes


def test_long_images_in_bands_agree_with_those_read_whole(tmp_path, monkeypatch):
    rng = np.random.default_rng(3)
    monkeypatch.setattr(module, "_LONGEST", 2)  # only the middle is resized
    for shape in ((200, 9, 3), (9, 200, 3)):
        path = save(tmp_path / "a.png", rng.integers(0, 256, shape, dtype=np.uint8))
        for size in (2, 5, 30):
            whole = read_image(path, size, 3).astype(int)
            with monkeypatch.context() as patch:
                patch.setattr(module, "_MAX_WHOLE", 0)
                patch.setattr(module, "_BAND_PIXELS", 100)
                assert np.abs(read_image(path, size, 3) - whole).max() <= 2


def test_an_interlaced_png_is_not_decoded_in_bands(tmp_path, monkeypatch):
    path = save(tmp_path / "a.png", np.zeros((20, 20), np.uint8))
    data = bytearray(path.read_bytes())
    data[28] = 1  # the last byte of the header: Adam7
    data[29:33] = struct.pack(">I", zlib.crc32(data[12:29]))
    path.write_bytes(data)
    monkeypatch.setattr(module, "MAX_DECODED", 50)
    with pytest.raises(DataError, match=r"a\.png: its 20 x 20 pixels need 0 MB when decoded"):
        read_image(path, 4, 1)


def test_deep_png_in_bands(tmp_path, monkeypatch):
    save(tmp_path / "a.png", DEEP)
    monkeypatch.setattr(module, "_BAND_PIXELS", 600)
    monkeypatch.setattr(module, "MAX_DECODED", 50)
    np.testing.assert_array_equal(read_image(tmp_path / "a.png", 64, 1)[0], RAMP)


@pytest.mark.parametrize("damage", ["cut", "checksum", "no pixels"])
def test_damaged_png_in_bands_is_refused(tmp_path, monkeypatch, damage):
    path = save(tmp_path / "a.png", np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8))
    data = bytearray(path.read_bytes())
    if damage == "cut":
        data = data[: len(data) // 2]
    elif damage == "checksum":
        data[-20] ^= 1
    else:
        data = data[: data.index(b"IDAT") - 4] + chunk(b"IEND", b"")
    path.write_bytes(data)
    monkeypatch.setattr(module, "MAX_DECODED", 50)
    with pytest.raises(DataError, match=r"a\.png: (cannot be read|not an image)"):
        read_image(path, 8, 3)


@pytest.mark.parametrize("max_decoded", [1 << 20, 50])
def test_a_wrong_checksum_of_pixels_is_noticed(tmp_path, monkeypatch, max_decoded):
    path = save(tmp_path / "a.png", np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8))
    data = bytearray(path.read_bytes())
    data[data.index(b"IEND") - 5] ^= 1  # of the checksum itself: the pixels are whole
    path.write_bytes(data)
    monkeypatch.setattr(module, "MAX_DECODED", max_decoded)
    with pytest.raises(DataError, match=r"a\.png: cannot be read as an image \(OSError: a checksum is wrong\)"):
        read_image(path, 8, 3)


def flat_png(path, width, height, colour=2):
    row = b"\0" + bytes(width * {0: 1, 2: 3}[colour])
    deflate = zlib.compressobj(6)
    body = b"".join(deflate.compress(row) for _ in range(height)) + deflate.flush()
    header = struct.pack(">IIBBBBB", width, height, 8, colour, 0, 0, 0)
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", body) + chunk(b"IEND", b""))
    return path


PEAK = """
import resource, sys
from PIL import Image, ImageOps
from tinycnn.data.image import read_image
Image.init()
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
assert read_image(sys.argv[1], 64, 3).shape == (3, 64, 64)
print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) * (1 if sys.platform == "darwin" else 1024))
"""


def peak_bytes(path):
    """Return the memory that reading takes beyond that of the imports, in a process of its own."""
    return int(subprocess.run([sys.executable, "-c", PEAK, path], capture_output=True, text=True, check=True).stdout)


@pytest.mark.skipif(sys.platform == "win32", reason="getrusage is of Unix")
@pytest.mark.parametrize(("width", "height"), [(1, 1_000_000), (1_000_000, 1)])
def test_long_images_take_little_memory(tmp_path, width, height):
    assert peak_bytes(flat_png(tmp_path / "a.png", width, height)) < 100e6


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="getrusage is of Unix")
@pytest.mark.parametrize(("width", "height", "colour"), [(13300, 13300, 2), (13300, 13300, 0), (100, 1_700_000, 2)])
def test_large_images_take_bounded_memory(tmp_path, width, height, colour):
    assert peak_bytes(flat_png(tmp_path / "a.png", width, height, colour)) < 300e6


def test_a_large_jpeg_is_decoded_smaller(tmp_path, monkeypatch):
    smooth = np.add.outer(np.arange(400), np.arange(640)) // 5 % 256
    path = save(tmp_path / "a.jpg", smooth.astype(np.uint8), quality=95)
    whole = read_image(path, 16, 1).astype(int)
    monkeypatch.setattr(module, "MAX_DECODED", 400 * 640 - 1)
    assert np.abs(read_image(path, 16, 1) - whole).max() <= 6
    save(path, smooth.astype(np.uint8), progressive=True)  # libjpeg keeps all of its coefficients
    with pytest.raises(DataError, match=r"a\.jpg: its 640 x 400 pixels need 1 MB when decoded, expected at most 0 MB"):
        read_image(path, 16, 1)


def test_what_cannot_be_decoded_in_parts_is_refused(tmp_path, monkeypatch):
    path = save(tmp_path / "a.tif", np.zeros((100, 100, 3), np.uint8))
    monkeypatch.setattr(module, "MAX_DECODED", 39_999)
    with pytest.raises(DataError, match=rf"^{re.escape(str(path))}: its 100 x 100 pixels need 0 MB .*make the image"):
        read_image(path, 8, 3)


def test_decompression_bombs_are_refused_and_large_images_do_not_warn(tmp_path, monkeypatch):
    path = save(tmp_path / "a.png", np.zeros((100, 100), np.uint8))
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 6000)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert read_image(path, 4, 1).shape == (1, 4, 4)
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 1000)
    with pytest.raises(DataError, match=r"a\.png: too many pixels to be an honest image"):
        read_image(path, 4, 1)


def test_other_formats_are_refused_whatever_the_name(tmp_path):
    path = tmp_path / "a.png"
    path.write_bytes(b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n() (w) file closefile\n%%EOF\n")
    with pytest.raises(DataError, match=r"a\.png: not an image, or damaged"):
        read_image(path, 4, 1)
    for kind in ("ICO", "TGA", "PCX", "SGI"):
        Image.new("RGB", (16, 16)).save(path, format=kind)
        with pytest.raises(DataError, match=r"a\.png: not an image, or damaged"):
            read_image(path, 4, 1)


def test_no_image_without_pixels(tmp_path):
    (tmp_path / "a.png").write_bytes(png_bytes(0, 0, 8, 0, []))
    (tmp_path / "a.pgm").write_bytes(b"P5 0 4 255\n")
    for name in ("a.png", "a.pgm"):
        with pytest.raises(DataError, match=re.escape(str(tmp_path / name))):
            read_image(tmp_path / name, 4, 1)


@pytest.mark.parametrize("suffix", ["png", "jpg", "bmp", "gif", "ppm", "tif", "webp"])
def test_truncated_files_are_refused_by_name_or_give_the_same_pixels(tmp_path, suffix):
    pixels = np.random.default_rng(0).integers(0, 256, (40, 40, 3), dtype=np.uint8)
    path = save(tmp_path / f"a.{suffix}", pixels)
    data, whole = path.read_bytes(), read_image(path, 8, 3)
    for part in (0, 1, 4, 10, 30, len(data) // 4, len(data) // 2, len(data) * 3 // 4, len(data) - 60):
        path.write_bytes(data[:part])
        with pytest.raises(DataError, match=re.escape(str(path))):
            read_image(path, 8, 3)
    path.write_bytes(data)
    np.testing.assert_array_equal(read_image(path, 8, 3), whole)


def test_files_that_are_not_regular_are_refused(tmp_path):
    with pytest.raises(DataError, match=r"no\.png: there is no such file, expected an image$"):
        read_image(tmp_path / "no.png", 4, 1)
    with pytest.raises(DataError, match="a folder, expected an image"):
        read_image(str(tmp_path), 4, 1)
    with pytest.raises(DataError, match="there is no such file"):
        read_image("a\0b.png", 4, 1)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="pipes and sockets are of Unix")
def test_pipes_sockets_devices_and_broken_links_are_refused(tmp_path, monkeypatch):
    os.mkfifo(tmp_path / "pipe.png")
    (tmp_path / "broken.png").symlink_to(tmp_path / "nowhere")
    (tmp_path / "loop.png").symlink_to(tmp_path / "loop.png")
    monkeypatch.chdir(tmp_path)
    with socket.socket(socket.AF_UNIX) as unix:
        unix.bind("socket.png")
    kinds = {"pipe.png": "a pipe", "socket.png": "a socket", os.devnull: "a device"}
    kinds |= dict.fromkeys(("broken.png", "loop.png"), "a link that leads nowhere")
    for name, kind in kinds.items():
        with pytest.raises(DataError, match=f"{name}: {kind}, expected an image$"):
            read_image(name, 4, 1)


@pytest.mark.parametrize("size", [0, -1, 2.5, "4", None, True])
def test_bad_arguments_are_refused_by_name(size):
    with pytest.raises(DataError, match=f"^read_image: size is {size!r}, expected 1 or more$"):
        read_image("a.png", size, 1)
    with pytest.raises(DataError, match=r"^read_image: channels is 3\.0, expected 1 or 3$"):
        read_image("a.png", 8, 3.0)
    with pytest.raises(TypeError, match=r"^read_image: path is a NoneType, expected a file's path$"):
        read_image(None, 8, 3)
