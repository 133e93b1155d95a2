"""The ``.tcz`` file: arrays by name, coded without loss, safe to read from any source.

It is lossless for every array. It is small because pruned weights are zeros and shared weights have few values.
Of each array it stores the form that takes the fewest bytes:

- values: as they are (in half precision where that changes no bit), or a code book of at most 256 values and the
  Huffman-coded index of each element in it;
- all of them, or only those that are not zero, with the Huffman-coded run of zeros before each. Runs are symbols of
  2 to 8 bits, and the highest symbol stands for that many zeros without a value after them.

=============  =================================================================
bytes          meaning
=============  =================================================================
0 to 5         ``89 54 43 5A 0D 0A``: a transfer as text would change them
6 to 7         version, 1
8 to 11        length of the header
12 to 15       CRC-32 of the header
then           the header: JSON, deflated: an entry for each array, with the
               length and CRC-32 of its bytes
then           the bytes of the arrays, in the order of the header
=============  =================================================================

All numbers are little-endian. A reader checks sizes before it allocates: no array is larger than its bytes can tell,
and all together are not larger than a limit; at work it takes a few times that limit at most. Nothing in the file is
ever executed.
"""

from __future__ import annotations

import json
import math
import struct
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from tinycnn import arguments
from tinycnn.compression import bitstream, huffman
from tinycnn.errors import WeightsError
from tinycnn.files.atomic import atomic_write
from tinycnn.files.dtypes import host_arrays
from tinycnn.files.limits import check_elements

MAGIC, VERSION = b"\x89TCZ\r\n", 1
LIMIT = 2**30
"""Bytes of all arrays of a file together, unless the reader says otherwise."""
_PREFIX = struct.Struct("<6sHII")
_LONGEST_HEADER = 2**22
_RUN_BITS = range(2, 9)
_DTYPES = {np.dtype(code).name: np.dtype(code) for code in ("<f2", "<f4", "<f8", "i1", "<i2", "<i4", "<i8", "u1")}


def save(path: str | Path, arrays: Mapping[str, np.ndarray]) -> int:
    """Write arrays by name, atomically, and return the size of the file in bytes."""
    data = encode(arrays)
    with atomic_write(path) as file:
        file.write(data)
    return len(data)


def load(path: str | Path, limit: int = LIMIT, expected: Mapping[str, Any] | None = None) -> dict[str, np.ndarray]:
    """Return the arrays of a file, for ``load_state_dict``: the same bits as were saved.

    Parameters
    ----------
    path : path
    limit : int
        Bytes that the arrays may take together.
    expected : mapping of name to array, optional
        The arrays that are to be replaced. An array of such a name that declares far more elements is refused before
        it is decoded.

    Raises
    ------
    WeightsError
        If the file is truncated, damaged, hostile, of another version, or takes more memory than ``limit``.
    FileNotFoundError
        If there is no such file.
    """
    if not Path(path).is_file():
        raise FileNotFoundError(f"compression: there is no file {path}")
    size = Path(path).stat().st_size
    arguments.integer("container", "limit", limit, 0)
    if size > limit + _LONGEST_HEADER:
        raise WeightsError(f"{path}: it has {size} bytes, more than the {limit} that are allowed")
    data = Path(path).read_bytes()
    try:
        return decode(data, limit, expected)
    except WeightsError as error:
        raise WeightsError(f"{path}: {error}") from error
    except Exception as error:
        raise WeightsError(f"{path}: it is damaged ({type(error).__name__}: {error})") from error


def encode(arrays: Mapping[str, np.ndarray], huffman_coded: bool = True) -> bytes:
    """Return the bytes of a file; without Huffman coding all words of a code have the same length."""
    entries, parts = [], []
    for name, array in host_arrays(arrays).items():
        if array.dtype.name not in _DTYPES:
            raise WeightsError(f"{name} has dtype {array.dtype}, expected one of {', '.join(_DTYPES)}")
        form, part = _smallest(_bits_of(array), array.dtype == np.float32, huffman_coded)
        entry = {"name": name, "dtype": array.dtype.name, "shape": list(array.shape), **form}
        entries.append({**entry, "bytes": len(part), "crc32": zlib.crc32(part)})
        parts.append(part)
    header = zlib.compress(json.dumps(entries, separators=(",", ":")).encode(), 9)
    return b"".join([_PREFIX.pack(MAGIC, VERSION, len(header), zlib.crc32(header)), header, *parts])


