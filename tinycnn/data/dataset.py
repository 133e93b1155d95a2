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
        if not -len(self) <= index < len(self):
            raise IndexError(
                f"index is {index}, expected {-len(self)} to {len(self) - 1}: there are {len(self)} images"
            )
        images, labels = self.batch(np.array([index % len(self)]), np.random.default_rng(0))
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


def held_out(labels: np.ndarray, split: str, classes: Sequence[str], owner: str) -> np.ndarray:
    """Indices of one split of data that came undivided: of each class every fifth image is for testing.

    A class of fewer than five gives its last one; a class of one cannot be divided. ``owner`` is for the message.

    >>> held_out(np.array([0, 0, 1, 1, 0, 1]), "test", "ab", "example").tolist()
    [4, 5]
    """
    test = np.zeros(len(labels), bool)
    for label in np.unique(labels):
        members = np.flatnonzero(labels == label)
        if len(members) < 2:
            raise DataError(
                f"{owner}: class {classes[label]} has 1 image, expected at least 2: one to train on, one to test on"
            )
        test[members[4::5] if len(members) >= 5 else members[-1:]] = True
    return np.flatnonzero(~test if split == "train" else test)


def load_npz(path: Path, split: str) -> tuple[np.ndarray, np.ndarray, tuple[str, ...]]:
    """Images, labels and class names from an .npz archive.

    It holds ``images`` and ``labels``, which are divided by :func:`held_out`, or ``train_images``, ``train_labels``,
    ``test_images`` and ``test_labels``, and optionally ``classes``.
    """
    if not path.is_file():
        raise DataError(f"npz: there is no file {path}; give one with --root FILE.npz")
    if not zipfile.is_zipfile(path):
        raise DataError(f"npz: {path} is not an .npz archive, or truncated")
    try:
        with np.load(path, allow_pickle=False) as archive:
            arrays = {name: archive[name] for name in archive.files}
    except (ValueError, OSError, EOFError, zipfile.BadZipFile) as error:
        raise DataError(f"npz: {path} is not an archive of arrays, or damaged: {error}") from error
    divided = any(name.startswith(("train_", "test_")) for name in arrays)
    prefix = f"{split}_" if divided else ""
    missing = [n for n in (f"{prefix}images", f"{prefix}labels") if n not in arrays]
    if missing:
        raise DataError(f"npz: {path} lacks {' and '.join(missing)}; it has {', '.join(arrays) or 'nothing'}")
    images, labels = arrays[f"{prefix}images"], arrays[f"{prefix}labels"]
    images = images[:, None] if images.ndim == 3 else images
    if images.ndim == 4 and images.shape[3] in (1, 3) and images.shape[1] not in (1, 3):
        raise DataError(
            f"npz: {path} has {prefix}images of shape {images.shape}, which look like (N, H, W, C), expected "
            "(N, C, H, W): save images.transpose(0, 3, 1, 2)"
        )
    classes = _classes(arrays)
    data = ArrayDataset(images, labels, classes, name=f"npz: {path}")
    chosen = slice(None) if divided else held_out(labels, split, classes, f"npz: {path}")
    return data.images[chosen], data.labels[chosen], classes


def _classes(arrays: dict[str, np.ndarray]) -> tuple[str, ...]:
    """The names in an archive, or numbers up to the largest label of any split."""
    if "classes" in arrays:
        return tuple(map(str, arrays["classes"]))
    labels = [a for name, a in arrays.items() if name.endswith("labels") and a.dtype.kind in "iu" and a.size]
    return tuple(map(str, range(max((int(a.max()) for a in labels), default=-1) + 1)))
