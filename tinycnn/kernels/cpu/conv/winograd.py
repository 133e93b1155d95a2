"""Winograd's convolutions F(4x4, 3x3) and F(2x2, 5x5): 4 and 2.8 times fewer multiplications.

Polynomials are easy to multiply if their values at some points are known: the values are multiplied, point by point. A
convolution is a product of polynomials. Six values, at the points 0, 1, -1, 2, -2 and infinity, determine the product
of 6 inputs and a kernel of 3 (4 outputs) or a kernel of 5 (2 outputs). In two dimensions, for one tile d (6x6) and one
kernel g, with * point by point::

    output = A^T [ (G g G^T) * (B^T d B) ] A

G gives the values of a kernel: row p is ``f_p (1, p, p^2, ...)``, its scale ``f_p`` being that of the interpolation.
A^T gives outputs from values: row i is ``p^i``. B^T, the same for both kernel sizes, is the rest of the interpolation.

Over all channels and tiles, each of the 36 points is a matrix product of its own, tiles x channels by channels x
outputs, and those run on the micro-kernel of the direct convolution::

    V[point] (tiles, C) = B^T d B      U[point] (C, C_out) = G g G^T      M[point] = V[point] U[point]
    out = A^T M A

There are two orders of loops. With many tiles and few channels, a task is a block of tiles, whose V and M stay in the
cache (:func:`_convolve_tiles`). With few tiles and many channels, a task is some panels of LANES outputs, whose U stays
there (:func:`_convolve_panels`).

The gradient of the input is a convolution with the kernel rotated by 180 degrees and channels and outputs exchanged.
:mod:`.winograd_gradient` has the gradient of the weight. The bias costs nothing: column 1 of A^T is all ones, so it is
added once to M at the point (1, 1).

Fewer multiplications mean larger intermediate numbers: the float32 error is about ten times that of the direct
convolution. :mod:`.winograd_range` handles inputs for which it would be larger.

S. Winograd, "Arithmetic complexity of computations" (1980). A. Lavin and S. Gray, "Fast algorithms for convolutional
neural networks" (CVPR 2016), section 4.3, for the points.
"""

from __future__ import annotations

import math

import numpy as np

from tinycnn.kernels.cpu.conv.winograd_range import any_out_of_range, redo_outputs
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
from tinycnn.kernels.cpu.conv.winograd_transforms import transform_input, transform_outputs, transform_weights
from tinycnn.kernels.cpu.machine.allocator import empty
from tinycnn.kernels.cpu.machine.nhwc import as_nchw, to_nhwc
from tinycnn.kernels.cpu.machine.parallel import helper, parallel_for
from tinycnn.kernels.cpu.machine.scratch import workspace
from tinycnn.kernels.cpu.machine.settings import get_num_threads
from tinycnn.kernels.cpu.machine.simd import LANES, ROWS, correlate_tile
from tinycnn.kernels.cpu.machine.tuning import (
    BLOCK_K,
    WINOGRAD_FEW_TILES,
    WINOGRAD_LARGE_BLOCK_GROUPS,
    WINOGRAD_MANY_WEIGHTS,
    WINOGRAD_PANELS,
    WINOGRAD_SHARED_ELEMENTS,
)
from tinycnn.kernels.geometry import ConvShape, Padding


def obstacle(shape: ConvShape) -> str | None:
    """Return a reason why these algorithms cannot compute a convolution, or None if they can."""
    outputs, channels, *kernel = shape.weight
    if kernel not in ([3, 3], [5, 5]):
        return f"a kernel of {kernel[0]}x{kernel[1]}, neither 3x3 nor 5x5"
    if shape.stride != (1, 1) or shape.dilation != (1, 1):
        return "a stride or a dilation that is not 1"
    if shape.groups > 1:
        return "groups"
    if outputs % LANES or channels % LANES:
        return f"channels that are not multiples of {LANES}"
    return "padding not less than the kernel" if max(shape.padding) >= kernel[0] else None


def conv2d(x: np.ndarray, weight: np.ndarray, bias: np.ndarray | None, shape: ConvShape) -> np.ndarray:
    """Convolve images and weights (C_out, C, K, K), K = 3 or 5."""
    return _convolve(to_nhwc(x), weight, False, bias, shape.padding)


def conv2d_backward_input(grad: np.ndarray, weight: np.ndarray, shape: ConvShape) -> np.ndarray:
    """Convolve with the rotated kernel."""
    last = weight.shape[2] - 1
    top, bottom, left, right = (last - p for p in shape.padding)
    return _convolve(to_nhwc(grad), weight, True, None, (top, bottom, left, right))


