"""Submissions: a file, a folder, an archive; misnamed, empty, a notebook, or hostile. Nothing is unpacked.

Only the one file that the assignment asks for is read, into memory and up to its largest size. So links, paths that
lead out of an archive, and archives that grow without end do no harm.
"""

from __future__ import annotations

import bz2
import gzip
import hashlib
import io
import lzma
import os
import re
import stat
import tarfile
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any

from tinycnn.assign.task import AssignmentError, Task

_MOST_FILES = 2000
_MOST_ARCHIVE = 50 * 2**20
_MOST_UNPACKED = 200 * 2**20
_DEEPEST = 4
_LONGEST_NAME = 150  # bytes
_UNPACK: dict[str, Callable[..., Any]] = {
    ".tar": open,
    ".tar.gz": gzip.open,
    ".tgz": gzip.open,
    ".tar.bz2": bz2.open,
    ".tar.xz": lzma.open,
}
_ARCHIVES = (".zip", *_UNPACK)

Reader = Callable[[int], bytes]


@dataclass
class Submission:
    """One student's file.

    Attributes
    ----------
    student : str
    source : bytes or None
        None if nothing can be run; notes hold the reason.
    notes : list of str
        Messages to the student.
    """

    student: str
    source: bytes | None
    notes: list[str] = field(default_factory=list)


class _Refused(Exception):
    """A submission that cannot be taken; the text is for the student."""


def read(path: Path, task: Task, student: str = "") -> Submission:
    """Read a submission; nothing in it makes this raise."""
    student = student or _student_of(path)
    notes: list[str] = []
    try:
        name, source = _choose(dict(_files(path, task.largest_kb * 1024)), task, notes)
        _check(name, source, task)
    except _Refused as reason:
        return Submission(student, None, [printable(note) for note in (*notes, str(reason))])
    except Exception as error:  # archives can be broken in more ways than their modules list
        why = str(error).partition("\n")[0] or type(error).__name__
        return Submission(student, None, [printable(f"{path.name} cannot be read: {why}")])
    return Submission(student, source, [printable(note) for note in notes])


def collect(folder: Path) -> dict[str, Path]:
    """Return the submissions in a folder, by student: one file, folder or archive each.

    Raises
    ------
    AssignmentError
        If there are none.
    """
    try:
        entries = sorted(path for path in folder.iterdir() if not path.name.startswith((".", "__")))
    except OSError as error:
        raise AssignmentError(f"{folder}: {error.strerror}") from error
    if not entries:
        raise AssignmentError(f"{folder} is empty, expected a file, folder or archive for each student")
    found: dict[str, Path] = {}
    for path in entries:
        name = _student_of(path)
        found[path.name if name in found else name] = path
    return found


def _student_of(path: Path) -> str:
    """Return the name without its suffix; one too long for a report's file name is cut, and a hash keeps it
    distinct.
    """
    suffix = next((end for end in (*_ARCHIVES, ".py", ".ipynb", ".txt") if path.name.lower().endswith(end)), "")
    name = printable(path.name[: len(path.name) - len(suffix)] or path.name)
    data = name.encode()
    if len(data) <= _LONGEST_NAME:
        return name
    return f"{data[: _LONGEST_NAME - 20].decode(errors='ignore')}-{hashlib.sha256(data).hexdigest()[:12]}"


def printable(text: str) -> str:
    """Return text that every file can hold: a mark replaces each invalid character, which file names may have."""
    return text.encode("utf-8", "backslashreplace").decode()


# -- finding files, without following anything -------------------------------------------------------------------------


def _files(path: Path, largest: int) -> Iterator[tuple[str, Reader]]:
    """Return names, with slashes, and readers of the regular files in a submission."""
    mode = path.lstat().st_mode
    if stat.S_ISLNK(mode):
        raise _Refused(f"{path.name} is a link; hand in the file itself")
    if stat.S_ISDIR(mode):
        return _in_folder(path)
    if not stat.S_ISREG(mode):
        raise _Refused(f"{path.name} is not a file")
    if not path.name.lower().endswith(_ARCHIVES):
        return iter([(path.name, _reader(path))])
    if path.stat().st_size > _MOST_ARCHIVE:
        raise _Refused(f"{path.name} has more than {_MOST_ARCHIVE >> 20} MB")
    return _in_zip(path) if path.name.lower().endswith(".zip") else _in_tar(path, largest)


def _reader(path: Path) -> Reader:
    def read(size: int) -> bytes:
        flags = os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)
        with open(os.open(path, flags), "rb") as file:
            if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
                raise _Refused(f"{path.name} is not a file")
            return file.read(size)

    return read


