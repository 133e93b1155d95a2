"""Convolution as a matrix product: im2col, a tile at a time.

Every output pixel is the inner product of a row of weights with the patch of the image under the kernel. Written as
columns, the patches of all pixels make a matrix (im2col), and the convolution is one matrix product::

    out (O, pixels) = weight (O, C * taps) @ columns (C * taps, pixels)

A tap is one position of the kernel. The whole matrix would repeat each image kernel-area times, gigabytes for VGG, so
only a tile of it (``BLOCK_K`` rows, ``PIXELS`` pixels) exists at any time, written straight into the panels that the
micro-kernel reads.

The gradient with respect to the input is a correlation again: pixel (y, x) of the input gathers from every output that
saw it. With stride s those differ by the remainder of (y, x) modulo s, so each of the s * s phases is a correlation of
stride 1 with the taps that reach it; nothing is multiplied by the zeros between. The gradient with respect to the
weight is the product of output gradients and columns over all pixels of the batch.

Block sizes and the split of the batch depend on shapes alone: the same bits for any number of threads.
"""

from __future__ import annotations

import numpy as np
from numba import prange

from tinycnn.kernels.cpu._jit import carray, inline, jit
from tinycnn.kernels.cpu.gemm import BLOCK_K, multiply_panels, pack, threads, workspace
from tinycnn.kernels.cpu.microkernel import DOT_A, DOT_B, LANES, ROWS, dot_lanes, dot_tile

PIXELS = 16 * LANES
DOT_ROWS, DOT_PIXELS = 72, 2048

