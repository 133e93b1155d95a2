"""Time layers and operations with other values of a constant of ``machine/tuning.py``.

``python -m benchmarks.tuning STRIP_BYTES 98304 196608 393216`` prints a column for each value: milliseconds of forward
and backward pass, the median of alternating rounds. Each value has processes of its own, which compile their kernels
with it into a folder of its own.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

import tinycnn as tc
from tinycnn import functional as F
from tinycnn.kernels.cpu.machine import tuning


def _batch_norm(x: tc.Tensor, weight: tc.Tensor, bias: tc.Tensor) -> tc.Tensor:
    mean, var = np.zeros(bias.shape, np.float32), np.ones(bias.shape, np.float32)
    return F.batch_norm(x, mean, var, weight, bias, True)


CASES: dict[str, tuple] = {  # a function, and the shapes of its arguments
    "relu 16x64x32x32": (F.relu, (16, 64, 32, 32)),
    "batch norm 16x64x32x32": (_batch_norm, (16, 64, 32, 32), (64,), (64,)),
    "dropout 128x4096": (lambda x: F.dropout(x, 0.5, True), (128, 4096)),
    "linear 16x9216 to 4096": (F.linear, (16, 9216), (4096, 9216)),
    "matmul 512x512x512": (lambda a, b: a @ b, (512, 512), (512, 512)),
    "conv 3 to 64, 7x7/2, 4x224x224": (lambda x, w: F.conv2d(x, w, None, 2, 3), (4, 3, 224, 224), (64, 3, 7, 7)),
    "conv 64 to 128, 3x3/2, 8x56x56": (lambda x, w: F.conv2d(x, w, None, 2, 1), (8, 64, 56, 56), (128, 64, 3, 3)),
    "conv 128 to 16, 1x1, 16x55x55": (F.conv2d, (16, 128, 55, 55), (16, 128, 1, 1)),
    "conv 16 to 16, 3x3, 128x32x32": (lambda x, w: F.conv2d(x, w, None, 1, 1), (128, 16, 32, 32), (16, 16, 3, 3)),
    "conv 64 to 64, 3x3, 8x56x56": (lambda x, w: F.conv2d(x, w, None, 1, 1), (8, 64, 56, 56), (64, 64, 3, 3)),
    "conv 512 to 512, 3x3, 4x14x14": (lambda x, w: F.conv2d(x, w, None, 1, 1), (4, 512, 14, 14), (512, 512, 3, 3)),
    "conv 512 to 512, 3x3, 8x7x7": (lambda x, w: F.conv2d(x, w, None, 1, 1), (8, 512, 7, 7), (512, 512, 3, 3)),
}


def main() -> None:
    """Compare values of one constant."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.tuning", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("name", choices=sorted(name for name in vars(tuning) if name.isupper()), metavar="NAME")
    parser.add_argument("values", type=int, nargs="+", metavar="VALUE")
    parser.add_argument("--rounds", type=int, default=5, help="alternating rounds (default 5)")
    parser.add_argument("--only", default="", help="cases whose name holds this text")
    options = parser.parse_args()
    cases = [case for case in CASES if options.only in case]
    times: dict[str, list[list[float]]] = {case: [[] for _ in options.values] for case in cases}
    with tempfile.TemporaryDirectory() as folder:
        for _ in range(options.rounds):
            for column, value in enumerate(options.values):
                for case, seconds in _measured(options.name, value, cases, Path(folder)).items():
                    times[case][column].append(seconds)
    print(f"{options.name:40}", *(f"{value:>12}" for value in options.values))
    for case in cases:
        print(f"{case:40}", *(f"{1e3 * statistics.median(column):12.3f}" for column in times[case]))


def _measured(name: str, value: int, cases: list[str], folder: Path) -> dict[str, float]:
    """Return the seconds of each case in a new process."""
    code = f"from benchmarks import tuning; tuning.child({name!r}, {value}, {cases!r})"
    env = {**os.environ, "NUMBA_CACHE_DIR": str(folder / str(value))}
    return json.loads(subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, env=env).stdout)


def child(name: str, value: int, cases: list[str]) -> None:
    """Set the constant before a kernel is imported; print the shortest time of each case as JSON."""
    for module in [module for key, module in sys.modules.items() if key.startswith("tinycnn.kernels.cpu.")]:
        if hasattr(module, name):
            setattr(module, name, value)
    print(json.dumps({case: _shortest(*CASES[case]) for case in cases}))


def _shortest(function: Callable, *shapes: tuple[int, ...], seconds: float = 0.5) -> float:
    rng = np.random.default_rng(0)
    inputs = [tc.Tensor(rng.standard_normal(shape, np.float32), requires_grad=True) for shape in shapes]
    grad = tc.Tensor(np.ones(function(*inputs).shape, np.float32))
    best, stop = np.inf, 0.0
    while not stop or time.perf_counter() < stop:
        stop = stop or time.perf_counter() + seconds
        start = time.perf_counter()
        function(*inputs).backward(grad)
        best = min(best, time.perf_counter() - start)
    return float(best)


if __name__ == "__main__":
    main()
