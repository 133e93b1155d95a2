"""Data sets: images (N, C, H, W) of bytes and class indices (N,), held in memory."""

from __future__ import annotations

import zipfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from tinycnn.errors import DataError

Transform = Callable[[np.ndarray, np.random.Generator], np.ndarray]


class Dataset:
    """Base class: a length, and batches by index."""

    classes: tuple[str, ...]

    def __len__(self) -> int:
        raise NotImplementedError(f"{type(self).__name__}: __len__ is not defined")

    def batch(self, indices: np.ndarray, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        """Images (n, C, H, W) and labels (n,) of some indices; randomness of augmentation comes from ``rng``."""
        raise NotImplementedError(f"{type(self).__name__}: batch is not defined")

    def __getitem__(self, index: int) -> tuple[np.ndarray, int]:
        images, labels = self.batch(np.array([range(len(self))[index]]), np.random.default_rng(0))
        return images[0], int(labels[0])


class ArrayDataset(Dataset):
    """Arrays in memory.

    Parameters
    ----------
    images : uint8 or float array, shape (N, C, H, W)
    labels : integer array, shape (N,)
    classes : sequence of str
        Names; labels are indices into it.
    transform : callable, optional
        Maps (images, rng) to images, a batch at a time; see :mod:`tinycnn.data.transforms`.
    name : str
        For messages.

    Raises
    ------
    DataError
        If shapes or labels do not fit, or there is nothing.
    """

    def __init__(
        self,
        images: Any,
        labels: Any,
        classes: Sequence[str],
        transform: Transform | None = None,
        name: str = "data set",
    ) -> None:
        self.images, self.labels = np.asarray(images), np.asarray(labels)
        self.classes, self.transform, self.name = tuple(classes), transform, name
        if self.images.ndim != 4 or self.images.dtype.kind not in "uf":
            raise DataError(
                f"{name}: images have shape {self.images.shape} and dtype {self.images.dtype}, expected (N, C, "
                f"H, W) of "
                "bytes or floats"
            )
        if self.labels.shape != self.images.shape[:1] or self.labels.dtype.kind not in "iu":
            raise DataError(
                f"{name}: labels have shape {self.labels.shape} and dtype {self.labels.dtype}, expected "
                f"integers of shape "
                f"({len(self.images)},)"
            )
        if not self.images.size:
            raise DataError(f"{name}: it is empty (images have shape {self.images.shape})")
        wrong = np.flatnonzero((self.labels < 0) | (self.labels >= len(self.classes)))
        if wrong.size:
            raise DataError(
                f"{name}: label {self.labels[wrong[0]]} at index {wrong[0]} is outside the {len(self.classes)} classes"
            )

    def __len__(self) -> int:
        return len(self.labels)

    def batch(self, indices: np.ndarray, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        """Images and labels of some indices, transformed."""
        images = self.images[indices]
        return images if self.transform is None else self.transform(images, rng), self.labels[indices].astype(np.int64)

    def subset(self, indices: Any) -> ArrayDataset:
        """The data set of some indices (a slice, say), with the same transform."""
        return ArrayDataset(self.images[indices], self.labels[indices], self.classes, self.transform, self.name)


def load_npz(path: Path, split: str) -> tuple[np.ndarray, np.ndarray, tuple[str, ...]]:
    """Images, labels and class names from an .npz archive.

    It holds ``images`` and ``labels``, or ``train_images``, ``train_labels``, ``test_images`` and ``test_labels``, and
    optionally ``classes``.
    """
    if not path.is_file():
        raise DataError(f"npz: there is no file {path}; give one with --root FILE.npz")
    try:
        with np.load(path, allow_pickle=False) as archive:
            arrays = {name: archive[name] for name in archive.files}
    except (ValueError, OSError, EOFError, zipfile.BadZipFile) as error:
        raise DataError(f"npz: {path} is not an archive of arrays, or damaged: {error}") from error
    prefix = f"{split}_" if f"{split}_images" in arrays else ""
    missing = [n for n in (f"{prefix}images", f"{prefix}labels") if n not in arrays]
    if missing:
        raise DataError(f"npz: {path} lacks {' and '.join(missing)}; it has {', '.join(arrays) or 'nothing'}")
    images, labels = arrays[f"{prefix}images"], arrays[f"{prefix}labels"]
    count = int(labels.max(initial=-1)) + 1 if labels.dtype.kind in "iu" else 0
    classes = tuple(map(str, arrays["classes"])) if "classes" in arrays else tuple(map(str, range(count)))
    return images[:, None] if images.ndim == 3 else images, labels, classes
