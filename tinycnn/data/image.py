"""One image file as bytes: the listed formats only, at any depth, in bounded memory."""

from __future__ import annotations

import math
import os
import stat
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from tinycnn import arguments
from tinycnn.data.png_bands import check_pixels, png_bands
from tinycnn.errors import DataError

SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".gif", ".ppm", ".pgm", ".tif", ".tiff", ".webp")
# Pillow knows about 40 more; one of them, EPS, runs Ghostscript on the file.
FORMATS = ("PNG", "JPEG", "BMP", "GIF", "PPM", "TIFF", "WEBP")
_MODES = {1: "L", 3: "RGB"}
_THROUGH = {"LAB": "RGB", "HSV": "RGB", "La": "LA", "RGBa": "RGBA"}  # modes without a direct way to L and RGB
_BYTES_PER_PIXEL = {"1": 1, "L": 1, "P": 1, "I;16": 2, "I;16B": 2, "I;16L": 2, "I;16N": 2}  # 4 for all others
MAX_DECODED = 320 << 20  # bytes that the decoded pixels of one file may take
_MAX_WHOLE = 256 << 20  # bytes that an image and a copy of it may take; a larger one is converted band by band
_BAND_PIXELS = 1 << 20  # converted at a time: 4 MB
_LONGEST = 64  # sides up to this ratio are resized whole, then cropped
_TAG_BITS, _TAG_PHOTOMETRIC, _TAG_SAMPLE_FORMAT, _EXIF_ORIENTATION = 258, 262, 339, 0x0112

ValueRange = tuple[float, float]


class _Refused(Exception):
    """The text of a DataError that lacks the name of the file."""


def read_image(path: str | Path, size: int, channels: int, value_range: ValueRange | str | None = None) -> np.ndarray:
    """Return one image as uint8 (channels, size, size): the shorter side resized, the middle cut out.

    Transparency is dropped, an animation gives its first frame, and the orientation of a camera is applied.
    Pixels of 16 bits are divided by 256; 32-bit integers and floats have no range of their own and need one.

    Parameters
    ----------
    path
        A file of PNG, JPEG, BMP, GIF, PPM, TIFF or WebP; the content decides, not the name.
    size
        Height and width of the result in pixels.
    channels
        1 for grey, 3 for RGB.
    value_range
        Values (low, high) that become 0 and 255 where pixels have more than 8 bits; those beyond are clipped.

    Raises
    ------
    DataError
        If there is no such file, it cannot be read as an image, its pixels need more than 320 MiB when decoded, or
        they are 32-bit integers or floats and `value_range` is None.
    """
    return read_image_and_bits(path, size, channels, value_range)[0]


def read_image_and_bits(
    path: str | Path, size: int, channels: int, value_range: ValueRange | str | None = None
) -> tuple[np.ndarray, int]:
    """Return the array of :func:`read_image` and the bits of a stored value: 8, 12, 16 or 32."""
    from PIL import Image, UnidentifiedImageError

    arguments.instance("read_image", "path", path, (str, os.PathLike), "a file's path")
    path = Path(path)
    check_arguments("read_image", size, channels)
    value_range = as_value_range(value_range, "read_image")
    _check_file(path)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about metadata; under `-W error` they would stop the reading
            with Image.open(path, formats=FORMATS) as opened:
                return _square(opened, path, size, channels, value_range), _bits(opened)
    except _Refused as error:
        raise DataError(f"{path}: {error}") from error
    except UnidentifiedImageError as error:
        raise DataError(f"{path}: not an image, or damaged; expected a file such as .png or .jpg") from error
    except Image.DecompressionBombError as error:
        raise DataError(f"{path}: too many pixels to be an honest image ({error})") from error
    except Exception as error:  # a decoder raises almost anything for a damaged file
        raise DataError(f"{path}: cannot be read as an image ({type(error).__name__}: {error})") from error


def check_arguments(owner: str, size: int, channels: int) -> None:
    """Raise DataError for a size or a number of channels that cannot be."""
    if not _is_integer(channels) or channels not in _MODES:
        raise DataError(f"{owner}: channels is {channels!r}, expected 1 or 3")
    if not _is_integer(size) or size < 1:
        raise DataError(f"{owner}: size is {size!r}, expected 1 or more")


def _is_integer(value: Any) -> bool:
    return isinstance(value, (int, np.integer)) and not isinstance(value, bool)


def as_value_range(value_range: ValueRange | str | None, owner: str) -> ValueRange | None:
    """Return a range as two floats; it may be the text of a command's option.

    >>> as_value_range("0,4095", "example")
    (0.0, 4095.0)
    """
    if value_range is None:
        return None
    try:
        low, high = (float(v) for v in (value_range.split(",") if isinstance(value_range, str) else value_range))
    except (TypeError, ValueError):
        low = high = math.nan
    if not (math.isfinite(low) and math.isfinite(high) and low < high):
        raise DataError(f"{owner}: value_range is {value_range!r}, expected two numbers LOW,HIGH with LOW < HIGH")
    return low, high


