"""Data sets: images (N, C, H, W) of bytes and class indices (N,), in memory."""

from __future__ import annotations

import math
import operator
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from tinycnn.errors import DataError, WeightsError
from tinycnn.weights.npz import load_npz as unpack_npz

_MOST_CLASSES = 100_000  # where the names are not given

Transform = Callable[[np.ndarray, np.random.Generator], np.ndarray]


def is_whole(value: Any, least: int, most: float = math.inf) -> bool:
    """True if a value is an integer in a range, and not a bool."""
    return isinstance(value, (int, np.integer)) and not isinstance(value, bool) and bool(least <= value <= most)


class Dataset:
    """Base class of data sets: a length, and batches by index."""

    classes: tuple[str, ...]

    def __len__(self) -> int:
        raise NotImplementedError(f"{type(self).__name__}: __len__ is not defined")

    def batch(self, indices: np.ndarray, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        """Return images (n, C, H, W) and labels (n,) of some indices; randomness of augmentation comes from ``rng``."""
        raise NotImplementedError(f"{type(self).__name__}: batch is not defined")

    def __getitem__(self, index: int) -> tuple[np.ndarray, int]:
        try:
            index = operator.index(index)
        except TypeError:
            raise TypeError(
                f"index is {index!r}, expected an integer; ArrayDataset.subset(indices) gives the data set of several"
            ) from None
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
        If shapes or labels do not fit, or there are no images.
    """

    def __init__(
        self,
        images: Any,
        labels: Any,
        classes: Sequence[str],
        transform: Transform | None = None,
        name: str = "data set",
    ) -> None:
        self.images, self.labels = _as_array(images, name, "images"), _as_array(labels, name, "labels")
        self.classes, self.transform, self.name = _as_names(classes, name), transform, name
        if transform is not None and not callable(transform):
            raise DataError(f"{name}: transform is a {type(transform).__name__}, expected a callable or None")
        if self.images.ndim != 4 or self.images.dtype.kind not in "uf":
            raise DataError(
                f"{name}: images have shape {self.images.shape} and dtype {self.images.dtype}, expected (N, C, "
                "H, W) of bytes (uint8) or floats"
            )
        if self.labels.shape != self.images.shape[:1] or self.labels.dtype.kind not in "iu":
            raise DataError(
                f"{name}: labels have shape {self.labels.shape} and dtype {self.labels.dtype}, expected "
                f"integers of shape ({len(self.images)},)"
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
        """Return images and labels of some indices, transformed."""
        images, labels = self._rows(indices)
        return images if self.transform is None else self.transform(images, rng), labels.astype(np.int64)

    def subset(self, indices: Any) -> ArrayDataset:
        """Return the data set of some indices (a slice, say), with the same transform."""
        return ArrayDataset(*self._rows(indices), self.classes, self.transform, self.name)

    def _rows(self, indices: Any) -> tuple[np.ndarray, np.ndarray]:
        try:
            return self.images[indices], self.labels[indices]
        except (IndexError, OverflowError, TypeError, ValueError) as error:
            raise IndexError(f"{self.name}: {indices!r:.60} is not an index of {len(self)} images: {error}") from None


def _as_array(values: Any, owner: str, kind: str) -> np.ndarray:
    """Return a list, an array or a tensor (tinycnn's or PyTorch's) as an array."""
    try:
        return np.asarray(values.detach() if hasattr(values, "detach") else values)
    except (TypeError, ValueError, RuntimeError) as error:
        raise DataError(f"{owner}: {kind} cannot be made an array ({error})") from error


def _as_names(classes: Any, owner: str) -> tuple[str, ...]:
    try:
        return tuple(map(str, classes))
    except TypeError:
        raise DataError(f"{owner}: classes is {classes!r}, expected a sequence of names") from None


def held_out(labels: np.ndarray, split: str, classes: Sequence[str], owner: str) -> np.ndarray:
    """Split deterministically: every fifth image of each class goes to the test set. Return the indices of one split.

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


def read_arrays(path: Path) -> dict[str, np.ndarray]:
    """Return the arrays of an .npz archive; see :func:`tinycnn.weights.npz.load_npz` for the limits.

    Raises
    ------
    DataError
        If it is not an archive of arrays, or damaged.
    """
    try:
        return unpack_npz(path)
    except WeightsError as error:
        raise DataError(f"npz: {error}") from error


def load_npz(path: Path, split: str) -> tuple[np.ndarray, np.ndarray, tuple[str, ...]]:
    """Return images, labels and class names from an .npz archive.

    It holds ``images`` and ``labels``, which are divided by :func:`held_out`, or ``train_images``, ``train_labels``,
    ``test_images`` and ``test_labels`` (in Keras's archives ``x_train``, ``y_train``, ``x_test`` and ``y_test``), and
    optionally ``classes``.
    """
    if not path.is_file():
        raise DataError(f"npz: there is no file {path}; give one with --root FILE.npz")
    arrays = read_arrays(path)
    divided = any(name.startswith(("train_", "test_", "x_", "y_")) for name in arrays)
    names = (f"{split}_images", f"{split}_labels") if divided else ("images", "labels")
    if any(name.startswith(("x_", "y_")) for name in arrays):
        names = (f"x_{split}", f"y_{split}")
    missing = [name for name in names if name not in arrays]
    if missing:
        raise DataError(f"npz: {path} lacks {' and '.join(missing)}; it has {', '.join(arrays) or 'nothing'}")
    images, labels = (arrays[name] for name in names)
    images = images[:, None] if images.ndim == 3 else images
    if images.ndim == 4 and images.shape[3] in (1, 3) and images.shape[1] not in (1, 3):
        raise DataError(
            f"npz: {path} has {names[0]} of shape {images.shape}, which look like (N, H, W, C), expected "
            "(N, C, H, W): save images.transpose(0, 3, 1, 2)"
        )
    classes = _classes(arrays, path)
    data = ArrayDataset(images, labels, classes, name=f"npz: {path}")
    _check_finite(data.images, f"npz: {path}")
    chosen = slice(None) if divided else held_out(labels, split, classes, f"npz: {path}")
    return data.images[chosen], data.labels[chosen], classes


def _check_finite(images: np.ndarray, owner: str) -> None:
    for index, image in enumerate(images if images.dtype.kind == "f" else ()):
        if not np.isfinite(image).all():
            raise DataError(f"{owner}: image {index} holds values that are not finite (NaN or infinity)")


def _classes(arrays: dict[str, np.ndarray], path: Path) -> tuple[str, ...]:
    """Return the names in an archive, or numbers up to the largest label of any split."""
    if "classes" in arrays:
        names = arrays["classes"]
        if names.ndim != 1 or names.dtype.kind not in "USiu":
            raise DataError(
                f"npz: {path} has classes of shape {names.shape} and dtype {names.dtype}, expected names (K,)"
            )
        return tuple(name.decode("utf-8", "replace") if isinstance(name, bytes) else str(name) for name in names)
    labels = [
        a
        for name, a in arrays.items()
        if (name.endswith("labels") or name.startswith("y_")) and a.dtype.kind in "iu" and a.size
    ]
    most = max((int(a.max()) for a in labels), default=-1)
    if most >= _MOST_CLASSES:
        raise DataError(f"npz: {path} has the label {most}, expected less than {_MOST_CLASSES}")
    return tuple(map(str, range(most + 1)))
