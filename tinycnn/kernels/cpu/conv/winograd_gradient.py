"""The gradient of the weight by Winograd's convolution: the adjoint of each of its steps, in reverse order.

With the letters of :mod:`.winograd`, over all tiles::

    grad_weight = G^T [ V^T (A grad A^T) ] G

For each of the 36 points, V^T (A grad A^T) is a matrix product of channels x tiles by tiles x outputs. With few weights
a task is a part of the tiles, which it sums for all channels and outputs (:func:`_sum_part`); the parts are added in
order. With many weights, V and A grad A^T of a block of tiles are computed first, and a task is some channels and some
panels of outputs (:func:`_sum_panels`).
"""

from __future__ import annotations

import math

import numpy as np

from tinycnn.kernels.cpu.conv.winograd_range import add_gradients, any_out_of_range
from tinycnn.kernels.cpu.conv.winograd_tiles import (
    POINTS,
    SIDE,
    TILES,
    cached_groups,
    count_tiles,
    point_step,
    prefetch_part,
    strip_elements,
)
from tinycnn.kernels.cpu.conv.winograd_transforms import put_gradient, transform_gradient, transform_input
from tinycnn.kernels.cpu.machine.allocator import empty, zeros
from tinycnn.kernels.cpu.machine.nhwc import to_nhwc
from tinycnn.kernels.cpu.machine.numbers import positions
from tinycnn.kernels.cpu.machine.parallel import helper, parallel_for
from tinycnn.kernels.cpu.machine.scratch import workspace
from tinycnn.kernels.cpu.machine.settings import get_num_threads
from tinycnn.kernels.cpu.machine.simd import LANES, ROWS, outer_tile, prefetch
from tinycnn.kernels.cpu.machine.tuning import (
    WINOGRAD_FEW_GRADIENTS,
    WINOGRAD_GRADIENT_ELEMENTS,
    WINOGRAD_GRADIENT_TILES,
    WINOGRAD_LARGE_GRADIENT_ELEMENTS,
    WINOGRAD_MANY_PARTS,
    WINOGRAD_PANEL_GRADIENTS,
    WINOGRAD_PANELS,
    WINOGRAD_PARTS,
    WINOGRAD_SHARED_ELEMENTS,
)
from tinycnn.kernels.geometry import ConvShape

BLOCK = positions(*TILES._fields, "first", "count", "row_per_task")
"""Positions of the numbers of one block: those of :data:`TILES`, the block's first group and how many it has,
and 1 if each task has its own row of sums, which are kept from block to block."""


