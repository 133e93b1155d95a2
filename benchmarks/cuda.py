"""``python -m benchmarks.cuda``: a GPU's limits, each kernel's share of them, and five networks beside PyTorch.

The limits are measured in the same run: bytes a second of a copy, and float32 operations a second of cuBLAS's matrix
product, both of large arrays. A kernel's share is what it would take at the limit over what it takes, where it is
counted to read and write each array once. A launch takes the host some time, whatever the GPU then has to do.
Networks train with SGD in float32, PyTorch's with TF32 off and eager, and both sides start from the same weights; ours
once with matrix products in Numba, once with cuBLAS.
"""

from __future__ import annotations

import argparse
import statistics
import time
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

import tinycnn as tc
from benchmarks import Net, write_csv
from tinycnn import functional as F
from tinycnn.errors import DeviceError
from tinycnn.kernels import for_device
from tinycnn.kernels.cuda.requirements import require
from tinycnn.kernels.geometry import ConvShape, PoolShape

NETS = (
    Net("alexnet", 64, 224),
    Net("vgg16", 64, 224),
    Net("resnet18", 64, 224),
    Net("squeezenet1_1", 64, 224),
    Net("resnet20", 512, 32),
)
ALGORITHMS = ("registers", "cublas")


class KernelRow(NamedTuple):
    """One kernel: milliseconds, and its share of the limit, of memory or of arithmetic."""

    kernel: str
    milliseconds: float
    rate: float
    unit: str
    share: float


class LaunchRow(NamedTuple):
    """The host's cost of starting some work on the GPU."""

    what: str
    microseconds: float


class NetRow(NamedTuple):
    """One network: images a second in training."""

    net: str
    batch: int
    registers: float
    cublas: float
    pytorch: float
    ratio_registers: float
    ratio_cublas: float


def seconds(step: Callable[[], Any], rounds: int, least: float = 0.2) -> float:
    """Return the median time of a step over some rounds of at least ``least`` seconds each, waiting for the GPU."""
    from tinycnn.kernels.cuda.machine.target import synchronize

    step()
    times = []
    for _ in range(rounds):
        synchronize()
        start, steps = time.perf_counter(), 0
        while time.perf_counter() - start < least or not steps:
            step()
            steps += 1
            if steps % 8 == 0:  # so that the queue of launches stays short
                synchronize()
        synchronize()
        times.append((time.perf_counter() - start) / steps)
    return statistics.median(times)


