"""The direct convolution: it has no columns; the micro-kernel reads pixels from the image, in NHWC order.

One task of :func:`correlate_into` computes a strip of output rows of one image (:mod:`.direct_plan`). If the strip
needs padding, its input rows are copied, with zeros around them, into a buffer that stays in the cache::

    strip     (rows + halo) x (width + padding) pixels of C channels       offset of a pixel = (y * width + x) * C
    weights   panels of LANES output channels                              [panel][k][lane]

The inner dimension k runs over segments: taps that are neighbours in the strip make one contiguous segment of
``kernel width * C`` elements. For each panel and each K block, the micro-kernel takes ROWS pixels at a time, from the
offsets in a table, while the pixels and outputs ``PREFETCH_DISTANCE`` further on are prefetched.

The gradient of the input is a correlation, too, see :func:`.direct_plan.phases`. The gradient of the weight is, for
each tap, a sum of outer products of the strip's channels and the output gradient's channels over all pixels of the
batch.

Strips and splits depend on shapes alone: the same bits for any number of threads.
"""

from __future__ import annotations

import numpy as np

from tinycnn.kernels.cpu.conv.direct_plan import (
    Taps,
    gradient_rows,
    grid_offsets,
    kernel_taps,
    phases,
    plan_strips,
    tap_segments,
)
from tinycnn.kernels.cpu.machine.allocator import empty, zeros
from tinycnn.kernels.cpu.machine.nhwc import as_nchw, copy, to_nhwc
from tinycnn.kernels.cpu.machine.parallel import helper, parallel_for
from tinycnn.kernels.cpu.machine.scratch import workspace
from tinycnn.kernels.cpu.machine.settings import get_num_threads
from tinycnn.kernels.cpu.machine.simd import LANES, ROWS, correlate_tile, outer_tile, prefetch
from tinycnn.kernels.cpu.machine.tuning import (
    GRADIENT_ELEMENTS,
    GRADIENT_SPLITS,
    GRADIENT_STRIP_PIXELS,
    PREFETCH_DISTANCE,
)
from tinycnn.kernels.geometry import ConvShape


def conv2d(x: np.ndarray, weight: np.ndarray, bias: np.ndarray | None, shape: ConvShape) -> np.ndarray:
    """Correlate the images and the weights."""
    n, outputs, height, width = shape.output
    out = empty((n, height, width, outputs), x.dtype)
    panels = pack_weights(weight, shape.groups, False, np.arange(weight.shape[2] * weight.shape[3]))
    correlate_into(out, (0, 0), (1, 1), to_nhwc(x), panels, kernel_taps(shape), shape.stride, bias, shape.groups)
    return as_nchw(out)


def conv2d_backward_input(grad: np.ndarray, weight: np.ndarray, shape: ConvShape) -> np.ndarray:
    """Correlate, for each phase of the stride, the gradients and the taps that reach it."""
    pixels = to_nhwc(grad)
    n, c, height, width = shape.input
    phases_y, phases_x = map(phases, shape.axes)
    complete = len(phases_y) == min(shape.stride[0], height) and len(phases_x) == min(shape.stride[1], width)
    out = (empty if complete else zeros)((n, height, width, c), grad.dtype)
    for start_y, taps_y in phases_y:
        for start_x, taps_x in phases_x:
            chosen = np.array([ty * weight.shape[3] + tx for ty, _ in taps_y for tx, _ in taps_x])
            panels = pack_weights(weight, shape.groups, True, chosen)
            taps = Taps(tuple(offset for _, offset in taps_y), tuple(offset for _, offset in taps_x))
            correlate_into(out, (start_y, start_x), shape.stride, pixels, panels, taps, (1, 1), None, shape.groups)
    return as_nchw(out)


