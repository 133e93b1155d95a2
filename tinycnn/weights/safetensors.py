"""The safetensors format: an 8-byte little-endian length, a JSON header of that length, then the arrays' bytes.

The header maps each name to ``{"dtype", "shape", "data_offsets": [begin, end]}``; offsets count from the end of the
header and cover the data without holes (https://github.com/huggingface/safetensors). Nothing in the file is executed.

The published library is not used. The NumPy interface of its version 0.8 reads neither bfloat16 nor 8-bit floats, a
header of 59 MB with a million empty arrays takes 0.8 GB of memory there, and a checkpoint needs a checksum that covers
the header.
"""

from __future__ import annotations

import hashlib
import json
import math
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

import numpy as np

from tinycnn.errors import WeightsError
from tinycnn.files.atomic import atomic_write
from tinycnn.files.dtypes import WIDENED, decode, host_arrays, itemsize
from tinycnn.files.limits import read_exactly, refusals, shorten

_TYPES = {
    "F64": "f8",
    "F32": "f4",
    "F16": "f2",
    "BF16": "bfloat16",
    "F8_E4M3": "float8_e4m3fn",
    "F8_E5M2": "float8_e5m2",
    "F8_E4M3FNUZ": "float8_e4m3fnuz",
    "F8_E5M2FNUZ": "float8_e5m2fnuz",
    "F8_E8M0": "float8_e8m0fnu",
    "C64": "c8",
    "I64": "i8",
    "I32": "i4",
    "I16": "i2",
    "I8": "i1",
    "U64": "u8",
    "U32": "u4",
    "U16": "u2",
    "U8": "u1",
    "BOOL": "?",
}
_NAMES = {np.dtype(code): name for name, code in _TYPES.items() if code not in WIDENED}
_PACKED = ("F4", "F6_E2M3", "F6_E3M2")  # several numbers share a byte
LONGEST_HEADER = 16 * 2**20
"""Bytes; a header of 100,000 arrays is half as long. Larger ones would take far more memory than the file has."""
_MOST_VALUES = 1_000_000  # in the header's JSON
_METADATA = "__metadata__"
CHECKSUM = "tinycnn_sha256"
_BLANK = "0" * 64


class _Span(NamedTuple):
    """The entry of one array."""

    begin: int
    end: int
    name: str
    dtype: str
    shape: tuple[int, ...]


def save_safetensors(
    path: str | Path,
    arrays: Mapping[str, np.ndarray],
    metadata: Mapping[str, str] | None = None,
    checksum: bool = False,
) -> None:
    """Write arrays by name, and text metadata, atomically.

    Parameters
    ----------
    path : path
    arrays : mapping of name to array
    metadata : mapping of text to text, optional
    checksum : bool
        Add the SHA-256 of the whole file to the metadata, computed with zeros in its place;
        :func:`read_safetensors` compares it.

    Raises
    ------
    WeightsError
        If a name or a dtype cannot be stored.
    OSError
        If it cannot be written; an older file is kept.
    """
    ordered = {name: np.asarray(array, order="C") for name, array in sorted(host_arrays(arrays).items())}
    header: dict[str, Any] = {}
    if metadata or checksum:
        header[_METADATA] = {**(metadata or {}), **({CHECKSUM: _BLANK} if checksum else {})}
    end = 0
    for name, array in ordered.items():
        if name == _METADATA:
            raise WeightsError(f"an array is called {_METADATA}, a name that the safetensors format reserves")
        code = _NAMES.get(array.dtype.newbyteorder("="))
        if code is None:
            raise WeightsError(f"{name!r} has dtype {array.dtype}, which safetensors does not store")
        begin, end = end, end + array.nbytes
        header[name] = {"dtype": code, "shape": list(array.shape), "data_offsets": [begin, end]}
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    _check_header(text)
    start = len(text).to_bytes(8, "little") + text
    bodies = {name: _little_endian(array) for name, array in ordered.items()}
    if checksum:
        start = _with_checksum(start, _digest(start, bodies.values()))
    with atomic_write(path) as file:
        file.write(start)
        for body in bodies.values():
            file.write(body)


def _little_endian(array: np.ndarray) -> Any:
    """Return the bytes of a C-contiguous array, not copied if they are in this order already."""
    return array.astype(array.dtype.newbyteorder("<"), copy=False).reshape(-1).view(np.uint8).data


def _digest(start: bytes, bodies: Any) -> str:
    digest = hashlib.sha256(start)
    for body in bodies:
        digest.update(body)
    return digest.hexdigest()


def _with_checksum(start: bytes, new: str, old: str = _BLANK) -> bytes:
    """Return the header with another checksum; inside JSON text its quotes would be escaped, so it is found once."""
    return start.replace(f'"{CHECKSUM}":"{old}"'.encode(), f'"{CHECKSUM}":"{new}"'.encode(), 1)


