"""A lock between processes, held by a file."""

from __future__ import annotations

import errno
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

_POLL_SECONDS = 0.05
_BUSY = (errno.EAGAIN, errno.EACCES, errno.EDEADLK)


@contextmanager
def locked(path: Path, seconds: float, on_wait: Callable[[], None] | None = None) -> Iterator[None]:
    """Hold the lock `path` during the block; the file is deleted afterwards.

    The system releases the lock of a process that ends, however it ends. Where a file system has no locks, the block
    runs without one.

    Parameters
    ----------
    path
        The file, in a folder that exists.
    seconds
        To wait for another process.
    on_wait
        Called once if another process holds the lock.

    Raises
    ------
    TimeoutError
        If another process holds the lock for longer.
    """
    file = _acquired(path, seconds, on_wait)
    try:
        yield
    finally:
        if os.name == "nt":
            file.close()  # Windows deletes closed files only
        with suppress(OSError):  # another process may have it open there
            path.unlink()
        file.close()


def _acquired(path: Path, seconds: float, on_wait: Callable[[], None] | None) -> BinaryIO:
    deadline, told = time.monotonic() + seconds, False
    while True:
        file = open(path, "a+b")  # noqa: SIM115
        try:
            _lock(file)
        except OSError as error:
            if error.errno not in _BUSY:
                return file  # a file system without locks
            file.close()
        else:
            if _is_the_file_at(path, file):
                return file
            file.close()  # the holder deleted it between the two calls
            continue
        if not told and on_wait is not None:
            on_wait()
        told = True
        if time.monotonic() > deadline:
            raise TimeoutError(errno.ETIMEDOUT, f"another process has held this lock for {seconds:.0f} s", str(path))
        time.sleep(_POLL_SECONDS)


def _lock(file: BinaryIO) -> None:
    """Lock an open file, or raise OSError at once."""
    if os.name == "nt":
        import msvcrt

        msvcrt.locking(file.fileno(), msvcrt.LK_NBLCK, 1)  # type: ignore[attr-defined]
    else:
        import fcntl

        fcntl.flock(file.fileno(), fcntl.LOCK_EX | fcntl.LOCK_NB)


def _is_the_file_at(path: Path, file: BinaryIO) -> bool:
    try:
        found = os.stat(path)
    except FileNotFoundError:
        return False
    mine = os.fstat(file.fileno())
    return (found.st_dev, found.st_ino) == (mine.st_dev, mine.st_ino)
