"""Large PNG files some rows at a time: Pillow decodes only whole ones."""

from __future__ import annotations

import io
import struct
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_READ = 1 << 16
_CHANNELS = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}  # samples in a pixel of each colour type
_COLOUR_TYPE_OF_BYTES = {1: 0, 2: 4, 3: 2, 4: 6}  # bytes in a pixel to 8-bit type


def png_bands(path: Path, opened: Any, pixels: int) -> Iterator[Any] | None:
    """Return images of consecutive rows of a PNG, at most `pixels` each, or None if it is not stored row by row.

    The filter of a row refers to the row above (PNG specification, section 9,
    https://www.w3.org/TR/png-3/#9Filters). So a band is decoded as a PNG of its own: the last row of the band before
    it, without a filter, then its rows as they are stored.

    Parameters
    ----------
    path
        The file.
    opened
        The same file opened by Pillow, which need not have decoded a pixel.
    pixels
        About as many in one band.
    """
    with path.open("rb") as file:
        header = file.read(33)
    width, height, depth, colour, _, _, interlace = struct.unpack(">IIBBBBB", header[16:29])
    bytes_per_pixel = max(1, _CHANNELS[colour] * depth // 8)
    if interlace or bytes_per_pixel not in _COLOUR_TYPE_OF_BYTES:
        return None
    row_bytes = (width * _CHANNELS[colour] * depth + 7) // 8
    return _decoded(path, opened, (width, height), row_bytes, bytes_per_pixel, max(1, pixels // width))


def check_pixels(path: Path) -> None:
    """Compare the checksums of the chunks of pixels, which Pillow skips.

    Raises
    ------
    OSError
        If one is wrong, or the file ends in one.
    """
    with path.open("rb") as file:
        file.seek(len(_SIGNATURE))
        while len(head := file.read(8)) == 8:
            length, kind = struct.unpack(">I4s", head)
            if kind == b"IEND":
                return
            if kind != b"IDAT":
                file.seek(length + 4, io.SEEK_CUR)
                continue
            crc = zlib.crc32(kind)
            while length:
                data = file.read(min(_READ, length))
                if not data:
                    raise OSError("the file ends early")
                length, crc = length - len(data), zlib.crc32(data, crc)
            if file.read(4) != struct.pack(">I", crc):
                raise OSError("a checksum is wrong")


def _decoded(
    path: Path, opened: Any, size: tuple[int, int], row_bytes: int, bytes_per_pixel: int, rows: int
) -> Iterator[Any]:
    from PIL import Image

    width, height = size
    raw_mode = opened.tile[0].args if hasattr(opened.tile[0], "args") else opened.tile[0][3]
    above = bytes(row_bytes)
    with path.open("rb") as file:
        stream = _Inflated(file)
        for top in range(0, height, rows):
            count = min(rows, height - top)
            filtered = stream.read(count * (row_bytes + 1))
            raw = _unfiltered(b"\0" + above + filtered, row_bytes, count + 1, bytes_per_pixel)[1:]
            above = raw[-1].tobytes()
            band = Image.frombytes(opened.mode, (width, count), raw.tobytes(), "raw", raw_mode)
            if opened.mode == "P":
                band.palette = opened.palette
                band.palette.dirty = 1
                band.load()
            yield band


def _unfiltered(filtered: bytes, row_bytes: int, rows: int, bytes_per_pixel: int) -> np.ndarray:
    """Return the bytes (rows, row_bytes) of filtered rows: Pillow reads them as pixels of 8 bits."""
    from PIL import Image

    colour = _COLOUR_TYPE_OF_BYTES[bytes_per_pixel]
    header = struct.pack(">IIBBBBB", row_bytes // bytes_per_pixel, rows, 8, colour, 0, 0, 0)
    body = b"".join(
        _chunk(kind, data) for kind, data in ((b"IHDR", header), (b"IDAT", zlib.compress(filtered, 0)), (b"IEND", b""))
    )
    with Image.open(io.BytesIO(_SIGNATURE + body), formats=["PNG"]) as image:
        return np.asarray(image, np.uint8).reshape(rows, row_bytes)


def _chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


class _Inflated:
    """The decompressed bytes of a PNG's IDAT chunks, read in turn."""

    def __init__(self, file: BinaryIO) -> None:
        self._file, self._inflate = file, zlib.decompressobj()
        self._left = self._crc = 0
        file.seek(len(_SIGNATURE))

    def read(self, count: int) -> bytes:
        """Return the next `count` bytes.

        Raises
        ------
        OSError
            If the file ends before them, or a checksum is wrong.
        """
        out = bytearray()
        while len(out) < count:
            data = self._inflate.unconsumed_tail or self._stored()
            part = self._inflate.decompress(data, count - len(out))
            out += part
            if self._inflate.eof and len(out) < count:
                raise OSError("the pixels end early")
        return bytes(out)

    def _stored(self) -> bytes:
        """Return the next chunk of IDAT as stored."""
        while not self._left:
            length, kind = struct.unpack(">I4s", self._exactly(8))
            if kind == b"IEND":
                raise OSError("the pixels end early")
            if kind == b"IDAT":
                self._left, self._crc = length, zlib.crc32(kind)
                if not length:
                    self._exactly(4)
            else:
                self._file.seek(length + 4, io.SEEK_CUR)
        data = self._exactly(min(_READ, self._left))
        self._left -= len(data)
        self._crc = zlib.crc32(data, self._crc)
        if not self._left and self._exactly(4) != struct.pack(">I", self._crc):
            raise OSError("a checksum is wrong")
        return data

    def _exactly(self, count: int) -> bytes:
        data = self._file.read(count)
        if len(data) < count:
            raise OSError("the file ends early")
        return data
