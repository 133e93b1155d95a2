"""The upper limit of this machine: the micro-kernel on numbers that never leave the first-level cache."""

from __future__ import annotations

import time

import numpy as np

import tinycnn as tc
from tinycnn.kernels.cpu.machine.parallel import parallel_for
from tinycnn.kernels.cpu.machine.simd import LANES, ROWS, correlate_tile

DEPTH, TIMES = 256, 2000


def _multiply(begin, end, a, a_offsets, segments, b, bias, c, c_offsets, times):
    for task in range(begin, end):
        for _ in range(times):
            correlate_tile(
                a[task], 0, a_offsets, 0, segments, 0, 1, DEPTH, b[task], 0, bias, 0, 0, c[task], 0, c_offsets, 0
            )


def limit(threads: int) -> float:
    """Return the most GFLOP/s in float32 that ``threads`` threads reached in 20 tries."""
    tc.set_num_threads(threads)
    multiply = parallel_for(_multiply)
    zeros = [np.zeros((threads, size), np.float32) for size in (ROWS * DEPTH + 2**14, DEPTH * LANES, ROWS * LANES)]
    a_offsets, c_offsets, segments = np.arange(ROWS) * DEPTH, np.arange(ROWS) * LANES, np.zeros(1, np.int64)
    best = np.inf
    for _ in range(20):
        start = time.perf_counter()
        multiply(
            threads, zeros[0], a_offsets, segments, zeros[1], np.zeros(LANES, np.float32), zeros[2], c_offsets, TIMES
        )
        best = min(best, time.perf_counter() - start)
    return 2 * DEPTH * ROWS * LANES * TIMES * threads / best / 1e9
