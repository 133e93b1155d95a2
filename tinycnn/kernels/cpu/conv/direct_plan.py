"""The plan of a direct convolution: which input pixels a tap reads, and how outputs are cut into strips.

The nesting, from the outside in::

    strip      rows of outputs of one image and group, and the input rows that they need, with their halo
    panel      LANES output channels
    K block    as many steps of the inner dimension as keep a panel's weights in the first-level cache
    tile       ROWS pixels of the strip x LANES output channels, in registers
    segment    contiguous steps of the inner dimension
"""

from __future__ import annotations

import math
from functools import lru_cache
from typing import NamedTuple

import numpy as np

from tinycnn.kernels.cpu.machine.numbers import positions
from tinycnn.kernels.cpu.machine.simd import LANES, ROWS
from tinycnn.kernels.cpu.machine.tuning import (
    BLOCK_K,
    GRADIENT_ELEMENTS,
    GRADIENT_SPLITS,
    GRADIENT_STRIP_PIXELS,
    STRIP_BYTES,
)
from tinycnn.kernels.geometry import Axis, ConvShape, Pair, Shape


class Taps(NamedTuple):
    """The taps of a kernel along each axis: input position = stride * output position + tap."""

    y: tuple[int, ...]
    x: tuple[int, ...]


class Strips(NamedTuple):
    """How the output of a correlation is cut into strips, and where the input of a strip is stored.

    Attributes
    ----------
    tap_y, tap_x : int
        The first tap.
    stride_y, stride_x : int
    rows : int
        Output rows of a strip; the last strip may have fewer.
    height, width : int
        Input rows and columns that it needs.
    pixel_step : int
        Elements from one input pixel to the next.
    needs_copy : bool
        True if the input of a strip is copied, because it has padding; else it is read from the image.
    """

    tap_y: int
    tap_x: int
    stride_y: int
    stride_x: int
    rows: int
    height: int
    width: int
    pixel_step: int
    needs_copy: bool


class Correlation(NamedTuple):
    """The plan of a correlation.

    Attributes
    ----------
    tasks : int
        The strips of all images and groups.
    groups : int
    taps : int64, (taps,)
        The taps of the kernel, by number, whose weights are packed.
    space : int
        Elements of the workspace of one thread.
    numbers : int64
        The numbers that the loop needs; :data:`CORRELATION` names them.
    pixel_offsets : int64, (rows * W_out + ROWS,)
        The offset of the first tap's pixel for each output of a strip.
    segments : int64, (segments,)
        Offsets of the segments from there.
    k_blocks : int64, (blocks, 4)
        The first segment of each K block, their number, the length of each, and the first k.
    out_offsets : int64, (H_out * W_out + ROWS,)
        The offset of each output from the first one of its image.
    """

    tasks: int
    groups: int
    taps: np.ndarray
    space: int
    numbers: np.ndarray
    pixel_offsets: np.ndarray
    segments: np.ndarray
    k_blocks: np.ndarray
    out_offsets: np.ndarray


class Gradient(NamedTuple):
    """The plan of the weight's gradient.

    Attributes
    ----------
    tasks : int
        Parts of the batch (splits) x groups x parts of a group's panels.
    space : int
        Elements of the workspace of one thread.
    numbers : int64
        The numbers that the loop needs; :data:`GRADIENT` names them.
    segments : int64, (segments,)
        Offsets of the segments in a strip.
    sums : (splits, groups, panels, rows, LANES)
        The shape of the partial sums.
    sum_rows : int64, (taps, channels)
        The rows of the sums that hold the gradient; see :func:`_gradient_rows`.
    """

    tasks: int
    space: int
    numbers: np.ndarray
    segments: np.ndarray
    sums: tuple[int, ...]
    sum_rows: np.ndarray


CORRELATION = positions(*Strips._fields, "out_height", "out_width", "image_step", "first", "outputs")
"""Positions of a correlation's numbers: those of :class:`Strips`, the height and width of the output, the elements of
one output image, the offset of the first output in it, and the outputs of a group."""

GRADIENT = positions(*Strips._fields, "length", "panel_tasks", "strip_size")
"""Positions of the numbers of a weight gradient: those of :class:`Strips`, the length of a segment, the parts of a
group's panels, and the elements of a strip in the workspace."""


@lru_cache(maxsize=512)
def plan_forward(shape: ConvShape, itemsize: int) -> Correlation:
    """Plan the forward pass, one correlation."""
    area = np.arange(shape.weight[2] * shape.weight[3])
    return _correlation(shape, shape.input, shape.output, (0, 0), (1, 1), _taps(shape), shape.stride, area, itemsize)


@lru_cache(maxsize=512)
def plan_backward_input(shape: ConvShape, itemsize: int) -> tuple[list[Correlation], bool]:
    """Plan the gradient of the input: a correlation of stride 1 for each phase, and True if they write every pixel."""
    down, across = map(phases, shape.axes)
    correlations = []
    for start_y, taps_y in down:
        for start_x, taps_x in across:
            chosen = np.array([ty * shape.weight[3] + tx for ty, _ in taps_y for tx, _ in taps_x], np.int64)
            taps = Taps(tuple(offset for _, offset in taps_y), tuple(offset for _, offset in taps_x))
            start = start_y, start_x
            correlations.append(
                _correlation(shape, shape.output, shape.input, start, shape.stride, taps, (1, 1), chosen, itemsize)
            )
    return correlations, all(len(p) == min(a.stride, a.size) for p, a in zip((down, across), shape.axes))


