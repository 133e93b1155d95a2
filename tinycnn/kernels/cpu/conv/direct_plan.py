"""The plan of a direct convolution: which input pixels a tap reads, and how outputs are cut into strips.

The nesting, from the outside in::

    strip      rows of outputs of one image and group, and the input rows that they need, with their halo
    panel      LANES output channels
    K block    as many steps of the inner dimension as keep a panel's weights in the first-level cache
    tile       ROWS pixels of the strip x LANES output channels, in registers
    segment    contiguous steps of the inner dimension
"""

from __future__ import annotations

from functools import lru_cache
from typing import NamedTuple

import numpy as np

from tinycnn.kernels.cpu.machine.simd import ROWS
from tinycnn.kernels.cpu.machine.tuning import BLOCK_K, STRIP_BYTES
from tinycnn.kernels.geometry import Axis, ConvShape, Pair


class Taps(NamedTuple):
    """The taps of a kernel along each axis: input position = stride * output position + tap."""

    y: tuple[int, ...]
    x: tuple[int, ...]


class StripPlan(NamedTuple):
    """How the output of a correlation is cut into strips, and where the input of a strip is stored.

    Attributes
    ----------
    rows : int
        Output rows of a strip; the last strip may have fewer.
    height, width : int
        Input rows and columns that it needs.
    pixel_step : int
        Elements from one input pixel to the next.
    needs_copy : bool
        True if the input of a strip is copied, because it has padding; else it is read from the image.
    pixel_offsets : int64, (rows * W_out + ROWS,)
        The offset of the first tap's pixel for each output of a strip.
    segments : int64, (segments,)
        Offsets of the segments from there.
    k_blocks : int64, (blocks, 4)
        The first segment of each K block, their number, the length of each, and the first k.
    """

    rows: int
    height: int
    width: int
    pixel_step: int
    needs_copy: bool
    pixel_offsets: np.ndarray
    segments: np.ndarray
    k_blocks: np.ndarray


def kernel_taps(shape: ConvShape) -> Taps:
    """Return the taps of a forward convolution."""
    return Taps(*(tuple(t * axis.dilation - axis.before for t in range(axis.kernel)) for axis in shape.axes))


def phases(axis: Axis) -> list[tuple[int, list[Pair]]]:
    """Return, for each remainder r of the input position modulo the stride, the taps that reach it, by rising offset.

    Input r + stride i was read by tap t of output i + (r + padding - t dilation) / stride, if that is an integer. So
    each remainder is a correlation of stride 1 of its own, and no zeros between the gradients are multiplied.
    """
    found = []
    for remainder in range(min(axis.stride, axis.size)):
        distances = [(t, remainder + axis.before - t * axis.dilation) for t in range(axis.kernel)]
        taps = [(t, distance // axis.stride) for t, distance in reversed(distances) if distance % axis.stride == 0]
        if taps:
            found.append((remainder, taps))
    return found


@lru_cache(maxsize=512)
def plan_strips(
    shape: tuple[int, int, int],
    groups: int,
    out_size: Pair,
    taps: Taps,
    stride: Pair,
    itemsize: int,
    max_rows: int | None = None,
    copy: bool = False,
) -> StripPlan:
    """Cut a correlation of images (H, W, C) into strips of at most ``STRIP_BYTES`` of input, or of ``max_rows``."""
    height, width, channels = shape
    depth = channels // groups
    last = [s * (count - 1) + tap[-1] for s, count, tap in zip(stride, out_size, taps)]
    needs_copy = copy or min(taps.y[0], taps.x[0]) < 0 or last[0] >= height or last[1] >= width
    strip_width = last[1] - taps.x[0] + 1 if needs_copy else width
    step = depth if needs_copy else channels
    halo = taps.y[-1] - taps.y[0]
    input_rows = max(1, STRIP_BYTES // (strip_width * step * itemsize))
    rows = min(out_size[0], max_rows or max(1, (input_rows - halo - 1) // stride[0] + 1))
    rows = -(-out_size[0] // -(-out_size[0] // rows))
    strip_height = (rows - 1) * stride[0] + halo + 1
    pixels = grid_offsets(rows, out_size[1], stride[0] * strip_width * step, stride[1] * step)
    segments, k_blocks = _cut_segments(*tap_segments(taps, strip_width, step, depth))
    return StripPlan(rows, strip_height, strip_width, step, needs_copy, pixels, segments, k_blocks)


@lru_cache(maxsize=512)
def grid_offsets(rows: int, columns: int, row_step: int, column_step: int) -> np.ndarray:
    """Return the offsets of pixels row by row; the last is repeated so that a tile of ROWS may start at any of them."""
    offsets = (np.arange(rows)[:, None] * row_step + np.arange(columns) * column_step).reshape(-1)
    return np.concatenate([offsets, np.repeat(offsets[-1:], ROWS)])


def tap_segments(taps: Taps, width: int, step: int, depth: int) -> tuple[list[int], int]:
    """Return the offsets of the contiguous segments along k, and their length: a row of adjacent taps, or one tap."""
    starts = [((y - taps.y[0]) * width + x - taps.x[0]) * step for y in taps.y for x in taps.x]
    if step == depth and all(b - a == 1 for a, b in zip(taps.x, taps.x[1:])):
        return starts[:: len(taps.x)], depth * len(taps.x)
    return starts, depth


def _cut_segments(starts: list[int], length: int) -> tuple[np.ndarray, np.ndarray]:
    """Cut segments so that each has at most BLOCK_K steps, and collect them in K blocks."""
    cut = -(-length // -(-length // BLOCK_K))
    per_block = max(1, BLOCK_K // length)
    segments: list[int] = []
    k_blocks = []
    for i, start in enumerate(starts):
        for offset in range(0, length, cut):
            if cut < length or i % per_block == 0:
                k_blocks.append([len(segments), 0, min(cut, length - offset), i * length + offset])
            segments.append(start + offset)
            k_blocks[-1][1] += 1
    return np.array(segments, np.int64), np.array(k_blocks, np.int64).reshape(-1, 4)


@lru_cache(maxsize=512)
def gradient_rows(taps: int, segments: int, depth: int) -> np.ndarray:
    """Return the rows (taps, channels) of the weight's gradient among the padded rows of the sums.

    The sums of a segment are padded to a multiple of ROWS; its last ROWS rows are stored at the end of the padding.
    """
    per_segment = taps // segments
    length = per_segment * depth
    padded = -(-length // ROWS) * ROWS
    k = np.arange(length)
    inside = np.where(k < padded - ROWS, k, k + padded - length)
    return (np.arange(segments)[:, None] * padded + inside).reshape(taps, depth)
