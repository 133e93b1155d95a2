"""Bytes and seconds of data-parallel training: ``python -m benchmarks.communication``.

The four networks at their published size take steps in 2 and 4 processes on this machine, over our own ring and, where
there is one, over MPI. For each: the bytes that a rank sends beside the ring formula 2 (N - 1) / N x bytes; seconds of
computing alone, of the gradients' all-reduces alone, and of a step that does both at once; and the prediction of the
simulator (``tinycnn.distributed.step_time``) for that step from computing alone and from all-reduces of other sizes.
Then the same simulator for up to 1,024 nodes on a network of a given bandwidth and latency.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

import tinycnn as tc
from benchmarks import write_csv
from tinycnn import distributed, plotting
from tinycnn import functional as F
from tinycnn.distributed import Communicator, GradientSum, Link, Work, gather, ring_bytes, step_time
from tinycnn.distributed.mpi import find_mpiexec

NETS = {"alexnet_2012": "AlexNet", "vgg16": "VGG-16", "resnet50": "ResNet-50", "squeezenet1_0": "SqueezeNet"}


class Row(NamedTuple):
    """The measurements of one network, number of ranks and transport; bytes and seconds of a step."""

    over: str
    ranks: int
    net: str
    gradient_bytes: int
    formula_bytes: float
    sent_bytes: float
    forward: float
    backward: float
    allreduce: float
    step: float
    predicted: float


class Planned(NamedTuple):
    """Seconds of a step of a network on a number of nodes."""

    net: str
    nodes: int
    step: float


# -- in the ranks ------------------------------------------------------------------------------------------------------


def measure(communicator: Communicator, over: str, nets: list[str], images: int, steps: int) -> list[Row]:
    """Return all rows of one transport and number of ranks."""
    link = calibrate(communicator, steps) if communicator.size > 1 else Link(np.inf, 0.0)
    return [measure_net(communicator, over, net, images, steps, link) for net in nets]


def calibrate(communicator: Communicator, steps: int) -> Link:
    """Return latency from all-reduces of 4 kB, bandwidth and the processors' share from those of 128 MB."""
    size, turns = communicator.size, 2 * (communicator.size - 1)
    short, long = np.zeros(1000, np.float32), np.zeros(32_000_000, np.float32)
    latency = timed(communicator, 50, lambda: communicator.allreduce(short).wait()) / turns
    used: list[float] = []

    def one() -> None:
        before = time.process_time()
        communicator.allreduce(long).wait()
        used.append(time.process_time() - before)

    seconds = timed(communicator, steps, one)
    share = gather(communicator, np.array(min(used))).sum() / (seconds * (os.cpu_count() or 1))
    return Link(ring_bytes(size, long.nbytes) / (seconds - turns * latency), latency, min(1.0, float(share)))


def timed(communicator: Communicator, repeats: int, action: Callable[[], Any]) -> float:
    """Return the seconds until the last rank has finished, the least of several times: other work only adds."""
    seconds = []
    for _ in range(repeats):
        communicator.barrier()
        begin = time.perf_counter()
        action()
        seconds.append(gather(communicator, np.array(time.perf_counter() - begin)).max())
    return float(min(seconds))


def measure_net(communicator: Communicator, over: str, name: str, images: int, steps: int, link: Link) -> Row:
    """Return one row: computing, communicating, and both at once."""
    tc.manual_seed(0)
    net = tc.models.build(name)
    rng = np.random.default_rng(communicator.rank)
    batch = tc.Tensor(rng.normal(size=(images, 3, 224, 224)).astype(np.float32))
    labels = rng.integers(1000, size=images)
    loss: list[tc.Tensor] = []

    def forward() -> None:
        net.zero_grad()
        loss[:] = [F.cross_entropy(net(batch), labels)]

    def backward() -> None:
        loss[0].backward(1 / communicator.size)

    def step() -> None:
        forward()
        backward()
        gradients.finish()

    def communicate() -> None:
        for request in [communicator.allreduce(bucket.array) for bucket in gradients.buckets]:
            request.wait()

    forward(), backward()
    computing = [(timed(communicator, 1, forward), timed(communicator, 1, backward)) for _ in range(steps)]
    with GradientSum(net.parameters(), communicator) as gradients:
        step()
        together = timed(communicator, steps, step)
        alone = timed(communicator, steps, communicate)
        sent = getattr(communicator, "sent", np.nan)
        communicate()
        sent = getattr(communicator, "sent", np.nan) - sent
    ahead, back = (min(part) for part in zip(*computing))
    nbytes = sum(parameter.data.nbytes for parameter in net.parameters())
    predicted = step_time(Work.of(tc.summary(net), ahead, back), communicator.size, link)
    formula = ring_bytes(communicator.size, nbytes)
    return Row(over, communicator.size, name, nbytes, formula, sent, ahead, back, alone, together, predicted)


# -- starting them -----------------------------------------------------------------------------------------------------


def over_mpi(ranks: int, *options: Any) -> list[Row]:
    """Return the rows of ranks that mpiexec starts, or none without MPI."""
    mpiexec = find_mpiexec()
    if mpiexec is None:
        return []
    with tempfile.TemporaryDirectory() as place:
        path = Path(place) / "rows.json"
        command = [mpiexec, "-n", str(ranks), sys.executable, "-m", "benchmarks.communication", "--as-rank", str(path)]
        subprocess.run([*command, json.dumps(options)], check=True)
        return [Row(*row) for row in json.loads(path.read_text())]


def as_rank(path: Path, options: list[Any]) -> None:
    """Run a rank under mpiexec; rank 0 writes the rows."""
    communicator = distributed.world()
    rows = measure(communicator, *options)
    if communicator.rank == 0:
        path.write_text(json.dumps(rows))


