"""CIFAR-10 and CIFAR-100, the binary version: records of label bytes and 3,072 pixel bytes (red, green, blue planes)."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import numpy as np

from tinycnn.errors import DataError

_CIFAR10 = "airplane automobile bird cat deer dog frog horse ship truck"
_PIXELS = 3 * 32 * 32


class Layout(NamedTuple):
    """How a variant is stored: folders it may lie in, files of each split, label bytes a record, where the classes are."""

    folders: tuple[str, ...]
    files: dict[str, tuple[str, ...]]
    label_bytes: int
    classes: int
    names_file: str
    archive: str
    md5: str


LAYOUTS = {
    "cifar10": Layout(
        ("", "cifar-10-batches-bin", "cifar10", "cifar10/cifar-10-batches-bin"),
        {"train": tuple(f"data_batch_{i}.bin" for i in range(1, 6)), "test": ("test_batch.bin",)},
        1,
        10,
        "batches.meta.txt",
        "cifar-10-binary.tar.gz",
        "c32a1d4ab5d03f1284b67883e8d87530",
    ),
    "cifar100": Layout(
        ("", "cifar-100-binary", "cifar100", "cifar100/cifar-100-binary"),
        {"train": ("train.bin",), "test": ("test.bin",)},
        2,
        100,
        "fine_label_names.txt",
        "cifar-100-binary.tar.gz",
        "03b5dce01913d631647c71ecec9e9cb8",
    ),
}


def load_cifar(name: str, root: Path, split: str) -> tuple[np.ndarray, np.ndarray, tuple[str, ...]]:
    """Images (N, 3, 32, 32), labels (N,) and class names; a folder with only some of the batches is read as it is.

    Raises
    ------
    DataError
        If no file is there, a file is truncated, or a label is outside the classes.
    """
    layout = LAYOUTS[name]
    paths = _find(name, layout, root, split)
    parts = [_read(path, layout) for path in paths]
    images = np.concatenate([images for images, _ in parts])
    return images, np.concatenate([labels for _, labels in parts]), _class_names(layout, paths[0].parent)


def _find(name: str, layout: Layout, root: Path, split: str) -> list[Path]:
    folders = [root / folder for folder in layout.folders]
    for folder in folders:
        found = [folder / file for file in layout.files[split] if (folder / file).is_file()]
        if found:
            return found
    raise DataError(
        f"{name}: there is no {' or '.join(layout.files[split])} (from {layout.archive}, MD5 {layout.md5}) in "
        f"{', '.join(map(str, folders))}.\nFetch it with `tinycnn data fetch {name}`, name its folder with --root, or use "
        "--data glyphs, which needs no files"
    )


def _read(path: Path, layout: Layout) -> tuple[np.ndarray, np.ndarray]:
    record = layout.label_bytes + _PIXELS
    data = np.fromfile(path, np.uint8)
    if not data.size or data.size % record:
        raise DataError(f"{path}: has {data.size} bytes, expected a multiple of {record} (a record): truncated or damaged")
    records = data.reshape(-1, record)
    labels = records[:, layout.label_bytes - 1].astype(np.int64)
    wrong = np.flatnonzero(labels >= layout.classes)
    if wrong.size:
        raise DataError(
            f"{path}: record {wrong[0]} has label {labels[wrong[0]]}, expected 0 to {layout.classes - 1}: damaged, or not the "
            "binary version"
        )
    return records[:, layout.label_bytes :].reshape(-1, 3, 32, 32).copy(), labels


def _class_names(layout: Layout, folder: Path) -> tuple[str, ...]:
    """Names from the file beside the data where it is there, else the known ones or numbers."""
    path = folder / layout.names_file
    if path.is_file():
        names = tuple(line.strip() for line in path.read_text(encoding="utf-8", errors="replace").splitlines() if line.strip())
        if len(names) == layout.classes:
            return names
    return tuple(_CIFAR10.split()) if layout.classes == 10 else tuple(map(str, range(layout.classes)))