def decode(data: bytes, limit: int = LIMIT, expected: Mapping[str, Any] | None = None) -> dict[str, np.ndarray]:
    """Return the arrays that :func:`encode` wrote; errors are those of :func:`load`."""
    found, place = _header(data)
    if place + sum(entry.bytes for entry in found) != len(data):
        raise WeightsError(f"{len(data)} bytes, expected {place + sum(entry.bytes for entry in found)}: truncated?")
    if sum(entry.nbytes for entry in found) > limit:
        raise WeightsError(f"its arrays would take more than the {limit} bytes that are allowed")
    for entry in found:
        check_elements(f"the array {entry.name!r}", entry.shape, expected, entry.name)
    arrays = {}
    for entry in found:
        part = data[place : place + entry.bytes]
        place += entry.bytes
        if zlib.crc32(part) != entry.crc32:
            raise WeightsError(f"the bytes of {entry.name!r} are damaged: their checksum is wrong")
        try:
            arrays[entry.name] = entry.read(part)
        except ValueError as error:
            raise WeightsError(f"the bytes of {entry.name!r} are damaged: {error}") from error
    return arrays


def entries(data: bytes) -> list[Entry]:
    """Return the header's entry of each array, without reading any array."""
    return _header(data)[0]


# -- writing -----------------------------------------------------------------------------------------------------------


def _bits_of(array: np.ndarray) -> np.ndarray:
    """Return the elements as unsigned integers, so that equal means equal in every bit: 0.0 is not -0.0."""
    array = np.ascontiguousarray(array, _DTYPES[array.dtype.name])
    return array.reshape(-1).view(f"<u{array.itemsize}")


def _smallest(bits: np.ndarray, single: bool, huffman_coded: bool) -> tuple[dict[str, Any], bytes]:
    """Return the form of an array that takes the fewest bytes, and those bytes."""
    form, part = _code_values(bits, single, huffman_coded)
    places = np.flatnonzero(bits)
    if len(places) < len(bits):
        runs_form, runs = _code_runs(places, len(bits), huffman_coded)
        sparse_form, values = _code_values(bits[places], single, huffman_coded)
        if len(runs) + len(values) < len(part):
            return {**sparse_form, **runs_form}, runs + values
    return form, part


def _code_values(bits: np.ndarray, single: bool, huffman_coded: bool) -> tuple[dict[str, Any], bytes]:
    """Return values as they are, or a code book and indices."""
    half, raw = _narrow(bits, single)
    if len(np.unique(bits[:4096])) > 256:
        return half, raw
    book, indices = np.unique(bits, return_inverse=True)
    if not 0 < len(book) <= 256:
        return half, raw
    lengths = None if huffman_coded else huffman.fixed_lengths(len(book))
    book_half, head = _narrow(book, single)
    coded = head + huffman.encode(indices.astype(np.uint8), len(book), lengths)
    return ({**book_half, "book": len(book)}, coded) if len(coded) < len(raw) else (half, raw)


def _narrow(bits: np.ndarray, single: bool) -> tuple[dict[str, Any], bytes]:
    """Return the bytes of values, of single precision ones in half precision if that restores every bit."""
    if single and len(bits):
        with np.errstate(over="ignore", invalid="ignore"):
            halves = bits.view("<f4").astype("<f2")
        if (halves.astype("<f4").view("<u4") == bits).all():
            return {"half": True}, halves.tobytes()
    return {}, bits.tobytes()


def _code_runs(places: np.ndarray, count: int, huffman_coded: bool) -> tuple[dict[str, Any], bytes]:
    """Return the runs of zeros before each of ``places`` and at the end, in symbols of the best number of bits."""
    runs = np.diff(places, prepend=-1, append=count) - 1
    best: bytes | None = None
    for bits in _RUN_BITS:
        top = 2**bits - 1
        full = runs // top
        symbols = np.full(len(runs) + int(full.sum()), top, np.uint8)
        symbols[np.cumsum(full + 1) - 1] = runs % top
        coded = huffman.encode(symbols, 2**bits, None if huffman_coded else huffman.fixed_lengths(2**bits))
        if best is None or len(coded) < len(best):
            best, form = coded, {"runs": len(symbols), "run_bits": bits, "run_bytes": len(coded)}
    return {**form, "nonzero": len(places)}, best or b""


# -- reading -----------------------------------------------------------------------------------------------------------


