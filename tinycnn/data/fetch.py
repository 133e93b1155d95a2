"""Downloading data sets: mirrors in turn, checksums, resumption, and a file in place only when it is whole."""

from __future__ import annotations

import hashlib
import os
import tarfile
import urllib.error
import urllib.request
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

from tinycnn.data import cifar, idx
from tinycnn.errors import DataError, unknown_name

Progress = Callable[[int, int, str], None]

MIRRORS = {
    "mnist": ("https://ossci-datasets.s3.amazonaws.com/mnist/", "https://storage.googleapis.com/cvdf-datasets/mnist/"),
    "fashion_mnist": ("http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/",),
    "kmnist": ("http://codh.rois.ac.jp/kmnist/dataset/kmnist/",),
    "cifar10": ("https://www.cs.toronto.edu/~kriz/",),
    "cifar100": ("https://www.cs.toronto.edu/~kriz/",),
}
_BLOCK = 1 << 16


class Remote(NamedTuple):
    """A file to download, and its MD5."""

    name: str
    md5: str


def files_of(name: str) -> list[Remote]:
    """The files of a data set.

    Raises
    ------
    UnknownNameError
        For a name that cannot be fetched.
    """
    if name in idx.MD5:
        return [Remote(f"{file}.gz", md5) for file, md5 in zip(idx.FILES.values(), idx.MD5[name])]
    if name in cifar.LAYOUTS:
        return [Remote(cifar.LAYOUTS[name].archive, cifar.LAYOUTS[name].md5)]
    raise unknown_name("data set to fetch", name, MIRRORS)


def fetch(
    name: str, root: str | Path, mirrors: Sequence[str] | None = None, progress: Progress | None = None
) -> list[Path]:
    """Download a data set into ``root/name``; files that are there and whole are kept, parts are gone on with.

    Parameters
    ----------
    name : str
    root : path
    mirrors : sequence of str, optional
        Base addresses to try in turn.
    progress : callable, optional
        Called with (bytes done, bytes in all, file name).

    Raises
    ------
    DataError
        If no mirror gives a whole file, with each address and what went wrong there.
    """
    folder = Path(root) / name
    remotes = files_of(name)
    folder.mkdir(parents=True, exist_ok=True)
    paths = [_fetch_file(folder, remote, mirrors or MIRRORS[name], progress or (lambda *_: None)) for remote in remotes]
    for path in paths:
        if path.name.endswith(".tar.gz"):
            _unpack(path, folder)
    return paths


def _fetch_file(folder: Path, remote: Remote, mirrors: Sequence[str], progress: Progress) -> Path:
    path, part = folder / remote.name, folder / f"{remote.name}.part"
    if path.is_file() and _md5(path) == remote.md5:
        return path
    failures = []
    for mirror in mirrors:
        url = mirror.rstrip("/") + "/" + remote.name
        try:
            _download(url, part, lambda done, total: progress(done, total, remote.name))
            found = _md5(part)
            if found == remote.md5:
                os.replace(part, path)
                return path
            part.unlink()
            failures.append(f"{url}: MD5 is {found}, expected {remote.md5}")
        except (OSError, urllib.error.URLError, ValueError) as error:
            failures.append(f"{url}: {error}")
    lines = "\n  ".join(failures)
    raise DataError(
        f"{remote.name} cannot be fetched:\n  {lines}\n"
        f"Fetch it by other means (MD5 {remote.md5}) into {folder}, or use --data glyphs, which needs no files"
    )


def _download(url: str, part: Path, progress: Callable[[int, int], None]) -> None:
    """Download into ``part``, going on where it ends if the server can."""
    done = part.stat().st_size if part.is_file() else 0
    request = urllib.request.Request(url, headers={"Range": f"bytes={done}-"} if done else {})
    try:
        response = urllib.request.urlopen(request, timeout=30)
    except urllib.error.HTTPError as error:
        if error.code == 416:  # nothing is left to send: the checksum will tell
            return
        raise
    with response:
        resumed = response.status == 206
        done = done if resumed else 0
        total = done + int(response.headers.get("Content-Length") or 0)
        with open(part, "ab" if resumed else "wb") as file:
            while block := response.read(_BLOCK):
                file.write(block)
                done += len(block)
                progress(done, total)
    if total and done < total:
        raise OSError(f"the connection broke after {done} of {total} bytes; run the command again to go on")


def _md5(path: Path) -> str:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, lambda: hashlib.md5(usedforsecurity=False)).hexdigest()


def _unpack(path: Path, folder: Path) -> None:
    try:
        with tarfile.open(path) as archive:
            archive.extractall(folder, filter="data")
    except (tarfile.TarError, OSError, EOFError) as error:
        raise DataError(f"{path} cannot be unpacked: {error}") from error
