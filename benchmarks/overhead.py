"""Microseconds that an operation takes beside its arithmetic, forward and backward, in fresh processes.

With ``--against TREE`` another checkout is measured in turn with this one, and the table gives both and their ratio.
"""

from __future__ import annotations

import argparse
import statistics
from pathlib import Path
from typing import NamedTuple

from benchmarks import write_csv
from benchmarks.children import run_program

PROGRAM = Path(__file__).with_name("small_operations.py")
HERE = Path(__file__).parents[1]


class Row(NamedTuple):
    """One operation and pass: microseconds here and in the other tree (NaN without one), and their ratio."""

    what: str
    microseconds: float
    other: float
    ratio: float


def run(options: argparse.Namespace) -> None:
    """Print and write the table."""
    trees = [HERE, *([options.against] if options.against else [])]
    rounds: list[list[dict[str, float]]] = [[] for _ in trees]
    for number in range(options.rounds):
        order = range(len(trees)) if number % 2 == 0 else reversed(range(len(trees)))
        for tree in order:
            rounds[tree].append(run_program(PROGRAM, trees[tree]))
    rows = []
    for what in rounds[0][0]:
        ours = statistics.median(found[what] for found in rounds[0])
        other = statistics.median(found[what] for found in rounds[1]) if options.against else float("nan")
        rows.append(Row(what, ours, other, other / ours if ours else float("nan")))
    print(f"\nmicroseconds of a call on a few elements, median of {options.rounds} processes")
    print(f"{'operation:pass':28}{'here':>8}" + (f"{'there':>8}{'there / here':>14}" if options.against else ""))
    for row in rows:
        print(
            f"{row.what:28}{row.microseconds:8.1f}" + (f"{row.other:8.1f}{row.ratio:14.2f}" if options.against else "")
        )
    write_csv(options.out / "overhead.csv", rows)