def kind_of(path: Path) -> str | None:
    """Return None for a regular file (or a link to one), else a description of the entry."""
    try:
        mode = path.stat().st_mode
    except OSError as error:
        if path.is_symlink():
            return "a link that leads nowhere"
        return None if isinstance(error, PermissionError) else "nothing"
    except ValueError:  # a name with a null character
        return "nothing"
    kinds = {stat.S_IFDIR: "a folder", stat.S_IFIFO: "a pipe", stat.S_IFSOCK: "a socket"}
    return None if stat.S_ISREG(mode) else kinds.get(stat.S_IFMT(mode), "a device")


def _check_file(path: Path) -> None:
    kind = kind_of(path)
    if kind is not None:
        raise DataError(f"{path}: {'there is no such file' if kind == 'nothing' else kind}, expected an image")


def _square(opened: Any, path: Path, size: int, channels: int, value_range: ValueRange | None) -> np.ndarray:
    from PIL import ImageOps

    if min(opened.size) < 1:
        raise _Refused(f"it has {opened.width} x {opened.height} pixels, expected at least 1 x 1")
    mode = _MODES[channels]
    bands = _bands(opened, path, size)
    if bands is None and opened.format == "PNG":
        check_pixels(path)
    if bands is None and _fits_twice(opened, mode):
        ImageOps.exif_transpose(opened, in_place=True)  # cameras store the rotation apart from the pixels
        image = _fit(_as_bytes(opened, opened, mode, value_range), size)
    else:
        orientation = _orientation(opened, bands is not None)
        geometry = _geometry(opened.width, opened.height, size, orientation)
        image = _fit_bands(bands or _cut(opened), opened, geometry, mode, value_range)
        image = _crop(image, geometry, size)
        image.getexif()[_EXIF_ORIENTATION] = orientation
        ImageOps.exif_transpose(image, in_place=True)
    pixels = np.asarray(image, np.uint8).reshape(size, size, channels)
    return pixels.transpose(2, 0, 1)


def _fits_twice(opened: Any, mode: str) -> bool:
    """True if the image and a copy, turned upright or converted, fit into memory."""
    stored, converted = (_BYTES_PER_PIXEL.get(m, 4) for m in (opened.mode, mode))
    return opened.width * opened.height * (stored + max(stored, converted)) <= _MAX_WHOLE


def _orientation(opened: Any, in_bands: bool) -> int:
    if in_bands and "exif" not in opened.info:
        return 1  # getexif() would decode the whole image to look for it behind the pixels
    return opened.getexif().get(_EXIF_ORIENTATION, 1)


def _bands(opened: Any, path: Path, size: int) -> Iterator[Any] | None:
    """Return None if the image may be decoded whole, else its rows in turn; raise if neither is possible."""
    width, height = opened.size
    coefficients = _coefficient_bytes(opened)
    needed = max(_decoded_bytes(opened), coefficients)
    if needed > MAX_DECODED and opened.format in ("JPEG", "MPO"):
        target = _target(width, height, size)
        opened.draft(None, (2 * target[0], 2 * target[1]))  # decodes 1/2, 1/4 or 1/8 of each side
        needed = max(_decoded_bytes(opened), coefficients)
    bands = None
    if needed > MAX_DECODED and opened.format == "PNG":
        bands = png_bands(path, opened, _BAND_PIXELS)
    if needed > MAX_DECODED and bands is None:
        raise _Refused(
            f"its {width} x {height} pixels need {needed / 1e6:.0f} MB when decoded, expected at most "
            f"{MAX_DECODED / 1e6:.0f} MB; make the image smaller first"
        )
    return bands


def _decoded_bytes(opened: Any) -> int:
    copies = 3 if opened.format == "WEBP" else 1  # libwebp keeps two frames besides the result
    return copies * opened.width * opened.height * _BYTES_PER_PIXEL.get(opened.mode, 4)


def _coefficient_bytes(opened: Any) -> int:
    """Return the bytes that libjpeg holds of a progressive JPEG: every coefficient, 2 bytes each."""
    if not opened.info.get("progressive"):
        return 0
    sampling = [layer[1] * layer[2] for layer in opened.layer]
    return 2 * opened.width * opened.height * sum(sampling) // max(sampling)


