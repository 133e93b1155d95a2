"""A folder of images for each class, read with Pillow."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from tinycnn.errors import DataError

SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".gif", ".webp", ".tif", ".tiff", ".ppm", ".pgm")


def load_folder(root: Path, split: str, size: int, channels: int) -> tuple[np.ndarray, np.ndarray, tuple[str, ...]]:
    """Images (N, channels, size, size), labels (N,) and class names from ``root/split/class/*`` or ``root/class/*``.

    Raises
    ------
    DataError
        If there are no classes, a class has no image, or an image cannot be read.
    """
    base = root / split if (root / split).is_dir() else root
    if split == "test" and not (root / "test").is_dir() and (root / "val").is_dir():
        base = root / "val"
    if not base.is_dir():
        raise DataError(f"folder: there is no folder {base}; name one with --root, with a subfolder of images for each class")
    classes = sorted(path for path in base.iterdir() if path.is_dir() and not path.name.startswith("."))
    if not classes:
        raise DataError(f"folder: {base} has no subfolders, expected one for each class")
    images, labels = [], []
    for label, folder in enumerate(classes):
        paths = sorted(path for path in folder.rglob("*") if path.suffix.lower() in SUFFIXES)
        if not paths:
            raise DataError(f"folder: class {folder} has no images ({', '.join(SUFFIXES)})")
        images += [read_image(path, size, channels) for path in paths]
        labels += [label] * len(paths)
    return np.stack(images), np.array(labels, np.int64), tuple(path.name for path in classes)


def read_image(path: str | Path, size: int, channels: int) -> np.ndarray:
    """One image as bytes (channels, size, size): the shorter side resized to ``size``, the middle cut out.

    Raises
    ------
    DataError
        If there is no such file, or it cannot be read as an image.
    """
    from PIL import Image

    if not Path(path).is_file():
        raise DataError(f"image: there is no file {path}")
    try:
        with Image.open(path) as opened:
            image = opened.convert("RGB" if channels == 3 else "L")
            factor = size / min(image.size)
            width, height = (max(size, round(n * factor)) for n in image.size)
            image = image.resize((width, height), Image.Resampling.BILINEAR)
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        raise DataError(f"image: {path} cannot be read: {error}") from error
    left, top = (width - size) // 2, (height - size) // 2
    pixels = np.asarray(image.crop((left, top, left + size, top + size)))
    return pixels.transpose(2, 0, 1) if channels == 3 else pixels[None]
