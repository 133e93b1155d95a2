"""Measurements beside PyTorch; each file prints its table."""

from __future__ import annotations

from typing import NamedTuple


class Net(NamedTuple):
    """One line of the table."""

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
