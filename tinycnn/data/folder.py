"""A folder of images, one subfolder per class."""

from __future__ import annotations

import logging
import os
from pathlib import Path

import numpy as np

from tinycnn.data.dataset import held_out
from tinycnn.data.image import (
    SUFFIXES,
    ValueRange,
    as_value_range,
    check_arguments,
    kind_of,
    read_image,
    read_image_and_bits,
)
from tinycnn.errors import DataError

__all__ = ["SUFFIXES", "load_folder", "read_image"]

_TEST, _VALIDATION = "test", ("val", "valid", "validation")
_SPLIT_FOLDERS = ("train", _TEST, *_VALIDATION)
_SPLITS = ("train", "test", "val")
_UNREAD_SUFFIXES = (".heic", ".heif", ".avif", ".jxl", ".jp2", ".svg", ".dcm", ".psd", ".tga", ".dng", ".nef", ".cr2")
# Folders of thumbnails and rubbish that systems put beside images.
_LITTER = ("@eadir", "$recycle.bin", "system volume information", "lost+found")
_log = logging.getLogger(__name__)  # a warning of the `warnings` module would stop a run under `-W error`


def load_folder(
    root: str | Path, split: str, size: int, channels: int, value_range: ValueRange | str | None = None
) -> tuple[np.ndarray, np.ndarray, tuple[str, ...]]:
    """Load images from ``root/split/class/*`` or, where there are no split folders, ``root/class/*``.

    Classes are the sorted names of the subfolders. Each image has its shorter side resized to ``size``
    (bilinear), then its centre cut out. The root is split if it holds ``train/`` beside ``test/``, ``val/``,
    ``valid/`` or ``validation/``, or nothing else, and these hold folders but no images; so a class may be called
    train. The last three are ``"val"``, and serve as ``"test"`` where there is no ``test/``.
    Without split folders every fifth image of a class, by name, is for testing and the others for training.

    Hidden files and folders are skipped. An entry with the name of an image that cannot be one (a folder, a pipe, a
    broken link) is left out and logged as a warning of the logger ``tinycnn.data.folder``.

    Parameters
    ----------
    root
        The folder.
    split
        ``"train"``, ``"test"`` or ``"val"``.
    size
        Height and width of the result in pixels.
    channels
        1 for grey, 3 for RGB.
    value_range
        Values (low, high) that become 0 and 255 where pixels have more than 8 bits; see
        :func:`tinycnn.data.image.read_image`.

    Returns
    -------
    images, labels, classes
        uint8 (N, channels, size, size), int64 (N,) and the class names.

    Raises
    ------
    DataError
        If there are no classes, a class has no image, or an image cannot be read.
    """
    check_arguments("load_folder", size, channels)
    value_range = as_value_range(value_range, "load_folder")
    root = Path(root)
    folder = _split_folder(root, split)
    files = _files_by_class(folder)
    paths = [path for group in files.values() for path in group]
    labels = np.repeat(np.arange(len(files), dtype=np.int64), [len(group) for group in files.values()])
    if folder == root:
        chosen = held_out(labels, split, tuple(files), str(folder))
        paths, labels = [paths[index] for index in chosen], labels[chosen]
    return _read_all(folder, paths, size, channels, value_range), labels, tuple(files)


def _read_all(folder: Path, paths: list[Path], size: int, channels: int, value_range: ValueRange | None) -> np.ndarray:
    try:
        images = np.empty((len(paths), channels, size, size), np.uint8)
    except (MemoryError, ValueError) as error:
        raise DataError(
            f"{folder}: {len(paths)} images of {size} x {size} pixels and {channels} channels do not fit into memory; "
            "choose a smaller size"
        ) from error
    deep = 0
    for index, path in enumerate(paths):
        images[index], bits = read_image_and_bits(path, size, channels, value_range)
        deep += 8 < bits < 32
    if deep and value_range is None:
        _log.warning(
            "%s: %d of %d images have 16 bits per pixel, of which the upper 8 are used; for another range give "
            "value_range=(LOW, HIGH), or --value-range LOW,HIGH",
            folder,
            deep,
            len(paths),
        )
    return images


def _split_folder(root: Path, split: str) -> Path:
    if split not in _SPLITS:
        raise DataError(f"{root}: split is {split!r}, expected one of {', '.join(_SPLITS)}")
    if not root.is_dir():
        raise DataError(f"{root}: no such folder, expected one with a subfolder of images per class")
    splits = _splits(root)
    if not splits:
        return root
    validation = [name for name in _VALIDATION if name in splits]
    if split in ("train", "test") and split in splits:
        return splits[split]
    if split == "train" or not validation:
        expected = " or ".join(_VALIDATION if split == "val" else (split,))
        raise DataError(f"{root}: has no folder {expected!r}, found {', '.join(path.name for path in splits.values())}")
    if len(validation) > 1:
        raise DataError(f"{root}: has {' and '.join(validation)}, expected one folder of validation images")
    if split == "test":
        _log.warning("%s: has no folder test, so %s is used for testing", root, splits[validation[0]].name)
    return splits[validation[0]]


