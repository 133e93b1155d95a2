"""Training and inference of the networks in this checkout and another one, in alternating fresh processes.

``python -m benchmarks trees --against TREE --rounds 15``: images a second and peak memory, and the median of the
ratios of neighbouring processes. Above 1 this checkout is faster.
"""

from __future__ import annotations

import argparse
import statistics
import sys
from pathlib import Path
from typing import NamedTuple

from benchmarks import NETS, Net, write_csv
from benchmarks.children import OURS, PEAK, run_code

HERE = Path(__file__).parents[1]
CODE = """
import time
model, optimizer = make("{name}")
images, labels = batch({batch}, {size})
def rate(work):
    work()
    done, start = 0, time.perf_counter()
    while time.perf_counter() - start < {seconds}:
        work()
        done += 1
    return done * {batch} / (time.perf_counter() - start)
print("training", rate(lambda: step(model, optimizer, images, labels)))
model.eval()
def infer():
    with tc.no_grad():
        model(images)
print("inference", rate(infer))
print("memory", peak())
"""


class Row(NamedTuple):
    """Images a second (or MiB) here and there, and the median ratio of pairs, with its range."""

    net: str
    what: str
    here: float
    there: float
    ratio: float
    lowest: float
    highest: float


def run(options: argparse.Namespace) -> None:
    """Print and write the table."""
    if options.against is None:
        sys.exit("benchmarks trees: --against is missing, expected the folder of another checkout")
    print(f"\n{'network':16}{'':10}{'here':>10}{'there':>10}{'here / there':>14}{'range':>16}")
    rows = []
    for net in NETS:
        if net.name in options.nets:
            for row in _compare(net, options):
                rows.append(row)
                print(
                    f"{row.net:16}{row.what:10}{row.here:10.1f}{row.there:10.1f}{row.ratio:14.3f}"
                    f"{f'{row.lowest:.2f} to {row.highest:.2f}':>16}",
                    flush=True,
                )
    write_csv(options.out / "trees.csv", rows)


def _compare(net: Net, options: argparse.Namespace) -> list[Row]:
    memory = PEAK if sys.platform != "win32" else "def peak():\n    return float('nan')\n"
    code = memory + OURS.format(threads=options.threads)
    code += CODE.format(name=net.name, batch=net.batch, size=net.size, seconds=options.seconds)
    pairs = []
    for number in range(options.rounds):
        order = (HERE, options.against) if number % 2 == 0 else (options.against, HERE)
        found = {tree: run_code(code, tree) for tree in order}
        pairs.append((found[HERE], found[options.against]))
    rows = []
    for what in ("training", "inference", "memory"):
        ratios = [here[what] / there[what] for here, there in pairs]
        here, there = (statistics.median(pair[side][what] for pair in pairs) for side in (0, 1))
        rows.append(Row(net.name, what, here, there, statistics.median(ratios), min(ratios), max(ratios)))
    return rows
