"""The archives that Keras keeps of its data sets, such as mnist.npz."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from tinycnn.data.dataset import read_arrays
from tinycnn.errors import DataError


def load_keras(path: Path, split: str) -> tuple[np.ndarray, np.ndarray]:
    """Return the images (``x_train``) and integer labels (``y_train``, of shape (N,)) of one split.

    Raises
    ------
    DataError
        If it is not such an archive, or damaged.
    """
    arrays = read_arrays(path)
    names = (f"x_{split}", f"y_{split}")
    if not all(name in arrays for name in names):
        raise DataError(f"{path}: lacks {' or '.join(names)}; it has {', '.join(arrays) or 'nothing'}")
    images, labels = (arrays[name] for name in names)
    if labels.ndim != 1 or labels.dtype.kind not in "iu":
        raise DataError(f"{path}: holds labels {labels.dtype} of shape {labels.shape}, expected integers (N,)")
    return images, labels