def kernel_rows(side: int, images: int, rounds: int) -> Iterator[KernelRow]:
    """Return the limits first, then kernels: matrices of ``side``, maps (images, 64, 56, 56) or as many pixels as
    fit.
    """
    from tinycnn.kernels.cuda import gemm
    from tinycnn.kernels.cuda.array import from_host

    k = for_device("cuda")
    rng = np.random.default_rng(0)
    edge = min(56, side)
    x = from_host(rng.normal(size=(images, min(64, side), edge, edge)).astype(np.float32))
    a, b = (from_host(rng.normal(size=(side, side)).astype(np.float32)) for _ in range(2))

    def products(algorithm: str) -> float:
        with gemm.matmul_algorithm(algorithm):
            return 2 * side**3 / seconds(lambda: k.matmul(a, b), rounds)

    copy, product = 2 * x.nbytes / seconds(x.copy, rounds), products("cublas")
    yield KernelRow("copy", 2e3 * x.nbytes / copy, copy / 1e9, "GB/s", 1.0)
    yield KernelRow("matmul, cublas", 2e3 * side**3 / product, product / 1e9, "GFLOP/s", 1.0)
    for algorithm in ("registers", "tiled", "naive"):
        rate = products(algorithm)
        yield KernelRow(f"matmul, {algorithm}", 2e3 * side**3 / rate, rate / 1e9, "GFLOP/s", rate / product)

    flat = x.reshape(images, x.shape[1], edge * edge)
    mean, var = k.batch_norm_statistics(flat)
    pool, conv = PoolShape.of(x.shape, 2), ConvShape.of(x.shape, (x.shape[1], x.shape[1], 3, 3), padding=1)
    pooled, taken = k.max_pool2d(x, pool)
    columns = k.im2col(x, conv)
    out = k.relu(x)
    size = x.nbytes
    moved: dict[str, tuple[Callable[[], Any], int]] = {
        "add": (lambda: k.add(x, out), 3 * size),
        "multiply, broadcast": (lambda: x * mean.reshape(-1, 1, 1), 2 * size),
        "relu": (lambda: k.relu(x), 2 * size),
        "relu, backward": (lambda: k.relu_backward(x, out), 3 * size),
        "sum of all": (x.sum, size),
        "dropout": (lambda: k.dropout(x, 0.5, 1, 2), 2 * size),
        "batch norm, statistics": (lambda: k.batch_norm_statistics(flat), size),
        "batch norm": (lambda: k.batch_norm(flat, mean, var, mean, var), 2 * size),
        "batch norm, backward": (lambda: k.batch_norm_backward(flat, flat, mean, var, mean), 5 * size),
        "max pool 2x2": (lambda: k.max_pool2d(x, pool), size + pooled.nbytes),
        "max pool 2x2, backward": (
            lambda: k.max_pool2d_backward(pooled, taken, pool),
            size + pooled.nbytes,
        ),
        "im2col 3x3": (lambda: k.im2col(x, conv), size + columns.nbytes),
        "col2im 3x3": (lambda: k.col2im(columns, conv), size + columns.nbytes),
        "softmax": (lambda: k.softmax(a, 1), 2 * a.nbytes),
    }
    for name, (step, count) in moved.items():
        taken_seconds = seconds(step, rounds)
        yield KernelRow(name, 1e3 * taken_seconds, count / taken_seconds / 1e9, "GB/s", count / taken_seconds / copy)


def launch_rows(rounds: int, steps: int = 200) -> Iterator[LaunchRow]:
    """Return the host's cost of work on arrays so small that the GPU is never waited for."""
    from numba.core.errors import NumbaPerformanceWarning

    from tinycnn.kernels.cuda.activation import relu_kernel
    from tinycnn.kernels.cuda.array import from_host
    from tinycnn.kernels.cuda.machine.launch import launch
    from tinycnn.kernels.cuda.machine.target import THREADS, synchronize

    k = for_device("cuda")
    x, out = (from_host(np.zeros((8, 8), np.float32)) for _ in range(2))
    flat, flat_out = x.reshape(-1), out.reshape(-1)
    ways = {
        "launch": lambda: launch(relu_kernel, x.size, flat, flat_out),
        "launch by Numba's dispatcher": lambda: relu_kernel[1, THREADS](flat.raw, flat_out.raw),
        "relu, with its output": lambda: k.relu(x),
    }
    # Numba's own launch warns of a small grid: the array is small.
    warnings.filterwarnings("ignore", category=NumbaPerformanceWarning)
    for what, way in ways.items():
        way()
        times = []
        for _ in range(rounds):
            synchronize()
            start = time.perf_counter()
            for _ in range(steps):
                way()
            times.append((time.perf_counter() - start) / steps)
        synchronize()
        yield LaunchRow(what, 1e6 * statistics.median(times))


