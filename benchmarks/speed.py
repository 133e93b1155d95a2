"""Training and inference of five networks, ours beside PyTorch's, in one run.

Both sides start from the same weights and see the same images; rounds alternate between them, because machines drift.
The table gives the median of each side's images a second and of the ratio (ours over PyTorch's) with its range; the
arithmetic done in a second, counted as a direct convolution does it (Winograd's does less, so a share of the machine's
limit may be above 100 %); and the peak memory of a process that only trains, its libraries included.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import torch
from torch.nn import functional as TF

import tinycnn as tc
from benchmarks import NETS, Net, torch_nets, write_csv
from benchmarks.children import OURS, PYTORCH, peak_memory
from benchmarks.limit import limit
from tinycnn import functional as F
from tinycnn import plotting


class Row(NamedTuple):
    """The measurements of one network."""

    net: str
    mode: str
    batch: int
    ours: float
    pytorch: float
    ratio: float
    lowest: float
    highest: float
    gflops: float
    share: float
    memory: float
    memory_pytorch: float


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


def measure(
    net: Net, mode: str, pair: tuple[Callable, Callable], peak: float, memory: tuple[float, float], options: Any
) -> Row:
    """Alternate the two sides; a side's rate in a round is over as many steps as fill the given time."""
    rates: tuple[list[float], list[float]] = ([], [])
    for step in pair:
        step()
    for _ in range(options.rounds):
        for step, rate in zip(pair, rates):
            time.sleep(0.02)  # the other side's threads spin for a while before they sleep
            start, steps = time.perf_counter(), 0
            while time.perf_counter() - start < options.seconds or not steps:
                step()
                steps += 1
            rate.append(net.batch * steps / (time.perf_counter() - start))
    ratios = [a / b for a, b in zip(*rates)]
    ours, theirs = (statistics.median(rate) for rate in rates)
    gflops = ours * work(net, mode) / 1e9
    ratio = statistics.median(ratios), min(ratios), max(ratios)
    return Row(net.name, mode, net.batch, ours, theirs, *ratio, gflops, gflops / peak, *memory)


def work(net: Net, mode: str) -> float:
    """Floating-point operations for an image: two for a multiply-add, three times as many in training."""
    model = getattr(tc.models, net.name)()
    return 2 * tc.summary(model, (3, net.size, net.size)).multiply_adds * (3 if mode == "train" else 1)


def run(options: argparse.Namespace) -> None:
    """Measure, print the table, write CSV and figure."""
    tc.set_num_threads(options.threads)
    torch.set_num_threads(options.threads)
    peak = limit(options.threads)
    rows = []
    for net in NETS:
        if net.name in options.nets:
            where = net.name, net.batch, net.size, options.threads
            memory = peak_memory(OURS, *where), peak_memory(PYTORCH, *where)
            for mode, pair in sides(net).items():
                rows.append(measure(net, mode, pair, peak, memory, options))
    print(f"\nimages a second, {options.threads} threads, numpy {np.__version__}, PyTorch {torch.__version__}, "
          f"limit {peak:.0f} GFLOP/s; MiB of a training process")  # fmt: skip
    print(f"{'net':15}{'mode':11}{'batch':>6}{'tinycnn':>10}{'PyTorch':>10}{'ratio':>8}{'range':>16}{'GFLOP/s':>10}"
          f"{'share':>8}{'MiB':>7}{'PyTorch':>9}")  # fmt: skip
    for row in rows:
        print(
            f"{row.net:15}{row.mode:11}{row.batch:6}{row.ours:10.1f}{row.pytorch:10.1f}{row.ratio:8.2f}"
            f"{row.lowest:8.2f} to {row.highest:.2f}{row.gflops:10.0f}{row.share:8.0%}{row.memory:7.0f}"
            f"{row.memory_pytorch:9.0f}"
        )
    write_csv(options.out / "speed.csv", rows)
    _figure(rows, options)


def _figure(rows: list[Row], options: argparse.Namespace) -> None:
    figure, axes = plotting.panels(8, 3.8)
    names = list(dict.fromkeys(row.net for row in rows))
    for shift, mode, series in ((-0.2, "train", 0), (0.2, "inference", 1)):
        chosen = [row for row in rows if row.mode == mode]
        places = [names.index(row.net) + shift for row in chosen]
        errors = [[r.ratio - r.lowest for r in chosen], [r.highest - r.ratio for r in chosen]]
        colour = plotting.SERIES[series][0]
        hatch = "//" if series else None
        axes.bar(places, [r.ratio for r in chosen], 0.38, yerr=errors, label=mode, color=colour, capsize=3, hatch=hatch,
                 edgecolor="white")  # fmt: skip
    axes.axhline(1, color="#333333", linewidth=1, linestyle="--")
    axes.set_xticks(range(len(names)), names)
    axes.set_ylabel("images/s over PyTorch's")
    axes.set_title(f"Speed beside PyTorch on the same {options.threads} threads (1 = equal, higher is faster)")
    axes.legend()
    path = options.out / "speed.png"
    plotting.save(figure, path)
    print(f"written: {path}")
