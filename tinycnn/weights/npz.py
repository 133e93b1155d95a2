"""NumPy's .npz archives, without pickles."""

from __future__ import annotations

import zipfile
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from tinycnn.errors import WeightsError
from tinycnn.weights.atomic import atomic_write


def save_npz(path: str | Path, arrays: Mapping[str, np.ndarray]) -> None:
    """Write arrays by name, atomically."""
    with atomic_write(path) as file:
        np.savez(file, allow_pickle=False, **arrays)  # type: ignore[arg-type]


def load_npz(path: str | Path) -> dict[str, np.ndarray]:
    """Read all arrays.

    Raises
    ------
    WeightsError
        If the file is no archive, damaged, or holds Python objects.
    """
    if not zipfile.is_zipfile(path):
        raise WeightsError(f"{path}: not an .npz archive, or truncated")
    try:
        with np.load(path, allow_pickle=False) as archive:
            return {name: archive[name] for name in archive.files}
    except (ValueError, zipfile.BadZipFile, EOFError, OSError, KeyError) as error:
        raise WeightsError(f"{path}: not an .npz archive of arrays, or damaged: {error}") from error