def main() -> None:
    """Measure, print the tables, write CSV and figure."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.communication", description=__doc__)
    parser.add_argument("--nets", nargs="+", choices=NETS, default=list(NETS))
    parser.add_argument("--ranks", nargs="+", type=int, default=[2, 4])
    parser.add_argument("--images", type=int, default=2, help="images of each rank in a step (default 2)")
    parser.add_argument("--steps", type=int, default=5, help="measurements, of which the fastest counts (default 5)")
    parser.add_argument("--bandwidth", type=float, default=1.0, help="of the planned network, Gb/s (default 1)")
    parser.add_argument("--latency", type=float, default=50.0, help="of the planned network, microseconds (default 50)")
    parser.add_argument("--nodes", type=int, default=1024, help="largest number of nodes in the plan (default 1024)")
    parser.add_argument(
        "--out", type=Path, default=Path("runs/benchmarks"), help="folder for communication.csv and .png"
    )
    parser.add_argument("--as-rank", nargs=2, metavar=("PATH", "OPTIONS"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.as_rank:
        as_rank(Path(options.as_rank[0]), json.loads(options.as_rank[1]))
        return

    from benchmarks import communication  # by this name the processes find it

    print(f"{options.images} images of 224x224 a rank, {os.cpu_count()} processors", flush=True)
    task = options.nets, options.images, options.steps
    rows: list[Row] = []
    for ranks in options.ranks:
        show(distributed.run(communication.measure, ranks, "ring", *task)[0], rows)
        show(over_mpi(ranks, "MPI", *task), rows)
    single = measure(distributed.ALONE, "alone", *task)
    link = Link(options.bandwidth * 1e9 / 8, options.latency * 1e-6)
    plans = plan(single, link, options.nodes)
    report(rows, plans, options)


def show(new: list[Row], rows: list[Row]) -> None:
    """Print rows as they arrive."""
    if new and not rows:
        print("a step, for each rank        gradients   formula      sent   compute  all-reduce  together  predicted")
    for row in new:
        print(
            f"{row.over:5} {row.ranks} ranks {NETS[row.net]:11} {row.gradient_bytes / 1e6:8.1f} MB"
            f" {row.formula_bytes / 1e6:6.1f} MB {row.sent_bytes / 1e6:6.1f} MB"
            f" {row.forward + row.backward:7.2f} s {row.allreduce:9.3f} s {row.step:7.2f} s {row.predicted:8.2f} s",
            flush=True,
        )
    rows.extend(Row(*row) for row in new)


def plan(single: list[Row], link: Link, most: int) -> list[Planned]:
    """Return the steps of each network on 1, 2, 4, ... nodes like this machine."""
    counts = [2**power for power in range(most.bit_length()) if 2**power <= most]
    works = {row.net: Work.of(tc.summary(tc.models.build(row.net)), row.forward, row.backward) for row in single}
    return [Planned(net, nodes, step_time(work, nodes, link)) for net, work in works.items() for nodes in counts]


def report(rows: list[Row], plans: list[Planned], options: argparse.Namespace) -> None:
    """Write the plan as text, everything as CSV and as a figure."""
    shown = [planned for planned in plans if planned.nodes.bit_length() % 2]
    print(f"\nplanned: seconds of a step at {options.bandwidth:g} Gb/s, {options.latency:g} microseconds, by nodes")
    print(" " * 11 + "".join(f"{planned.nodes:9,}" for planned in shown if planned.net == plans[0].net))
    for net in options.nets:
        print(f"{NETS[net]:11}" + "".join(f"{planned.step:9.2f}" for planned in shown if planned.net == net))
    write_csv(options.out / "communication.csv", rows)
    write_csv(options.out / "communication_plan.csv", plans)
    plotting.save(figure(rows, plans, options), options.out / "communication.png")
    print(f"written: {options.out / 'communication.png'}")


def figure(rows: list[Row], plans: list[Planned], options: argparse.Namespace) -> Any:
    """Draw all-reduce against bytes, step predicted against measured, and the plan."""
    picture, (left, middle, right) = plotting.panels(13, 4, 3)
    groups = list(dict.fromkeys((row.over, row.ranks) for row in rows))
    for series, group in enumerate(groups):
        colour, line, marker = plotting.SERIES[series]
        chosen = sorted((row for row in rows if (row.over, row.ranks) == group), key=lambda row: row.gradient_bytes)
        label = f"{group[0]}, {group[1]} ranks"
        left.loglog([r.formula_bytes / 1e6 for r in chosen], [r.allreduce for r in chosen], marker + line, color=colour)
        middle.loglog([r.step for r in chosen], [r.predicted for r in chosen], marker, color=colour, label=label)
    left.set(
        xlabel="sent by each rank, ring formula (MB)", ylabel="all-reduces of a step (s)", title="Communication alone"
    )
    ends = [min(r.step for r in rows) / 1.5, max(r.step for r in rows) * 1.5]
    middle.plot(ends, ends, color="black", linewidth=1)
    middle.set(xlabel="step measured (s)", ylabel="step predicted (s)", title="Both at once")
    middle.legend(fontsize=8)
    for series, net in enumerate(options.nets):
        nodes, steps = zip(*((planned.nodes, planned.step) for planned in plans if planned.net == net))
        plotting.curve(right, nodes, steps, NETS[net], series)
    right.set_xscale("log", base=2)
    right.set_yscale("log")
    title = f"Planned: {options.bandwidth:g} Gb/s, {options.images} images a node"
    right.set(xlabel="nodes", ylabel="step (s)", title=title)
    right.legend(fontsize=8)
    return picture


if __name__ == "__main__":
    main()