def _splits(root: Path) -> dict[str, Path]:
    """Return the folders of splits by lower-case name; none where every folder is a class."""
    folders = _visible_folders(root)
    named = [path for path in folders if path.name.lower() in _SPLIT_FOLDERS]
    candidates = [path for path in named if not _first_image(path)]
    splits = {path.name.lower(): path for path in candidates}
    if splits and (len(candidates) == len(folders) or ("train" in splits and len(splits) > 1)):
        _check_unique(root, candidates, splits)
        return splits
    if splits or (any(path.name.lower() == "train" for path in named) and len(named) > 1):
        image = next((found for path in named if (found := _first_image(path))), None)
        _log.warning(
            "%s: every folder is taken for a class, also %s. A folder is split if it holds train beside one of %s, "
            "with nothing but folders of classes inside%s",
            root,
            ", ".join(path.name for path in named),
            ", ".join(_SPLIT_FOLDERS[1:]),
            f"; {image} is an image" if image else "",
        )
    return {}


def _check_unique(root: Path, candidates: list[Path], splits: dict[str, Path]) -> None:
    """Raise DataError if the names of two folders of splits differ in case only."""
    for path in candidates:
        other = splits[path.name.lower()]
        if other is not path:
            raise DataError(
                f"{root}: has {path.name} and {other.name}, expected one folder of {path.name.lower()} images"
            )


def _visible_folders(folder: Path) -> list[Path]:
    return [path for path in _entries(folder) if path.is_dir()]


def _entries(folder: Path) -> list[Path]:
    """Return the entries of a folder, by name, without hidden and system entries."""
    try:
        names = sorted(os.listdir(folder))
    except OSError as error:
        raise DataError(f"{folder}: cannot be listed ({error.strerror})") from error
    return [folder / name for name in names if not _is_hidden(folder, name)]


def _is_hidden(folder: Path, name: str) -> bool:
    if name == "__MACOSX":  # of an archive packed on macOS; an empty folder of this name hides nothing
        return any((folder / name).glob("*"))
    return name.startswith(".") or name.lower() in _LITTER


def _first_image(folder: Path) -> Path | None:
    return next((path for path in _entries(folder) if _has_suffix(path) and not path.is_dir()), None)


def _has_suffix(path: Path) -> bool:
    return path.suffix.lower() in SUFFIXES


def _files_by_class(folder: Path) -> dict[str, list[Path]]:
    classes = _visible_folders(folder)
    if not classes:
        raise DataError(f"{folder}: no class folders, expected {folder / 'CLASS' / 'image.png'}")
    odd = [(path, kind) for path in _entries(folder) if path not in classes and (kind := kind_of(path))]
    files = {_printable(path.name): _images_in(path, odd) for path in classes}
    for name, found in files.items():
        if not found:
            raise DataError(f"{folder / name}: class without images, expected files {', '.join(SUFFIXES)}")
    if len(files) < len(classes):
        raise DataError(f"{folder}: two class folders have the same name when written as UTF-8; rename one")
    if odd:
        shown = ", ".join(f"{path.relative_to(folder)} ({kind})" for path, kind in odd[:3])
        rest = f" and {len(odd) - 3} more" if len(odd) > 3 else ""
        count = "1 entry is not an image" if len(odd) == 1 else f"{len(odd)} entries are not images"
        _log.warning("%s: %s that can be read: %s%s", folder, count, shown, rest)
    return files


def _printable(name: str) -> str:
    """Return a file name as text that can be written: bytes that are not UTF-8 become escapes."""
    return os.fsencode(name).decode("utf-8", "backslashreplace")


def _images_in(folder: Path, odd: list[tuple[Path, str]]) -> list[Path]:
    """Return the images in a folder and those below it, by name; add the entries that are left out to `odd`.

    Links to folders are followed, but no folder is read twice, nor one that holds `folder`.
    """
    seen = {_identity(path) for path in (*folder.absolute().parents, *folder.resolve().parents)}
    found, waiting = [], [folder]
    while waiting:
        path = waiting.pop()
        kind = kind_of(path)
        if kind == "a folder":
            if _identity(path) in seen:
                odd.append((path, "a link to a folder that is read already"))
                continue
            seen.add(_identity(path))
            if _has_suffix(path):
                odd.append((path, kind))
            waiting += reversed(_entries(path))
        elif kind is not None:
            if _has_suffix(path) or path.is_symlink():
                odd.append((path, kind))
        elif _has_suffix(path):
            found.append(path)
        elif path.suffix.lower() in _UNREAD_SUFFIXES:
            odd.append((path, "a format that is not read"))
    return found


def _identity(path: Path) -> tuple[int, int]:
    found = path.stat()
    return found.st_dev, found.st_ino
