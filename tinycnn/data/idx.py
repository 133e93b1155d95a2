"""MNIST and its relatives, read from IDX files (raw or gzip)."""

from __future__ import annotations

import gzip
import math
import struct
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import numpy as np

from tinycnn.data.found import names_there
from tinycnn.data.keras import load_keras
from tinycnn.errors import DataError
from tinycnn.files.limits import check_unpacked_size, unpack_limit

_GZIP_MAGIC = b"\x1f\x8b"
_CHUNK = 1 << 20
_SIDE = 28
_MOST = 70_000  # images in the largest of these sets, both splits
_DTYPES = {0x08: ">u1", 0x09: ">i1", 0x0B: ">i2", 0x0C: ">i4", 0x0D: ">f4", 0x0E: ">f8"}


@dataclass(frozen=True)
class IdxFile:
    """The published name of a file (without ``.gz``), and the MD5 and the bytes of its published ``.gz``."""

    stem: str
    md5: str
    size: int

    @property
    def names(self) -> tuple[str, ...]:
        """Names under which the file is found, the published ones first.

        7-Zip and Kaggle write a dot for a dash, and Kaggle puts the file into a folder of its own name.
        """
        dotted = self.stem.replace("-idx", ".idx")
        return (self.gz, self.stem, f"{dotted}.gz", dotted, f"{self.stem}/{self.stem}", f"{dotted}/{dotted}")

    @property
    def gz(self) -> str:
        """The name under which the file is published."""
        return f"{self.stem}.gz"


@dataclass(frozen=True)
class IdxSet:
    """A data set of IDX files: (images, labels) of each split, its classes, torchvision's folder name."""

    folder: str
    classes: tuple[str, ...]
    train: tuple[IdxFile, IdxFile]
    test: tuple[IdxFile, IdxFile]

    @property
    def files(self) -> tuple[IdxFile, ...]:
        """All four files."""
        return self.train + self.test


def _idx_set(folder: str, classes: str, md5s: str, sizes: tuple[int, ...]) -> IdxSet:
    """Return a set with MNIST's file names; ``md5s`` and ``sizes`` are in the order of those names."""
    stems = [f"{part}-{kind}-ubyte" for part in ("train", "t10k") for kind in ("images-idx3", "labels-idx1")]
    a, b, c, d = (IdxFile(*file) for file in zip(stems, md5s.split(), sizes, strict=True))
    return IdxSet(folder, tuple(classes.split(", ")), (a, b), (c, d))


NAMES: dict[str, IdxSet] = {
    "mnist": _idx_set(
        "MNIST",
        "0, 1, 2, 3, 4, 5, 6, 7, 8, 9",
        "f68b3c2dcbeaaa9fbdd348bbdeb94873 d53e105ee54ea40749a09fcbcd1e9432 "
        "9fb629c4189551a2d022fa330f9573f3 ec29112dd5afa0611ce80d1b7f02629c",
        (9_912_422, 28_881, 1_648_877, 4_542),
    ),
    "fashion_mnist": _idx_set(
        "FashionMNIST",
        "T-shirt/top, Trouser, Pullover, Dress, Coat, Sandal, Shirt, Sneaker, Bag, Ankle boot",
        "8d4fb7e6c68d591d4c3dfef9ec88bf0d 25c81989df183df01b3e8a0aad5dffbe "
        "bef4ecab320f06d8554ea6380940ec79 bb300cfdad3c16e7a12a480ee83cd310",
        (26_421_880, 29_515, 4_422_102, 5_148),
    ),
    "kmnist": _idx_set(
        "KMNIST",
        "o, ki, su, tsu, na, ha, ma, ya, re, wo",
        "bdb82020997e1d708af4cf47b453dcf7 e144d726b3acfaa3e44228e80efcd344 "
        "5c965bf0a639b31b8f53240b1b52f4d7 7320c461ea6c1c855c0b718fb2a4b134",
        (18_165_135, 29_497, 3_041_136, 5_120),
    ),
}


Check = Callable[[np.dtype, tuple[int, ...]], None]


