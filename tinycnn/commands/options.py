"""Options that several commands have, and types that refuse numbers out of range."""

from __future__ import annotations

import argparse
import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

MOST = 10**9
LARGEST_SEED = 2**64 - 1

DATA_OPTIONS: tuple[tuple[str, type, str], ...] = (
    ("data", str, "glyphs (embedded), mnist, fashion_mnist, kmnist, cifar10, cifar100, folder, npz"),
    ("root", str, "folder with the data set's files (npz: the file)"),
    ("image-size", int, "resize images to this height and width"),
    ("channels", int, "1: grey, 3: colour"),
    ("limit", int, "number of images of each split (default: all)"),
    ("value-range", str, "LOW,HIGH: values that become black and white in images of more than 8 bits"),
)


def add_device(parser: argparse.ArgumentParser) -> None:
    """Add ``--device``."""
    from tinycnn.kernels import DEVICES

    parser.add_argument("--device", choices=DEVICES, default="cpu", help="where to compute (default: cpu)")


def given(options: argparse.Namespace, table: Sequence[tuple[str, type, str]]) -> dict[str, Any]:
    """Return the options that were given on the command line, by the names of Settings."""
    names = [name.replace("-", "_") for name, _, _ in table]
    return {name: getattr(options, name) for name in names if getattr(options, name) is not None}


def whole_number(least: int, most: int = MOST) -> Callable[[str], int]:
    """Return an argument type: a whole number from ``least`` to ``most``."""

    def parse(text: str) -> int:
        try:
            number = int(text)
        except ValueError:
            number = least - 1
        if number < least:
            raise argparse.ArgumentTypeError(f"{_short(text)}, expected a whole number of at least {least}")
        if number > most:
            raise argparse.ArgumentTypeError(f"{_short(text)}, expected a whole number of at most {most}")
        return number

    return parse


def number(least: float, most: float, inclusive: bool = False) -> Callable[[str], float]:
    """Return an argument type: a number above ``least`` (or equal to it, if inclusive), and at most ``most``."""

    def parse(text: str) -> float:
        try:
            value = float(text)
        except ValueError:
            value = math.nan
        if not (value > least or (inclusive and value == least)) or value > most:
            expected = f"{'at least' if inclusive else 'above'} {least:g} and at most {most:g}"
            raise argparse.ArgumentTypeError(f"{_short(text)}, expected a number {expected}")
        return value

    return parse


def shape(text: str) -> tuple[int, int, int]:
    """Parse CHANNELSxHEIGHTxWIDTH."""
    try:
        channels, height, width = (int(part) for part in text.lower().split("x"))
    except ValueError:
        raise argparse.ArgumentTypeError(f"{_short(text)}, expected CHANNELSxHEIGHTxWIDTH such as 3x224x224") from None
    if min(channels, height, width) < 1:
        raise argparse.ArgumentTypeError(f"{_short(text)}, expected numbers of at least 1")
    return channels, height, width


def _short(text: str) -> str:
    return repr(text if len(text) <= 40 else f"{text[:37]}...")


def refuse_idle_data_options(data: str, chosen: dict[str, Any]) -> None:
    """Raise ValueError for an option that was given and has no effect on such data."""
    if "root" in chosen and data == "glyphs":
        raise ValueError("--root has no effect on --data glyphs, which are embedded; leave it out")
    if "value_range" in chosen and data != "folder":
        raise ValueError(f"--value-range has no effect on --data {data}, only on --data folder; leave it out")


def run_folder(chosen: Path | None, out: Path = Path("runs")) -> Path:
    """Return the folder of a run: a path, a name in the folder of runs, or the newest there."""
    from tinycnn import run_folders

    return run_folders.newest_run(out) if chosen is None else run_folders.find_run(chosen, out)