@lru_cache(maxsize=512)
def plan_backward_weight(shape: ConvShape, itemsize: int) -> Gradient:
    """Plan the gradient of the weight."""
    groups, out_size = shape.groups, (shape.output[2], shape.output[3])
    outputs, depth = shape.weight[0] // groups, shape.weight[1]
    taps, max_rows = _taps(shape), max(1, GRADIENT_STRIP_PIXELS // out_size[1])
    strips = _strips(shape.input, groups, out_size, taps, shape.stride, itemsize, max_rows, depth < ROWS)
    segments, length = _tap_segments(taps, strips.width, strips.pixel_step, depth)
    panels = -(-outputs // LANES)
    splits = max(1, min(shape.input[0], GRADIENT_SPLITS, GRADIENT_ELEMENTS // math.prod(shape.weight)))
    panel_tasks = min(panels, -(-GRADIENT_SPLITS // (splits * groups)))
    # The first tile of a short segment begins before it, its last one ends behind it.
    strip_size = LANES + strips.height * strips.width * strips.pixel_step + ROWS
    return Gradient(
        splits * groups * panel_tasks,
        strip_size + -(-panels // panel_tasks) * LANES * strips.rows * out_size[1],
        np.array((*strips, length, panel_tasks, strip_size), np.int64),
        np.array(segments, np.int64),
        (splits, groups, panels, len(segments) * -(-length // ROWS) * ROWS, LANES),
        _gradient_rows(len(taps.y) * len(taps.x), len(segments), depth),
    )


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


def _taps(shape: ConvShape) -> Taps:
    """Return the taps of a forward convolution."""
    return Taps(*(tuple(t * axis.dilation - axis.before for t in range(axis.kernel)) for axis in shape.axes))


def _correlation(
    shape: ConvShape,
    x: Shape,
    out: Shape,
    start: Pair,
    step: Pair,
    taps: Taps,
    stride: Pair,
    chosen: np.ndarray,
    itemsize: int,
) -> Correlation:
    """Plan a correlation of x (N, C, H, W) that is written to ``out[..., start_y::step_y, start_x::step_x]``."""
    n, channels, height, width = out
    out_size = -(-(height - start[0]) // step[0]), -(-(width - start[1]) // step[1])
    strips = _strips(x, shape.groups, out_size, taps, stride, itemsize)
    row_step = strips.stride_y * strips.width * strips.pixel_step
    pixels = _grid_offsets(strips.rows, out_size[1], row_step, strips.stride_x * strips.pixel_step)
    segments, k_blocks = _cut_segments(*_tap_segments(taps, strips.width, strips.pixel_step, x[1] // shape.groups))
    first = (start[0] * width + start[1]) * channels
    numbers = *strips, *out_size, height * width * channels, first, channels // shape.groups
    return Correlation(
        n * shape.groups * -(-out_size[0] // strips.rows),
        shape.groups,
        chosen,
        strips.needs_copy * strips.height * strips.width * strips.pixel_step + ROWS * LANES,
        np.array(numbers, np.int64),
        pixels,
        segments,
        k_blocks,
        _grid_offsets(*out_size, step[0] * width * channels, step[1] * channels),
    )


def _strips(
    x: Shape,
    groups: int,
    out_size: Pair,
    taps: Taps,
    stride: Pair,
    itemsize: int,
    max_rows: int | None = None,
    copy: bool = False,
) -> Strips:
    """Cut a correlation of x (N, C, H, W) into strips of at most ``STRIP_BYTES`` of input, or of ``max_rows``."""
    _, channels, height, width = x
    last = [s * (count - 1) + tap[-1] for s, count, tap in zip(stride, out_size, taps)]
    needs_copy = copy or min(taps.y[0], taps.x[0]) < 0 or last[0] >= height or last[1] >= width
    strip_width = last[1] - taps.x[0] + 1 if needs_copy else width
    step = channels // groups if needs_copy else channels
    halo = taps.y[-1] - taps.y[0]
    input_rows = max(1, STRIP_BYTES // (strip_width * step * itemsize))
    rows = min(out_size[0], max_rows or max(1, (input_rows - halo - 1) // stride[0] + 1))
    rows = -(-out_size[0] // -(-out_size[0] // rows))
    strip_height = (rows - 1) * stride[0] + halo + 1
    return Strips(taps.y[0], taps.x[0], *stride, rows, strip_height, strip_width, step, needs_copy)


def _grid_offsets(rows: int, columns: int, row_step: int, column_step: int) -> np.ndarray:
    """Return the offsets of pixels row by row; the last is repeated so that a tile of ROWS may start at any of them."""
    offsets = (np.arange(rows)[:, None] * row_step + np.arange(columns) * column_step).reshape(-1)
    return np.concatenate([offsets, np.repeat(offsets[-1:], ROWS)])


def _tap_segments(taps: Taps, width: int, step: int, depth: int) -> tuple[list[int], int]:
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


def _gradient_rows(taps: int, segments: int, depth: int) -> np.ndarray:
    """Return the rows (taps, channels) of the weight's gradient among the padded rows of the sums.

    The sums of a segment are padded to a multiple of ROWS; its last ROWS rows are stored at the end of the padding.
    """
    per_segment = taps // segments
    length = per_segment * depth
    padded = -(-length // ROWS) * ROWS
    k = np.arange(length)
    inside = np.where(k < padded - ROWS, k, k + padded - length)
    return (np.arange(segments)[:, None] * padded + inside).reshape(taps, depth)