def read_idx(path: str | Path, check: Check | None = None) -> np.ndarray:
    """Read one IDX file, raw or gzip (told apart by content, not by name).

    The format is two zero bytes, a type code, the number of dimensions, each dimension as a big-endian
    32-bit number, then the values in row-major order.

    Parameters
    ----------
    path
        The file.
    check
        Called with the dtype and the shape that the header declares, before any value is read or unpacked.

    Returns
    -------
    ndarray
        The values in the machine's byte order, with the shape the file declares.

    Raises
    ------
    DataError
        If the magic number, the dimensions or the byte count are wrong, the gzip stream is damaged, or it declares
        more than it can hold or than 4 GiB (the environment variable ``TINYCNN_UNPACK_LIMIT`` sets another limit).
    FileNotFoundError
        If there is no such file.
    """
    path = Path(path)
    if path.exists() and not path.is_file():
        raise DataError(f"{path}: not a file, expected an IDX file")
    with path.open("rb") as raw:
        is_gzip = raw.read(2) == _GZIP_MAGIC
        raw.seek(0)
        if not is_gzip:
            return _parse(raw, path, check, None)
        try:
            with gzip.GzipFile(fileobj=raw) as stream:
                return _parse(stream, path, check, path.stat().st_size)  # type: ignore[arg-type]
        except (EOFError, gzip.BadGzipFile, zlib.error) as error:
            raise DataError(f"{path}: damaged or truncated gzip file ({error})") from error


def _parse(stream: BinaryIO, path: Path, check: Check | None, packed: int | None) -> np.ndarray:
    """Return the values; `packed` is the number of compressed bytes of a gzip file."""
    dtype, shape = _read_header(stream, path)
    if check is not None:
        check(dtype, shape)
    expected = math.prod(shape) * dtype.itemsize
    if packed is not None:
        try:
            check_unpacked_size(expected, packed, unpack_limit(), f"shape {shape} of {dtype.name}")
        except ValueError as error:
            raise DataError(f"{path}: {error}") from error
    data = _read_up_to(stream, expected + 1)
    if len(data) != expected:
        found = f"{len(data)} bytes" if len(data) < expected else "more"
        raise DataError(f"{path}: shape {shape} of {dtype.name} expects {expected} data bytes, found {found}")
    return np.frombuffer(data, dtype).reshape(shape).astype(dtype.newbyteorder("="), copy=False)


def _read_header(stream: BinaryIO, path: Path) -> tuple[np.dtype, tuple[int, ...]]:
    magic = _read_up_to(stream, 4)
    if len(magic) < 4 or magic[:2] != b"\0\0" or magic[2] not in _DTYPES or magic[3] == 0:
        found = f"starts with {magic.hex(' ')}" if magic else "is empty"
        raise DataError(
            f"{path}: not an IDX file: it {found}, expected 00 00, a type code "
            f"({', '.join(f'{code:02x}' for code in _DTYPES)}) and the number of dimensions"
        )
    ndim = magic[3]
    sizes = _read_up_to(stream, 4 * ndim)
    if len(sizes) != 4 * ndim:
        raise DataError(f"{path}: header expects {4 * ndim} bytes for {ndim} dimensions, found {len(sizes)}")
    return np.dtype(_DTYPES[magic[2]]), struct.unpack(f">{ndim}I", sizes)


def _read_up_to(stream: BinaryIO, count: int) -> bytearray:
    """Read in chunks, so that a header with a wrong size cannot exhaust memory."""
    data = bytearray()
    while len(data) < count:
        chunk = stream.read(min(_CHUNK, count - len(data)))
        if not chunk:
            break
        data += chunk
    return data


