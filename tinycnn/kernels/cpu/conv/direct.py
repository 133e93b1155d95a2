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
    CORRELATION,
    GRADIENT,
    Correlation,
    plan_backward_input,
    plan_backward_weight,
    plan_forward,
)
from tinycnn.kernels.cpu.machine.allocator import empty, zeros
from tinycnn.kernels.cpu.machine.nhwc import as_nchw, copy, to_nhwc
from tinycnn.kernels.cpu.machine.parallel import helper, parallel_for
from tinycnn.kernels.cpu.machine.scratch import workspace
from tinycnn.kernels.cpu.machine.settings import get_num_threads
from tinycnn.kernels.cpu.machine.simd import LANES, ROWS, correlate_tile, outer_tile, prefetch
from tinycnn.kernels.cpu.machine.tuning import PREFETCH_DISTANCE
from tinycnn.kernels.geometry import ConvShape


def conv2d(x: np.ndarray, weight: np.ndarray, bias: np.ndarray | None, shape: ConvShape) -> np.ndarray:
    """Correlate the images and the weights."""
    n, outputs, height, width = shape.output
    out = empty((n, height, width, outputs), x.dtype)
    correlate_into(out, to_nhwc(x), weight, False, bias, plan_forward(shape, x.itemsize))
    return as_nchw(out)


def conv2d_backward_input(grad: np.ndarray, weight: np.ndarray, shape: ConvShape) -> np.ndarray:
    """Correlate, for each phase of the stride, the gradients and the taps that reach it."""
    pixels = to_nhwc(grad)
    n, channels, height, width = shape.input
    correlations, complete = plan_backward_input(shape, grad.itemsize)
    out = (empty if complete else zeros)((n, height, width, channels), grad.dtype)
    for plan in correlations:
        correlate_into(out, pixels, weight, True, None, plan)
    return as_nchw(out)


def conv2d_backward_weight(grad: np.ndarray, x: np.ndarray, shape: ConvShape) -> np.ndarray:
    """Add outer products of output gradients and pixels over the batch."""
    pixels, grads = to_nhwc(x), to_nhwc(grad)
    if not x.size:
        return zeros(shape.weight, x.dtype)
    plan, out = plan_backward_weight(shape, x.itemsize), empty(shape.weight, x.dtype)
    sums = empty(plan.sums, x.dtype)
    space = workspace("gradient", get_num_threads(), plan.space, x.dtype)
    gradient_loop(plan.tasks, pixels, grads, plan.numbers, plan.segments, space, sums)
    groups, panels = plan.sums[1:3]
    by_group = out.reshape(groups, shape.weight[0] // groups, shape.weight[1], -1)
    add_splits_loop(groups * panels, sums, plan.sum_rows, by_group)
    return out


def correlate_into(
    out: np.ndarray, x: np.ndarray, weight: np.ndarray, transposed: bool, bias: np.ndarray | None, plan: Correlation
) -> None:
    """Write the correlation of x (N, H, W, C) that is planned into ``out``."""
    if not plan.tasks:
        return
    panels = pack_weights(weight, plan.groups, transposed, plan.taps)
    per_group = out.shape[3] // plan.groups
    padded_bias = np.zeros(panels.shape[0] * panels.shape[1] * LANES, x.dtype)
    if bias is not None:
        padded_bias.reshape(plan.groups, -1)[:, :per_group] = bias.reshape(plan.groups, per_group)
    space = workspace("direct", get_num_threads(), plan.space, x.dtype)
    correlate_loop(
        plan.tasks, x, plan.numbers, plan.pixel_offsets, plan.segments, plan.k_blocks, panels, padded_bias, space,
        out.reshape(-1), plan.out_offsets,
    )  # fmt: skip


def pack_weights(weight: np.ndarray, groups: int, transposed: bool, taps: np.ndarray) -> np.ndarray:
    """Return weights in panels (groups, panels, k, LANES), k running over the taps and, inside, the channels.

    ``transposed`` exchanges outputs and channels, as the gradient of the input needs.
    """
    outputs, depth = weight.shape[0] // groups, weight.shape[1]
    if transposed:
        outputs, depth = depth, outputs
    panels = empty((groups, -(-outputs // LANES), len(taps) * depth, LANES), weight.dtype)
    pack_loop(panels.shape[0] * panels.shape[1], np.ascontiguousarray(weight), transposed, taps, panels)
    return panels


# -- loops -------------------------------------------------------------------------------------------------------------


def _pack_weights(begin, end, weight, transposed, taps, panels):
    area = weight.shape[2] * weight.shape[3]
    outputs, depth = weight.shape[0] // panels.shape[0], weight.shape[1]
    out_step, in_step, group_step = depth * area, area, outputs * depth * area
    if transposed:
        outputs, depth, out_step, in_step = depth, outputs, in_step, out_step
    flat = weight.reshape(-1)
    for task in range(begin, end):
        group, panel = task // panels.shape[1], task % panels.shape[1]
        count = min(LANES, outputs - panel * LANES)
        start = group * group_step + panel * LANES * out_step
        for d in range(depth):
            for t in range(taps.size):
                source = start + d * in_step + taps[t]
                for lane in range(count):
                    panels[group, panel, t * depth + d, lane] = flat[source + lane * out_step]
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
    thread_id, begin, end, x, numbers, pixel_offsets, segments, k_blocks, panels, bias, space, out, out_offsets
):
    """A task is a strip of one group; a tile that is not complete is computed in a buffer, ``corner``."""
    tap_y, tap_x, stride_y = numbers[CORRELATION.tap_y], numbers[CORRELATION.tap_x], numbers[CORRELATION.stride_y]
    strip_rows, strip_height = numbers[CORRELATION.rows], numbers[CORRELATION.height]
    strip_width, needs_copy = numbers[CORRELATION.width], numbers[CORRELATION.needs_copy] != 0
    out_height, out_width = numbers[CORRELATION.out_height], numbers[CORRELATION.out_width]
    image_step, out_start = numbers[CORRELATION.image_step], numbers[CORRELATION.first]
    outputs = numbers[CORRELATION.outputs]
    groups, panel_count, depth = panels.shape[:3]
    weights, flat = panels.reshape(-1), x.reshape(-1)
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


def _gradient(thread_id, begin, end, x, grads, numbers, segments, space, sums):
    """A task is some panels of one group over one split of the batch, strip by strip."""
    tap_y, tap_x = numbers[GRADIENT.tap_y], numbers[GRADIENT.tap_x]
    stride_y, stride_x = numbers[GRADIENT.stride_y], numbers[GRADIENT.stride_x]
    strip_rows, strip_height, strip_width = numbers[GRADIENT.rows], numbers[GRADIENT.height], numbers[GRADIENT.width]
    pixel_step, needs_copy = numbers[GRADIENT.pixel_step], numbers[GRADIENT.needs_copy] != 0
    length, panel_tasks = numbers[GRADIENT.length], numbers[GRADIENT.panel_tasks]
    strip_size = numbers[GRADIENT.strip_size]
    flat, flat_grads = x.reshape(-1), grads.reshape(-1)
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
