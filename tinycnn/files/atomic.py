"""Writing files so that a kill at any moment leaves the old one or the new one, never half of one."""

from __future__ import annotations

import errno
import hashlib
import os
import secrets
import stat
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]

_ABANDONED_AFTER = 3600.0  # seconds, where there are no locks to tell a writer that lives from one that was killed


@contextmanager
def atomic_write(path: str | Path) -> Iterator[BinaryIO]:
    """Open a binary file that takes the place of ``path`` when the block ends without an error.

    The contents reach the disk before the name does. A symbolic link stays, and its target is replaced. The new file
    has the mode and owner of the old one. The temporary file of an earlier writer of the same path that was killed is
    deleted. A device or pipe is written directly.

    Raises
    ------
    OSError
        If it cannot be written (no space, no permission): ``path`` is as it was.
    """
    try:
        target = Path(os.path.realpath(path)) if os.path.islink(path) else Path(path)
        before = _stat_of(target)
        if before is not None and stat.S_ISDIR(before.st_mode):
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
        if before is not None and not stat.S_ISREG(before.st_mode):
            with open(target, "wb") as device:
                yield device
            return
        delete_abandoned(target)
        file, temporary = _create(target.parent, _prefix(target))
        try:
            yield file
            _publish(file, temporary, target, before)
        finally:
            file.close()
            temporary.unlink(missing_ok=True)
    except OSError as error:
        said = error.strerror or error
        raise OSError(error.errno, f"cannot write {path} ({said}); what was there is unchanged") from error


def _publish(file: BinaryIO, temporary: Path, target: Path, before: os.stat_result | None) -> None:
    file.flush()
    if before is not None and fcntl is not None:
        with suppress(OSError):  # only root may give a file to another user
            os.fchown(file.fileno(), before.st_uid, before.st_gid)
        with suppress(OSError):  # some file systems have no modes
            os.fchmod(file.fileno(), stat.S_IMODE(before.st_mode))
    os.fsync(file.fileno())
    if fcntl is None:
        file.close()  # Windows replaces closed files only; elsewhere the lock is held until the name is there
    os.replace(temporary, target)
    _sync_folder(target.parent)


def _stat_of(path: Path) -> os.stat_result | None:
    try:
        return path.stat()
    except FileNotFoundError:
        return None


def _create(folder: Path, prefix: str) -> tuple[BinaryIO, Path]:
    """Open a temporary file that only this writer knows, locked as long as it is written."""
    for attempt in range(10):
        # Opened as any file is, so that it has the mode of the user's umask; tempfile's would be private.
        temporary = folder / f"{prefix}{secrets.token_hex(4)}.tmp"
        file = open(temporary, "xb")  # noqa: SIM115
        if fcntl is None or not _lock(file) or os.fstat(file.fileno()).st_nlink or attempt == 9:
            break
        file.close()  # another writer took it for abandoned in the instant before the lock
    return file, temporary


def _lock(file: BinaryIO) -> bool:
    """Lock an open file against :func:`delete_abandoned`; False where the file system has no locks."""
    try:
        fcntl.flock(file.fileno(), fcntl.LOCK_EX)
    except OSError:
        return False
    return True


def delete_abandoned(path: Path) -> None:
    """Delete the temporary files of writers of ``path`` that were killed: they hold no lock any more."""
    for left in _listed(path.parent, _prefix(path)):
        with suppress(OSError):
            if fcntl is None:
                if time.time() - left.stat().st_mtime > _ABANDONED_AFTER:
                    left.unlink()
                continue
            with open(left, "rb") as file:
                fcntl.flock(file.fileno(), fcntl.LOCK_EX | fcntl.LOCK_NB)
                left.unlink()


def _prefix(path: Path) -> str:
    """Return the beginning of the names of a file's temporaries: short, because a name may have 255 bytes."""
    return f".{hashlib.sha256(os.fsencode(path.name)).hexdigest()[:16]}-"


def _listed(folder: Path, prefix: str) -> list[Path]:
    try:
        with os.scandir(folder) as entries:
            return [Path(entry.path) for entry in entries if entry.name.startswith(prefix)]
    except OSError:
        return []


def _sync_folder(folder: Path) -> None:
    """Flush a new name in a folder to the disk; Windows and some file systems have no call for it."""
    if not hasattr(os, "O_DIRECTORY"):
        return
    with suppress(OSError):
        number = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(number)
        finally:
            os.close(number)