def _cut(opened: Any) -> Iterator[Any]:
    """Return rows of a decoded image in turn."""
    opened.load()
    rows = max(1, _BAND_PIXELS // opened.width)
    for top in range(0, opened.height, rows):
        yield opened.crop((0, top, opened.width, min(top + rows, opened.height)))


def _target(width: int, height: int, size: int) -> tuple[int, int]:
    """Return width and height after the shorter side became `size`."""
    shorter = min(width, height)
    return max(size, round(width * size / shorter)), max(size, round(height * size / shorter))


@dataclass(frozen=True)
class _Geometry:
    """The box (left, top, right, bottom) of an image that is resized to `full`, and the corner of the centre in it."""

    full: tuple[int, int]
    corner: tuple[int, int]
    box: tuple[float, float, float, float]


def _geometry(width: int, height: int, size: int, orientation: int = 1) -> _Geometry:
    full = _target(width, height, size)
    mirrored = (orientation in (2, 3, 7, 8), orientation in (3, 4, 6, 7))  # the remainder goes to the other side
    left, top = ((side - size + flipped) // 2 for side, flipped in zip(full, mirrored))
    if max(full) <= _LONGEST * size:
        return _Geometry(full, (left, top), (0, 0, width, height))
    x, y = width / full[0], height / full[1]
    return _Geometry((size, size), (0, 0), (left * x, top * y, (left + size) * x, (top + size) * y))


def _fit(image: Any, size: int) -> Any:
    """Return the centre of an image whose shorter side became `size`."""
    from PIL import Image

    geometry = _geometry(image.width, image.height, size)
    return _crop(image.resize(geometry.full, Image.Resampling.BILINEAR, geometry.box), geometry, size)


def _crop(resized: Any, geometry: _Geometry, size: int) -> Any:
    left, top = geometry.corner
    return resized.crop((left, top, left + size, top + size))


def _fit_bands(
    bands: Iterator[Any], opened: Any, geometry: _Geometry, mode: str, value_range: ValueRange | None
) -> Any:
    """Return the image resized to `geometry.full` from its rows in turn: width first, then height."""
    from PIL import Image

    (width, height), (x0, y0, x1, y1) = geometry.full, geometry.box
    margin = math.ceil((y1 - y0) / height) + 1  # rows beyond the box that the filter reads
    first, last = max(0, math.floor(y0) - margin), min(opened.height, math.ceil(y1) + margin)
    narrow, row = Image.new(mode, (width, last - first)), -first
    for band in bands:
        converted = _as_bytes(band, opened, mode, value_range)
        part = converted.resize((width, band.height), Image.Resampling.BILINEAR, (x0, 0, x1, band.height))
        narrow.paste(part, (0, row))
        row += band.height
    return narrow.resize((width, height), Image.Resampling.BILINEAR, (0, y0 - first, width, y1 - first))


def _as_bytes(band: Any, opened: Any, mode: str, value_range: ValueRange | None) -> Any:
    """Return rows in mode L or RGB."""
    band.info.pop("transparency", None)
    if band.mode.startswith(("I", "F")):
        band = _scaled(band, opened, value_range)
    if band.mode == mode:
        return band
    if band.mode in _THROUGH:
        band = band.convert(_THROUGH[band.mode])
    return band.convert(mode)


def _bits(opened: Any) -> int:
    """Return the bits of a stored value as far as Pillow tells: deep colour is reported as 8 bits."""
    if opened.mode.startswith("I;16"):
        return opened.tag_v2.get(_TAG_BITS, (16,))[0] if opened.format == "TIFF" else 16
    if opened.mode == "I" and opened.format in ("PNG", "PPM"):
        return 16
    return 32 if opened.mode in ("I", "F") else 8


def _scaled(image: Any, opened: Any, value_range: ValueRange | None) -> Any:
    """Return values beyond 8 bits as grey bytes."""
    from PIL import Image

    values, bits = np.asarray(image), _bits(opened)
    tags = opened.tag_v2 if opened.format == "TIFF" else {}
    if opened.mode == "I" and bits == 32 and tags.get(_TAG_SAMPLE_FORMAT, (1,))[0] == 1:
        values = values.view(np.uint32)
    if values.dtype.kind == "f" and not np.isfinite(values).all():
        raise _Refused("it holds values that are not finite (NaN or infinity)")
    if value_range is None and bits == 32:
        kind = "floats" if values.dtype.kind == "f" else "32-bit integers"
        raise _Refused(
            f"its pixels are {kind} (here from {values.min()} to {values.max()}); name the values that become black "
            "and white: value_range=(LOW, HIGH), or --value-range LOW,HIGH of the commands"
        )
    grey = np.empty(values.shape, np.uint8)
    rows = max(1, _BAND_PIXELS // image.width)
    for top in range(0, len(grey), rows):
        part = values[top : top + rows]
        if value_range is None:
            grey[top : top + rows] = part >> (bits - 8)
        else:
            low, high = value_range
            grey[top : top + rows] = np.rint(np.clip((part.astype(np.float64) - low) / (high - low), 0, 1) * 255)
    if tags.get(_TAG_PHOTOMETRIC) == 0:  # 0 is white, which Pillow applies to 8 bits only
        np.subtract(255, grey, out=grey)
    return Image.fromarray(grey)
