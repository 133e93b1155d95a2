"""Folders of runs: creation without a race, search by name, and removal of those that killed commands left."""

from __future__ import annotations

import difflib
import os
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from tinycnn.errors import CheckpointError
from tinycnn.text import printable

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]

CHECKPOINT = "checkpoint.safetensors"
MARKER = ".unfinished"
_EARLY = (MARKER, "settings.json")  # the files of a run before its first checkpoint
_ABANDONED_AFTER = 86400.0  # seconds, where there are no locks to tell a command that runs from one that was killed


def new_folder(out: Path, name: str) -> Path:
    """Make ``out/name``, or ``out/name-2`` and so on if it exists, so that no run overwrites another."""
    number = 1
    folder = out / name
    try:
        out.mkdir(parents=True, exist_ok=True)
        while True:
            try:
                folder.mkdir()
                return folder
            except FileExistsError:  # perhaps made by another command in this moment
                number += 1
                folder = out / f"{name}-{number}"
    except OSError as error:
        raise OSError(error.errno, f"cannot make the folder of the run, {folder} ({error.strerror})") from error


@contextmanager
def claimed(folder: Path) -> Iterator[None]:
    """Mark a folder as one that a command is writing, so that :func:`remove_abandoned` spares it.

    Raises
    ------
    OSError
        If another command writes it now.
    """
    path = folder / MARKER
    folder.mkdir(parents=True, exist_ok=True)
    while True:
        file = open(path, "ab")  # noqa: SIM115
        if _lock(file.fileno()) is False:
            file.close()
            raise OSError(f"{folder} is being written by another tinycnn command; wait for it, or stop it")
        with suppress(OSError):
            if fcntl is None or os.fstat(file.fileno()).st_nlink:
                break
        file.close()  # another command removed it before it was locked
    try:
        yield
    finally:
        if fcntl is None:
            file.close()  # Windows removes closed files only
        with suppress(OSError):
            path.unlink()
        file.close()


def _lock(descriptor: int) -> bool | None:
    """Lock an open file; False if another process has it, None where the file system has no locks."""
    if fcntl is None:
        return None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:
        return None
    return True


def remove_abandoned(out: Path, name: str = "*") -> None:
    """Remove the folders in ``out`` that killed commands left before their first result."""
    with suppress(OSError):
        for path in out.glob(f"{name}/{MARKER}"):
            with suppress(OSError):
                _remove_if_abandoned(path)


def _remove_if_abandoned(path: Path) -> None:
    with open(path, "ab") as file:
        lock = _lock(file.fileno())
        if lock is False or (lock is None and time.time() - path.stat().st_mtime < _ABANDONED_AFTER):
            return
        names = [entry.name for entry in path.parent.iterdir()]
        if all(name in _EARLY or name.startswith(".tmp-") for name in names):
            shutil.rmtree(path.parent)
        elif fcntl is not None:
            path.unlink()


def find_run(given: Path, out: Path) -> Path:
    """Return a run by its path, or by its name in the folder of runs.

    Raises
    ------
    CheckpointError
        If it does not exist, with the names of those that do.
    """
    for folder in (given, out / given):
        if folder.is_file() or (folder / CHECKPOINT).is_file():
            return folder
    known = sorted(path.parent.name for path in out.glob(f"*/{CHECKPOINT}"))
    near = difflib.get_close_matches(given.name, known, n=1)
    hint = f"; did you mean {near[0]}?" if near else ""
    there = f"runs in {out}: {', '.join(known)}" if known else f"there is no run in {out}"
    message = f"there is no run {given}: neither {given} nor {out / given} has a {CHECKPOINT}{hint} ({there})"
    raise CheckpointError(printable(message))


def newest_run(out: Path) -> Path:
    """Return the run in a folder whose checkpoint is the newest."""
    runs = sorted(out.glob(f"*/{CHECKPOINT}"), key=lambda path: path.stat().st_mtime)
    if not runs:
        raise CheckpointError(printable(f"there is no run in {out}: train one with `tinycnn train`, or name one"))
    return runs[-1].parent