def _header(data: bytes) -> tuple[list[Entry], int]:
    """Return the entries, and the offset of the arrays' bytes."""
    arguments.instance("container", "data", data, (bytes, bytearray, memoryview), "bytes")
    if data[:6] != MAGIC or len(data) < _PREFIX.size:
        raise WeightsError("not a .tcz file, or truncated")
    _, version, length, checksum = _PREFIX.unpack_from(data)
    if version != VERSION:
        raise WeightsError(f"its version is {version}, expected {VERSION}: written by another version of tinycnn?")
    header = data[_PREFIX.size : _PREFIX.size + length]
    if len(header) < length:
        raise WeightsError(f"a header of {length} bytes is announced, {len(header)} are there: truncated?")
    if zlib.crc32(header) != checksum:
        raise WeightsError("the header is damaged: its checksum is wrong")
    try:
        inflate = zlib.decompressobj()
        text = inflate.decompress(header, _LONGEST_HEADER)
        if not inflate.eof or inflate.unused_data:
            raise WeightsError(f"the header is cut off, or longer than {_LONGEST_HEADER} bytes")
        entries = [Entry(entry) for entry in json.loads(text)]
    except (ValueError, TypeError, KeyError, RecursionError, zlib.error) as error:
        raise WeightsError(f"the header is damaged: {error}") from error
    if len({entry.name for entry in entries}) != len(entries):
        raise WeightsError("the header is damaged: a name stands twice")
    return entries, _PREFIX.size + length


class Entry:
    """The header's entry of an array, checked.

    Attributes
    ----------
    name, shape, dtype
    bytes : int
        In the file.
    run_bytes : int
        Those of the runs of zeros, 0 if all elements are stored.
    nonzero : int
        Elements that are stored.
    book : int
        Values in the code book, 0 without one.
    """

    def __init__(self, entry: dict[str, Any]) -> None:
        self.name, self.shape, self.dtype = entry["name"], tuple(entry["shape"]), _DTYPES[entry["dtype"]]
        self.bytes, self.crc32 = entry["bytes"], entry["crc32"]
        self.book, self.sparse = entry.get("book", 0), "runs" in entry
        numbers = [*self.shape, self.bytes, self.crc32, self.book]
        if self.sparse:
            self.runs, self.run_bits, self.run_bytes = entry["runs"], entry["run_bits"], entry["run_bytes"]
            self.nonzero = entry["nonzero"]
            numbers += [self.runs, self.run_bits, self.run_bytes, self.nonzero]
        self.half = self.dtype == np.float32 and entry.get("half", False) is True
        if type(self.name) is not str or any(type(n) is not int or not 0 <= n < 2**63 for n in numbers):
            raise ValueError("names must be text, sizes whole numbers of at least 0")
        if len(self.shape) > 32 or self.book > 256:
            raise ValueError(f"{self.name!r} has more than 32 dimensions, or a code book of more than 256 values")
        self.size = math.prod(self.shape)
        self.nbytes = self.size * self.dtype.itemsize
        self._check()

    def _check(self) -> None:
        """Raise WeightsError for sizes that no array in a file of this length has, before anything is allocated."""
        if not self.sparse:
            self.nonzero, self.run_bytes = self.size, 0
        elif self.run_bits not in _RUN_BITS or self.run_bytes > self.bytes:
            raise ValueError(f"{self.name!r} has runs of {self.run_bits} bits, in {self.run_bytes} bytes")
        elif (
            not self.nonzero < self.runs <= min(8 * self.run_bytes, self.size + 1)
            or self.size > self.runs * 2**self.run_bits
        ):
            raise ValueError(f"{self.name!r} of shape {self.shape} does not fit its {self.runs} runs")
        room = self.bytes - self.run_bytes
        itemsize = 2 if self.half else self.dtype.itemsize
        if self.nonzero > 8 * room if self.book else self.nonzero * itemsize != room:
            raise ValueError(f"{self.name!r} of shape {self.shape} does not fit its {self.bytes} bytes")

    def read(self, part: bytes) -> np.ndarray:
        """Decode the array."""
        values = self._values(part[self.run_bytes :])
        if self.sparse:
            symbols = huffman.decode(part[: self.run_bytes], self.runs, 2**self.run_bits)
            whole = bitstream.spread(symbols, 2**self.run_bits - 1, values.view(f"u{values.itemsize}"), self.size)
            if whole is None:
                raise WeightsError("the runs of zeros do not fill the array")
            values = whole.view(self.dtype)
        return values.astype(self.dtype.newbyteorder("="), copy=False).reshape(self.shape)

    def _values(self, data: bytes) -> np.ndarray:
        stored = np.dtype("<f2") if self.half else self.dtype
        if not self.book:
            return np.frombuffer(data, stored).astype(self.dtype)
        end = self.book * stored.itemsize
        if end > len(data):
            raise WeightsError("the code book is cut off")
        book = np.frombuffer(data[:end], stored).astype(self.dtype)
        return book[huffman.decode(data[end:], self.nonzero, self.book)]