def _convolve(
    pixels: np.ndarray, weight: np.ndarray, rotated: bool, bias: np.ndarray | None, padding: Padding
) -> np.ndarray:
    """Convolve pixels (N, H, W, C); ``rotated`` rotates the kernel and exchanges its channels and outputs."""
    n, height, width, channels = pixels.shape
    kernel, outputs = weight.shape[2], weight.shape[1 if rotated else 0]
    top, bottom, left, right = padding
    out = empty((n, height + top + bottom - kernel + 1, width + left + right - kernel + 1, outputs), pixels.dtype)
    tiles = count_tiles(out.shape, kernel)
    total = math.prod(tiles)
    if not total:
        return as_nchw(out)
    zero_and_bias = np.zeros((2, outputs), pixels.dtype)
    if bias is not None:
        zero_and_bias[1] = bias
    few = total <= WINOGRAD_FEW_TILES and channels * outputs >= WINOGRAD_MANY_WEIGHTS
    convolve = _by_panels if few else _by_tiles
    flags = np.zeros(tiles[0] * tiles[1], np.uint8)
    convolve(pixels, np.ascontiguousarray(weight), rotated, zero_and_bias.reshape(-1), padding, tiles, flags, out)
    if any_out_of_range(flags):
        if rotated:
            weight = weight[:, :, ::-1, ::-1].transpose(1, 0, 2, 3)
        redo_outputs(flags.reshape(tiles[:2]), pixels, weight, bias, padding, SIDE + 1 - kernel, out)
    return as_nchw(out)


