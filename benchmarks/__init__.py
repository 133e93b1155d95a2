"""Measurements, each a file that prints its table; ``python -m benchmarks`` runs them."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple


class Net(NamedTuple):
    """A network to measure."""

    name: str
    batch: int
    size: int


NETS = (
    Net("alexnet", 16, 224),
    Net("vgg16", 4, 224),
    Net("resnet18", 8, 224),
    Net("squeezenet1_1", 16, 224),
    Net("resnet20", 128, 32),
)


def write_csv(path: Path, rows: Sequence[NamedTuple]) -> None:
    """Write rows of one kind, with their field names on top."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(rows[0]._fields)
        writer.writerows(rows)
    print(f"written: {path}")
