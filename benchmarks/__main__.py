"""Training and inference of five networks, ours beside PyTorch's, in one run: ``python -m benchmarks``.

Both sides start from the same weights and see the same images; rounds alternate between them, because machines drift.
The table gives the median of each side's images a second and of the ratio (ours over PyTorch's) with its range.
"""

from __future__ import annotations

import argparse
import csv
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch.nn import functional as TF

import tinycnn as tc
from benchmarks import NETS, Net, torch_nets
from tinycnn import functional as F


class Row(NamedTuple):
    """What was measured for one network."""

    net: str
    mode: str
    batch: int
    ours: float
    pytorch: float
    ratio: float
    lowest: float
    highest: float


def sides(net: Net) -> dict[str, tuple[Callable[[], Any], Callable[[], Any]]]:
    """For training and inference, one step of ours and one of PyTorch's, on equal weights and images."""
    tc.manual_seed(0)
    ours, theirs = getattr(tc.models, net.name)(), getattr(torch_nets, net.name)()
    theirs.load_state_dict({name: torch.tensor(array) for name, array in ours.state_dict().items()})
    rng = np.random.default_rng(0)
    images = rng.normal(size=(net.batch, 3, net.size, net.size)).astype(np.float32)
    labels = rng.integers(10, size=net.batch)
    tensor, their_images, their_labels = tc.Tensor(images), torch.tensor(images), torch.tensor(labels)
    _check_equal(net.name, ours, theirs, tensor, their_images)
    options = {"lr": 1e-3, "momentum": 0.9, "weight_decay": 1e-4}
    our_optimizer = tc.optim.SGD(list(ours.parameters()), **options)
    their_optimizer = torch.optim.SGD(theirs.parameters(), **options)

    def train_ours() -> None:
        ours.train()
        our_optimizer.zero_grad()
        F.cross_entropy(ours(tensor), labels).backward()
        our_optimizer.step()

    def train_theirs() -> None:
        theirs.train()
        their_optimizer.zero_grad()
        TF.cross_entropy(theirs.forward(their_images), their_labels).backward()
        their_optimizer.step()

    def infer_ours() -> None:
        ours.eval()
        with tc.no_grad():
            ours(tensor)

    def infer_theirs() -> None:
        theirs.eval()
        with torch.no_grad():
            theirs.forward(their_images)

    return {"train": (train_ours, train_theirs), "inference": (infer_ours, infer_theirs)}


def _check_equal(name: str, ours: Any, theirs: Any, images: tc.Tensor, their_images: torch.Tensor) -> None:
    ours.eval(), theirs.eval()
    with tc.no_grad(), torch.no_grad():
        mine, reference = ours(images).data, theirs.forward(their_images).numpy()
    difference = np.abs(mine - reference).max() / np.abs(reference).max()
    print(f"{name}: largest difference of logits {difference:.1e} of the largest logit", flush=True)
    if not difference < 1e-4:
        raise SystemExit(f"{name}: the two sides do not compute the same")


def measure(net: Net, mode: str, pair: tuple[Callable, Callable], rounds: int, seconds: float) -> Row:
    """Alternate the two sides; a side's rate in a round is over as many steps as fill the given time."""
    rates: tuple[list[float], list[float]] = ([], [])
    for step in pair:
        step()
    for _ in range(rounds):
        for step, rate in zip(pair, rates):
            start, steps = time.perf_counter(), 0
            while time.perf_counter() - start < seconds or not steps:
                step()
                steps += 1
            rate.append(net.batch * steps / (time.perf_counter() - start))
    ratios = [a / b for a, b in zip(*rates)]
    ours, theirs = (statistics.median(rate) for rate in rates)
    return Row(net.name, mode, net.batch, ours, theirs, statistics.median(ratios), min(ratios), max(ratios))


def main() -> None:
    """Measure, print the table, write CSV and figure."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("--nets", nargs="+", choices=[net.name for net in NETS], default=[net.name for net in NETS])
    parser.add_argument("--threads", type=int, default=2, help="threads of each side (default 2)")
    parser.add_argument("--rounds", type=int, default=5, help="alternating rounds (default 5)")
    parser.add_argument("--seconds", type=float, default=2.0, help="time of a side in a round (default 2)")
    parser.add_argument("--out", type=Path, default=Path("runs/benchmarks"), help="folder for table.csv and table.png")
    options = parser.parse_args()

    tc.set_num_threads(options.threads)
    torch.set_num_threads(options.threads)
    rows = []
    for net in NETS:
        if net.name in options.nets:
            for mode, pair in sides(net).items():
                rows.append(measure(net, mode, pair, options.rounds, options.seconds))
    report(rows, options.threads, options.out)


def report(rows: list[Row], threads: int, folder: Path) -> None:
    """The table as text and CSV, the ratios as a figure."""
    print(f"\nimages a second, {threads} threads, numpy {np.__version__}, PyTorch {torch.__version__}")
    print(f"{'net':15}{'mode':11}{'batch':>6}{'tinycnn':>10}{'PyTorch':>10}{'ratio':>8}  range")
    for row in rows:
        print(
            f"{row.net:15}{row.mode:11}{row.batch:6}{row.ours:10.1f}{row.pytorch:10.1f}{row.ratio:8.2f}"
            f"  {row.lowest:.2f} to {row.highest:.2f}"
        )
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "table.csv").open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(Row._fields)
        writer.writerows(rows)
    _figure(rows, folder / "table.png")
    print(f"\nwritten: {folder / 'table.csv'}, {folder / 'table.png'}")


def _figure(rows: list[Row], path: Path) -> None:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8, 3.6), layout="constrained")
    axes = figure.subplots()
    names = list(dict.fromkeys(row.net for row in rows))
    for shift, mode, colour in ((-0.2, "train", "#0072b2"), (0.2, "inference", "#e69f00")):
        chosen = [row for row in rows if row.mode == mode]
        places = [names.index(row.net) + shift for row in chosen]
        errors = [[r.ratio - r.lowest for r in chosen], [r.highest - r.ratio for r in chosen]]
        axes.bar(places, [r.ratio for r in chosen], 0.38, yerr=errors, label=mode, color=colour, capsize=3)
    axes.axhline(1, color="#333333", linewidth=1, linestyle="--")
    axes.set_xticks(range(len(names)), names)
    axes.set_ylabel("images/s over PyTorch's")
    axes.set_title("Speed beside PyTorch on the same cores (1 = equal, higher is faster)")
    axes.legend()
    figure.savefig(path, dpi=150)


if __name__ == "__main__":
    main()
