"""Data sets by name. Nothing here downloads: ``tinycnn data fetch NAME`` does."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np

from tinycnn.data import cifar, folder, idx
from tinycnn.data.dataset import ArrayDataset, is_whole, load_npz
from tinycnn.data.glyphs import Glyphs
from tinycnn.data.transforms import Resize
from tinycnn.errors import DataError, unknown_name

IDX = ("mnist", "fashion_mnist", "kmnist")
CIFAR = ("cifar10", "cifar100")
NAMES = ("glyphs", *IDX, *CIFAR, "folder", "npz")


def default_root() -> Path:
    """Return $TINYCNN_DATA, or ``.cache/tinycnn`` in the home folder."""
    return Path(os.environ.get("TINYCNN_DATA") or Path.home() / ".cache" / "tinycnn")


def load(
    name: str,
    split: str = "train",
    root: str | Path | None = None,
    size: int | None = None,
    channels: int | None = None,
    limit: int | None = None,
    seed: int = 0,
    symbols: str = "digits",
    value_range: tuple[float, float] | str | None = None,
) -> ArrayDataset:
    """Load a data set by name.

    Parameters
    ----------
    name : str
        One of glyphs, mnist, fashion_mnist, kmnist, cifar10, cifar100, folder (a folder of images for each class), npz.
    split : "train" or "test"
    root : path, optional
        Where the files are (for npz, the file); by default :func:`default_root`.
    size : int, optional
        Resize images to ``size x size``.
    channels : 1 or 3, optional
        Convert between grey and colour.
    limit : int, optional
        The number of images: the first ones (of a folder, which is sorted by class, evenly spaced ones).
    seed, symbols
        For glyphs.
    value_range : (low, high), optional
        For folder: the values that become black and white where pixels have more than 8 bits.

    Raises
    ------
    UnknownNameError
        With the nearest names.
    DataError
        If files are missing (with their names, checksums and the command that fetches them) or damaged.
    """
    if name not in NAMES:
        raise unknown_name("data set", name, NAMES)
    if split not in ("train", "test"):
        raise DataError(f"{name}: split is {split!r}, expected 'train' or 'test'")
    for argument, value in (("limit", limit), ("size", size)):
        if value is not None and not is_whole(value, 1):
            raise DataError(f"{name}: {argument} is {value!r}, expected at least 1")
    if channels is not None and (not is_whole(channels, 1, 3) or channels == 2):
        raise DataError(f"{name}: channels is {channels!r}, expected 1 or 3")
    if root is not None and not isinstance(root, (str, os.PathLike)):
        raise DataError(f"{name}: root is {root!r}, expected a path")
    if value_range is not None and name != "folder":
        raise DataError(f"{name}: value_range is {value_range!r}, expected None: it is for images of a folder")
    if name == "folder" and root is None:
        raise DataError("folder: which one? Give the folder with a subfolder of images for each class by --root FOLDER")
    if name == "glyphs":
        return Glyphs(split, size or 32, channels or 1, symbols, limit, seed)
    images, labels, classes = _read(name, split, Path(root) if root else default_root(), size, channels, value_range)
    chosen: Any = slice(limit)
    if name == "folder" and limit is not None and limit < len(images):
        chosen = np.linspace(0, len(images) - 1, limit).astype(int)
    data = ArrayDataset(images[chosen], labels[chosen], classes, name=f"{name} ({split})")
    if channels and data.images.shape[1] != channels:
        data.images = _convert(data.images, channels, data.name)
    if size and data.images.shape[2:] != (size, size):
        data.images = Resize(size)(data.images, np.random.default_rng(0))
    return data


def _read(name: str, split: str, root: Path, size: int | None, channels: int | None, value_range: Any) -> Any:
    if name in IDX:
        return idx.load_idx(name, root, split)
    if name in CIFAR:
        return cifar.load_cifar(name, root, split)
    if name == "folder":
        return folder.load_folder(root, split, size or 64, channels or 3, value_range)
    return load_npz(root, split)


def _convert(images: np.ndarray, channels: int, owner: str) -> np.ndarray:
    """Convert grey from colour by the weights of luminance (ITU-R BT.601), colour from grey by repetition."""
    if images.shape[1] not in (1, 3):
        raise DataError(
            f"{owner}: images of {images.shape[1]} channels cannot become images of {channels}; leave out channels"
        )
    if channels == 3:
        return np.repeat(images, 3, axis=1)
    grey = np.tensordot(images.astype(np.float32), np.array([0.299, 0.587, 0.114], np.float32), axes=([1], [0]))
    return (np.rint(grey) if images.dtype.kind == "u" else grey)[:, None].astype(images.dtype)
