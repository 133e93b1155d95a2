"""Zip archives from outside: the table of contents is checked before anything is unpacked."""

from __future__ import annotations

import os
import stat
import struct
import zipfile
from typing import Any, BinaryIO

import numpy as np

from tinycnn.files.limits import check_unpacked_size, read_exactly, shorten

_END, _END64, _LOCATOR64 = b"PK\x05\x06", b"PK\x06\x06", b"PK\x06\x07"
_LONGEST_CONTENTS = 16 * 2**20  # bytes of the table of contents
_MOST_MEMBERS = 50_000


class Archive:
    """A zip archive whose table of contents was checked.

    Parameters
    ----------
    file : file opened for reading
    limit : int
        Bytes that all members together may unpack to.

    Attributes
    ----------
    members : dict of name to zipfile.ZipInfo

    Raises
    ------
    ValueError, zipfile.BadZipFile
        If two members have one name, one is encrypted, a link, or compressed by anything but deflate, or the table or
        the sum of the declared sizes is too large.
    """

    def __init__(self, file: BinaryIO, limit: int) -> None:
        declared = _check_contents(file)
        self._zip = zipfile.ZipFile(file)
        self.members: dict[str, zipfile.ZipInfo] = {}
        for info in self._zip.infolist():
            name = info.orig_filename  # on Windows `filename` has other slashes
            if name in self.members:
                raise ValueError(f"two members are called {shorten(name)!r}")
            _check_member(info, limit)
            self.members[name] = info
        if len(self.members) != declared:
            raise ValueError(f"its table of contents has {len(self.members)} members, expected {declared}: damaged")
        total = sum(info.file_size for info in self.members.values())
        check_unpacked_size(total, max(total, 1), limit, "the archive")

    def open(self, name: str) -> Any:
        """Open one member for reading in parts; its checksum is compared at its end."""
        return self._zip.open(self.members[name])

    def read(self, name: str, limit: int | None = None) -> np.ndarray:
        """Unpack one member, at most its declared size, into a writable array of uint8.

        Raises
        ------
        ValueError, zipfile.BadZipFile, zlib.error
            If it is longer than ``limit``, or damaged.
        """
        size = self.members[name].file_size
        said = f"the member {shorten(name)!r}"
        if limit is not None and size > limit:
            raise ValueError(f"{said} has {size} bytes, more than the {limit} that are allowed")
        with self.open(name) as stream:
            return read_exactly(stream, size, said)


def _check_member(info: zipfile.ZipInfo, limit: int) -> None:
    said = f"the member {shorten(info.orig_filename)!r}"
    if info.flag_bits & 0x1:
        raise ValueError(f"{said} is encrypted")
    if stat.S_ISLNK(info.external_attr >> 16):
        raise ValueError(f"{said} is a symbolic link")
    if info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        raise ValueError(f"{said} has compression method {info.compress_type}, expected 0 (stored) or 8 (deflate)")
    if info.compress_type == zipfile.ZIP_STORED and info.file_size != info.compress_size:
        raise ValueError(f"{said} is stored, but its two sizes differ")
    check_unpacked_size(info.file_size, info.compress_size, limit, said)


def _check_contents(file: BinaryIO) -> int:
    """Refuse a table of contents that is too long, before zipfile makes an object of each of its entries.

    Returns the number of members that it declares.
    """
    size = file.seek(0, os.SEEK_END)
    start = file.seek(max(0, size - 2**16 - 22 - 20))
    tail = file.read()
    end = tail.rfind(_END)
    if end < 0 or len(tail) - end < 22 or len(tail) - end - 22 != int.from_bytes(tail[end + 20 : end + 22], "little"):
        raise zipfile.BadZipFile("it has no table of contents: truncated?")
    declared, length, offset, stop = *struct.unpack_from("<HII", tail, end + 10), start + end
    if end >= 20 and tail[end - 20 : end - 16] == _LOCATOR64:
        file.seek(max(0, stop - 20 - 56))  # where zipfile looks for it too
        record = file.read(56)
        if record[:4] == _END64:
            declared, length, offset, stop = *struct.unpack_from("<QQQ", record, 32), stop - 20 - 56
    if length > min(_LONGEST_CONTENTS, stop):
        raise ValueError(f"its table of contents has {length} bytes: damaged, or far too long")
    if offset + length != stop or (stop and not declared):
        raise ValueError("its table of contents is not where it should be: damaged")
    file.seek(stop - length)
    if file.read(length).count(b"PK\x01\x02") > _MOST_MEMBERS:
        raise ValueError(f"it has more than {_MOST_MEMBERS} members")
    file.seek(0)
    return declared
