"""NumPy's .npz archives, without pickles and within limits."""

from __future__ import annotations

import io
import math
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from tinycnn.errors import WeightsError
from tinycnn.files.atomic import atomic_write
from tinycnn.files.dtypes import host_arrays
from tinycnn.files.limits import check_elements, read_exactly, refusals, shorten, unpack_limit
from tinycnn.weights.archive import Archive

_KINDS = "biufcSUmM"
_LONGEST_HEADER = 10_000  # NumPy's own limit
_LONGEST_NAME = 65_000  # a zip archive stores the length of a name in 16 bits


def save_npz(path: str | Path, arrays: Mapping[str, np.ndarray]) -> None:
    """Write arrays by name, atomically; any text without a NUL character is a name.

    Raises
    ------
    WeightsError
        If a name or a dtype cannot be stored.
    OSError
        If it cannot be written; an older file is kept.
    """
    ordered = host_arrays(arrays)
    for name, array in ordered.items():
        if "\0" in name or len(name.encode()) > _LONGEST_NAME:
            raise WeightsError(f"{shorten(name)!r} is not a name that .npz can store: a NUL character, or too long")
        if array.dtype.kind not in _KINDS:
            raise WeightsError(f"{name!r} has dtype {array.dtype}, which .npz does not store without a pickle")
    with atomic_write(path) as file, zipfile.ZipFile(file, "w", zipfile.ZIP_STORED) as archive:
        for name, array in ordered.items():
            info = zipfile.ZipInfo()
            info.filename = f"{name}.npy"  # set afterwards: the constructor changes backslashes on Windows
            with archive.open(info, "w", force_zip64=True) as member:
                np.lib.format.write_array(member, array, allow_pickle=False)


def load_npz(
    path: str | Path, limit: int | None = None, expected: Mapping[str, Any] | None = None
) -> dict[str, np.ndarray]:
    """Read all arrays, in native byte order.

    Parameters
    ----------
    path : path
    limit : int, optional
        Bytes that the file may unpack to, if less than 4 GiB or the environment variable ``TINYCNN_UNPACK_LIMIT``.
    expected : mapping of name to array, optional
        The arrays that are to be replaced. An array of such a name that declares far more elements is refused before
        it is unpacked.

    Raises
    ------
    WeightsError
        If the file is not an archive, is damaged, holds Python objects, or unpacks to more than the limit.
    """
    with open(path, "rb") as file:
        if file.read(4) not in (b"PK\x03\x04", b"PK\x05\x06"):
            raise WeightsError(f"{path}: not an .npz archive, or truncated")
        with refusals(path):
            return _read_arrays(Archive(file, unpack_limit(limit)), expected)


def _read_arrays(archive: Archive, expected: Mapping[str, Any] | None) -> dict[str, np.ndarray]:
    odd = [shorten(name) for name in archive.members if not name.endswith(".npy")]
    if odd:
        raise ValueError(f"not an .npz archive of arrays: it has the member {odd[0]!r}")
    arrays = {}
    for member, info in archive.members.items():
        name = member.removesuffix(".npy")
        said = f"the array {shorten(name)!r}"
        with archive.open(member) as stream:
            shape, fortran, dtype, start = _read_header(stream, said)
            if math.prod(shape) * dtype.itemsize != info.file_size - start:
                raise ValueError(f"{said} of shape {shape} and {dtype} does not have {info.file_size - start} bytes")
            check_elements(said, shape, expected, name)
            flat = read_exactly(stream, info.file_size - start, said).view(dtype)
        array = flat.reshape(shape[::-1]).T if fortran else flat.reshape(shape)
        arrays[name] = array.astype(dtype.newbyteorder("="), copy=False)
    return arrays


def _read_header(stream: Any, said: str) -> tuple[tuple[int, ...], bool, np.dtype, int]:
    """Return shape, order, dtype and length of the header of one .npy member."""
    start = stream.read(8)
    if start[:6] != b"\x93NUMPY" or start[6:] not in (b"\x01\x00", b"\x02\x00"):
        raise ValueError(f"not an .npz archive of arrays: {said} does not begin as a .npy file")
    width = 2 * start[6]
    prefix = stream.read(width)
    length = int.from_bytes(prefix, "little")
    if length > _LONGEST_HEADER:
        raise ValueError(f"the header of {said} has {length} bytes, more than {_LONGEST_HEADER}")
    text = io.BytesIO(prefix + stream.read(length))
    read = np.lib.format.read_array_header_1_0 if start[6] == 1 else np.lib.format.read_array_header_2_0
    shape, fortran, dtype = read(text)
    if dtype.kind not in _KINDS or not dtype.itemsize:
        raise ValueError(f"not an .npz archive of arrays: {said} has dtype {shorten(str(dtype))}")
    if len(shape) > 64 or any(type(n) is not int or not 0 <= n < 2**63 for n in shape):
        raise ValueError(f"{said} has the shape {shorten(str(shape), 100)}")
    return shape, fortran, dtype, 8 + width + length
