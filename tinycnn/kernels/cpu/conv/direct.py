"""The direct convolution: no columns; the micro-kernel reads pixels where they lie, channels last.

One task of :func:`correlate_into` makes a band of output rows of one image. It copies the input rows that the band
needs, with their padding of zeros, into a buffer that stays in the cache::

    band      (rows + halo) x (width + padding) pixels of C channels       offset of a pixel = (y * width + x) * C
    weights   panels of LANES output channels                              [panel][k][lane]

The inner dimension k runs over pieces: the kernel's taps that are neighbours in the band make one contiguous run of
``kernel width * C`` numbers, cut so that ``BLOCK_K`` rows of a panel stay in the first-level cache. For each panel
and each piece, the micro-kernel takes ROWS pixels at a time, wherever they lie, by a table of offsets; meanwhile the
caches get the pixels and the outputs that come ``AHEAD`` of them.

Gradient of the input: a correlation again, see :func:`phases`. Gradient of the weight: for each tap, a sum of outer
products of the band's channels and the output gradient's channels over all pixels of the batch.

Bands and splits depend on shapes alone: the same bits for any number of threads.
"""

from __future__ import annotations

from functools import lru_cache
from typing import NamedTuple

import numpy as np

from tinycnn.kernels.cpu.machine.allocator import empty, workspace, zeros
from tinycnn.kernels.cpu.machine.nhwc import AHEAD, copy, from_pixels, to_pixels
from tinycnn.kernels.cpu.machine.parallel import inline, jit
from tinycnn.kernels.cpu.machine.settings import get_num_threads
from tinycnn.kernels.cpu.machine.simd import LANES, ROWS, correlate_tile, outer_tile, prefetch

BLOCK_K = 256
BAND_BYTES = 192 * 1024
TILE_PIXELS = 96
MAX_PARTS = 2**20

Size = tuple[int, int]


class Taps(NamedTuple):
    """Where the taps of a kernel lie: input position = stride * output position + offset, along each axis."""

    y: tuple[int, ...]
    x: tuple[int, ...]


class Bands(NamedTuple):
    """How the output of a correlation is cut into bands, and where everything lies in them."""

    rows: int
    width: int
    height: int
    pixel_step: int
    needs_copy: bool
    pixels: np.ndarray
    pieces: np.ndarray
    chunks: np.ndarray


def conv2d(
    x: np.ndarray,
    weight: np.ndarray,
    bias: np.ndarray | None,
    stride: Size,
    padding: Size,
    dilation: Size,
    groups: int,
) -> np.ndarray:
    """Images (N, C, H, W) and weights (O, C / groups, kH, kW) to (N, O, H_out, W_out)."""
    pixels = to_pixels(x)
    kernel = weight.shape[2:]
    grid = tuple(output_size(*sizes) for sizes in zip(x.shape[2:], kernel, stride, padding, dilation))
    out = empty((x.shape[0], *grid, weight.shape[0]), x.dtype)
    panels = pack_weights(weight, groups, False, np.arange(kernel[0] * kernel[1]))
    correlate_into(out, (0, 0), (1, 1), pixels, panels, kernel_taps(kernel, padding, dilation), stride, bias, groups)
    return from_pixels(out)


def conv2d_backward_input(
    grad: np.ndarray,
    weight: np.ndarray,
    input_shape: tuple[int, ...],
    stride: Size,
    padding: Size,
    dilation: Size,
    groups: int,
) -> np.ndarray:
    """Gradient with respect to the input: for each phase of the stride, a correlation with the taps that reach it."""
    pixels = to_pixels(grad)
    n, c, height, width = input_shape
    kernel = weight.shape[2:]
    phases_y = phases(height, kernel[0], stride[0], padding[0], dilation[0])
    phases_x = phases(width, kernel[1], stride[1], padding[1], dilation[1])
    whole = len(phases_y) == min(stride[0], height) and len(phases_x) == min(stride[1], width)
    out = (empty if whole else zeros)((n, height, width, c), grad.dtype)
    for start_y, taps_y in phases_y:
        for start_x, taps_x in phases_x:
            chosen = np.array([ty * kernel[1] + tx for ty, _ in taps_y for tx, _ in taps_x])
            panels = pack_weights(weight, groups, True, chosen)
            taps = Taps(tuple(at for _, at in taps_y), tuple(at for _, at in taps_x))
            correlate_into(out, (start_y, start_x), stride, pixels, panels, taps, (1, 1), None, groups)
    return from_pixels(out)