Size = tuple[int, int]


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
    x, weight = carray(x), carray(weight)
    kernel = weight.shape[2:]
    grid = tuple(_out_size(*sizes) for sizes in zip(x.shape[2:], kernel, stride, padding, dilation))
    out = np.empty((x.shape[0], weight.shape[0], *grid), x.dtype)
    taps = [[t * d - p for t in range(k)] for k, d, p in zip(kernel, dilation, padding)]
    rows = weight.reshape(groups, weight.shape[0] // groups, -1)
    _correlate_into(out, (0, 0), (1, 1), x, rows, _tap_table(*taps), stride, bias)
    return out


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
    grad = carray(grad)
    out = np.zeros(input_shape, grad.dtype)
    per_group = weight.reshape(groups, -1, *weight.shape[1:])
    for phase_y, taps_y in _phases(input_shape[2], weight.shape[2], stride[0], padding[0], dilation[0]):
        for phase_x, taps_x in _phases(input_shape[3], weight.shape[3], stride[1], padding[1], dilation[1]):
            chosen = per_group[:, :, :, [t for t, _ in taps_y]][..., [t for t, _ in taps_x]]
            rows = np.ascontiguousarray(chosen.transpose(0, 2, 1, 3, 4)).reshape(groups, weight.shape[1], -1)
            table = _tap_table([at for _, at in taps_y], [at for _, at in taps_x])
            _correlate_into(out, (phase_y, phase_x), stride, grad, rows, table, (1, 1), None)
    return out


def conv2d_backward_weight(
    grad: np.ndarray,
    x: np.ndarray,
    weight_shape: tuple[int, ...],
    stride: Size,
    padding: Size,
    dilation: Size,
    groups: int,
) -> np.ndarray:
    """Gradient with respect to the weight: output gradients times columns, summed over all pixels of the batch."""
    grad, x = carray(grad), carray(x)
    per_group, depth = weight_shape[0] // groups, int(np.prod(weight_shape[1:]))
    positions = x.shape[0] * grad.shape[2] * grad.shape[3]
    blocks = -(-depth // DOT_ROWS) * groups
    splits = max(1, min(-(-16 // max(blocks, 1)), -(-positions // DOT_PIXELS)))
    parts = np.zeros((splits, groups, per_group, depth), x.dtype)
    taps = _tap_table(*([t * d - p for t in range(k)] for k, d, p in zip(weight_shape[2:], dilation, padding)))
    size = (DOT_ROWS + DOT_A) * DOT_PIXELS + DOT_A * DOT_B
    space = workspace("conv2d_backward_weight", threads(), size, x.dtype)
    lanes = dot_lanes(x.dtype)
    weight_loop(_planes(x), *x.shape[2:], _planes(grad), grad.shape[3], taps, *stride, lanes, space, parts)
    return parts.sum(axis=0).reshape(weight_shape)


def conv2d_backward_bias(grad: np.ndarray) -> np.ndarray:
    """Gradient with respect to the bias: the sum over images and pixels."""
    return _planes(grad).sum(axis=2).sum(axis=0)


def _planes(images: np.ndarray) -> np.ndarray:
    """(N, C, H, W) as (N, C, H W), also for an empty batch."""
    return images.reshape(*images.shape[:2], images.shape[2] * images.shape[3])


def _out_size(size: int, kernel: int, stride: int, padding: int, dilation: int) -> int:
    return (size + 2 * padding - dilation * (kernel - 1) - 1) // stride + 1


def _tap_table(offsets_y: list[int], offsets_x: list[int]) -> np.ndarray:
    """Offsets (y, x) of all taps, row by row: input position = stride * output position + offset."""
    return np.array([(y, x) for y in offsets_y for x in offsets_x], np.int64).reshape(-1, 2)


def _phases(size: int, kernel: int, stride: int, padding: int, dilation: int) -> list[tuple[int, list[Size]]]:
    """For each remainder r of the input position: the taps that reach it, each with the output it comes from.

    Input r + stride i was read by tap t of output i + (r + padding - t dilation) / stride, where that is whole.
    """
    phases = []
    for remainder in range(min(stride, size)):
        reach = [(t, remainder + padding - t * dilation) for t in range(kernel)]
        taps = [(t, at // stride) for t, at in reach if at % stride == 0]
        if taps:
            phases.append((remainder, taps))
    return phases


def _correlate_into(out, start, step, x, rows, taps, stride, bias):
    """Write a correlation into ``out[:, :, start::step]``: rows (groups, outputs, channels * taps)."""
    groups, outputs, depth = rows.shape
    panels = np.empty((groups, -(-outputs // ROWS) * ROWS * depth), x.dtype)
    pack_loop(rows.astype(x.dtype, copy=False), panels)
    if bias is None:
        bias = np.zeros(out.shape[1], x.dtype)
    tile_rows = -(-outputs // ROWS) * ROWS
    space = workspace("conv2d", threads(), (BLOCK_K + tile_rows) * PIXELS, x.dtype)
    correlate_loop(
        _planes(x), *x.shape[2:], panels, outputs, depth, taps, *stride, carray(bias), space,
        _planes(out), *out.shape[2:], *start, *step,
    )  # fmt: skip


def _pack_weights(rows, panels):
    """Weights of every group in panels, one block of ``BLOCK_K`` columns after another."""
    groups, outputs, depth = rows.shape
    tall = -(-outputs // ROWS) * ROWS
    for group in prange(groups):
        for start in range(0, depth, BLOCK_K):
            k = min(BLOCK_K, depth - start)
            pack(rows[group], False, 0, outputs, start, k, ROWS, panels[group, tall * start :])


pack_loop = jit(_pack_weights)


def _fill_panels(image, height, width, channel, taps, start, depth, first, pixels, grid_x, stride_y, stride_x, panels):
    """Rows ``start`` to ``start + depth`` of im2col for ``pixels`` pixels from ``first``, in panels of LANES pixels."""
    base_y, base_x = np.empty(LANES, np.int64), np.empty(LANES, np.int64)
    for panel in range(-(-pixels // LANES)):
        count = min(LANES, pixels - panel * LANES)
        for lane in range(LANES):
            pixel = first + panel * LANES + min(lane, count - 1)
            base_y[lane] = pixel // grid_x * stride_y
            base_x[lane] = pixel % grid_x * stride_x
        one_run = count == LANES and stride_x == 1 and base_y[0] == base_y[LANES - 1]
        c, tap = channel + start // taps.shape[0], start % taps.shape[0]
        for k in range(depth):
            shift_y, shift_x = taps[tap, 0], taps[tap, 1]
            at = (panel * depth + k) * LANES
            y, left = base_y[0] + shift_y, base_x[0] + shift_x
            if one_run and 0 <= y < height and left >= 0 and left + LANES <= width:
                source = y * width + left
                for lane in range(LANES):
                    panels[at + lane] = image[c, source + lane]
            elif one_run:
                for lane in range(LANES):
                    panels[at + lane] = 0
                if 0 <= y < height:
                    for lane in range(max(0, -left), min(LANES, width - left)):
                        panels[at + lane] = image[c, y * width + left + lane]
            else:
                for lane in range(LANES):
                    y, x = base_y[lane] + shift_y, base_x[lane] + shift_x
                    inside = lane < count and 0 <= y < height and 0 <= x < width
                    panels[at + lane] = image[c, y * width + x] if inside else 0
            tap += 1
            if tap == taps.shape[0]:
                c, tap = c + 1, 0


fill_panels = inline(_fill_panels)


def _correlate(
    x, height, width, panels, outputs, depth, taps, stride_y, stride_x, bias, space,
    out, out_height, out_width, start_y, start_x, step_y, step_x,
):  # fmt: skip
    grid_y, grid_x = -(-(out_height - start_y) // step_y), -(-(out_width - start_x) // step_x)
    area, groups, lanes = grid_y * grid_x, panels.shape[0], space.shape[0]
    tiles = -(-area // PIXELS)
    tasks = x.shape[0] * groups * tiles
    tall = -(-outputs // ROWS) * ROWS
    channels = x.shape[1] // groups
    for lane in prange(lanes):
        columns = space[lane, : BLOCK_K * PIXELS]
        tile = space[lane, BLOCK_K * PIXELS :]
        for task in range(lane, tasks, lanes):
            n, group, first = task // (groups * tiles), task // tiles % groups, task % tiles * PIXELS
            pixels = min(PIXELS, area - first)
            for o in range(outputs):
                for p in range(PIXELS):
                    tile[o * PIXELS + p] = bias[group * outputs + o]
            for start in range(0, depth, BLOCK_K):
                k = min(BLOCK_K, depth - start)
                fill_panels(
                    x[n], height, width, group * channels, taps, start, k, first, pixels, grid_x, stride_y, stride_x,
                    columns,
                )  # fmt: skip
                weights = panels[group, tall * start :]
                multiply_panels(weights, tall, columns, -(-pixels // LANES) * LANES, k, tile, 0, PIXELS, tile)
            for o in range(outputs):
                plane = group * outputs + o
                if step_x == 1 and step_y == 1:
                    for p in range(pixels):
                        out[n, plane, first + p] = tile[o * PIXELS + p]
                else:
                    for p in range(pixels):
                        y = start_y + (first + p) // grid_x * step_y
                        out[n, plane, y * out_width + start_x + (first + p) % grid_x * step_x] = tile[o * PIXELS + p]


correlate_loop = jit(_correlate)


def _fill_rows(
    x, height, width, channel, taps, start, rows, first, pixels, padded, area, grid_x, stride_y, stride_x, out
):
    """Rows of im2col along the positions of the whole batch, each ``DOT_PIXELS`` long, zero from ``pixels`` to
    ``padded``.
    """
    for row in range(rows):
        c, tap = channel + (start + row) // taps.shape[0], (start + row) % taps.shape[0]
        shift_y, shift_x = taps[tap, 0], taps[tap, 1]
        low_x = -(shift_x // stride_x)  # output columns low_x to high_x fall inside the image
        high_x = (width - 1 - shift_x) // stride_x + 1
        n, pixel = first // area, first % area
        line, left = pixel // grid_x, pixel % grid_x
        at, end = row * DOT_PIXELS, row * DOT_PIXELS + pixels
        while at < end:
            length = min(grid_x - left, end - at)
            y = line * stride_y + shift_y
            low, high = max(low_x - left, 0), min(high_x - left, length)
            if not 0 <= y < height or low >= high:
                low, high = length, length
            for i in range(low):
                out[at + i] = 0
            source = y * width + left * stride_x + shift_x
            if stride_x == 1:
                for i in range(low, high):
                    out[at + i] = x[n, c, source + i]
            else:
                for i in range(low, high):
                    out[at + i] = x[n, c, source + i * stride_x]
            for i in range(high, length):
                out[at + i] = 0
            at += length
            line, left = line + 1, 0
            if line * grid_x == area:
                n, line = n + 1, 0
        for i in range(end, row * DOT_PIXELS + padded):
            out[i] = 0


fill_rows = inline(_fill_rows)


def _copy_rows(grad, channel, rows, first, pixels, padded, out):
    """Rows of the output gradient along the positions of the whole batch, padded with zeros to ``DOT_A`` rows."""
    area = grad.shape[2]
    for row in range(DOT_A):
        done = 0
        while done < pixels and row < rows:
            n, pixel = (first + done) // area, (first + done) % area
            length = min(area - pixel, pixels - done)
            for i in range(length):
                out[row * DOT_PIXELS + done + i] = grad[n, channel + row, pixel + i]
            done += length
        for i in range(done, padded):
            out[row * DOT_PIXELS + i] = 0


copy_rows = inline(_copy_rows)


def _weight_gradient(x, height, width, grad, grid_x, taps, stride_y, stride_x, lane_width, space, parts):
    splits, groups, outputs, depth = parts.shape
    area, lanes = grad.shape[2], space.shape[0]
    positions, channels = x.shape[0] * area, x.shape[1] // groups
    blocks = -(-depth // DOT_ROWS)
    tasks = splits * groups * blocks
    share = -(-positions // (splits * DOT_PIXELS)) * DOT_PIXELS
    for lane in prange(lanes):
        columns = space[lane, : DOT_ROWS * DOT_PIXELS]
        grads = space[lane, DOT_ROWS * DOT_PIXELS : (DOT_ROWS + DOT_A) * DOT_PIXELS]
        tile = space[lane, (DOT_ROWS + DOT_A) * DOT_PIXELS :]
        for task in range(lane, tasks, lanes):
            split, group, top = task // (groups * blocks), task // blocks % groups, task % blocks * DOT_ROWS
            rows = min(DOT_ROWS, depth - top)
            for first in range(split * share, min((split + 1) * share, positions), DOT_PIXELS):
                pixels = min(DOT_PIXELS, positions - first)
                padded = -(-pixels // lane_width) * lane_width
                fill_rows(
                    x, height, width, group * channels, taps, top, rows, first, pixels, padded, area, grid_x, stride_y,
                    stride_x, columns,
                )  # fmt: skip
                for o in range(0, outputs, DOT_A):
                    copy_rows(grad, group * outputs + o, outputs - o, first, pixels, padded, grads)
                    for r in range(0, rows, DOT_B):
                        tile[: DOT_A * DOT_B] = 0
                        steps = padded // lane_width
                        dot_tile(grads, 0, DOT_PIXELS, columns, r * DOT_PIXELS, DOT_PIXELS, steps, tile, 0)
                        for i in range(min(DOT_A, outputs - o)):
                            for j in range(min(DOT_B, rows - r)):
                                parts[split, group, o + i, top + r + j] += tile[i * DOT_B + j]


weight_loop = jit(_weight_gradient)