def _in_folder(folder: Path) -> Iterator[tuple[str, Reader]]:
    count = 0
    for place, folders, names in os.walk(folder, followlinks=False):
        depth = len(Path(place).relative_to(folder).parts)
        folders[:] = [name for name in folders if depth < _DEEPEST and not _is_clutter(name)]
        for name in sorted(names):
            count += 1
            if count > _MOST_FILES:
                raise _Refused(f"there are more than {_MOST_FILES} files")
            path = Path(place) / name
            if stat.S_ISREG(path.lstat().st_mode) and not _is_clutter(name):
                yield path.relative_to(folder).as_posix(), _reader(path)


def _in_zip(path: Path) -> Iterator[tuple[str, Reader]]:
    archive = zipfile.ZipFile(io.BytesIO(path.read_bytes()))
    for number, member in enumerate(archive.infolist()):
        if number >= _MOST_FILES:
            raise _Refused(f"there are more than {_MOST_FILES} files in {path.name}")
        mode = member.external_attr >> 16
        if not member.is_dir() and not stat.S_ISLNK(mode) and _is_safe(member.filename):
            yield member.filename, _member_reader(archive, member)


def _member_reader(archive: zipfile.ZipFile, member: zipfile.ZipInfo) -> Reader:
    def read(size: int) -> bytes:
        with archive.open(member) as file:
            return file.read(size)

    return read


def _in_tar(path: Path, largest: int) -> Iterator[tuple[str, Reader]]:
    unpack = next(unpack for end, unpack in _UNPACK.items() if path.name.lower().endswith(end))
    with unpack(path, "rb") as file:
        content = file.read(_MOST_UNPACKED + 1)  # headers can be as large as files
    if len(content) > _MOST_UNPACKED:
        raise _Refused(f"there are more than {_MOST_UNPACKED >> 20} MB in {path.name}")
    with tarfile.open(fileobj=io.BytesIO(content), mode="r:") as archive:
        for number, member in enumerate(archive):
            if number >= _MOST_FILES:
                raise _Refused(f"there are more than {_MOST_FILES} files in {path.name}")
            part = archive.extractfile(member) if member.isreg() and _is_safe(member.name) else None
            if part is not None:
                start = part.read(largest + 1)
                yield member.name, lambda size, start=start: start[:size]  # type: ignore[misc]


def _is_safe(name: str) -> bool:
    """True for a path that stays inside, and is not clutter."""
    parts = PurePosixPath(name.replace("\\", "/")).parts
    return 0 < len(parts) <= _DEEPEST and not any(p in ("..", "/") or ":" in p or _is_clutter(p) for p in parts)


def _is_clutter(name: str) -> bool:
    return name.startswith(".") or name in ("__MACOSX", "__pycache__", "original")


# -- the one file ------------------------------------------------------------------------------------------------------


def _choose(files: dict[str, Reader], task: Task, notes: list[str]) -> tuple[str, bytes]:
    """Return the file that the assignment asks for, or the one that was probably meant."""
    exact = sorted((n for n in files if PurePosixPath(n).name == task.file), key=lambda n: (n.count("/"), n))
    supplied = ("public.py", "adapter.py", "check.py")
    scripts = sorted(n for n in files if n.lower().endswith((".py", ".txt")) and PurePosixPath(n).name not in supplied)
    stem = re.escape(Path(task.file).stem)
    near = [n for n in scripts if re.search(stem, PurePosixPath(n).name, re.I)]
    if exact:
        name = exact[0]
        if len(exact) > 1:
            notes.append(f"there are {len(exact)} files {task.file}; {name} was graded")
    elif len(near) == 1 or len(scripts) == 1:
        name = near[0] if len(near) == 1 else scripts[0]
        notes.append(f"the file is called {PurePosixPath(name).name}, expected {task.file}; it was graded all the same")
    elif any(n.lower().endswith(".ipynb") for n in files):
        raise _Refused(_NOTEBOOK.format(file=task.file))
    else:
        found = ", ".join(sorted(PurePosixPath(n).name for n in files)[:8]) or "nothing"
        raise _Refused(f"there is no {task.file}; what was handed in: {found}")
    return name, files[name](task.largest_kb * 1024 + 1)


_NOTEBOOK = "a notebook was handed in, expected {file}: save it as a Python script (File, Save and Export as, Script)"


def _check(name: str, source: bytes, task: Task) -> None:
    """Raise _Refused for contents that are not Python source."""
    if len(source) > task.largest_kb * 1024:
        raise _Refused(f"{name} has more than {task.largest_kb} kB")
    if not source.strip():
        raise _Refused(f"{name} is empty")
    if source[:2] in (b"\xff\xfe", b"\xfe\xff"):
        raise _Refused(f"{name} is encoded as UTF-16; save it as UTF-8")
    if source.startswith((b"PK\x03\x04", b"\x7fELF", b"%PDF", b"\x1f\x8b")) or b"\0" in source:
        raise _Refused(f"{name} is not text, expected a Python script")
    if source.lstrip()[:1] == b"{" and b'"nbformat"' in source:
        raise _Refused(_NOTEBOOK.format(file=task.file))
