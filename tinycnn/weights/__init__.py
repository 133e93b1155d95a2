"""Weights files: .safetensors and .npz to read and write, PyTorch's .pth and .pt and compressed .tcz to read.

None of them runs code.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from tinycnn.errors import WeightsError
from tinycnn.weights.npz import load_npz, save_npz
from tinycnn.weights.safetensors import load_safetensors, save_safetensors
from tinycnn.weights.torch_pickle import load_pth


def _load_tcz(path: str | Path) -> dict[str, np.ndarray]:
    from tinycnn.compression.container import (
        load as load_tcz,
    )  # the package around it imports networks, which import us

    return load_tcz(path)


_READERS = {
    ".safetensors": load_safetensors,
    ".npz": load_npz,
    ".pth": load_pth,
    ".pt": load_pth,
    ".tcz": _load_tcz,
}
_WRITERS = {".safetensors": save_safetensors, ".npz": save_npz}


def load(path: str | Path) -> dict[str, np.ndarray]:
    """All arrays of a file, by name; the suffix is the format.

    Raises
    ------
    WeightsError
        If the suffix is unknown, or the file damaged or hostile.
    FileNotFoundError
        If there is no such file.
    """
    reader = _READERS.get(Path(path).suffix)
    if reader is None:
        raise WeightsError(f"{path}: unknown format, expected a name that ends in {', '.join(_READERS)}")
    if not Path(path).is_file():
        raise FileNotFoundError(f"weights: there is no file {path}")
    return reader(path)


def save(path: str | Path, arrays: Mapping[str, np.ndarray]) -> None:
    """Write arrays by name, atomically; the suffix is the format.

    Raises
    ------
    WeightsError
        If the suffix is unknown.
    OSError
        If it cannot be written; an older file stands.
    """
    writer = _WRITERS.get(Path(path).suffix)
    if writer is None:
        raise WeightsError(f"{path}: unknown format, expected a name that ends in {', '.join(_WRITERS)}")
    writer(path, arrays)
