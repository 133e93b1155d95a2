"""MNIST, Fashion-MNIST and KMNIST: the IDX format, as it is or gzipped.

An IDX file starts with two zero bytes, the type of its elements (8: unsigned bytes) and the number of dimensions, then
each size as a big-endian 32-bit number, then the elements.
"""

from __future__ import annotations

import gzip
import math
import zlib
from pathlib import Path

import numpy as np

from tinycnn.errors import DataError

FILES = {
    ("train", "images"): "train-images-idx3-ubyte",
    ("train", "labels"): "train-labels-idx1-ubyte",
    ("test", "images"): "t10k-images-idx3-ubyte",
    ("test", "labels"): "t10k-labels-idx1-ubyte",
}
MD5 = {
    "mnist": (
        "f68b3c2dcbeaaa9fbdd348bbdeb94873",
        "d53e105ee54ea40749a09fcbcd1e9432",
        "9fb629c4189551a2d022fa330f9573f3",
        "ec29112dd5afa0611ce80d1b7f02629c",
    ),
    "fashion_mnist": (
        "8d4fb7e6c68d591d4c3dfef9ec88bf0d",
        "25c81989df183df01b3e8a0aad5dffbe",
        "bef4ecab320f06d8554ea6380940ec79",
        "bb300cfdad3c16e7a12a480ee83cd310",
    ),
    "kmnist": (
        "bdb82020997e1d708af4cf47b453dcf7",
        "e144d726b3acfaa3e44228e80efcd344",
        "5c965bf0a639b31b8f53240b1b52f4d7",
        "7320c461ea6c1c855c0b718fb2a4b134",
    ),
}
_FASHION = "T-shirt/top Trouser Pullover Dress Coat Sandal Shirt Sneaker Bag Boot"
CLASSES = {
    "mnist": tuple("0123456789"),
    "fashion_mnist": tuple(_FASHION.split()),
    "kmnist": tuple("o ki su tsu na ha ma ya re wo".split()),
}
_LARGEST = 2**31


def load_idx(name: str, root: Path, split: str) -> tuple[np.ndarray, np.ndarray, tuple[str, ...]]:
    """Images (N, 1, 28, 28), labels (N,) and class names of mnist, fashion_mnist or kmnist.

    Raises
    ------
    DataError
        If a file is missing or damaged, or images and labels differ in number.
    """
    image_path, label_path = (_find(name, root, split, part) for part in ("images", "labels"))
    images, labels = read_idx(image_path), read_idx(label_path)
    if images.ndim != 3 or labels.ndim != 1:
        raise DataError(
            f"{name}: {image_path.name} has {images.ndim} dimensions and {label_path.name} {labels.ndim}, expected 3 and 1"
        )
    if len(images) != len(labels):
        raise DataError(f"{name}: {image_path} has {len(images)} images but {label_path} has {len(labels)} labels")
    return images[:, None], labels.astype(np.int64), CLASSES[name]


def read_idx(path: str | Path) -> np.ndarray:
    """The array of bytes in an IDX file, gzipped or not.

    Raises
    ------
    DataError
        If it is no IDX file, or its length does not fit its header.
    """
    data = _unpacked(Path(path))
    if len(data) < 4 or data[:2] != b"\0\0" or data[2] != 8 or not 1 <= data[3] <= 4:
        raise DataError(f"{path}: not an IDX file of bytes: it starts with {data[:4].hex(' ') or 'nothing'}, expected 00 00 08 01 to 04")
    start = 4 + 4 * data[3]
    shape = tuple(int.from_bytes(data[i : i + 4], "big") for i in range(4, start, 4))
    expected = start + math.prod(shape)
    if len(data) != expected:
        raise DataError(f"{path}: has {len(data)} bytes, but its header of shape {shape} takes {expected}: truncated or damaged")
    return np.frombuffer(data, np.uint8, offset=start).reshape(shape).copy()


def _unpacked(path: Path) -> bytes:
    with open(path, "rb") as file:
        packed = file.read(2) == b"\x1f\x8b"
    try:
        with gzip.open(path) if packed else open(path, "rb") as stream:
            data = stream.read(_LARGEST)
    except (OSError, EOFError, zlib.error) as error:
        raise DataError(f"{path}: the gzip file is truncated or damaged: {error}") from error
    return data


def _find(name: str, root: Path, split: str, part: str) -> Path:
    file = FILES[split, part]
    folders = [root, root / name, root / name / "raw", root / _torchvision_name(name) / "raw"]
    candidates = [folder / f"{file}{suffix}" for folder in folders for suffix in ("", ".gz")]
    for path in candidates:
        if path.is_file():
            return path
    md5 = MD5[name][list(FILES).index((split, part))]
    raise DataError(
        f"{name}: there is no {file}.gz (MD5 {md5}), nor {file}, in {', '.join(map(str, folders))}.\n"
        f"Fetch it with `tinycnn data fetch {name}`, name its folder with --root, or use --data glyphs, which needs no files"
    )


def _torchvision_name(name: str) -> str:
    return {"mnist": "MNIST", "fashion_mnist": "FashionMNIST", "kmnist": "KMNIST"}[name]
