"""Download the published data sets, on request only: mirrors in turn, resumed, checked, put in place whole."""

from __future__ import annotations

import hashlib
import logging
import os
import shutil
import tarfile
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from tinycnn.data.cifar import CIFAR
from tinycnn.data.download import MAX_SECONDS, BadRange, DownloadFailed, Progress, TooLarge, download
from tinycnn.data.idx import NAMES
from tinycnn.errors import DataError, unknown_name
from tinycnn.files.lock import locked

_log = logging.getLogger(__name__)
_UNPACK_PREFIX = ".unpack-"

MIRRORS: dict[str, tuple[str, ...]] = {
    "mnist": (
        "https://ossci-datasets.s3.amazonaws.com/mnist/",
        "https://storage.googleapis.com/cvdf-datasets/mnist/",
    ),
    "fashion_mnist": (
        "http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/",
        "https://raw.githubusercontent.com/zalandoresearch/fashion-mnist/master/data/fashion/",
    ),
    "kmnist": ("http://codh.rois.ac.jp/kmnist/dataset/kmnist/",),
    "cifar10": ("https://www.cs.toronto.edu/~kriz/",),
    "cifar100": ("https://www.cs.toronto.edu/~kriz/",),
}


@dataclass(frozen=True)
class Download:
    """One published file."""

    filename: str
    md5: str
    size: int | None = None


DOWNLOADS: dict[str, tuple[Download, ...]] = {
    **{name: tuple(Download(file.gz, file.md5, file.size) for file in entry.files) for name, entry in NAMES.items()},
    **{name: (Download(entry.archive, entry.md5, entry.size),) for name, entry in CIFAR.items()},
}


def fetch(
    name: str,
    root: str | Path,
    mirrors: Sequence[str] | None = None,
    progress: Progress | None = None,
) -> list[Path]:
    """Download a data set into ``root/name``, where the loaders find it.

    Each file is written to ``FILE.part``, checked against its published size and MD5 and only then renamed. A
    ``.part`` that an earlier call left is continued. A complete file is not requested again. A mirror that sends too
    much, too slowly or for longer than an hour is given up. If two processes fetch the same set, one waits for the
    other.

    Parameters
    ----------
    name
        ``"mnist"``, ``"fashion_mnist"``, ``"kmnist"``, ``"cifar10"`` or ``"cifar100"``.
    root
        The folder of data sets.
    mirrors
        Addresses of folders to try in turn instead of the built-in ones.
    progress
        Called as ``progress(done_bytes, total_bytes, filename)``; the total is None where unknown.

    Returns
    -------
    list of Path
        The files in place; for an archive, the files unpacked from it.

    Raises
    ------
    UnknownNameError
        For a name that cannot be fetched.
    DataError
        If no mirror delivers a file (every address and reason is listed) or an archive is unsafe.
    """
    if name == "glyphs":
        raise DataError("glyphs is embedded: there is nothing to fetch; train on it with: tinycnn train --data glyphs")
    if name not in DOWNLOADS:
        raise unknown_name("data set to fetch", name, DOWNLOADS)
    folder = Path(root) / name
    bases = MIRRORS[name] if mirrors is None else tuple(mirrors)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with locked(
            folder / ".fetch.lock", MAX_SECONDS, lambda: _log.warning("%s: another process fetches it", folder)
        ):
            return _fetch_all(name, folder, bases, progress)
    except DownloadFailed as error:
        raise DataError(f"{error}\n{_by_hand(name, folder)}") from error
    except OSError as error:
        raise DataError(f"{error.filename or folder}: {error.strerror or error}") from error


def _fetch_all(name: str, folder: Path, bases: Sequence[str], progress: Progress | None) -> list[Path]:
    for abandoned in folder.glob(f"{_UNPACK_PREFIX}*"):  # by a process that was killed
        shutil.rmtree(abandoned, ignore_errors=True)
    paths = [_fetch_file(item, folder, bases, progress) for item in DOWNLOADS[name]]
    return [file for path in paths for file in (_unpack(path) if path.name.endswith(".tar.gz") else [path])]


def _fetch_file(item: Download, folder: Path, bases: Sequence[str], progress: Progress | None) -> Path:
    target = folder / item.filename
    if _is_whole(target, item):
        return target
    part = folder / f"{item.filename}.part"
    deadline = time.monotonic() + MAX_SECONDS
    reasons = []
    for base in bases:
        url = f"{base.rstrip('/')}/{item.filename}"
        try:
            _download_checked(url, part, item, deadline, progress)
        except DownloadFailed as error:
            reasons.append(f"  {url}: {error}")
        else:
            os.replace(part, target)
            return target
    raise DownloadFailed(
        "\n".join([f"{item.filename}: no mirror delivered it:", *(reasons or ["  (no mirror was given)"])])
    )


def _by_hand(name: str, folder: Path) -> str:
    """Return the files that are still missing, and the ways to get them by hand."""
    wanted = [item for item in DOWNLOADS[name] if not _is_whole(folder / item.filename, item)]
    return "\n".join(
        [
            f"To place by hand what is missing, put into {folder}:",
            *(f"  {item.filename}  md5 {item.md5}" for item in wanted),
            "To work without any download: tinycnn train --data glyphs",
        ]
    )


def _is_whole(path: Path, item: Download) -> bool:
    return path.is_file() and _md5(path) == item.md5


def _download_checked(url: str, part: Path, item: Download, deadline: float, progress: Progress | None) -> None:
    """Write a complete, checked ``part``; after a wrong continuation it is deleted and downloaded once more."""
    resumed = part.is_file() and part.stat().st_size > 0
    if resumed and _md5(part) == item.md5:
        return
    if resumed:
        try:
            download(url, part, item.size, deadline, progress, item.filename)
        except (BadRange, TooLarge):
            pass
        else:
            if _md5(part) == item.md5:
                return
        part.unlink()
    try:
        download(url, part, item.size, deadline, progress, item.filename)
    except TooLarge:
        part.unlink(missing_ok=True)
        raise
    found = _md5(part)
    if found != item.md5:
        part.unlink()
        raise DownloadFailed(f"md5 is {found}, expected {item.md5}")


def _md5(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, lambda: hashlib.md5(usedforsecurity=False)).hexdigest()


def _unpack(archive: Path) -> list[Path]:
    """Unpack next to the archive, by way of a temporary folder, so that no half-written file stays."""
    if not hasattr(tarfile, "data_filter"):
        raise DataError(f"{archive}: unpacking safely needs Python 3.11.4 or newer; unpack it by hand")
    with tempfile.TemporaryDirectory(prefix=_UNPACK_PREFIX, dir=archive.parent) as temporary:
        try:
            with tarfile.open(archive) as tar:
                tar.extractall(temporary, filter="data")
        except (tarfile.TarError, EOFError, OSError) as error:
            raise DataError(f"{archive}: not unpacked ({type(error).__name__}: {error})") from error
        return [_move(path, Path(temporary), archive.parent) for path in _files_in(Path(temporary))]


def _files_in(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if path.is_file())


def _move(path: Path, source: Path, destination: Path) -> Path:
    target = destination / path.relative_to(source)
    target.parent.mkdir(parents=True, exist_ok=True)
    os.replace(path, target)
    return target
