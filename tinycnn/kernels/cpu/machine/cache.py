"""A disk cache of compiled kernels. Whatever is wrong with it, kernels are compiled again.

It differs from Numba's own cache in three ways. A change of any kernel's source makes it void, because helpers are
compiled into their callers. Its key holds the compile flags. Each file carries a checksum, because Numba runs what it
reads, and a file may be cut off by a full disk or a power failure.
"""

from __future__ import annotations

import hashlib
import logging
import time
from collections.abc import Callable
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import Any

import numba
from numba.core.caching import FunctionCache, IndexDataCacheFile

_CONFIGURATION = ("BOUNDSCHECK", "OPT", "LOOP_VECTORIZE", "SLP_VECTORIZE", "DEBUGINFO_DEFAULT")
_DIGEST, _LENGTH = 16, 8  # bytes of the seal at the end of a file
_LITTER_SECONDS = 3600  # a temporary file of this age belongs to a process that was killed


def keep_on_disk(dispatcher: Any, kernel: Callable, sources: tuple[Path, ...]) -> None:
    """Load a compiled function from disk, and save it there, if there is a writable folder.

    Parameters
    ----------
    dispatcher : Numba's compiled function
    kernel : the function that it was made for, which distinguishes it from others made in the same lines
    sources : files whose change makes the cache void
    """
    try:
        dispatcher._cache = _KernelCache(dispatcher, kernel, sources)
    except Exception as error:  # no writable folder, or a Numba whose cache works differently
        _say_once("any folder", type(error).__name__)


def cache_folder() -> Path:
    """Return the folder of compiled kernels.

    Raises
    ------
    Exception
        If no folder is writable.
    """
    return Path(FunctionCache(cache_folder).cache_path)


def damaged_files(folder: Path) -> list[Path]:
    """Return the files of a cache folder that are damaged: cut off, or changed since they were written."""
    files = sorted(path for kind in ("*.nbi", "*.nbc") for path in folder.rglob(kind))
    return [path for path in files if not _is_sealed(path)]


class _KernelCache(FunctionCache):
    """The cache of one function. No error in it reaches the caller."""

    def __init__(self, dispatcher: Any, kernel: Callable, sources: tuple[Path, ...]) -> None:
        super().__init__(dispatcher.py_func)
        self._cache_file = _SealedFile(self._cache_path, self._impl.filename_base, digest_of(*sources))
        flags = {name: str(value) for name, value in dispatcher.targetoptions.items() if name != "fastmath"}
        flags["fastmath"] = str(sorted(dispatcher.targetoptions.get("fastmath", ())))
        flags |= {name: str(getattr(numba.config, name, None)) for name in _CONFIGURATION}
        self._kernel = kernel.__module__, kernel.__qualname__, digest_of(Path(kernel.__code__.co_filename))
        self._flags = tuple(sorted(flags.items()))

    def _index_key(self, sig: Any, codegen: Any) -> tuple:
        return sig, codegen.magic_tuple(), *self._kernel, self._flags

    def load_overload(self, sig: Any, target_context: Any) -> Any:
        """Return the code compiled for a signature, None if it must be compiled."""
        try:
            return super().load_overload(sig, target_context)
        except Exception as error:
            _note(self._cache_path, error)
            return None

    def save_overload(self, sig: Any, data: Any) -> None:
        """Save the code compiled for a signature if possible."""
        try:
            super().save_overload(sig, data)
        except Exception as error:
            _note(self._cache_path, error)


class _SealedFile(IndexDataCacheFile):
    """Numba's index and data files, with a checksum at the end of each; a damaged one counts as missing."""

    def _dump(self, obj: Any) -> bytes:
        data = super()._dump(obj)
        return data + hashlib.blake2b(data, digest_size=_DIGEST).digest() + len(data).to_bytes(_LENGTH, "big")

    def _load_index(self) -> dict:
        try:
            return super()._load_index() if _is_sealed(Path(self._index_path)) else {}
        except FileNotFoundError:
            return {}

    def _load_data(self, name: str) -> Any:
        return super()._load_data(name) if _is_sealed(Path(self._data_path(name))) else None

    def save(self, key: Any, data: Any) -> None:
        _remove_litter(self._cache_path)
        super().save(key, data)


def _is_sealed(path: Path) -> bool:
    """Return True if a file ends with the checksum of its contents."""
    contents = path.read_bytes()
    seal = contents[-_DIGEST - _LENGTH :]
    data = contents[: -_DIGEST - _LENGTH][-int.from_bytes(seal[_DIGEST:], "big") :]
    return hashlib.blake2b(data, digest_size=_DIGEST).digest() == seal[:_DIGEST]


@cache
def _remove_litter(folder: str) -> None:
    """Remove, once in a process, the temporary files of processes that were killed while they wrote."""
    for path in Path(folder).glob("*.tmp.*"):
        with suppress(OSError):
            if time.time() - path.stat().st_mtime > _LITTER_SECONDS:
                path.unlink()


@cache
def digest_of(*files: Path) -> str:
    """Return a digest of some files' contents."""
    digest = hashlib.sha256()
    for path in files:
        digest.update(path.read_bytes() if path.is_file() else str(path).encode())
    return digest.hexdigest()


def _note(folder: str, error: Exception) -> None:
    _say_once(folder, f"{type(error).__name__}: {getattr(error, 'strerror', None) or error}")


@cache
def _say_once(folder: str, reason: str) -> None:
    logging.getLogger("tinycnn").warning(
        "tinycnn: compiled kernels cannot be kept in %s (%s): each process compiles them; see `tinycnn doctor`",
        folder,
        reason,
    )
