"""CIFAR-10 and CIFAR-100, read from the binary version, or from the Python version without running its pickles."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from tinycnn.data.cifar_pickle import read_batch
from tinycnn.data.found import names_there
from tinycnn.errors import DataError

_SHAPE = (3, 32, 32)
_PIXELS = 3 * 32 * 32


@dataclass(frozen=True)
class CifarSet:
    """One data set in its published forms.

    A binary record is ``label_bytes`` labels, of which the last is used, then the red, green and blue planes.
    ``train`` and ``test`` list alternatives: the first group with a file present is used. The files of the Python
    version have the same names without ``.bin``; ``label`` is the key of their labels.
    """

    archive: str
    md5: str
    size: int
    folder: str
    label_bytes: int
    train: tuple[tuple[str, ...], ...]
    test: tuple[tuple[str, ...], ...]
    classes: tuple[str, ...]
    python_folder: str
    label: str

    @property
    def record(self) -> int:
        """Bytes in one record."""
        return self.label_bytes + _PIXELS


_CIFAR10_NAMES = "airplane automobile bird cat deer dog frog horse ship truck"
_CIFAR100_NAMES = """
    apple aquarium_fish baby bear beaver bed bee beetle bicycle bottle bowl boy bridge bus butterfly camel
    can castle caterpillar cattle chair chimpanzee clock cloud cockroach couch crab crocodile cup dinosaur
    dolphin elephant flatfish forest fox girl hamster house kangaroo keyboard lamp lawn_mower leopard lion
    lizard lobster man maple_tree motorcycle mountain mouse mushroom oak_tree orange orchid otter
    palm_tree pear pickup_truck pine_tree plain plate poppy porcupine possum rabbit raccoon ray road
    rocket rose sea seal shark shrew skunk skyscraper snail snake spider squirrel streetcar sunflower
    sweet_pepper table tank telephone television tiger tractor train trout tulip turtle wardrobe whale
    willow_tree wolf woman worm
"""

CIFAR: dict[str, CifarSet] = {
    "cifar10": CifarSet(
        archive="cifar-10-binary.tar.gz",
        md5="c32a1d4ab5d03f1284b67883e8d87530",
        size=170_052_171,
        folder="cifar-10-batches-bin",
        label_bytes=1,
        train=(tuple(f"data_batch_{n}.bin" for n in range(1, 6)), ("train_batch.bin",)),
        test=(("test_batch.bin",),),
        classes=tuple(_CIFAR10_NAMES.split()),
        python_folder="cifar-10-batches-py",
        label="labels",
    ),
    "cifar100": CifarSet(
        archive="cifar-100-binary.tar.gz",
        md5="03b5dce01913d631647c71ecec9e9cb8",
        size=168_513_733,
        folder="cifar-100-binary",
        label_bytes=2,
        train=(("train.bin",),),
        test=(("test.bin",),),
        classes=tuple(_CIFAR100_NAMES.split()),
        python_folder="cifar-100-python",
        label="fine_labels",
    ),
}


def load_cifar(name: str, root: str | Path, split: str) -> tuple[np.ndarray, np.ndarray, tuple[str, ...]]:
    """Load one split of CIFAR-10 or CIFAR-100 from files on disk; nothing is downloaded.

    Looks in ``root/name/<folder>``, ``root/name``, ``root/<folder>`` and ``root``, where ``<folder>`` is the
    archive's own folder (``cifar-10-batches-bin``, ``cifar-100-binary``), then for the Python version
    (``cifar-10-batches-py``, ``cifar-100-python``). A part of the training batches, or batches with fewer records than
    the published ones, are fine. CIFAR-100 gives the fine labels.

    Parameters
    ----------
    name
        ``"cifar10"`` or ``"cifar100"``.
    root
        The folder of data sets.
    split
        ``"train"`` or ``"test"``.

    Returns
    -------
    images, labels, classes
        uint8 (N, 3, 32, 32), int64 (N,) and the class names.

    Raises
    ------
    DataError
        If no file is found, a file ends inside a record, or a label is outside the classes.
    """
    if name not in CIFAR:
        raise DataError(f"load_cifar: unknown data set {name!r}, expected one of {', '.join(CIFAR)}")
    if split not in ("train", "test"):
        raise DataError(f"{name}: split is {split!r}, expected 'train' or 'test'")
    entry = CIFAR[name]
    parts = [_read(path, entry) for path in _find(name, Path(root), split)]
    pixels, labels = (np.concatenate(arrays) for arrays in zip(*parts))
    return pixels.reshape(-1, *_SHAPE), labels, entry.classes


def _read(path: Path, entry: CifarSet) -> tuple[np.ndarray, np.ndarray]:
    """Return pixels (N, 3072) and labels (N,) of one file."""
    if path.suffix == ".bin":
        records = _read_records(path, entry)
        pixels, labels = records[:, entry.label_bytes :], records[:, entry.label_bytes - 1].astype(np.int64)
    else:
        pixels, labels = read_batch(path, entry.label)
    wrong = np.flatnonzero((labels < 0) | (labels >= len(entry.classes)))
    if wrong.size:
        raise DataError(
            f"{path}: record {wrong[0]} has label {labels[wrong[0]]}, expected 0 to {len(entry.classes) - 1}"
        )
    return pixels, labels


def _groups(name: str, split: str) -> tuple[tuple[str, ...], ...]:
    return CIFAR[name].train if split == "train" else CIFAR[name].test


def _folders(name: str, root: Path, folder: str) -> tuple[Path, ...]:
    return root / name / folder, root / name, root / folder, root


def _find(name: str, root: Path, split: str) -> list[Path]:
    entry = CIFAR[name]
    for own_folder, suffix in ((entry.folder, ".bin"), (entry.python_folder, "")):
        for folder in _folders(name, root, own_folder):
            for group in _groups(name, split):
                files = [folder / file.removesuffix(".bin") for file in group]
                found = [path.with_name(path.name + suffix) for path in files]
                present = [path for path in found if path.is_file()]
                if present:
                    return present
    raise DataError(_missing_message(name, root, split))


def _missing_message(name: str, root: Path, split: str) -> str:
    entry = CIFAR[name]
    files = " or ".join(", ".join(group) for group in _groups(name, split))
    return "\n".join(
        [
            f"{name}: no {split} file found under {root}. Looked for {files} in:",
            *(f"  {folder}" for folder in _folders(name, root, entry.folder)),
            f"and for the Python version (the same names without .bin) in {entry.python_folder}.",
            *names_there(root, root / name),
            f"To place it by hand, unpack this (the binary version) into {root / name}:",
            f"  {entry.archive}  md5 {entry.md5}",
            "To use a folder elsewhere: --root FOLDER",
            f"To download it: tinycnn data fetch {name}",
            "To work without any download: --data glyphs",
        ]
    )


def _read_records(path: Path, entry: CifarSet) -> np.ndarray:
    """Return the file as uint8 (records, record bytes), checked."""
    size = path.stat().st_size
    whole, rest = divmod(size, entry.record)
    if rest or not whole:
        raise DataError(
            f"{path}: {size} bytes is {whole} records of {entry.record} bytes and {rest} bytes over, "
            "expected one or more whole records (truncated?)"
        )
    return np.fromfile(path, np.uint8, size).reshape(whole, entry.record)