def load_idx(name: str, root: str | Path, split: str) -> tuple[np.ndarray, np.ndarray, tuple[str, ...]]:
    """Load one split of MNIST, Fashion-MNIST or KMNIST from files on disk; nothing is downloaded.

    Looks in ``root/name``, ``root/name/raw``, torchvision's ``root/MNIST/raw`` and ``root`` itself, for each
    file with and without ``.gz``, under Kaggle's and 7-Zip's names too (``train-images.idx3-ubyte``), then for
    Keras's ``mnist.npz``.

    Parameters
    ----------
    name
        ``"mnist"``, ``"fashion_mnist"`` or ``"kmnist"``.
    root
        The folder of data sets.
    split
        ``"train"`` or ``"test"``.

    Returns
    -------
    images, labels, classes
        uint8 (N, 1, 28, 28), int64 (N,) and the class names.

    Raises
    ------
    DataError
        If the files are missing, damaged, or do not belong together.
    """
    if name not in NAMES:
        raise DataError(f"load_idx: unknown data set {name!r}, expected one of {', '.join(NAMES)}")
    if split not in ("train", "test"):
        raise DataError(f"{name}: split is {split!r}, expected 'train' or 'test'")
    entry = NAMES[name]
    images_path, labels_path = _find(name, Path(root), entry.train if split == "train" else entry.test)
    if images_path.suffix == ".npz":
        images, labels = load_keras(images_path, split)
        _check_images(images_path, images.dtype, images.shape)
    else:
        images = read_idx(images_path, lambda *header: _check_images(images_path, *header))
        labels = read_idx(labels_path, lambda *header: _check_labels(labels_path, *header))
    _check_pairs(labels, labels_path, len(images), len(entry.classes))
    return images[:, None], labels.astype(np.int64), entry.classes


def _folders(name: str, root: Path) -> tuple[Path, ...]:
    """Return the folders to search, the most specific first: the sets share file names, so ``root`` may hold
    another one.
    """
    return root / name, root / name / "raw", root / NAMES[name].folder / "raw", root


def _find(name: str, root: Path, files: tuple[IdxFile, IdxFile]) -> tuple[Path, Path]:
    """Return images and labels from the same folder."""
    for folder in _folders(name, root):
        found = [next((path for path in _forms(folder, file) if path.is_file()), None) for file in files]
        if found[0] and found[1]:
            return found[0], found[1]
    for archive in (root / name / f"{name}.npz", root / f"{name}.npz", root):
        if archive.suffix == ".npz" and archive.is_file():
            return archive, archive
    raise DataError(_missing_message(name, root, files))


def _forms(folder: Path, file: IdxFile) -> Iterator[Path]:
    return (folder / name for name in file.names)


def _missing_message(name: str, root: Path, files: tuple[IdxFile, IdxFile]) -> str:
    looked = [folder / form for folder in _folders(name, root) for file in files for form in (file.gz, file.stem)]
    return "\n".join(
        [
            f"{name}: files not found under {root}. Looked for images and labels in one folder:",
            *(f"  {path}{'  (is there)' if path.is_file() else ''}" for path in looked),
            f"(names with a dot, as {files[0].stem.replace('-idx', '.idx')}, and Keras's {name}.npz are found too)",
            *names_there(root, root / name),
            f"To place them by hand, put these into {root / name}:",
            *(f"  {file.gz}  md5 {file.md5}" for file in files),
            "To use a folder elsewhere: --root FOLDER",
            f"To download them: tinycnn data fetch {name}",
            "To work without any download: --data glyphs",
        ]
    )


def _check_images(path: Path, dtype: np.dtype, shape: tuple[int, ...]) -> None:
    if len(shape) != 3 or dtype != np.uint8 or shape[1:] != (_SIDE, _SIDE) or shape[0] > _MOST:
        raise DataError(
            f"{path}: holds {dtype} of shape {shape}, expected uint8 images (N, {_SIDE}, {_SIDE}), at most {_MOST}"
        )


def _check_labels(path: Path, dtype: np.dtype, shape: tuple[int, ...]) -> None:
    if len(shape) != 1 or dtype != np.uint8 or shape[0] > _MOST:
        raise DataError(f"{path}: holds {dtype} of shape {shape}, expected uint8 labels (N,), at most {_MOST}")


def _check_pairs(labels: np.ndarray, path: Path, count: int, classes: int) -> None:
    if len(labels) != count:
        raise DataError(f"{path}: holds {len(labels)} labels for {count} images")
    wrong = np.flatnonzero((labels < 0) | (labels >= classes))
    if len(wrong):
        raise DataError(f"{path}: label {wrong[0]} is {labels[wrong[0]]}, expected 0 to {classes - 1}")