def conv2d_backward_weight(grad: np.ndarray, x: np.ndarray, shape: ConvShape) -> np.ndarray:
    """Add outer products of output gradients and pixels over the batch."""
    pixels, grads = to_nhwc(x), to_nhwc(grad)
    if not x.size:
        return zeros(shape.weight, x.dtype)
    out = empty(shape.weight, x.dtype)
    groups, stride, taps = shape.groups, shape.stride, kernel_taps(shape)
    outputs, depth = shape.weight[0] // groups, shape.weight[1]
    out_size = grads.shape[1:3]
    rows = max(1, GRADIENT_STRIP_PIXELS // out_size[1])
    plan = plan_strips(pixels.shape[1:], groups, out_size, taps, stride, x.itemsize, rows, depth < ROWS)
    segments, length = tap_segments(taps, plan.width, plan.pixel_step, depth)
    padded = -(-length // ROWS) * ROWS
    panels = -(-outputs // LANES)
    splits = max(1, min(x.shape[0], GRADIENT_SPLITS, GRADIENT_ELEMENTS // out.size))
    panel_tasks = min(panels, -(-GRADIENT_SPLITS // (splits * groups)))
    sums = empty((splits, groups, panels, len(segments) * padded, LANES), x.dtype)
    # The first tile of a short segment begins before it, its last one ends behind it.
    strip_size = LANES + plan.height * plan.width * plan.pixel_step + ROWS
    size = strip_size + -(-panels // panel_tasks) * LANES * plan.rows * out_size[1]
    space = workspace("gradient", get_num_threads(), size, x.dtype)
    gradient_loop(
        splits * groups * panel_tasks, pixels, pixels.reshape(-1), taps.y[0], taps.x[0], *stride, plan.rows,
        plan.height, plan.width, plan.pixel_step, plan.needs_copy, np.array(segments, np.int64), length, grads,
        grads.reshape(-1), panel_tasks, strip_size, space, sums,
    )  # fmt: skip
    sum_rows = gradient_rows(len(taps.y) * len(taps.x), len(segments), depth)
    add_splits_loop(groups * panels, sums, sum_rows, out.reshape(groups, outputs, depth, -1))
    return out


def correlate_into(out, start, step, x, panels, taps, stride, bias, groups):
    """Write a correlation of x (N, H, W, C) into ``out[:, start_y::step_y, start_x::step_x]``."""
    n, height, width, channels = out.shape
    out_size = (-(-(height - start[0]) // step[0]), -(-(width - start[1]) // step[1]))
    if not n or not channels:
        return
    plan = plan_strips(x.shape[1:], groups, out_size, taps, stride, x.itemsize)
    out_offsets = grid_offsets(*out_size, step[0] * width * channels, step[1] * channels)
    per_group = channels // groups
    padded_bias = np.zeros(groups * -(-per_group // LANES) * LANES, x.dtype)
    if bias is not None:
        padded_bias.reshape(groups, -1)[:, :per_group] = bias.reshape(groups, per_group)
    size = plan.height * plan.width * plan.pixel_step if plan.needs_copy else 0
    space = workspace("direct", get_num_threads(), size + ROWS * LANES, x.dtype)
    tasks = n * groups * -(-out_size[0] // plan.rows)
    correlate_loop(
        tasks, x, x.reshape(-1), taps.y[0], taps.x[0], *stride, *out_size, plan.rows, plan.height, plan.width,
        plan.pixel_step, plan.needs_copy, plan.pixel_offsets, plan.segments, plan.k_blocks, panels, padded_bias, space,
        out.reshape(-1), height * width * channels, (start[0] * width + start[1]) * channels, per_group, out_offsets,
    )  # fmt: skip


def pack_weights(weight: np.ndarray, groups: int, transposed: bool, taps: np.ndarray) -> np.ndarray:
    """Return weights in panels (groups, panels, k, LANES), k running over the taps and, inside, the channels.

    ``transposed`` exchanges outputs and channels, as the gradient of the input needs.
    """
    outputs, depth, kernel_y, kernel_x = weight.shape
    area, outputs = kernel_y * kernel_x, outputs // groups
    out_step, in_step = depth * area, area
    if transposed:
        outputs, depth, out_step, in_step = depth, outputs, in_step, out_step
    panels = empty((groups, -(-outputs // LANES), len(taps) * depth, LANES), weight.dtype)
    flat = np.ascontiguousarray(weight).reshape(-1)
    count, group_step = panels.shape[0] * panels.shape[1], flat.size // groups
    pack_loop(count, flat, group_step, out_step, in_step, taps.astype(np.int64), outputs, depth, panels)
    return panels


# -- loops -------------------------------------------------------------------------------------------------------------


def _pack_weights(begin, end, weight, group_step, out_step, in_step, taps, outputs, depth, panels):
    for task in range(begin, end):
        group, panel = task // panels.shape[1], task % panels.shape[1]
        count = min(LANES, outputs - panel * LANES)
        start = group * group_step + panel * LANES * out_step
        for d in range(depth):
            for t in range(taps.size):
                source = start + d * in_step + taps[t]
                for lane in range(count):
                    panels[group, panel, t * depth + d, lane] = weight[source + lane * out_step]
                for lane in range(count, LANES):
                    panels[group, panel, t * depth + d, lane] = 0


pack_loop = parallel_for(_pack_weights)


def _fill_strip(x, n, channel, top, left, rows, width, depth, strip):
    """Copy ``rows`` rows of ``width`` pixels from (top, left) on into ``strip``, zeros outside the image."""
    height, image_width = x.shape[1], x.shape[2]
    low, high = min(max(-left, 0), width), max(min(image_width - left, width), 0)
    for row in range(rows):
        y, line = top + row, strip[row * width * depth : (row + 1) * width * depth]
        if y < 0 or y >= height or low >= high:
            line[:] = 0
            continue
        line[: low * depth] = 0
        if depth == x.shape[3]:
            copy(x[n, y, left + low : left + high].reshape(-1), line[low * depth : high * depth])
        else:
            for p in range(low, high):
                copy(x[n, y, left + p, channel : channel + depth], line[p * depth : (p + 1) * depth])
        line[high * depth :] = 0


fill_strip = helper(_fill_strip)


def _strip_input(x, flat, n, channel, top, left, rows, width, depth, needs_copy, strip):
    """Return the array that holds the input of a strip, a copy with padding or the image, and the offset in it."""
    if needs_copy:
        fill_strip(x, n, channel, top, left, rows, width, depth, strip)
        return strip, 0
    return flat, ((n * x.shape[1] + top) * x.shape[2] + left) * x.shape[3] + channel


strip_input = helper(_strip_input)


def _prefetch_tile(array, start, offsets, first, count):
    """Prefetch ``count`` elements at each of ROWS offsets."""
    first = min(first, offsets.size - ROWS)
    for i in range(ROWS):
        prefetch(array, start + offsets[first + i], count)


prefetch_tile = helper(_prefetch_tile)


def _correlate(
    thread_id, begin, end, x, flat, tap_y, tap_x, stride_y, stride_x, out_height, out_width, strip_rows, strip_height,
    strip_width, pixel_step, needs_copy, pixel_offsets, segments, k_blocks, panels, bias, space, out, image_step,
    out_start, outputs, out_offsets,
):  # fmt: skip
    """A task is a strip of one group; a tile that is not complete is computed in a buffer, ``corner``."""
    groups, panel_count, depth = panels.shape[:3]
    weights = panels.reshape(-1)
    channels = x.shape[3] // groups
    strips = -(-out_height // strip_rows)
    corner_offsets = np.arange(ROWS) * LANES
    corner = space[thread_id, : ROWS * LANES]
    strip = space[thread_id, ROWS * LANES :]
    edge_offsets = np.empty(ROWS, np.int64)
    for task in range(begin, end):
        n, group, first = task // (groups * strips), task // strips % groups, task % strips * strip_rows
        rows = min(strip_rows, out_height - first)
        height = strip_height - (strip_rows - rows) * stride_y
        top = first * stride_y + tap_y
        source, a_start = strip_input(
            x, flat, n, group * channels, top, tap_x, height, strip_width, channels, needs_copy, strip
        )
        group_start = n * image_step + out_start + group * outputs
        count = rows * out_width
        for step in range(panel_count * k_blocks.shape[0]):
            panel, k_block = step // k_blocks.shape[0], step % k_blocks.shape[0]
            width = min(LANES, outputs - panel * LANES)
            bias_start = (group * panel_count + panel) * LANES
            c_start = group_start + panel * LANES
            segment, segment_count, length, k = k_blocks[k_block]
            b_start = ((group * panel_count + panel) * depth + k) * LANES
            for p in range(0, count, ROWS):
                target = first * out_width + p
                if step == 0 and not needs_copy:
                    prefetch_tile(source, a_start, pixel_offsets, p + PREFETCH_DISTANCE, channels)
                if k_block == 0:
                    prefetch_tile(out, c_start, out_offsets, target + PREFETCH_DISTANCE, LANES)
                if width == LANES and p + ROWS <= count:
                    correlate_tile(
                        source, a_start, pixel_offsets, p, segments, segment, segment_count, length, weights, b_start,
                        bias, bias_start, int(k_block != 0), out, c_start, out_offsets, target,
                    )  # fmt: skip
                    continue
                tile_rows = min(ROWS, count - p)
                for i in range(ROWS):
                    edge_offsets[i] = pixel_offsets[p + min(i, tile_rows - 1)]
                    for j in range(width):
                        corner[i * LANES + j] = out[c_start + out_offsets[target + min(i, tile_rows - 1)] + j]
                correlate_tile(
                    source, a_start, edge_offsets, 0, segments, segment, segment_count, length, weights, b_start,
                    bias, bias_start, int(k_block != 0), corner, 0, corner_offsets, 0,
                )  # fmt: skip
                for i in range(tile_rows):
                    for j in range(width):
                        out[c_start + out_offsets[target + i] + j] = corner[i * LANES + j]


correlate_loop = parallel_for(_correlate, per_thread="space")


def _gradient(
    thread_id, begin, end, x, flat, tap_y, tap_x, stride_y, stride_x, strip_rows, strip_height, strip_width, pixel_step,
    needs_copy, segments, length, grads, flat_grads, panel_tasks, strip_size, space, sums,
):  # fmt: skip
    """A task is some panels of one group over one split of the batch, strip by strip."""
    splits, groups, panels, depth = sums.shape[:4]
    images, out_height, out_width, all_outputs = grads.shape
    outputs, channels = all_outputs // groups, x.shape[3] // groups
    padded, panels_per_task = depth // segments.size, -(-panels // panel_tasks)
    strips = -(-out_height // strip_rows)
    flat_sums = sums.reshape(-1)
    strip, last_panel = space[thread_id, LANES:strip_size], space[thread_id, strip_size:]
    row_step, step = stride_y * strip_width * pixel_step, stride_x * pixel_step
    tiles, tiles_per_segment = depth // ROWS, padded // ROWS
    strip_x, strip_g = flat.size // (images * strips), flat_grads.size // (images * strips)
    for task in range(begin, end):
        split, group, first_panel = (
            task // (groups * panel_tasks), task // panel_tasks % groups, task % panel_tasks * panels_per_task
        )  # fmt: skip
        end_panel = min(first_panel + panels_per_task, panels)
        sums[split, group, first_panel:end_panel] = 0
        steps = (end_panel - first_panel) * tiles
        step_x, step_g = -(-strip_x // steps), -(-strip_g // steps)
        for item in range(split * images // splits * strips, (split + 1) * images // splits * strips):
            n, first = item // strips, item % strips * strip_rows
            rows = min(strip_rows, out_height - first)
            height = strip_height - (strip_rows - rows) * stride_y
            top = first * stride_y + tap_y
            source, start = strip_input(
                x, flat, n, group * channels, top, tap_x, height, strip_width, channels, needs_copy, strip
            )
            for panel in range(first_panel, end_panel):
                pixel = (n * out_height + first) * out_width
                if (panel + 1) * LANES <= outputs:
                    right, right_start, right_step = flat_grads, pixel * all_outputs, all_outputs
                    right_start += group * outputs + panel * LANES
                else:
                    first_output = group * outputs + panel * LANES
                    pad_panel(grads, n, first, rows, first_output, outputs - panel * LANES, last_panel)
                    right, right_start, right_step = last_panel, 0, LANES
                target = ((split * groups + group) * panels + panel) * depth * LANES
                for tile in range(tiles):
                    if groups == 1:  # prefetch the next strip, a little at each tile
                        part = (panel - first_panel) * tiles + tile
                        prefetch(flat, (item + 1) * strip_x + part * step_x, step_x)
                        prefetch(flat_grads, (item + 1) * strip_g + part * step_g, step_g)
                    left_start = start + segments[tile // tiles_per_segment]
                    left_start += min(tile % tiles_per_segment * ROWS, length - ROWS)
                    outer_tile(
                        source, left_start, row_step, step, right, right_start, out_width * right_step, right_step,
                        rows, out_width, flat_sums, target + tile * ROWS * LANES, LANES,
                    )  # fmt: skip


def _pad_panel(grads, n, first, rows, output, count, panel):
    """Copy the last, incomplete panel of output gradients, with zeros for the missing outputs."""
    position = 0
    for y in range(first, first + rows):
        for x in range(grads.shape[2]):
            for lane in range(LANES):
                panel[position + lane] = grads[n, y, x, output + lane] if lane < count else 0
            position += LANES


pad_panel = helper(_pad_panel)
gradient_loop = parallel_for(_gradient, per_thread="space")


def _add_splits(begin, end, sums, sum_rows, out):
    """Add the splits in order; a task is a panel of outputs."""
    splits, _, panels = sums.shape[:3]
    outputs, depth, taps = out.shape[1:]
    for task in range(begin, end):
        group, panel = task // panels, task % panels
        first = panel * LANES
        for c in range(depth):
            for t in range(taps):
                row = sum_rows[t, c]
                for lane in range(min(LANES, outputs - first)):
                    total = sums[0, group, panel, row, lane]
                    for split in range(1, splits):
                        total += sums[split, group, panel, row, lane]
                    out[group, first + lane, c, t] = total


add_splits_loop = parallel_for(_add_splits)
