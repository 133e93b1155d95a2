"""The innermost loops as plain loops: what they compute, without vector instructions.

They run under ``NUMBA_DISABLE_JIT=1``, for a debugger, and, compiled, behind the "prange" backend. Each adds up its
terms in the order of the vector code in :mod:`.simd_llvm`. The flags of each function see to it that the compiler fuses
the multiplications and additions that the vector code fuses, and no others, so the bits are the same.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from tinycnn.kernels.cpu.machine.compile import helper
from tinycnn.kernels.cpu.machine.matrix_program import ADD, MULTIPLY_ADD, SCALE, SUBTRACT, Matrix, program_of
from tinycnn.kernels.cpu.machine.registers import LANES, MAP_LANES, ROWS

_EXACT: frozenset[str] = frozenset()


def _multiply_add(a, b, c):
    """Return a * b + c, rounded once where the processor has an instruction for that."""
    return a * b + c


multiply_add: Any = helper(_multiply_add, frozenset({"contract"}))


def _outer_tile(a, a_start, a_row, a_step, b, b_start, b_row, b_step, rows, length, c, c_start, c_step):
    """C += A^T B, a sum of outer products over ``rows`` rows of ``length`` pixels.

    ``c[c_start + i c_step + j] += sum over r, p of``
    ``a[a_start + r a_row + p a_step + i] b[b_start + r b_row + p b_step + j]``
    """
    for r in range(rows):
        for p in range(length):
            column, line = a_start + r * a_row + p * a_step, b_start + r * b_row + p * b_step
            for i in range(ROWS):
                target = c_start + i * c_step
                for j in range(LANES):
                    c[target + j] = multiply_add(a[column + i], b[line + j], c[target + j])


def _stream_tile(a, a_start, b, b_start, length, c, c_start, c_step):
    """C = A^T B from packed panels, written past the caches. Lines of C begin at a multiple of ALIGNMENT bytes.

    ``c[c_start + i c_step + j] = sum over k of a[a_start + k ROWS + i] b[b_start + k LANES + j]``
    """
    for i in range(ROWS):
        target = c_start + i * c_step
        for j in range(LANES):
            c[target + j] = 0
        for k in range(length):
            for j in range(LANES):
                c[target + j] = multiply_add(a[a_start + k * ROWS + i], b[b_start + k * LANES + j], c[target + j])


def _stream_end():
    """Wait until other threads can see what was written past the caches."""


def _prefetch(array, start, count):
    """Prefetch the cache lines of ``count`` elements from ``array[start]`` on; none of them need exist."""


def _correlate_tile(
    a, a_start, a_offsets, pixel, segments, first, count, length, b, b_start, bias, bias_start, accumulate, c, c_start,
    c_offsets, target,
):  # fmt: skip
    """C += A B (``accumulate``), or C = bias + A B, for ROWS pixels and LANES output channels.

    Pixel i reads ``count`` segments of ``length`` elements, segment s at
    ``a[a_start + a_offsets[pixel + i] + segments[first + s]]``, and writes LANES elements at
    ``c[c_start + c_offsets[target + i]]``; ``b[b_start:]`` holds LANES elements for each k.
    """
    for i in range(ROWS):
        line = c_start + c_offsets[target + i]
        if not accumulate:
            for j in range(LANES):
                c[line + j] = bias[bias_start + j]
        for s in range(count):
            source, panel = a_start + a_offsets[pixel + i] + segments[first + s], b_start + s * length * LANES
            for k in range(length):
                for j in range(LANES):
                    c[line + j] = multiply_add(a[source + k], b[panel + k * LANES + j], c[line + j])


def _copy_peak(source, source_start, target, target_start, count):
    """Copy ``count`` elements, a positive multiple of LANES, and return the largest bit pattern among them."""
    peak = np.int64(0)
    numbers = source[source_start : source_start + count]
    for i in range(count):
        target[target_start + i] = numbers[i]
    if source.itemsize == 4:
        for bits in numbers.view(np.int32):
            peak = max(peak, np.int64(bits & np.int32(2**31 - 1)))
    else:
        for bits in numbers.view(np.int64):
            peak = max(peak, bits & np.int64(2**63 - 1))
    return peak


def _count_above(source, start, count, limit):
    """Return how many of ``count`` elements, a positive multiple of LANES, have a bit pattern above ``limit``."""
    total = 0
    numbers = source[start : start + count]
    if source.itemsize == 4:
        for bits in numbers.view(np.int32):
            total += np.int64(bits & np.int32(2**31 - 1)) > limit
    else:
        for bits in numbers.view(np.int64):
            total += (bits & np.int64(2**63 - 1)) > limit
    return total


# -- products with constant matrices -----------------------------------------------------------------------------------


def _run_program(operations, left, right, factors, lines, inputs):
    """Run the steps of a program, each of which writes one of the ``lines`` (line, lane) after the inputs."""
    for s in range(operations.size):
        a, b, result = lines[left[s]], lines[right[s]], lines[inputs + s]
        factor = lines.dtype.type(factors[s])
        if operations[s] == ADD:
            for lane in range(result.size):
                result[lane] = a[lane] + b[lane]
        elif operations[s] == SUBTRACT:
            for lane in range(result.size):
                result[lane] = a[lane] - b[lane]
        elif operations[s] == SCALE:
            for lane in range(result.size):
                result[lane] = factor * a[lane]
        elif operations[s] == MULTIPLY_ADD:
            for lane in range(result.size):
                result[lane] = multiply_add(factor, a[lane], b[lane])


run_program: Any = helper(_run_program, _EXACT)


def tile_map(matrix: Matrix) -> Any:
    """Return ``apply(a, a_start, a_row, a_step, a_next, b, ..., count, tiles)``: b = matrix @ a @ matrix^T.

    Element (i, j) of tile t of ``a`` is the ``count`` numbers from ``a_start + i a_row + j a_step + t a_next`` on,
    likewise of ``b``; ``count`` is a multiple of MAP_LANES, and there is at least one tile.
    """
    steps, results = program_of(matrix)
    operations, left, right = (np.array([step[i] for step in steps], np.int64) for i in range(3))
    factors, chosen = np.array([step.factor for step in steps]), np.array(results)
    rows, size = len(matrix), len(matrix[0])

    def apply(a, a_start, a_row, a_step, a_next, b, b_start, b_row, b_step, b_next, count, tiles):
        lines = np.empty((size + operations.size, MAP_LANES), a.dtype)
        columns = np.empty((rows, size, MAP_LANES), a.dtype)
        for t in range(tiles):
            for first in range(0, count, MAP_LANES):
                source, target = a_start + t * a_next + first, b_start + t * b_next + first
                for j in range(size):
                    for i in range(size):
                        for lane in range(MAP_LANES):
                            lines[i, lane] = a[source + i * a_row + j * a_step + lane]
                    run_program(operations, left, right, factors, lines, size)
                    for i in range(rows):
                        columns[i, j] = lines[chosen[i]]
                for i in range(rows):
                    lines[:size] = columns[i]
                    run_program(operations, left, right, factors, lines, size)
                    for j in range(rows):
                        for lane in range(MAP_LANES):
                            b[target + i * b_row + j * b_step + lane] = lines[chosen[j], lane]

    return helper(apply, _EXACT)


outer_tile: Any = helper(_outer_tile, _EXACT)
stream_tile: Any = helper(_stream_tile, _EXACT)
stream_end: Any = helper(_stream_end, _EXACT)
prefetch: Any = helper(_prefetch, _EXACT)
correlate_tile: Any = helper(_correlate_tile, _EXACT)
copy_peak: Any = helper(_copy_peak, _EXACT)
count_above: Any = helper(_count_above, _EXACT)

PLAIN_LOOPS = {
    "outer_tile": _outer_tile,
    "stream_tile": _stream_tile,
    "stream_end": _stream_end,
    "prefetch": _prefetch,
    "correlate_tile": _correlate_tile,
    "copy_peak": _copy_peak,
    "count_above": _count_above,
}
"""The loops before they are compiled: their signatures and docstrings are those of the vector code, too."""
