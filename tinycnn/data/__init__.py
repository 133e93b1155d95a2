"""Data sets, transforms and the loader. Plain NumPy: no kernel ever runs in a loader's thread."""

from tinycnn.data import transforms
from tinycnn.data.dataset import ArrayDataset, Dataset
from tinycnn.data.glyphs import Glyphs
from tinycnn.data.loader import DataLoader
from tinycnn.data.registry import NAMES, default_root, load

__all__ = ["NAMES", "ArrayDataset", "DataLoader", "Dataset", "Glyphs", "default_root", "load", "transforms"]


def __dir__() -> list[str]:
    return __all__
