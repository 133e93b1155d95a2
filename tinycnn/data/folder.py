"""A folder of images, one subfolder per class."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from tinycnn.data.dataset import held_out
from tinycnn.errors import DataError

SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".gif", ".ppm", ".pgm", ".tif", ".tiff", ".webp")
_MODES = {1: "L", 3: "RGB"}
_SPLITS = ("train", "test", "val")


def load_folder(
    root: str | Path, split: str, size: int, channels: int
) -> tuple[np.ndarray, np.ndarray, tuple[str, ...]]:
    """Load images from ``root/split/class/*`` or, where there are no split folders, ``root/class/*``.

    Classes are the sorted names of the subfolders. Each image has its shorter side resized to ``size``
    (bilinear), then its centre cut out. ``root/val`` serves as ``"test"`` where there is no ``root/test``.
    Without split folders every fifth image of a class, by name, is for testing and the others for training.

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

    Returns
    -------
    images, labels, classes
        uint8 (N, channels, size, size), int64 (N,) and the class names.

    Raises
    ------
    DataError
        If there are no classes, a class has no image, or an image cannot be read.
    """
    if channels not in _MODES:
        raise DataError(f"load_folder: channels is {channels}, expected 1 or 3")
    if size < 1:
        raise DataError(f"load_folder: size is {size}, expected 1 or more")
    folder = _split_folder(Path(root), split)
    files = _files_by_class(folder)
    paths = [path for group in files.values() for path in group]
    labels = np.repeat(np.arange(len(files), dtype=np.int64), [len(group) for group in files.values()])
    if folder == Path(root):
        chosen = held_out(labels, split, tuple(files), str(folder))
        paths, labels = [paths[index] for index in chosen], labels[chosen]
    images = np.empty((len(paths), channels, size, size), np.uint8)
    for index, path in enumerate(paths):
        images[index] = read_image(path, size, channels)
    return images, labels, tuple(files)


def _split_folder(root: Path, split: str) -> Path:
    if split not in _SPLITS:
        raise DataError(f"{root}: split is {split!r}, expected one of {', '.join(_SPLITS)}")
    if not root.is_dir():
        raise DataError(f"{root}: no such folder, expected one with a subfolder of images per class")
    present = [name for name in _SPLITS if (root / name).is_dir()]
    if split in present:
        return root / split
    if split == "test" and "val" in present:
        return root / "val"
    if present:
        raise DataError(f"{root}: has no folder {split!r}, found {', '.join(present)}")
    return root


def _files_by_class(folder: Path) -> dict[str, list[Path]]:
    classes = sorted(path for path in folder.iterdir() if path.is_dir() and not path.name.startswith("."))
    if not classes:
        raise DataError(f"{folder}: no class folders, expected {folder / 'CLASS' / 'image.png'}")
    files = {path.name: _images_in(path) for path in classes}
    for name, found in files.items():
        if not found:
            raise DataError(f"{folder / name}: class without images, expected files {', '.join(SUFFIXES)}")
    return files


def _images_in(folder: Path) -> list[Path]:
    return sorted(
        path
        for path in folder.rglob("*")
        if path.suffix.lower() in SUFFIXES and not path.name.startswith(".") and path.is_file()
    )


def read_image(path: Path, size: int, channels: int) -> np.ndarray:
    """One image as uint8 (channels, size, size): the shorter side resized, the middle cut out.

    Raises
    ------
    DataError
        If there is no such file, or it cannot be read as an image.
    """
    from PIL import Image, ImageOps, UnidentifiedImageError

    if not path.is_file():
        raise DataError(
            f"{path}: {'a folder, expected' if path.is_dir() else 'there is no such file, expected'} an image"
        )
    try:
        with Image.open(path) as opened:
            upright = ImageOps.exif_transpose(opened)  # phones store the rotation apart from the pixels
            image = _fit(upright.convert(_MODES[channels]), size)
    except UnidentifiedImageError as error:
        raise DataError(f"{path}: not an image, or damaged; expected a file such as .png or .jpg") from error
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        raise DataError(f"{path}: cannot be read as an image ({type(error).__name__}: {error})") from error
    pixels = np.asarray(image, np.uint8).reshape(size, size, channels)
    return pixels.transpose(2, 0, 1)


def _fit(image, size: int):  # type: ignore[no-untyped-def]  # Pillow is imported only when it is needed
    """Resize the shorter side to ``size`` and cut out the centre."""
    from PIL import Image

    width, height = image.size
    shorter = min(width, height)
    width, height = max(size, round(width * size / shorter)), max(size, round(height * size / shorter))
    left, top = (width - size) // 2, (height - size) // 2
    resized = image.resize((width, height), Image.Resampling.BILINEAR)
    return resized.crop((left, top, left + size, top + size))
