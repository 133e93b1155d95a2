"""The safetensors format: an 8-byte little-endian length, a JSON header of that length, then the arrays' bytes.

The header maps each name to ``{"dtype", "shape", "data_offsets": [begin, end]}``; offsets count from the end of the
header and cover the data without holes. Nothing in the file is ever executed.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from tinycnn.errors import WeightsError
from tinycnn.weights.atomic import atomic_write

_TYPES = {
    "F64": "<f8",
    "F32": "<f4",
    "F16": "<f2",
    "I64": "<i8",
    "I32": "<i4",
    "I16": "<i2",
    "I8": "i1",
    "U8": "u1",
    "BOOL": "?",
}
_NAMES = {np.dtype(code): name for name, code in _TYPES.items()}
_LONGEST_HEADER = 100_000_000


def save_safetensors(
    path: str | Path, arrays: Mapping[str, np.ndarray], metadata: Mapping[str, str] | None = None
) -> None:
    """Write arrays by name, and text metadata, atomically."""
    header: dict[str, Any] = {"__metadata__": dict(metadata)} if metadata else {}
    ordered = {name: np.asarray(array, order="C") for name, array in sorted(arrays.items())}
    end = 0
    for name, array in ordered.items():
        if array.dtype.newbyteorder("<") not in _NAMES:
            raise WeightsError(f"{name} has dtype {array.dtype}, which safetensors does not store")
        begin, end = end, end + array.nbytes
        code = _NAMES[array.dtype.newbyteorder("<")]
        header[name] = {"dtype": code, "shape": list(array.shape), "data_offsets": [begin, end]}
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    with atomic_write(path) as file:
        file.write(len(text).to_bytes(8, "little") + text)
        for array in ordered.values():
            file.write(array.astype(array.dtype.newbyteorder("<"), copy=False).tobytes())


def load_safetensors(path: str | Path) -> dict[str, np.ndarray]:
    """Read all arrays.

    Raises
    ------
    WeightsError
        If the file is truncated, or its header does not describe its data.
    """
    return read_safetensors(path)[0]


def read_safetensors(path: str | Path) -> tuple[dict[str, np.ndarray], dict[str, str]]:
    """Read all arrays and the metadata."""
    data = Path(path).read_bytes()
    header, start = _header(path, data)
    metadata = header.pop("__metadata__", {})
    arrays = {}
    spans = []
    for name, entry in header.items():
        dtype, shape, begin, end = _entry(path, name, entry)
        if start + end > len(data):
            raise WeightsError(f"{path}: {name} ends at byte {start + end}, but the file has {len(data)}: truncated?")
        spans.append((begin, end))
        arrays[name] = _array(data[start + begin : start + end], dtype).reshape(shape)
    if sorted(spans) != _packed(spans) or start + max((e for _, e in spans), default=0) != len(data):
        raise WeightsError(f"{path}: the tensors' bytes overlap, leave holes, or do not fill the file")
    return arrays, metadata


def _header(path: str | Path, data: bytes) -> tuple[dict[str, Any], int]:
    length = int.from_bytes(data[:8], "little")
    if len(data) < 8 or length > min(_LONGEST_HEADER, len(data) - 8):
        raise WeightsError(f"{path}: not a safetensors file, or truncated: {len(data)} bytes, header of {length}")
    try:
        header = json.loads(data[8 : 8 + length], object_pairs_hook=_unique)
    except ValueError as error:
        raise WeightsError(f"{path}: the safetensors header is damaged: {error}") from error
    except RecursionError as error:
        raise WeightsError(f"{path}: the safetensors header is nested too deeply") from error
    if not isinstance(header, dict):
        raise WeightsError(f"{path}: the safetensors header is not a table of tensors")
    return header, 8 + length


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    table = dict(pairs)
    if len(table) != len(pairs):
        raise ValueError("a name stands twice")
    return table


def _entry(path: str | Path, name: str, entry: Any) -> tuple[str, tuple[int, ...], int, int]:
    """Dtype, shape and byte span of one tensor, checked against each other."""
    try:
        dtype, shape, (begin, end) = entry["dtype"], entry["shape"], entry["data_offsets"]
        sizes = (*shape, begin, end)
        if any(type(n) is not int or n < 0 for n in sizes):
            raise ValueError("sizes and offsets must be whole numbers of at least 0")
        itemsize = 2 if dtype == "BF16" else np.dtype(_TYPES[dtype]).itemsize
        if end - begin != math.prod(shape) * itemsize:
            raise ValueError(f"shape {shape} of {dtype} does not take {end - begin} bytes")
    except (KeyError, TypeError, ValueError) as error:
        raise WeightsError(f"{path}: the entry of tensor {name!r} is damaged: {error}") from error
    return dtype, tuple(shape), begin, end


def _array(data: bytes, dtype: str) -> np.ndarray:
    if dtype == "BF16":
        return (np.frombuffer(data, "<u2").astype(np.uint32) << 16).view(np.float32)
    return np.frombuffer(data, _TYPES[dtype]).astype(np.dtype(_TYPES[dtype]).newbyteorder("="))


def _packed(spans: list[tuple[int, int]]) -> list[tuple[int, int]]:
    """The same spans laid end to end."""
    packed, end = [], 0
    for begin, stop in sorted(spans):
        packed.append((end, end + stop - begin))
        end += stop - begin
    return packed
