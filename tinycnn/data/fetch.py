"""Download the published data sets, on request only: mirrors in turn, resumed, checked, put in place whole."""

from __future__ import annotations

import hashlib
import http.client
import os
import tarfile
import tempfile
import urllib.error
import urllib.request
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tinycnn.data.cifar import CIFAR
from tinycnn.data.idx import NAMES
from tinycnn.errors import DataError, unknown_name

Progress = Callable[[int, int | None, str], None]

_CHUNK = 1 << 16
_TIMEOUT_SECONDS = 30.0

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


DOWNLOADS: dict[str, tuple[Download, ...]] = {
    **{name: tuple(Download(file.gz, file.md5) for file in entry.files) for name, entry in NAMES.items()},
    **{name: (Download(entry.archive, entry.md5),) for name, entry in CIFAR.items()},
}


class _Failed(Exception):
    """A mirror, or all of them, did not deliver; the text is the reason."""


def fetch(
    name: str,
    root: str | Path,
    mirrors: Sequence[str] | None = None,
    progress: Progress | None = None,
) -> list[Path]:
    """Download a data set into ``root/name``, where the loaders find it.

    Each file is written to ``FILE.part``, checked against its published MD5 and only then renamed. A ``.part``
    that an earlier call left is continued. A file that is already there and whole is not asked for again.

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
    folder.mkdir(parents=True, exist_ok=True)
    bases = MIRRORS[name] if mirrors is None else tuple(mirrors)
    try:
        paths = [_fetch_file(item, folder, bases, progress) for item in DOWNLOADS[name]]
    except _Failed as error:
        raise DataError(f"{error}\n{_by_hand(name, folder)}") from error
    return [file for path in paths for file in (_unpack(path) if path.name.endswith(".tar.gz") else [path])]


def _fetch_file(item: Download, folder: Path, bases: Sequence[str], progress: Progress | None) -> Path:
    target = folder / item.filename
    if _is_whole(target, item):
        return target
    part = folder / f"{item.filename}.part"
    reasons = []
    for base in bases:
        url = f"{base.rstrip('/')}/{item.filename}"
        try:
            _download_checked(url, part, item, progress)
        except _Failed as error:
            reasons.append(f"  {url}: {error}")
        else:
            os.replace(part, target)
            return target
    raise _Failed("\n".join([f"{item.filename}: no mirror delivered it:", *(reasons or ["  (no mirror was given)"])]))


def _by_hand(name: str, folder: Path) -> str:
    """What is still wanted, and what can be done without it."""
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


def _download_checked(url: str, part: Path, item: Download, progress: Progress | None) -> None:
    """Leave a whole, checked ``part``; a wrong continuation is thrown away and begun again once."""
    resumed = part.is_file() and part.stat().st_size > 0
    if resumed and _md5(part) == item.md5:
        return
    if resumed:
        try:
            _download(url, part, item.filename, progress)
        except _BadRange:
            pass
        else:
            if _md5(part) == item.md5:
                return
        part.unlink()
    _download(url, part, item.filename, progress)
    found = _md5(part)
    if found != item.md5:
        part.unlink()
        raise _Failed(f"md5 is {found}, expected {item.md5}")


class _BadRange(_Failed):
    """The server has no bytes where ``.part`` ends."""


def _download(url: str, part: Path, filename: str, progress: Progress | None) -> None:
    have = part.stat().st_size if part.is_file() else 0
    headers = {"User-Agent": "tinycnn", **({"Range": f"bytes={have}-"} if have else {})}
    try:
        request = urllib.request.Request(url, headers=headers)
        with urllib.request.urlopen(request, timeout=_TIMEOUT_SECONDS) as response:
            _save(response, part, have, filename, progress)
    except urllib.error.HTTPError as error:
        kind = _BadRange if error.code == http.HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE else _Failed
        raise kind(f"HTTP {error.code} {error.reason}") from error
    except urllib.error.URLError as error:
        raise _Failed(str(error.reason)) from error
    except (http.client.HTTPException, OSError, ValueError) as error:
        raise _Failed(f"{type(error).__name__}: {error}") from error


def _save(response: Any, part: Path, have: int, filename: str, progress: Progress | None) -> None:
    """Append if the server continues where ``part`` ends, else begin anew."""
    continues = (response.headers.get("Content-Range") or "").startswith(f"bytes {have}-")
    done = have if continues else 0
    length = response.headers.get("Content-Length")
    total = done + int(length) if length else None
    with part.open("ab" if continues else "wb") as out:
        while chunk := response.read(_CHUNK):
            out.write(chunk)
            done += len(chunk)
            if progress:
                progress(done, total, filename)
    if total is not None and done < total:
        raise _Failed(f"connection closed after {done} of {total} bytes")


def _md5(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, lambda: hashlib.md5(usedforsecurity=False)).hexdigest()


def _unpack(archive: Path) -> list[Path]:
    """Unpack next to the archive, by way of a temporary folder, so that no half-written file stays."""
    if not hasattr(tarfile, "data_filter"):
        raise DataError(f"{archive}: unpacking safely needs Python 3.11.4 or newer; unpack it by hand")
    with tempfile.TemporaryDirectory(prefix=".unpack-", dir=archive.parent) as temporary:
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
