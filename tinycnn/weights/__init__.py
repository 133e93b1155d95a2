"""Weights files: .safetensors and .npz to read and write, PyTorch's .pth and compressed .tcz to read.

A file is recognised by its content, whatever its name. None of the formats runs code.
"""

from __future__ import annotations

import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from tinycnn.errors import WeightsError
from tinycnn.files.limits import refusals, unpack_limit
from tinycnn.weights.archive import Archive
from tinycnn.weights.npz import load_npz, save_npz
from tinycnn.weights.safetensors import load_safetensors, save_safetensors
from tinycnn.weights.state import without_wrappers
from tinycnn.weights.torch_pickle import load_pth

__all__ = ["load", "load_npz", "load_pth", "load_safetensors", "save", "save_npz", "save_safetensors"]

_SUFFIXES = {
    "safetensors": ".safetensors",
    "npz": ".npz",
    "pth": ".pth",
    "pt": ".pth",
    "tcz": ".tcz",
}
_WRITERS = {".safetensors": save_safetensors, ".npz": save_npz}
_OTHERS = {
    b"\x1f\x8b": "compressed with gzip: unpack it first",
    b"\x89HDF\r\n\x1a\n": "an HDF5 file, as Keras writes them",
    b"version https://git-lfs": "a pointer of Git LFS, not the weights: run git lfs pull",
    b"<!DOCTYPE": "a web page: the download went wrong",
    b"<html": "a web page: the download went wrong",
    b"\x93NUMPY": "one array (.npy), expected an archive of arrays (.npz)",
}


def load(path: str | Path, expected: Mapping[str, Any] | None = None) -> dict[str, np.ndarray]:
    """Read all arrays of a file, by name; the format is recognised by the content, whatever the file is called.

    Parameters
    ----------
    path : path
    expected : mapping of name to array, optional
        The arrays that are to be replaced, such as a module's state dict. Their names decide whether the prefix of a
        wrapper (``module.`` of DataParallel, ``_orig_mod.`` of ``torch.compile``) that all names have is dropped;
        without them it is dropped from .pth files. Their sizes limit the unpacked size of an .npz or .tcz file.

    Raises
    ------
    WeightsError
        If the format is unknown, or the file damaged or hostile.
    FileNotFoundError
        If there is no such file.
    """
    if Path(path).is_dir():
        raise WeightsError(f"{path} is a folder, expected a weights file")
    if not Path(path).is_file():
        raise FileNotFoundError(f"weights: there is no file {path}")
    kind = _kind_of(Path(path))
    if kind == ".pth":
        return load_pth(path, expected)
    if kind == ".npz":
        state = load_npz(path, expected=expected)
    elif kind == ".tcz":
        state = _load_tcz(path, expected)
    else:
        state = load_safetensors(path)
    return state if expected is None else without_wrappers(state, expected)


def _load_tcz(path: str | Path, expected: Mapping[str, Any] | None) -> dict[str, np.ndarray]:
    from tinycnn.compression import container  # imported here: it brings Numba

    return container.load(path, unpack_limit(container.LIMIT), expected)


def _kind_of(path: Path) -> str:
    """Return the suffix of a file's format by its content, or by its name if the content is cut off.

    A .tcz or zip file begins with letters that as the length of a safetensors header would be far too long, so it is
    looked for first.
    """
    with open(path, "rb") as file:
        head = file.read(64)
        if head[:4] == b"PK\x03\x04":
            with refusals(path):
                return _kind_of_archive(file)
    if head[:4] == b"PK\x05\x06":
        return ".npz"  # without any array
    if head[:5] == b"\x89TCZ\r":
        return ".tcz"
    if head[8:9] == b"{":
        return ".safetensors"
    if head[:1] == b"\x80" or head.startswith(b"L119547037146038801333356L"):  # the latter by protocol 0
        return ".pth"
    other = next((said for start, said in _OTHERS.items() if head.startswith(start)), None)
    if other is not None:
        raise WeightsError(f"{path} is not a weights file: it is {other}")
    named = next((_SUFFIXES[s] for s in reversed(path.name.lower().split(".")[1:]) if s in _SUFFIXES), None)
    if named is None:
        raise WeightsError(
            f"{path}: unknown format, expected the content of a .safetensors, .npz, .tcz or PyTorch (.pth) file"
        )
    return named


def _kind_of_archive(file: Any) -> str:
    """Return the suffix for a zip archive, by its members."""
    members = Archive(file, 2**63).members
    if any(name == "data.pkl" or name.endswith("/data.pkl") for name in members):
        return ".pth"
    if all(name.endswith(".npy") for name in members):
        return ".npz"
    raise zipfile.BadZipFile(f"a zip archive with neither data.pkl (.pth) nor arrays alone (.npz): {list(members)[:5]}")


def save(path: str | Path, arrays: Mapping[str, np.ndarray]) -> None:
    """Write arrays by name, atomically; the suffix is the format.

    Raises
    ------
    WeightsError
        If the suffix is unknown, or a name or dtype cannot be stored.
    OSError
        If it cannot be written; an older file is kept.
    """
    writer = _WRITERS.get(Path(path).suffix.lower())
    if writer is None:
        raise WeightsError(f"{path}: unknown format, expected a name that ends in {', '.join(_WRITERS)}")
    writer(path, arrays)


def __dir__() -> list[str]:
    return __all__
