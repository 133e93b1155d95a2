"""The matrix product, blocked for the caches and tiled for the registers.

``C (M, N) = A (M, K) B (K, N)`` is cut into tasks of ``BLOCK_M x BLOCK_N`` of C, which threads take in turn. A task
goes along K in steps of ``BLOCK_K``. For each, it packs its blocks of A and of B into panels that the micro-kernel
reads from first to last::

    block of A -> panels of ROWS rows      [panel][k][row]
    block of B -> panels of LANES columns  [panel][k][column]

A product of few rows with a large matrix, as in a linear layer, is limited by reading the large matrix: it is read
once, without packing, and the few rows are the lanes of the vectors (:func:`_few_rows`). The gradient of that layer's
weight is limited by writing: a small K and a large C, which is written once, past the caches (:func:`_shallow`).

Block sizes depend on constants alone: the result has the same bits for any number of threads.
"""

from __future__ import annotations

import numpy as np

from tinycnn.kernels.cpu.machine.allocator import empty, zeros
from tinycnn.kernels.cpu.machine.nhwc import copy
from tinycnn.kernels.cpu.machine.parallel import as_contiguous, helper, parallel_for
from tinycnn.kernels.cpu.machine.scratch import workspace
from tinycnn.kernels.cpu.machine.settings import get_num_threads
from tinycnn.kernels.cpu.machine.simd import LANES, ROWS, correlate_tile, outer_tile, stream_end, stream_tile
from tinycnn.kernels.cpu.machine.tuning import (
    BLOCK_K,
    FEW_ROW_PANELS,
    FEW_ROWS_STRIP_TILES,
    MATMUL_COLUMNS,
    MATMUL_ROW_TILES,
    SHALLOW_K_PANELS,
    STREAMED_BYTES,
)

BLOCK_M, BLOCK_N = MATMUL_ROW_TILES * ROWS, MATMUL_COLUMNS
FEW = FEW_ROW_PANELS * LANES
SHALLOW = SHALLOW_K_PANELS * LANES
STRIP = FEW_ROWS_STRIP_TILES * ROWS