def conv2d_backward_weight(
    grad: np.ndarray,
    x: np.ndarray,
    weight_shape: tuple[int, ...],
    stride: Size,
    padding: Size,
    dilation: Size,
    groups: int,
) -> np.ndarray:
    """Gradient with respect to the weight: outer products of output gradients and pixels, summed over the batch."""
    pixels, grads = to_pixels(x), to_pixels(grad)
    if not x.size or 0 in weight_shape:
        return zeros(weight_shape, x.dtype)
    out = empty(weight_shape, x.dtype)
    outputs, depth = weight_shape[0] // groups, weight_shape[1]
    taps = kernel_taps(weight_shape[2:], padding, dilation)
    grid = grads.shape[1:3]
    rows = max(1, TILE_PIXELS // grid[1])
    plan = _plan(pixels.shape[1:], groups, grid, taps, stride, x.itemsize, rows, depth < ROWS)
    starts, length = _runs(taps, plan.width, plan.pixel_step, depth)
    padded = -(-length // ROWS) * ROWS
    panels = -(-outputs // LANES)
    splits = max(1, min(x.shape[0], 8, MAX_PARTS // out.size))
    shares = min(panels, -(-8 // (splits * groups)))
    parts = empty((splits, groups, panels, len(starts) * padded, LANES), x.dtype)
    band = LANES + plan.height * plan.width * plan.pixel_step + ROWS  # a tile of a short run begins before its run
    size = band + -(-panels // shares) * LANES * plan.rows * grid[1]
    space = workspace("gradient", get_num_threads(), size, x.dtype)
    gradient_loop(
        splits * groups * shares, pixels, pixels.reshape(-1), taps.y[0], taps.x[0], *stride, plan.rows, plan.height,
        plan.width, plan.pixel_step, plan.needs_copy, np.array(starts, np.int64), length, grads, grads.reshape(-1),
        shares, band, space, parts,
    )  # fmt: skip
    places = places_of_taps(len(taps.y) * len(taps.x), len(starts), depth)
    sum_parts_loop(groups * panels, parts, places, out.reshape(groups, outputs, depth, -1))
    return out


@lru_cache(maxsize=512)
def places_of_taps(taps: int, runs: int, depth: int) -> np.ndarray:
    """Where k = (tap, channel) lies among the padded rows: the last ROWS of a run lie at the end of its padding."""
    together = taps // runs
    length = together * depth
    padded = -(-length // ROWS) * ROWS
    k = np.arange(length)
    inside = np.where(k < padded - ROWS, k, k + padded - length)
    return (np.arange(runs)[:, None] * padded + inside).reshape(taps, depth)


def output_size(size: int, kernel: int, stride: int, padding: int, dilation: int) -> int:
    """Positions of a kernel along one axis."""
    return (size + 2 * padding - dilation * (kernel - 1) - 1) // stride + 1


def kernel_taps(kernel: tuple[int, ...], padding: Size, dilation: Size) -> Taps:
    """The taps of a forward convolution."""
    return Taps(*(tuple(t * d - p for t in range(k)) for k, d, p in zip(kernel, dilation, padding)))


def phases(size: int, kernel: int, stride: int, padding: int, dilation: int) -> list[tuple[int, list[Size]]]:
    """For each remainder r of the input position modulo the stride: the taps that reach it, in rising order of place.

    Input r + stride i was read by tap t of output i + (r + padding - t dilation) / stride, where that is whole. So each
    remainder is a correlation of stride 1 of its own, and nothing is multiplied by zeros between the gradients.
    """
    found = []
    for remainder in range(min(stride, size)):
        reach = [(t, remainder + padding - t * dilation) for t in range(kernel)]
        taps = [(t, at // stride) for t, at in reversed(reach) if at % stride == 0]
        if taps:
            found.append((remainder, taps))
    return found


# -- the plan of a correlation -----------------------------------------------------------------------------------------


def correlate_into(out, start, step, x, panels, taps, stride, bias, groups):
    """Write a correlation of x (N, H, W, C) into ``out[:, start_y::step_y, start_x::step_x]``."""
    n, height, width, channels = out.shape
    grid = (-(-(height - start[0]) // step[0]), -(-(width - start[1]) // step[1]))
    if not n or not channels:
        return
    plan = _plan(x.shape[1:], groups, grid, taps, stride, x.itemsize)
    places = _places(*grid, step[0] * width * channels, step[1] * channels)
    per_group = channels // groups
    shift = np.zeros(groups * -(-per_group // LANES) * LANES, x.dtype)
    if bias is not None:
        shift.reshape(groups, -1)[:, :per_group] = bias.reshape(groups, per_group)
    size = plan.height * plan.width * plan.pixel_step if plan.needs_copy else 0
    space = workspace("direct", get_num_threads(), size + ROWS * LANES, x.dtype)
    tasks = n * groups * -(-grid[0] // plan.rows)
    correlate_loop(
        tasks, x, x.reshape(-1), taps.y[0], taps.x[0], *stride, *grid, plan.rows, plan.height, plan.width,
        plan.pixel_step, plan.needs_copy, plan.pixels, plan.pieces, plan.chunks, panels, shift, space, out.reshape(-1),
        height * width * channels, (start[0] * width + start[1]) * channels, per_group, places,
    )  # fmt: skip


@lru_cache(maxsize=512)
def _plan(
    shape: tuple[int, int, int],
    groups: int,
    grid: Size,
    taps: Taps,
    stride: Size,
    itemsize: int,
    most_rows: int | None = None,
    copy: bool = False,
) -> Bands:
    """Cut a correlation of images (H, W, C) into bands."""
    height, width, channels = shape
    depth = channels // groups
    last = [s * (g - 1) + t[-1] for s, g, t in zip(stride, grid, taps)]
    needs_copy = copy or min(taps.y[0], taps.x[0]) < 0 or last[0] >= height or last[1] >= width
    band_width = last[1] - taps.x[0] + 1 if needs_copy else width
    step = depth if needs_copy else channels
    halo = taps.y[-1] - taps.y[0]
    room = max(1, BAND_BYTES // (band_width * step * itemsize))
    rows = min(grid[0], most_rows or max(1, (room - halo - 1) // stride[0] + 1))
    rows = -(-grid[0] // -(-grid[0] // rows))
    band_height = (rows - 1) * stride[0] + halo + 1
    pixels = _places(rows, grid[1], stride[0] * band_width * step, stride[1] * step)
    pieces, chunks = _pieces(*_runs(taps, band_width, step, depth))
    return Bands(rows, band_width, band_height, step, needs_copy, pixels, pieces, chunks)


@lru_cache(maxsize=512)
def _places(rows: int, columns: int, row_step: int, column_step: int) -> np.ndarray:
    """Offsets of pixels row by row; the last is repeated so that a tile of ROWS may start at any of them."""
    places = (np.arange(rows)[:, None] * row_step + np.arange(columns) * column_step).reshape(-1)
    return np.concatenate([places, np.repeat(places[-1:], ROWS)])


def _runs(taps: Taps, width: int, step: int, depth: int) -> tuple[list[int], int]:
    """Offsets of the contiguous runs along k, and their length: a row of neighbouring taps, or each tap alone."""
    starts = [((y - taps.y[0]) * width + x - taps.x[0]) * step for y in taps.y for x in taps.x]
    if step == depth and all(b - a == 1 for a, b in zip(taps.x, taps.x[1:])):
        return starts[:: len(taps.x)], depth * len(taps.x)
    return starts, depth


def _pieces(starts: list[int], length: int) -> tuple[np.ndarray, np.ndarray]:
    """Cut runs into pieces of at most BLOCK_K, and chunks of them: first piece, how many, length of each, first k."""
    cut = -(-length // -(-length // BLOCK_K))
    together = max(1, BLOCK_K // length)
    pieces: list[int] = []
    chunks = []
    for i, start in enumerate(starts):
        for part in range(0, length, cut):
            if cut < length or i % together == 0:
                chunks.append([len(pieces), 0, min(cut, length - part), i * length + part])
            pieces.append(start + part)
            chunks[-1][1] += 1
    return np.array(pieces, np.int64), np.array(chunks, np.int64).reshape(-1, 4)


def pack_weights(weight: np.ndarray, groups: int, transposed: bool, taps: np.ndarray) -> np.ndarray:
    """Weights in panels (groups, panel, k, LANES), k running over the taps and, inside, the channels.

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
                at = start + d * in_step + taps[t]
                for lane in range(count):
                    panels[group, panel, t * depth + d, lane] = weight[at + lane * out_step]
                for lane in range(count, LANES):
                    panels[group, panel, t * depth + d, lane] = 0


pack_loop = jit(_pack_weights)


def _fill_band(x, n, channel, top, left, rows, width, depth, band):
    """Copy ``rows`` rows of ``width`` pixels from (top, left) on, zeros where the image ends."""
    height, image_width = x.shape[1], x.shape[2]
    low, high = min(max(-left, 0), width), max(min(image_width - left, width), 0)
    for row in range(rows):
        y, line = top + row, band[row * width * depth : (row + 1) * width * depth]
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


fill_band = inline(_fill_band)


def _band_of(x, flat, n, channel, top, left, rows, width, depth, needs_copy, band):
    """The array in which the input of a band of output rows lies, and where: a copy with padding, or the image."""
    if needs_copy:
        fill_band(x, n, channel, top, left, rows, width, depth, band)
        return band, 0
    return flat, ((n * x.shape[1] + top) * x.shape[2] + left) * x.shape[3] + channel


band_of = inline(_band_of)


def _fetch(array, start, places, first, count):
    """Ask the caches for ``count`` numbers at each of ROWS places."""
    first = min(first, places.size - ROWS)
    for i in range(ROWS):
        prefetch(array, start + places[first + i], count)


fetch = inline(_fetch)


def _correlate(
    lane, begin, end, x, flat, tap_y, tap_x, stride_y, stride_x, grid_y, grid_x, band_rows, band_height, band_width,
    pixel_step, needs_copy, pixels, pieces, chunks, panels, bias, space, out, image_step, out_start, outputs, places,
):  # fmt: skip
    groups, panel_count, depth = panels.shape[:3]
    weights = panels.reshape(-1)
    channels = x.shape[3] // groups
    bands = -(-grid_y // band_rows)
    corner_at = np.arange(ROWS) * LANES
    corner = space[lane, : ROWS * LANES]
    band = space[lane, ROWS * LANES :]
    edge = np.empty(ROWS, np.int64)
    for task in range(begin, end):
        n, group, first = task // (groups * bands), task // bands % groups, task % bands * band_rows
        rows = min(band_rows, grid_y - first)
        height = band_height - (band_rows - rows) * stride_y
        top = first * stride_y + tap_y
        source, a_start = band_of(
            x, flat, n, group * channels, top, tap_x, height, band_width, channels, needs_copy, band
        )
        target = n * image_step + out_start + group * outputs
        count = rows * grid_x
        for part in range(panel_count * chunks.shape[0]):
            panel, chunk = part // chunks.shape[0], part % chunks.shape[0]
            width = min(LANES, outputs - panel * LANES)
            bias_start = (group * panel_count + panel) * LANES
            c_start = target + panel * LANES
            piece, runs, length, k = chunks[chunk]
            b_start = ((group * panel_count + panel) * depth + k) * LANES
            for p in range(0, count, ROWS):
                at = first * grid_x + p
                if part == 0 and not needs_copy:
                    fetch(source, a_start, pixels, p + AHEAD, channels)
                if chunk == 0:
                    fetch(out, c_start, places, at + AHEAD, LANES)
                if width == LANES and p + ROWS <= count:
                    correlate_tile(
                        source, a_start, pixels, p, pieces, piece, runs, length, weights, b_start,
                        bias, bias_start, int(chunk == 0), out, c_start, places, at,
                    )  # fmt: skip
                    continue
                height = min(ROWS, count - p)
                for i in range(ROWS):
                    edge[i] = pixels[p + min(i, height - 1)]
                    for j in range(width):
                        corner[i * LANES + j] = out[c_start + places[at + min(i, height - 1)] + j]
                correlate_tile(
                    source, a_start, edge, 0, pieces, piece, runs, length, weights, b_start,
                    bias, bias_start, int(chunk == 0), corner, 0, corner_at, 0,
                )  # fmt: skip
                for i in range(height):
                    for j in range(width):
                        out[c_start + places[at + i] + j] = corner[i * LANES + j]


correlate_loop = jit(_correlate, per_thread="space")


def _gradient(
    lane, begin, end, x, flat, tap_y, tap_x, stride_y, stride_x, band_rows, band_height, band_width, pixel_step,
    needs_copy, runs, length, grads, flat_grads, shares, band_size, space, parts,
):  # fmt: skip
    splits, groups, panels, depth = parts.shape[:4]
    images, grid_y, grid_x, all_outputs = grads.shape
    outputs, channels = all_outputs // groups, x.shape[3] // groups
    padded, share = depth // runs.size, -(-panels // shares)
    bands = -(-grid_y // band_rows)
    sums = parts.reshape(-1)
    band, columns = space[lane, LANES:band_size], space[lane, band_size:]
    row_step, step = stride_y * band_width * pixel_step, stride_x * pixel_step
    tiles, per_run = depth // ROWS, padded // ROWS
    band_x, band_g = flat.size // (images * bands), flat_grads.size // (images * bands)
    for task in range(begin, end):
        split, group, first_panel = task // (groups * shares), task // shares % groups, task % shares * share
        last_panel = min(first_panel + share, panels)
        parts[split, group, first_panel:last_panel] = 0
        parts_of_band = (last_panel - first_panel) * tiles
        part_x, part_g = -(-band_x // parts_of_band), -(-band_g // parts_of_band)
        for item in range(split * images // splits * bands, (split + 1) * images // splits * bands):
            n, first = item // bands, item % bands * band_rows
            rows = min(band_rows, grid_y - first)
            height = band_height - (band_rows - rows) * stride_y
            top = first * stride_y + tap_y
            source, start = band_of(
                x, flat, n, group * channels, top, tap_x, height, band_width, channels, needs_copy, band
            )
            for panel in range(first_panel, last_panel):
                pixel = (n * grid_y + first) * grid_x
                if (panel + 1) * LANES <= outputs:
                    right, right_start, right_step = flat_grads, pixel * all_outputs, all_outputs
                    right_start += group * outputs + panel * LANES
                else:
                    first_output = group * outputs + panel * LANES
                    take_lanes(grads, n, first, rows, first_output, outputs - panel * LANES, columns)
                    right, right_start, right_step = columns, 0, LANES
                target = ((split * groups + group) * panels + panel) * depth * LANES
                for tile in range(tiles):
                    if groups == 1:  # what the next band will need
                        part = (panel - first_panel) * tiles + tile
                        prefetch(flat, (item + 1) * band_x + part * part_x, part_x)
                        prefetch(flat_grads, (item + 1) * band_g + part * part_g, part_g)
                    left_start = start + runs[tile // per_run] + min(tile % per_run * ROWS, length - ROWS)
                    outer_tile(
                        source, left_start, row_step, step, right, right_start, grid_x * right_step, right_step,
                        rows, grid_x, sums, target + tile * ROWS * LANES, LANES,
                    )  # fmt: skip


def _take_lanes(grads, n, first, rows, output, count, columns):
    """The last, incomplete panel of output gradients, filled up with zeros."""
    at = 0
    for y in range(first, first + rows):
        for x in range(grads.shape[2]):
            for lane in range(LANES):
                columns[at + lane] = grads[n, y, x, output + lane] if lane < count else 0
            at += LANES


take_lanes = inline(_take_lanes)
gradient_loop = jit(_gradient, per_thread="space")


def _sum_parts(begin, end, parts, places, out):
    """Add the parts in order, a panel of outputs at a time: they are read as they lie."""
    splits, _, panels = parts.shape[:3]
    outputs, depth, taps = out.shape[1:]
    for task in range(begin, end):
        group, panel = task // panels, task % panels
        first = panel * LANES
        for c in range(depth):
            for t in range(taps):
                row = places[t, c]
                for lane in range(min(LANES, outputs - first)):
                    total = parts[0, group, panel, row, lane]
                    for split in range(1, splits):
                        total += parts[split, group, panel, row, lane]
                    out[group, first + lane, c, t] = total


sum_parts_loop = jit(_sum_parts)
