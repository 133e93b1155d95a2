"""CIFAR-10 and CIFAR-100, read from the binary version (no pickle is ever opened)."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from tinycnn.errors import DataError

_SHAPE = (3, 32, 32)
_PIXELS = 3 * 32 * 32


@dataclass(frozen=True)
class CifarSet:
    """One data set in its published binary form.

    A record is ``label_bytes`` labels, of which the last is used, then the red, green and blue planes.
    ``train`` and ``test`` list alternatives: the first group with a file present is used.
    """

    archive: str
    md5: str
    folder: str
    label_bytes: int
    train: tuple[tuple[str, ...], ...]
    test: tuple[tuple[str, ...], ...]
    classes: tuple[str, ...]

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
        folder="cifar-10-batches-bin",
        label_bytes=1,
        train=(tuple(f"data_batch_{n}.bin" for n in range(1, 6)), ("train_batch.bin",)),
        test=(("test_batch.bin",),),
        classes=tuple(_CIFAR10_NAMES.split()),
    ),
    "cifar100": CifarSet(
        archive="cifar-100-binary.tar.gz",
        md5="03b5dce01913d631647c71ecec9e9cb8",
        folder="cifar-100-binary",
        label_bytes=2,
        train=(("train.bin",),),
        test=(("test.bin",),),
        classes=tuple(_CIFAR100_NAMES.split()),
    ),
}


def load_cifar(name: str, root: str | Path, split: str) -> tuple[np.ndarray, np.ndarray, tuple[str, ...]]:
    """Load one split of CIFAR-10 or CIFAR-100 from files on disk; nothing is downloaded.

    Looks in ``root/name/<folder>``, ``root/name``, ``root/<folder>`` and ``root``, where ``<folder>`` is the
    archive's own folder (``cifar-10-batches-bin``, ``cifar-100-binary``). A part of the training batches, or
    batches with fewer records than the published ones, are fine. CIFAR-100 gives the fine labels.

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
    records = [_read_records(path, entry) for path in _find(name, Path(root), split)]
    labels = np.concatenate([part[:, entry.label_bytes - 1] for part in records]).astype(np.int64)
    images = np.concatenate([part[:, entry.label_bytes :] for part in records]).reshape(-1, *_SHAPE)
    return images, labels, entry.classes


def _groups(name: str, split: str) -> tuple[tuple[str, ...], ...]:
    return CIFAR[name].train if split == "train" else CIFAR[name].test


def _folders(name: str, root: Path) -> tuple[Path, ...]:
    folder = CIFAR[name].folder
    return root / name / folder, root / name, root / folder, root


def _find(name: str, root: Path, split: str) -> list[Path]:
    for folder in _folders(name, root):
        for group in _groups(name, split):
            found = [folder / file for file in group if (folder / file).is_file()]
            if found:
                return found
    raise DataError(_missing_message(name, root, split))


def _missing_message(name: str, root: Path, split: str) -> str:
    entry = CIFAR[name]
    files = " or ".join(", ".join(group) for group in _groups(name, split))
    return "\n".join(
        [
            f"{name}: no {split} file found under {root}. Looked for {files} in:",
            *(f"  {folder}" for folder in _folders(name, root)),
            f"To place it by hand, unpack this (the binary version) into {root / name}:",
            f"  {entry.archive}  md5 {entry.md5}",
            "To use a folder elsewhere: --root FOLDER",
            f"To download it: tinycnn data fetch {name}",
            "To work without any download: --data glyphs",
        ]
    )


def _read_records(path: Path, entry: CifarSet) -> np.ndarray:
    """The file as uint8 (records, record bytes), checked."""
    data = np.fromfile(path, np.uint8)
    whole, rest = divmod(data.size, entry.record)
    if rest or not whole:
        raise DataError(
            f"{path}: {data.size} bytes is {whole} records of {entry.record} bytes and {rest} bytes over, "
            "expected one or more whole records (truncated?)"
        )
    records = data.reshape(whole, entry.record)
    labels = records[:, entry.label_bytes - 1]
    wrong = np.flatnonzero(labels >= len(entry.classes))
    if wrong.size:
        raise DataError(
            f"{path}: record {wrong[0]} has label {labels[wrong[0]]}, expected 0 to {len(entry.classes) - 1}"
        )
    return records
