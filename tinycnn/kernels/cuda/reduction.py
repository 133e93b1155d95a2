"""Sums, largest and smallest elements along dimensions: a block of threads, or where few are joined a thread, for each.

Each thread goes through every THREADS-th of the elements, then the block joins the threads' results in a tree in shared
memory: the order of additions is fixed, and the rounding error of a sum grows with the logarithm of its length.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from tinycnn.kernels.cuda.machine.device_array import DeviceArray, contiguous, empty, operation
from tinycnn.kernels.cuda.machine.launch import device_function, kernel, launch, launch_grid
from tinycnn.kernels.cuda.machine.target import SIMULATED, cuda, num_sms

THREADS = 4 if SIMULATED else 256
BLOCKS = 2**16
CHUNK = 8 if SIMULATED else 2**14
SHORT = 3 if SIMULATED else 32


@operation
def reduce(function: np.ufunc, x: DeviceArray, axis: Any = None, keepdims: bool = False) -> DeviceArray:
    """The sum (np.add), largest (np.maximum) or smallest element (np.minimum) along some dimensions, None for all.

    Integers and booleans add up as int64.
    """
    if function is np.add and x.dtype.kind in "bu":
        x = x.astype(np.int64)
    rows, shape = _rows(x, axis, keepdims)
    out = empty(shape, x.dtype)
    if not rows.shape[1]:
        if function is not np.add:
            raise ValueError("zero-size array to reduction operation, which has no identity")
        out.fill(0)
    elif out.size:
        _join(*REDUCTIONS[function], rows, out.reshape(-1))
    return out


def _join(by_blocks: Any, by_threads: Any, rows: DeviceArray, out: DeviceArray) -> None:
    """Join each row. A few long rows are cut into chunks, so that there is a block for every processor."""
    count, length = rows.shape
    if length <= SHORT:
        launch(by_threads, count, rows, out)
        return
    chunk = length if count >= 4 * num_sms() else CHUNK
    parts = -(-length // chunk)
    target = out if parts == 1 else empty((count * parts,), out.dtype)
    launch_grid(by_blocks, min(target.size, BLOCKS), THREADS, rows, chunk, target)
    if parts > 1:
        _join(by_blocks, by_threads, target.reshape(count, parts), out)


@operation
def argmax(x: DeviceArray, axis: int | None = None, keepdims: bool = False) -> DeviceArray:
    """Return the index of the largest along a dimension (None: flattened), of the first if several; NaN is largest."""
    rows, shape = _rows(x, axis, keepdims)
    out = empty(shape, np.int64)
    if not rows.shape[1]:
        raise ValueError("attempt to get argmax of an empty sequence")
    if out.size:
        launch_grid(argmax_kernel, min(out.size, BLOCKS), THREADS, rows, out.reshape(-1))
    return out


def _rows(x: DeviceArray, axis: Any, keepdims: bool) -> tuple[DeviceArray, tuple[int, ...]]:
    """The array as a matrix with a row for each output element, and the output's shape."""
    gone = range(x.ndim) if axis is None else sorted({int(a) % x.ndim for a in np.atleast_1d(axis)})
    kept = [a for a in range(x.ndim) if a not in gone]
    shape = tuple(1 if a in gone else n for a, n in enumerate(x.shape) if keepdims or a not in gone)
    count, length = (int(np.prod([x.shape[a] for a in axes], dtype=np.int64)) for axes in (kept, gone))
    return contiguous(x.transpose(*kept, *gone) if x.ndim else x).reshape(count, length), shape


# -- kernels -----------------------------------------------------------------------------------------------------------


def _reduction(join: Callable) -> tuple[Any, Any]:
    """The kernels for long rows (block = chunk of a row) and for short ones (thread = row).

    ``join`` makes one of two partial results.
    """
    join = device_function(join)

    @kernel
    def rows_kernel(rows, chunk, out):
        partial = cuda.shared.array(THREADS, rows.dtype)
        thread = cuda.threadIdx.x
        parts = (rows.shape[1] + chunk - 1) // chunk
        for part in range(cuda.blockIdx.x, out.size, cuda.gridDim.x):
            row, start = part // parts, part % parts * chunk
            stop = min(rows.shape[1], start + chunk)
            active = min(THREADS, stop - start)
            if thread < active:
                value = rows[row, start + thread]
                for i in range(start + thread + THREADS, stop, THREADS):
                    value = join(value, rows[row, i])
                partial[thread] = value
            cuda.syncthreads()
            step = THREADS // 2
            while step:
                if thread < step and thread + step < active:
                    partial[thread] = join(partial[thread], partial[thread + step])
                cuda.syncthreads()
                step //= 2
            if thread == 0:
                out[part] = partial[0]
            cuda.syncthreads()

    @kernel
    def short_rows_kernel(rows, out):
        for row in range(cuda.grid(1), out.size, cuda.gridsize(1)):
            value = rows[row, 0]
            for i in range(1, rows.shape[1]):
                value = join(value, rows[row, i])
            out[row] = value

    return rows_kernel, short_rows_kernel


REDUCTIONS: dict[np.ufunc, tuple[Any, Any]] = {
    np.add: _reduction(lambda a, b: a + b),
    np.maximum: _reduction(lambda a, b: a if a >= b or a != a else b),
    np.minimum: _reduction(lambda a, b: a if a <= b or a != a else b),
}


@device_function
def beats(a, i, b, j):
    """Return True if a at i goes before b at j: it is larger, or NaN, or an equal one that comes earlier."""
    if a != a or b != b:
        return a != a and (b == b or i < j)
    return a > b or (a == b and i < j)


@kernel
def argmax_kernel(rows, out):
    """Block = row; a tree over pairs (value, index)."""
    values = cuda.shared.array(THREADS, rows.dtype)
    indices = cuda.shared.array(THREADS, np.int64)
    thread = cuda.threadIdx.x
    length = rows.shape[1]
    active = min(THREADS, length)
    for row in range(cuda.blockIdx.x, out.size, cuda.gridDim.x):
        if thread < active:
            best = thread
            for i in range(thread + THREADS, length, THREADS):
                if beats(rows[row, i], i, rows[row, best], best):
                    best = i
            values[thread] = rows[row, best]
            indices[thread] = best
        cuda.syncthreads()
        step = THREADS // 2
        while step:
            other = thread + step
            if (
                thread < step
                and other < active
                and beats(values[other], indices[other], values[thread], indices[thread])
            ):
                values[thread] = values[other]
                indices[thread] = indices[other]
            cuda.syncthreads()
            step //= 2
        if thread == 0:
            out[row] = indices[0]
        cuda.syncthreads()
