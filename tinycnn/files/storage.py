"""Checks of free space and memory before work begins, and another place for a file that cannot be written to its
own.
"""

from __future__ import annotations

import errno
import glob
import os
import shutil
import tempfile
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from tinycnn.files.atomic import delete_abandoned
from tinycnn.progress import note

_PROBE = b"tinycnn looks whether it can write here\n"


def check_room(path: Path, size: int) -> None:
    """Raise OSError unless a file of about ``size`` bytes can be written: folder, permission, free space, limits.

    The folder is made if it does not exist. Free space must hold the file twice, as an atomic write needs it, or once
    beside a file that is there already.
    """
    folder = path.parent
    probe = folder / f".{os.getpid()}.probe.tmp"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        if path.is_dir():
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
        probe.write_bytes(_PROBE)
        free = shutil.disk_usage(folder).free
    except OSError as error:
        raise OSError(error.errno, f"cannot write into {folder} ({error.strerror}): nothing was started") from error
    finally:
        with suppress(OSError):
            probe.unlink(missing_ok=True)
    needed = size if path.exists() else 2 * size
    if free < needed:
        raise OSError(
            errno.ENOSPC,
            f"{path} needs about {needed / 1e6:,.1f} MB with its successor, but {folder} has "
            f"{free / 1e6:,.1f} MB free: nothing was started",
        )
    if size > (limit := _largest_file()):
        raise OSError(
            errno.EFBIG,
            f"{path} needs about {size / 1e6:,.1f} MB, but this process may write files of at most {limit / 1e6:,.1f} "
            "MB (ulimit -f): nothing was started",
        )


def _largest_file() -> float:
    """Return the process's limit on a file's size, in bytes."""
    try:
        import resource
    except ImportError:  # Windows
        return float("inf")
    limit = resource.getrlimit(resource.RLIMIT_FSIZE)[0]
    return float("inf") if limit == resource.RLIM_INFINITY else limit


def write_somewhere(path: Path, write: Callable[[Path], object]) -> None:
    """Call ``write(path)``; make the folder again if it was removed, and write elsewhere if that does not help.

    Raises
    ------
    OSError
        If ``path`` cannot be written; the message names the other place that holds the file now.
    """
    try:
        write(path)
        return
    except OSError as error:
        failure = error
    if not path.parent.exists():
        with suppress(OSError):
            path.parent.mkdir(parents=True)
            write(path)
            note(f"{path.parent} was removed while training; it was made again")
            return
    for place in _other_places():
        folder = None
        try:
            folder = Path(tempfile.mkdtemp(prefix=f"{path.parent.name or 'run'}-saved-", dir=place))
            write(folder / path.name)
        except OSError:
            if folder is not None:
                shutil.rmtree(folder, ignore_errors=True)
            continue
        raise OSError(failure.errno, f"{_reason(failure, path)}; saved instead as {folder / path.name}") from failure
    raise failure


def _other_places() -> list[str]:
    """Return folders to save in: for temporary files, the current one, the user's. Each may be gone or unknown."""
    found = []
    for place in (tempfile.gettempdir, os.getcwd, Path.home):
        with suppress(OSError, RuntimeError):
            found.append(str(place()))
    return list(dict.fromkeys(found))


def _reason(error: OSError, path: Path) -> str:
    text = error.strerror or str(error)
    return text if str(path) in text else f"cannot write {path} ({text})"


def remove_temporaries(path: Path) -> None:
    """Remove the temporary files that killed processes left beside a file that is written atomically."""
    delete_abandoned(path)
    with suppress(OSError):  # and those with names from before
        for left in path.parent.glob(f".{glob.escape(path.name)}.*.tmp"):
            with suppress(OSError):
                left.unlink()


def check_memory(size: float, what: str) -> None:
    """Raise MemoryError if ``size`` bytes are more than this machine has."""
    try:
        there = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, ValueError, OSError):  # Windows
        return
    if size > there:
        raise MemoryError(f"{what} needs about {size / 1e9:,.0f} GB, but this machine has {there / 1e9:,.0f} GB")