def net_row(net: Net, rounds: int) -> NetRow:
    """Train one network on both sides."""
    import torch
    from torch.nn import functional as TF

    from benchmarks import torch_nets
    from tinycnn.kernels.cuda.gemm import matmul_algorithm

    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = False
    tc.manual_seed(0)
    ours, theirs = getattr(tc.models, net.name)(), getattr(torch_nets, net.name)()
    theirs.load_state_dict({name: torch.tensor(array) for name, array in ours.state_dict().items()})
    rng = np.random.default_rng(0)
    images = rng.normal(size=(net.batch, 3, net.size, net.size)).astype(np.float32)
    labels = rng.integers(10, size=net.batch)
    options = {"lr": 1e-3, "momentum": 0.9, "weight_decay": 1e-4}

    their_images, their_labels, theirs = torch.tensor(images).cuda(), torch.tensor(labels).cuda(), theirs.cuda()
    their_optimizer = torch.optim.SGD(theirs.parameters(), **options)

    def train_theirs() -> None:
        their_optimizer.zero_grad()
        TF.cross_entropy(theirs.forward(their_images), their_labels).backward()
        their_optimizer.step()

    def time_theirs() -> float:
        train_theirs()
        times = []
        for _ in range(rounds):
            torch.cuda.synchronize()
            start = time.perf_counter()
            for _ in range(8):
                train_theirs()
            torch.cuda.synchronize()
            times.append((time.perf_counter() - start) / 8)
        return statistics.median(times)

    pytorch = net.batch / time_theirs()
    ours.to("cuda")
    tensor = tc.Tensor(images).to("cuda")
    optimizer = tc.optim.SGD(ours.parameters(), **options)

    def train_ours() -> None:
        optimizer.zero_grad()
        F.cross_entropy(ours(tensor), labels).backward()
        optimizer.step()

    rates = []
    for algorithm in ALGORITHMS:
        with matmul_algorithm(algorithm):
            rates.append(net.batch / seconds(train_ours, rounds))
    return NetRow(net.name, net.batch, *rates, pytorch, rates[0] / pytorch, rates[1] / pytorch)


def _pytorch_has_a_gpu() -> bool:
    try:
        import torch
    except ImportError:
        return False
    return torch.cuda.is_available()


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.cuda", description=__doc__.splitlines()[0])
    names = [net.name for net in NETS]
    parser.add_argument("--nets", nargs="*", choices=names, default=names, help="networks (default: all)")
    parser.add_argument("--side", type=int, default=4096, help="of the square matrices (default 4096)")
    parser.add_argument("--images", type=int, default=256, help="of 64 maps of 56x56 (default 256)")
    parser.add_argument("--rounds", type=int, default=5, help="of which the median is taken (default 5)")
    parser.add_argument("--out", type=Path, default=Path("runs/benchmarks"), help="folder for CSV files")
    options = parser.parse_args()
    try:
        require()
    except DeviceError as error:
        parser.exit(1, f"{error}\n")
    rows = []
    print(f"{'kernel':26}{'ms':>10}{'':>10}{'':9}{'of the limit':>14}")
    for row in kernel_rows(options.side, options.images, options.rounds):
        rows.append(row)
        print(f"{row.kernel:26}{row.milliseconds:10.3f}{row.rate:10.0f} {row.unit:8}{row.share:14.0%}", flush=True)
    write_csv(options.out / "cuda_kernels.csv", rows)
    launches = list(launch_rows(options.rounds))
    print("\nmicroseconds of the host")
    for launch in launches:
        print(f"{launch.what:30}{launch.microseconds:8.1f}")
    write_csv(options.out / "cuda_launches.csv", launches)
    if not options.nets:
        return
    if not _pytorch_has_a_gpu():
        parser.exit(
            1, "networks are measured beside PyTorch, and there is none that finds a GPU; --nets leaves them out\n"
        )
    nets = []
    print("\nimages a second in training, float32; ratios to PyTorch")
    print(f"{'net':15}{'batch':>6}{'registers':>11}{'cublas':>9}{'PyTorch':>9}{'ratio':>8}{'ratio':>7}")
    for net in (net for net in NETS if net.name in options.nets):
        nets.append(net_row(net, options.rounds))
        row = nets[-1]
        print(f"{row.net:15}{row.batch:6}{row.registers:11.0f}{row.cublas:9.0f}{row.pytorch:9.0f}"
              f"{row.ratio_registers:8.2f}{row.ratio_cublas:7.2f}", flush=True)  # fmt: skip
    write_csv(options.out / "cuda_nets.csv", nets)


if __name__ == "__main__":
    main()