def _pack(source, depth_first, first, lines, start, depth, width, panels):
    """Copy ``lines`` rows (``depth_first``: columns) of a matrix into panels of ``width``, padded with zeros."""
    for panel in range(-(-lines // width)):
        offset, line = panel * depth * width, first + panel * width
        count = min(width, lines - panel * width)
        if count < width:
            panels[offset : offset + depth * width] = 0
        if depth_first:
            for k in range(depth):
                copy(source[start + k, line : line + count], panels[offset + k * width : offset + k * width + count])
        else:
            for i in range(count):
                row, target = source[line + i, start : start + depth], panels[offset + i : offset + depth * width]
                for k in range(row.size):
                    target[k * width] = row[k]


pack = helper(_pack)


def _multiply_panels(a, rows, b, columns, depth, c, c_start, c_step, corner):
    """Add the product of packed panels to a rectangle of C (flat, ``c_step`` from row to row)."""
    for jp in range(-(-columns // LANES)):
        width = min(LANES, columns - jp * LANES)
        for ip in range(-(-rows // ROWS)):
            height = min(ROWS, rows - ip * ROWS)
            target = c_start + ip * ROWS * c_step + jp * LANES
            if height == ROWS and width == LANES:
                outer_tile(a, ip * depth * ROWS, 0, ROWS, b, jp * depth * LANES, 0, LANES, 1, depth, c, target, c_step)
            else:
                corner[: ROWS * LANES] = 0
                outer_tile(a, ip * depth * ROWS, 0, ROWS, b, jp * depth * LANES, 0, LANES, 1, depth, corner, 0, LANES)
                for i in range(height):
                    for j in range(width):
                        c[target + i * c_step + j] += corner[i * LANES + j]


multiply_panels = helper(_multiply_panels)


def _matmul(thread_id, begin, end, a, a_flipped, b, b_flipped, depth, rows, columns, space, out):
    """A task is a block of C."""
    blocks_n = -(-columns // BLOCK_N)
    a_panels = space[thread_id, : BLOCK_M * BLOCK_K]
    b_panels = space[thread_id, BLOCK_M * BLOCK_K : (BLOCK_M + BLOCK_N) * BLOCK_K]
    corner = space[thread_id, (BLOCK_M + BLOCK_N) * BLOCK_K :]
    for task in range(begin, end):
        top, left = (task // blocks_n) * BLOCK_M, (task % blocks_n) * BLOCK_N
        height, width = min(BLOCK_M, rows - top), min(BLOCK_N, columns - left)
        for i in range(top, top + height):
            out[i * columns + left : i * columns + left + width] = 0
        for start in range(0, depth, BLOCK_K):
            k = min(BLOCK_K, depth - start)
            pack(a, a_flipped, top, height, start, k, ROWS, a_panels)
            pack(b, not b_flipped, left, width, start, k, LANES, b_panels)
            multiply_panels(a_panels, height, b_panels, width, k, out, top * columns + left, columns, corner)


matmul_loop = parallel_for(_matmul, per_thread="space")


def matmul(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Read transposed views in place; copy other strided views first.

    >>> matmul(np.array([[1.0, 2.0]]), np.array([[3.0], [4.0]]))
    array([[11.]])
    """
    dtype = np.result_type(a, b)
    (a, a_flipped), (b, b_flipped) = _unflip(a, dtype), _unflip(b, dtype)
    rows, columns = a.shape[a_flipped], b.shape[1 - b_flipped]
    if 0 < rows <= FEW and columns >= FEW and a.size:
        return _few_rows(a.T if a_flipped else a, b, b_flipped)
    out = empty((rows, columns), dtype)
    depth = a.shape[0] if a_flipped else a.shape[1]
    if 0 < depth <= SHALLOW and out.nbytes >= STREAMED_BYTES and not columns % LANES and rows >= ROWS:
        _shallow(a, a_flipped, b, b_flipped, depth, out)
        return out
    space = workspace("matmul", get_num_threads(), (BLOCK_M + BLOCK_N) * BLOCK_K + ROWS * LANES, dtype)
    tasks = -(-rows // BLOCK_M) * -(-columns // BLOCK_N)
    matmul_loop(tasks, a, a_flipped, b, b_flipped, depth, *out.shape, space, out.reshape(-1))
    return out


def _shallow(a: np.ndarray, a_flipped: bool, b: np.ndarray, b_flipped: bool, depth: int, out: np.ndarray) -> None:
    """Multiply with a small K and a large C, as in the gradient of a linear layer: C is written past the caches."""
    rows, columns = out.shape
    panels = empty((columns // LANES * depth * LANES,), out.dtype)
    pack_loop(columns // LANES, b, not b_flipped, depth, panels)
    shallow_loop(-(-rows // ROWS), a, a_flipped, panels, depth, rows, columns, out.reshape(-1))


def _pack_panels(begin, end, b, depth_first, depth, panels):
    for panel in range(begin, end):
        offset = panel * depth * LANES
        pack(b, depth_first, panel * LANES, LANES, 0, depth, LANES, panels[offset : offset + depth * LANES])


pack_loop = parallel_for(_pack_panels)


def _shallow_rows(begin, end, a, a_flipped, panels, depth, rows, columns, out):
    lines = np.empty(ROWS * depth, out.dtype)
    for strip in range(begin, end):
        row = min(strip * ROWS, rows - ROWS)
        pack(a, a_flipped, row, ROWS, 0, depth, ROWS, lines)
        for panel in range(columns // LANES):
            target = row * columns + panel * LANES
            stream_tile(lines, 0, panels, panel * depth * LANES, depth, out, target, columns)
    stream_end()


shallow_loop = parallel_for(_shallow_rows)


def _few_rows(a: np.ndarray, b: np.ndarray, b_flipped: bool) -> np.ndarray:
    """Multiply A (M, K) with B (K, N), or with B^T (N, K), for a small M: out^T is computed in strips of N."""
    (rows, depth), columns = a.shape, b.shape[1 - b_flipped]
    panels = zeros((-(-rows // LANES), depth, LANES), a.dtype)
    for panel, lines in enumerate(panels):
        lines[:, : min(LANES, rows - panel * LANES)] = a[panel * LANES : (panel + 1) * LANES].T
    out = zeros((-(-columns // ROWS) * ROWS, len(panels) * LANES), a.dtype)
    few_rows_loop(-(-columns // STRIP), b.reshape(-1), b_flipped, columns, panels, out)
    return out[:columns, :rows].T.copy()


def _few_rows_strips(begin, end, b, b_flipped, columns, panels, out):
    count, depth = panels.shape[:2]
    lines, sums = panels.reshape(-1), out.reshape(-1)
    width = out.shape[1]
    out_offsets, segment = np.arange(ROWS) * width, np.zeros(1, np.int64)
    for strip in range(begin, end):
        sources = np.empty(ROWS, np.int64)
        for start in range(0, depth, BLOCK_K):
            length = min(BLOCK_K, depth - start)
            for column in range(strip * STRIP, min(strip * STRIP + STRIP, columns), ROWS):
                last = min(columns - ROWS, column) if columns >= ROWS else 0
                for i in range(ROWS):
                    sources[i] = min(column + i, columns - 1) * depth
                for panel in range(count):
                    line, target = (panel * depth + start) * LANES, column * width + panel * LANES
                    if b_flipped:
                        correlate_tile(
                            b, start, sources, 0, segment, 0, 1, length, lines, line, lines, line, 1, sums, target,
                            out_offsets, 0,
                        )  # fmt: skip
                    elif last == column:
                        outer_tile(
                            b,
                            start * columns + column,
                            0,
                            columns,
                            lines,
                            line,
                            0,
                            LANES,
                            1,
                            length,
                            sums,
                            target,
                            width,
                        )
                    else:
                        for k in range(start, start + length):
                            for i in range(columns - column):
                                for lane in range(LANES):
                                    sums[target + i * width + lane] += (
                                        b[k * columns + column + i] * panels[panel, k, lane]
                                    )


few_rows_loop = parallel_for(_few_rows_strips)


def _unflip(matrix: np.ndarray, dtype: np.dtype) -> tuple[np.ndarray, bool]:
    """Return a C-contiguous matrix of the dtype, and True if it is the transpose of the one given."""
    if matrix.dtype == dtype and matrix.T.flags.carray and not matrix.flags.c_contiguous:
        return matrix.T, True
    return as_contiguous(matrix if matrix.dtype == dtype else matrix.astype(dtype)), False