def conv2d_backward_weight(grad: np.ndarray, x: np.ndarray, shape: ConvShape) -> np.ndarray:
    """Return the gradient (C_out, C, K, K) of the weight."""
    if not x.size:
        return zeros(shape.weight, x.dtype)
    out = empty(shape.weight, x.dtype)
    top, _, left, _ = shape.padding
    pixels, grads = to_nhwc(x), to_nhwc(grad)
    outputs, channels, kernel, _ = shape.weight
    tiles = count_tiles(grads.shape, kernel)
    groups = -(-math.prod(tiles) // ROWS)
    steps = point_step(channels), point_step(outputs)
    size, strip = POINTS * sum(steps), strip_elements(tiles, kernel, max(channels, outputs))
    flags = np.zeros(tiles[0] * tiles[1], np.uint8)
    if channels * outputs < WINOGRAD_PANEL_GRADIENTS:
        few = channels * outputs < WINOGRAD_FEW_GRADIENTS
        parts = min(groups, WINOGRAD_MANY_PARTS if few else WINOGRAD_PARTS)
        block = min(-(-groups // parts), cached_groups(size))
        space = workspace("winograd", get_num_threads(), block * size + strip, x.dtype)
        padded = -(-channels // ROWS) * ROWS
        sums = empty((parts, outputs // LANES, POINTS * padded * LANES), x.dtype)
        numbers = np.array((kernel, top, left, *tiles, block), np.int64)
        parts_loop(parts, pixels, grads, numbers, space, sums, flags)
        add_parts_loop(outputs // LANES, sums, kernel, out)
        return _with_rows_out_of_range(flags, pixels, grads, shape.padding, tiles, out)
    is_shared = POINTS * channels * outputs < WINOGRAD_SHARED_ELEMENTS
    elements = WINOGRAD_GRADIENT_ELEMENTS if is_shared else WINOGRAD_LARGE_GRADIENT_ELEMENTS
    block = min(groups, max(1, elements // size))
    space = workspace("winograd", 1, block * size, x.dtype)[0]
    channels_per_task = WINOGRAD_GRADIENT_TILES * ROWS
    tasks = -(-outputs // (WINOGRAD_PANELS * LANES)) * -(-channels // channels_per_task)
    rows = tasks if block < groups else get_num_threads()  # the sums of a task are kept from block to block
    sums_size = (WINOGRAD_PANELS * POINTS * channels_per_task + kernel * kernel * (channels_per_task + ROWS)) * LANES
    sums = workspace("winograd sums", rows, sums_size, x.dtype)
    strips = workspace("winograd strips", get_num_threads(), strip, x.dtype)
    for first in range(0, groups, block):
        count = min(block, groups - first)
        numbers = np.array((kernel, top, left, *tiles, block, first, count, rows == tasks), np.int64)
        pairs_loop(count, pixels, grads, numbers, space, strips, flags)
        panels_loop(tasks, numbers, space, sums, out)
    return _with_rows_out_of_range(flags, pixels, grads, shape.padding, tiles, out)


def _with_rows_out_of_range(flags, pixels, grads, padding, tiles, out):
    """Add the contribution of the rows of tiles that were out of range to the weight's gradient."""
    if any_out_of_range(flags):
        add_gradients(flags.reshape(tiles[:2]), pixels, grads, padding, SIDE + 1 - out.shape[2], out)
    return out


# -- loops -------------------------------------------------------------------------------------------------------------


def _transform_pairs(x, grad, kernel, pad_y, pad_x, tiles, first, count, v_step, g_step, values, grads, strip, flags):
    """V and A grad A^T for ``count`` groups of tiles, zeros for tiles that do not exist."""
    start, last = first * ROWS, min(tiles[0] * tiles[1] * tiles[2], (first + count) * ROWS)
    if last < (first + count) * ROWS:
        values[(count - 1) * POINTS * v_step : count * POINTS * v_step] = 0
        grads[(count - 1) * POINTS * g_step : count * POINTS * g_step] = 0
    transform_input(x, kernel, pad_y, pad_x, tiles, start, last, strip, values, v_step, flags)
    transform_gradient(grad, kernel, tiles, start, last, strip, grads, g_step, flags)


transform_pairs = helper(_transform_pairs)


def _add_products(point, values, grads, groups, channels, outputs, v_step, g_step, panel, panels, first, count, sums):
    """Add V^T (A grad A^T) over ``groups`` groups of tiles, for some panels of outputs and ``count`` channels."""
    for p in range(panels):
        for c in range(0, count, ROWS):
            outer_tile(
                values, point * v_step + min(first + c, channels - ROWS), POINTS * v_step, channels,
                grads, point * g_step + (panel + p) * LANES, POINTS * g_step, outputs, groups, ROWS,
                sums, ((p * POINTS + point) * count + c) * LANES, LANES,
            )  # fmt: skip


add_products = helper(_add_products)


def _prefetch_point(point, values, step, channels, first, count, groups):
    """Prefetch ``count`` channels of a point, in all groups of tiles."""
    for group in range(groups):
        for tile in range(ROWS):
            prefetch(values, (group * POINTS + point) * step + tile * channels + first, count)


prefetch_point = helper(_prefetch_point)


def _transform_block(thread_id, begin, end, x, grad, numbers, space, strips, flags):
    """V and A grad A^T of a block of groups from ``first`` on, a group a task."""
    kernel, pad_y, pad_x = numbers[BLOCK.kernel], numbers[BLOCK.top], numbers[BLOCK.left]
    tiles = numbers[BLOCK.images], numbers[BLOCK.rows], numbers[BLOCK.columns]
    block, first = numbers[BLOCK.block], numbers[BLOCK.first]
    v_step, g_step = ROWS * x.shape[3] + LANES, ROWS * grad.shape[3] + LANES
    values, grads = space[begin * POINTS * v_step :], space[POINTS * (block * v_step + begin * g_step) :]
    transform_pairs(
        x, grad, kernel, pad_y, pad_x, tiles, first + begin, end - begin, v_step, g_step, values, grads,
        strips[thread_id], flags,
    )  # fmt: skip


def _sum_panels(thread_id, begin, end, numbers, space, rows, out):
    """Sums over tiles of V^T (A grad A^T); a task is some channels and panels of outputs. At last G^T sums G."""
    outputs, channels, kernel = out.shape[:3]
    block, groups, row_per_task = numbers[BLOCK.block], numbers[BLOCK.count], numbers[BLOCK.row_per_task] != 0
    total = numbers[BLOCK.images] * numbers[BLOCK.rows] * numbers[BLOCK.columns]
    is_first, is_last = numbers[BLOCK.first] == 0, (numbers[BLOCK.first] + groups) * ROWS >= total
    v_step, g_step, channels_per_task = ROWS * channels + LANES, ROWS * outputs + LANES, WINOGRAD_GRADIENT_TILES * ROWS
    panels, line = outputs // LANES, channels_per_task * LANES
    columns = -(-panels // WINOGRAD_PANELS)
    values, grads = space[: POINTS * block * v_step], space[POINTS * block * v_step :]
    for task in range(begin, end):
        row = task if row_per_task else thread_id
        sums, result = rows[row, : WINOGRAD_PANELS * POINTS * line], rows[row, WINOGRAD_PANELS * POINTS * line :]
        panel, first = task % columns * WINOGRAD_PANELS, task // columns * channels_per_task
        count = min(WINOGRAD_PANELS, panels - panel)
        if is_first:
            sums[:] = 0
        for point in range(POINTS):
            prefetch_point(point + 1, values, v_step, channels, first, min(channels_per_task, channels - first), groups)
            prefetch_point(point + 1, grads, g_step, outputs, panel * LANES, count * LANES, groups)
            add_products(
                point, values, grads, groups, channels, outputs, v_step, g_step, panel, count, first, channels_per_task,
                sums,
            )  # fmt: skip
        if is_last:
            for p in range(count):
                point_sums = sums[p * POINTS * line : (p + 1) * POINTS * line]
                put_gradient(point_sums, channels_per_task, kernel, result, panel + p, first, channels, out)


def _sum_part(thread_id, begin, end, x, grad, numbers, space, sums, flags):
    """The same for few weights: a task is a part of the tiles, with all channels and outputs."""
    kernel, pad_y, pad_x = numbers[TILES.kernel], numbers[TILES.top], numbers[TILES.left]
    tiles, block = (numbers[TILES.images], numbers[TILES.rows], numbers[TILES.columns]), numbers[TILES.block]
    channels, outputs = x.shape[3], grad.shape[3]
    v_step, g_step = ROWS * channels + LANES, ROWS * outputs + LANES
    parts, panels = sums.shape[:2]
    total = tiles[0] * tiles[1] * tiles[2]
    groups = -(-total // ROWS)
    pixels, gradients = x.reshape(-1), grad.reshape(-1)
    tile_x, tile_g = x.size // total, grad.size // total
    padded = sums.shape[2] // (POINTS * LANES)
    both = space[thread_id, : POINTS * block * (v_step + g_step)]
    strip = space[thread_id, POINTS * block * (v_step + g_step) :]
    values, grads = both[: POINTS * block * v_step], both[POINTS * block * v_step :]
    for part in range(begin, end):
        start, stop = part * groups // parts, (part + 1) * groups // parts
        part_sums = sums[part].reshape(-1)
        part_sums[:] = 0
        for first in range(start, stop, block):
            count = min(block, stop - first)
            transform_pairs(
                x, grad, kernel, pad_y, pad_x, tiles, first, count, v_step, g_step, values, grads, strip, flags
            )
            for point in range(POINTS):
                prefetch_part(point, pixels, tile_x, (first + count) * ROWS, block)
                prefetch_part(point, gradients, tile_g, (first + count) * ROWS, block)
                add_products(
                    point, values, grads, count, channels, outputs, v_step, g_step, 0, panels, 0, padded, part_sums
                )


def _add_parts(begin, end, sums, kernel, out):
    """Add the parts in order, then G^T sums G; a task is a panel of outputs."""
    padded = sums.shape[2] // (POINTS * LANES)
    result = np.empty(kernel * kernel * (padded + ROWS) * LANES, out.dtype)
    for panel in range(begin, end):
        total = sums[0, panel]
        for part in range(1, sums.shape[0]):
            other = sums[part, panel]
            for i in range(total.size):
                total[i] += other[i]
        put_gradient(total, padded, kernel, result, panel, 0, out.shape[1], out)


pairs_loop = parallel_for(_transform_block, per_thread="strips")
panels_loop = parallel_for(_sum_panels, per_thread="rows")
parts_loop = parallel_for(_sum_part, per_thread="space")
add_parts_loop = parallel_for(_add_parts)
