"""Growth of time and memory: training steps of CIFAR ResNets over batch size, and over depth.

Memory is what a process takes above a first step with one image, which loads the kernels.
"""

from __future__ import annotations

import argparse
import math
from typing import NamedTuple

from benchmarks import write_csv
from benchmarks.children import OURS, PEAK, run_child
from tinycnn import plotting

BATCHES = (1, 2, 4, 8, 16, 32, 64, 128, 256)
DEPTHS = (20, 32, 44, 56, 110, 1202)
CODE = """
import statistics, time
model, optimizer = make("resnet20")
step(model, optimizer, *batch(1, 32))
before = peak()
for number in {numbers}:
    model, optimizer = make("resnet" + str({depth}))
    data = batch({count}, 32)
    step(model, optimizer, *data)
    times = []
    while len(times) < 3 or sum(times) < 1:
        start = time.perf_counter()
        step(model, optimizer, *data)
        times.append(time.perf_counter() - start)
    print("seconds:" + str(number), statistics.median(times))
    print("memory:" + str(number), peak() - before)
"""


class Row(NamedTuple):
    """One training step."""

    over: str
    number: int
    milliseconds: float
    mebibytes: float


def run(options: argparse.Namespace) -> None:
    """Print and write the table, draw the curves."""
    rows = measure("batch", BATCHES, "20", "number", options.threads)
    rows += measure("depth", DEPTHS, "number", "4", options.threads)
    print("\ntraining step: ResNet-20 over batch size; depth over a batch of 4")
    print(f"{'over':8}{'':>6}{'ms':>10}{'ms each':>10}{'MiB':>10}{'MiB each':>10}")
    for row in rows:
        each = row.milliseconds / row.number, row.mebibytes / row.number
        print(f"{row.over:8}{row.number:6}{row.milliseconds:10.1f}{each[0]:10.3f}{row.mebibytes:10.1f}{each[1]:10.3f}")
    for over in ("batch", "depth"):
        print(f"{over}: time grows as its power {exponent(rows, over, 2):.2f}, memory {exponent(rows, over, 3):.2f}"
              " over the upper half of the range")  # fmt: skip
    write_csv(options.out / "growth.csv", rows)
    _figure(rows, options)


def measure(over: str, numbers: tuple[int, ...], depth: str, count: str, threads: int) -> list[Row]:
    """Rising numbers in one process, so that its peak is that of the last."""
    code = PEAK + OURS.format(threads=threads) + CODE.format(numbers=numbers, depth=depth, count=count)
    found = run_child(code)
    return [Row(over, n, 1e3 * found[f"seconds:{n}"], found[f"memory:{n}"]) for n in numbers]


def exponent(rows: list[Row], over: str, column: int) -> float:
    """The slope of a column between the middle and the end of the curve on logarithmic axes: 1 is in proportion."""
    chosen = [row for row in rows if row.over == over]
    middle, last = chosen[len(chosen) // 2], chosen[-1]
    growth = last[column] / max(middle[column], 1e-9)
    return math.log(growth) / math.log(last.number / middle.number)


def _figure(rows: list[Row], options: argparse.Namespace) -> None:
    figure, axes = plotting.panels(9, 3.6, columns=2)
    labels = {"batch": "images in a batch (ResNet-20)", "depth": "layers (batch of 4)"}
    for panel, (over, label) in zip(axes, labels.items()):
        chosen = [row for row in rows if row.over == over]
        numbers = [row.number for row in chosen]
        plotting.curve(panel, numbers, [row.milliseconds for row in chosen], "time of a step, ms", 0)
        plotting.curve(panel, numbers, [row.mebibytes for row in chosen], "peak memory, MiB", 1)
        last = chosen[-1].milliseconds
        panel.plot(numbers, [last * n / numbers[-1] for n in numbers], ":", color="#5a6370", label="in proportion")
        panel.set(xscale="log", yscale="log", xlabel=label)
        panel.legend()
    path = options.out / "growth.png"
    plotting.save(figure, path)
    print(f"written: {path}")