def load_safetensors(path: str | Path) -> dict[str, np.ndarray]:
    """Read all arrays, in native byte order; bfloat16 and 8-bit floats are widened to float32.

    Raises
    ------
    WeightsError
        If the file is truncated, or its header does not describe its data.
    """
    return read_safetensors(path)[0]


def read_safetensors(path: str | Path) -> tuple[dict[str, np.ndarray], dict[str, str]]:
    """Read all arrays and the metadata, and compare the checksum if there is one."""
    with open(path, "rb") as file, refusals(path):
        size = os.fstat(file.fileno()).st_size
        start, header = _read_header(file, size)
        metadata = header.pop(_METADATA, {})
        if not isinstance(metadata, dict) or not all(isinstance(value, str) for value in metadata.values()):
            raise ValueError("the metadata is not a table of text")
        spans = _check_spans([_span(name, entry) for name, entry in header.items()], size - len(start))
        saved = metadata.get(CHECKSUM)
        digest = hashlib.sha256(_with_checksum(start, _BLANK, saved)) if saved is not None else None
        arrays = {}
        for span in spans:
            data = read_exactly(file, span.end - span.begin, f"tensor {span.name!r}")
            if digest is not None:
                digest.update(data.data)
            arrays[span.name] = decode(data, _TYPES[span.dtype]).reshape(span.shape)
        if digest is not None and digest.hexdigest() != saved:
            raise ValueError("it is damaged: its checksum is wrong")
        return {name: arrays[name] for name in header}, metadata


def _read_header(file: BinaryIO, size: int) -> tuple[bytes, dict[str, Any]]:
    """Return the bytes up to the first array, and the header in them."""
    prefix = file.read(8)
    length = int.from_bytes(prefix, "little")
    if size < 8 or length > size - 8:
        raise ValueError(f"not a safetensors file, or truncated: {size} bytes, header of {length}")
    if length > LONGEST_HEADER:
        raise ValueError(f"its header has {length} bytes, more than {LONGEST_HEADER}")
    text = file.read(length)
    if text[:1] != b"{" and text[:1] != b"[":
        raise ValueError("the safetensors header is damaged: it does not begin with {")
    _check_header(text)
    try:
        header = json.loads(text.decode("utf-8"), object_pairs_hook=_unique)
    except ValueError as error:
        raise ValueError(f"the safetensors header is damaged: {error}") from error
    except RecursionError as error:
        raise ValueError("the safetensors header is nested too deeply") from error
    if not isinstance(header, dict):
        raise ValueError("the safetensors header is not a table of tensors")
    return prefix + text, header


def _check_header(text: bytes) -> None:
    """Raise ValueError for a header that is too long, or would take far more memory than it has bytes."""
    values = sum(map(text.count, (b"{", b"[", b",")))
    if len(text) > LONGEST_HEADER or values > _MOST_VALUES:
        raise WeightsError(
            f"the safetensors header has {len(text)} bytes and about {values} values, expected at most "
            f"{LONGEST_HEADER} and {_MOST_VALUES}"
        )


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    table = dict(pairs)
    if len(table) != len(pairs):
        raise ValueError("a name stands twice")
    return table


def _span(name: str, entry: Any) -> _Span:
    """Return dtype, shape and bytes of one tensor, checked against each other."""
    said = f"the entry of tensor {shorten(name, 100)!r}"
    try:
        dtype, shape, (begin, end) = entry["dtype"], entry["shape"], entry["data_offsets"]
        if not isinstance(dtype, str) or not isinstance(shape, list) or len(shape) > 64:
            raise ValueError("dtype must be text, shape a list of at most 64 numbers")
        if any(type(n) is not int or not 0 <= n < 2**63 for n in (*shape, begin, end)):
            raise ValueError("sizes and offsets must be whole numbers of at least 0 and below 2^63")
        if dtype not in _TYPES and dtype not in _PACKED:
            raise ValueError(f"its dtype is {shorten(dtype, 30)!r}, expected one of {', '.join(_TYPES)}")
        if dtype in _TYPES and end - begin != math.prod(shape) * itemsize(_TYPES[dtype]):
            raise ValueError(f"shape {shape} of {dtype} does not take {end - begin} bytes")
    except (KeyError, TypeError, ValueError) as error:
        raise ValueError(f"{said} is damaged: {error}") from error
    if dtype in _PACKED:
        raise ValueError(f"tensor {shorten(name, 100)!r} has dtype {dtype}, which is not supported")
    return _Span(begin, end, name, dtype, tuple(shape))


def _check_spans(spans: list[_Span], size: int) -> list[_Span]:
    """Return the spans in the order of their bytes, which must follow each other and fill the file."""
    spans = sorted(spans)
    at = 0
    for span in spans:
        if span.end > size:
            raise ValueError(f"tensor {span.name!r} ends at byte {span.end} of {size}: truncated?")
        if span.begin != at:
            raise ValueError("the tensors' bytes overlap, leave holes, or do not fill the file")
        at = span.end
    if at != size:
        raise ValueError("the tensors' bytes overlap, leave holes, or do not fill the file")
    return spans
