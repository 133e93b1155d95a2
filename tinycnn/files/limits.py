"""Limits on the size of unpacked files, and the conversion of every failure into one error."""

from __future__ import annotations

import math
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from tinycnn.errors import TinyCNNError, WeightsError

DEFAULT_UNPACK_LIMIT = 4 * 2**30
"""Bytes that one compressed file may unpack to, unless the environment variable or the caller sets another limit."""
UNPACK_LIMIT_VARIABLE = "TINYCNN_UNPACK_LIMIT"
_CHUNK = 2**20
_DEFLATE_RATIO = 1032  # the most that one byte of a deflate stream can unpack to (RFC 1951: 258 bytes for 2 bits)


def unpack_limit(expected: int | None = None) -> int:
    """Return the bytes that one compressed file may unpack to.

    It is the environment variable ``TINYCNN_UNPACK_LIMIT``, or 4 GiB, or ``expected`` if that is less.

    Raises
    ------
    ValueError
        If the variable is not a whole number of at least 0.
    """
    text = os.environ.get(UNPACK_LIMIT_VARIABLE, "").strip()
    if text and not (text.isascii() and text.isdigit()):
        raise ValueError(f"{UNPACK_LIMIT_VARIABLE} is {text!r}, expected a whole number of bytes")
    limit = int(text) if text else DEFAULT_UNPACK_LIMIT
    return limit if expected is None else min(limit, expected)


def check_unpacked_size(size: int, packed: int, limit: int, name: str) -> None:
    """Raise ValueError if ``size`` bytes are more than ``limit``, or more than ``packed`` deflated bytes can give."""
    if size > limit:
        raise ValueError(
            f"{name} would unpack to {size} bytes, more than the {limit} that are allowed "
            f"(the environment variable {UNPACK_LIMIT_VARIABLE} sets the limit)"
        )
    if size > _DEFLATE_RATIO * packed + 64:
        raise ValueError(f"{name} declares {size} bytes, which its {packed} compressed bytes cannot hold")


def check_elements(said: str, shape: tuple[int, ...], expected: Mapping[str, Any] | None, name: str) -> None:
    """Raise WeightsError if an array that is to replace one of the expected ones declares far more elements.

    Other differences of shape are left to ``load_state_dict``, which lists them all.
    """
    if expected is not None and name in expected:
        wanted = np.shape(expected[name])
        if math.prod(shape) > 2 * math.prod(wanted) + 2**20:
            raise WeightsError(f"{said} has shape {shape}, expected {wanted}")


def read_exactly(stream: Any, size: int, name: str) -> np.ndarray:
    """Read ``size`` bytes from an unpacking stream in small chunks, into a writable array of uint8.

    The caller has checked ``size`` (see :func:`check_unpacked_size`); never more than that is unpacked.

    Parameters
    ----------
    stream : object with ``read(n)``
        A member of a zip archive or a ``gzip.GzipFile``.
    size : int
        Bytes to read.
    name : str
        For the message.

    Raises
    ------
    ValueError
        If the stream ends earlier.
    """
    data = np.empty(size, np.uint8)
    at = 0
    while at < size:
        chunk = stream.read(min(_CHUNK, size - at))
        if not chunk:
            raise ValueError(f"{name} has {at} bytes, expected {size}: truncated?")
        data[at : at + len(chunk)] = np.frombuffer(chunk, np.uint8)
        at += len(chunk)
    return data


@contextmanager
def refusals(path: str | Path, kind: type[TinyCNNError] = WeightsError) -> Iterator[None]:
    """Turn every failure to read a file into ``kind``, with the file's name.

    Errors of the operating system about the file itself (no permission, a broken disk) pass as they are.
    """
    try:
        yield
    except TinyCNNError as error:
        if isinstance(error, kind) and str(path) in str(error):
            raise
        raise kind(f"{path} is refused: {error}") from error
    except OSError as error:
        if error.errno is not None and error.filename is not None:
            raise
        raise kind(f"{path} is refused: it is damaged ({error})") from error
    except (ValueError, EOFError) as error:
        raise kind(f"{path} is refused: {shorten(str(error)) or 'it ends too early'}") from error
    except Exception as error:
        said = f"{type(error).__name__}: {shorten(str(error))}".removesuffix(": ")
        raise kind(f"{path} is refused: it is damaged ({said})") from error


def shorten(text: str, most: int = 400) -> str:
    """Return text from a file as one printable line of at most ``most`` characters."""
    text = "".join(
        c if c.isprintable() else c.encode("unicode_escape", "backslashreplace").decode() for c in text[:most]
    )
    return text if len(text) < most else text[: most - 3] + "..."