def _by_panels(pixels, weight, rotated, bias, padding, tiles, flags, out):
    """Few tiles, many weights: compute V of all tiles, then the outputs panel by panel."""
    kernel, channels, threads = weight.shape[2], pixels.shape[3], get_num_threads()
    groups, line = -(-math.prod(tiles) // ROWS), channels * LANES
    values = workspace("winograd", 1, POINTS * groups * point_step(channels), pixels.dtype)[0]
    strips = workspace("winograd strips", threads, strip_elements(tiles, kernel, channels), pixels.dtype)
    numbers = np.array((kernel, padding[0], padding[2], *tiles, groups), np.int64)
    values_loop(groups, pixels, numbers, strips, values, flags)
    panels = max(1, min(WINOGRAD_PANELS, out.shape[3] // LANES // threads))
    width = panels * LANES
    size = (panels * POINTS + kernel * kernel) * line + POINTS * (groups * point_step(width) + width)
    space = workspace("winograd panels", threads, size, pixels.dtype)
    panels_loop(-(-out.shape[3] // width), values, numbers, weight, rotated, bias, panels, space, out)


def _by_tiles(pixels, weight, rotated, bias, padding, tiles, flags, out):
    """Many tiles: compute U of all panels, then the outputs block by block of tiles."""
    kernel, channels, outputs, threads = weight.shape[2], pixels.shape[3], out.shape[3], get_num_threads()
    line = channels * LANES
    weights = empty((outputs // LANES, POINTS * line), pixels.dtype)
    space = workspace("winograd panels", threads, kernel * kernel * line, pixels.dtype)
    weights_loop(len(weights), weight, rotated, space, weights)
    group_size, groups = POINTS * (point_step(channels) + point_step(outputs)), -(-math.prod(tiles) // ROWS)
    is_shared = weights.size < WINOGRAD_SHARED_ELEMENTS
    max_groups = cached_groups(group_size) if is_shared else WINOGRAD_LARGE_BLOCK_GROUPS
    block = -(-groups // (threads * -(-groups // (threads * max_groups))))
    size = block * group_size + max(strip_elements(tiles, kernel, channels), SIDE * SIDE * outputs)
    space = workspace("winograd", threads, size, pixels.dtype)
    numbers = np.array((kernel, padding[0], padding[2], *tiles, block), np.int64)
    tiles_loop(-(-groups // block), pixels, numbers, weights.reshape(-1), bias, space, flags, out)


# -- loops -------------------------------------------------------------------------------------------------------------


def _multiply(
    point, values, v_step, v_offsets, channels, groups, weights, panels, bias, bias_start, products, m_step, m_offsets
):
    """M[point] = V[point] U[point] for some panels of outputs; ``bias`` is zeros, then the bias."""
    segment = np.zeros(1, np.int64)
    for k in range(0, channels, BLOCK_K):
        length = min(BLOCK_K, channels - k)
        for panel in range(panels):
            start = bias_start + panel * LANES if point == SIDE + 1 else 0
            weights_start = ((panel * POINTS + point) * channels + k) * LANES
            for group in range(groups):
                correlate_tile(
                    values, (group * POINTS + point) * v_step + k, v_offsets, 0, segment, 0, 1, length,
                    weights, weights_start, bias, start, int(k != 0),
                    products, (group * POINTS + point) * m_step + panel * LANES, m_offsets, 0,
                )  # fmt: skip


multiply = helper(_multiply)


def _transform_weights(thread_id, begin, end, weight, rotated, space, weights):
    """U, a panel a task."""
    for panel in range(begin, end):
        transform_weights(weight, rotated, panel, space[thread_id], weights[panel])


def _convolve_tiles(thread_id, begin, end, x, numbers, weights, bias, space, flags, out):
    """A task is a block of groups of tiles: V, then all points and panels, then the outputs.

    While a block is multiplied, the pixels of the next one and the lines of its outputs are prefetched.
    """
    kernel, pad_y, pad_x = numbers[TILES.kernel], numbers[TILES.top], numbers[TILES.left]
    tiles = numbers[TILES.images], numbers[TILES.rows], numbers[TILES.columns]
    block = numbers[TILES.block]
    channels, outputs, source, pixels = x.shape[3], out.shape[3], x.reshape(-1), out.reshape(-1)
    v_step, m_step = ROWS * channels + LANES, ROWS * outputs + LANES
    v_offsets, m_offsets = np.arange(ROWS) * channels, np.arange(ROWS) * outputs
    total = tiles[0] * tiles[1] * tiles[2]
    tile_in, tile_out = x.size // total, out.size // total
    values = space[thread_id, : POINTS * block * v_step]
    products = space[thread_id, POINTS * block * v_step : POINTS * block * (v_step + m_step)]
    patch = space[thread_id, POINTS * block * (v_step + m_step) :]
    for task in range(begin, end):
        first, last = task * block * ROWS, min(total, (task + 1) * block * ROWS)
        transform_input(x, kernel, pad_y, pad_x, tiles, first, last, patch, values, v_step, flags)
        for point in range(POINTS):
            prefetch_part(point, source, tile_in, last, block)
            prefetch_part(point, pixels, tile_out, first, block)
            multiply(
                point, values, v_step, v_offsets, channels, -(-(last - first) // ROWS), weights, outputs // LANES, bias,
                outputs, products, m_step, m_offsets,
            )  # fmt: skip
        transform_outputs(products, m_step, first, last, outputs, kernel, tiles, patch, out, pixels, 0, outputs)


def _transform_values(thread_id, begin, end, x, numbers, strips, values, flags):
    """V of all tiles, a group a task."""
    kernel, pad_y, pad_x = numbers[TILES.kernel], numbers[TILES.top], numbers[TILES.left]
    tiles = numbers[TILES.images], numbers[TILES.rows], numbers[TILES.columns]
    step = ROWS * x.shape[3] + LANES
    last = min(tiles[0] * tiles[1] * tiles[2], end * ROWS)
    own = values[begin * POINTS * step :]
    transform_input(x, kernel, pad_y, pad_x, tiles, begin * ROWS, last, strips[thread_id], own, step, flags)


def _convolve_panels(thread_id, begin, end, values, numbers, weight, rotated, bias, panels, space, out):
    """A task is ``panels`` panels of outputs: U, then all points and tiles, then the outputs."""
    kernel, outputs, pixels = weight.shape[2], out.shape[3], out.reshape(-1)
    channels = weight.shape[0 if rotated else 1]
    tiles = numbers[TILES.images], numbers[TILES.rows], numbers[TILES.columns]
    total = tiles[0] * tiles[1] * tiles[2]
    groups, line, width = -(-total // ROWS), channels * LANES, panels * LANES
    v_step, m_step = ROWS * channels + LANES, ROWS * width + LANES
    v_offsets, m_offsets = np.arange(ROWS) * channels, np.arange(ROWS) * width
    packed, rest = space[thread_id, : kernel * kernel * line], space[thread_id, kernel * kernel * line :]
    weights, rest = rest[: panels * POINTS * line], rest[panels * POINTS * line :]
    products, patch = rest[: POINTS * groups * m_step], rest[POINTS * groups * m_step :]
    for task in range(begin, end):
        panel = task * panels
        count = min(panels, outputs // LANES - panel)
        for i in range(count):
            transform_weights(weight, rotated, panel + i, packed, weights[i * POINTS * line : (i + 1) * POINTS * line])
        for point in range(POINTS):
            multiply(
                point, values, v_step, v_offsets, channels, groups, weights, count, bias, outputs + panel * LANES,
                products, m_step, m_offsets,
            )  # fmt: skip
        transform_outputs(
            products, m_step, 0, total, width, kernel, tiles, patch, out, pixels, panel * LANES, count * LANES
        )


weights_loop = parallel_for(_transform_weights, per_thread="space")
tiles_loop = parallel_for(_convolve_tiles, per_thread="space")
values_loop = parallel_for(_transform_values, per_thread="strips")
panels_loop = parallel_for(_convolve_panels, per_thread="space")
