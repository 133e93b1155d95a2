"""Values as bytes between grader and child: JSON for their structure, raw bytes for arrays. Nothing is unpickled.

A message is a length, a JSON header and the arrays one after the other. Plain values only: None, booleans, integers,
floats, strings, lists, tuples, dictionaries with string keys, and arrays of numbers. The child imports this file by
itself, so it knows nothing of the rest of the package.
"""

from __future__ import annotations

import json
import math
import struct
from typing import Any, BinaryIO

import numpy as np

DTYPES = (
    "bool",
    *(f"{sign}int{bits}" for sign in ("", "u") for bits in (8, 16, 32, 64)),
    "float16",
    "float32",
    "float64",
)
_LENGTH = struct.Struct("<Q")
_MOST_DIMENSIONS = 16


class WireError(ValueError):
    """A value that cannot be sent, or bytes that are not a message."""


def encode(value: Any) -> bytes:
    """Return a message that holds a value.

    Raises
    ------
    WireError
        If part of it is not plain; the text names its type.
    """
    arrays: list[bytes] = []
    try:
        header = json.dumps(_packed(value, arrays)).encode()
    except RecursionError as error:
        raise WireError("lists inside lists without an end") from error
    return b"".join([_LENGTH.pack(len(header)), header, *arrays])


def _packed(value: Any, arrays: list[bytes]) -> Any:
    if value is None or type(value) in (bool, int, float, str):
        return value
    if isinstance(value, (np.ndarray, np.generic)):
        array = np.array(value, order="C", subok=False)
        if array.dtype.name not in DTYPES:
            raise WireError(f"an array of dtype {array.dtype}")
        little = array.astype(array.dtype.newbyteorder("<"), copy=False)
        arrays.append(little.tobytes())
        return {"array": [array.dtype.name, list(array.shape)]}
    if isinstance(value, (list, tuple)):
        parts = [_packed(part, arrays) for part in value]
        return {"tuple": parts} if isinstance(value, tuple) else parts
    if isinstance(value, dict) and all(type(key) is str for key in value):
        return {"dict": [[key, _packed(part, arrays)] for key, part in value.items()]}
    raise WireError(f"a value of type {type(value).__name__}")


def decode(message: bytes) -> Any:
    """Return the value in a message.

    Raises
    ------
    WireError
        If the bytes are not a message: nothing in them is trusted.
    """
    try:
        (length,) = _LENGTH.unpack_from(message)
        end = _LENGTH.size + length
        if end > len(message):
            raise WireError("a header longer than its message")
        value, end = _unpacked(json.loads(message[_LENGTH.size : end]), message, end)
    except (struct.error, ValueError, TypeError, KeyError, RecursionError, MemoryError) as error:
        raise error if isinstance(error, WireError) else WireError(f"no message: {error}") from error
    if end != len(message):
        raise WireError(f"{len(message) - end} bytes after the last array")
    return value


def _unpacked(node: Any, message: bytes, at: int) -> tuple[Any, int]:
    """Return the value of a JSON node, whose arrays begin at a byte; and the byte behind them."""
    if isinstance(node, list):
        return _sequence(node, message, at)
    if isinstance(node, str):  # JSON can hold halves of characters, which no file takes
        return node.encode("utf-8", "backslashreplace").decode(), at
    if not isinstance(node, dict):
        return node, at
    ((kind, content),) = node.items()
    if kind == "array":
        name, shape = content
        return _array(name, shape, message, at)
    if kind == "tuple":
        parts, at = _sequence(content, message, at)
        return tuple(parts), at
    if kind == "dict":
        parts, at = _sequence([part for _, part in content], message, at)
        return dict(zip((str(key) for key, _ in content), parts)), at
    raise WireError(f"a value of unknown kind {kind!r}")


def _sequence(nodes: list, message: bytes, at: int) -> tuple[list, int]:
    parts = []
    for node in nodes:
        part, at = _unpacked(node, message, at)
        parts.append(part)
    return parts, at


def _array(name: str, shape: list[int], message: bytes, at: int) -> tuple[np.ndarray, int]:
    if name not in DTYPES or len(shape) > _MOST_DIMENSIONS or not all(type(n) is int and n >= 0 for n in shape):
        raise WireError(f"an array of dtype {str(name)[:40]!r} and shape {str(shape)[:40]}")
    dtype = np.dtype(name)
    end = at + math.prod(shape) * dtype.itemsize
    if end > len(message):
        raise WireError(f"an array of shape {tuple(shape)} that is longer than its message")
    flat = np.frombuffer(message[at:end], dtype.newbyteorder("<"))
    return flat.astype(dtype).reshape(shape), end


def write(stream: BinaryIO, message: bytes) -> None:
    """Send a message."""
    stream.write(_LENGTH.pack(len(message)))
    stream.write(message)
    stream.flush()


def read(stream: BinaryIO, limit: int) -> bytes | None:
    """Receive a message; None where the stream has ended.

    Raises
    ------
    WireError
        If it is longer than ``limit`` bytes, before they are read.
    """
    start = stream.read(_LENGTH.size)
    if len(start) < _LENGTH.size:
        return None
    (length,) = _LENGTH.unpack(start)
    if length > limit:
        raise WireError(f"more than {limit / 1e6:.0f} MB")
    message = stream.read(length)
    return message if len(message) == length else None
