"""Winograd's convolution F(4x4, 3x3): a tile of 4x4 outputs from 6x6 inputs with 36 multiplications instead of 144.

A product of polynomials is cheap where they are known by their values: multiply the values, point by point. A
convolution is such a product. Taking values at the points 0, 1, -1, 2, -2 and infinity is multiplying by the matrices
below; for one tile d (6x6) and one kernel g (3x3), with * point by point::

    output (4x4) = A^T [ (G g G^T) * (B^T d B) ] A

Over all channels and tiles, each of the 36 points is a matrix product of its own, tiles x channels by channels x
outputs, and those run on the micro-kernel of the direct convolution::

    V[point] (tiles, C) = B^T d B      U[point] (C, O) = G g G^T      M[point] = V[point] U[point]      out = A^T M A

The gradient of the input is the same with the kernel turned by 180 degrees and channels and outputs exchanged. The
gradient of the weight is the adjoint of every step, in reverse: G^T [ V^T (A grad A^T) ] G.

The bias costs nothing: column 1 of A^T is all ones, so it is added once to M at the point (1, 1).

Fewer multiplications, larger numbers in between: the float32 error is about ten times that of the direct convolution.
S. Winograd, "Arithmetic complexity of computations" (1980); A. Lavin and S. Gray, "Fast algorithms for convolutional
neural networks" (CVPR 2016), from whose section 4.3 the points are.
"""

from __future__ import annotations

import numpy as np

from tinycnn.kernels.cpu._jit import inline, jit
from tinycnn.kernels.cpu.direct import BLOCK_K, pack_weights, places_of_taps, sum_parts_loop
from tinycnn.kernels.cpu.layout import copy, from_pixels, to_pixels
from tinycnn.kernels.cpu.memory import empty, workspace, zeros
from tinycnn.kernels.cpu.microkernel import LANES, ROWS, correlate_tile, line_map, outer_tile
from tinycnn.kernels.cpu.pool import get_num_threads

TILES = 8 * ROWS
GRADIENT_TILES = 256
POINTS = 36
FEW_CHANNELS = 256  # up to so many channels * outputs the direct gradient of the weight is faster

Size = tuple[int, int]

B_T = (
    (4, 0, -5, 0, 1, 0),
    (0, -4, -4, 1, 1, 0),
    (0, 4, -4, -1, 1, 0),
    (0, -2, -1, 2, 1, 0),
    (0, 2, -1, -2, 1, 0),
    (0, 4, 0, -5, 0, 1),
)
G = (
    (1 / 4, 0, 0),
    (-1 / 6, -1 / 6, -1 / 6),
    (-1 / 6, 1 / 6, -1 / 6),
    (1 / 24, 1 / 12, 1 / 6),
    (1 / 24, -1 / 12, 1 / 6),
    (0, 0, 1),
)
A_T = (
    (1, 1, 1, 1, 1, 0),
    (0, 1, -1, 2, -2, 0),
    (0, 1, 1, 4, 4, 0),
    (0, 1, -1, 8, -8, 1),
)

input_map, weight_map, output_map = line_map(B_T), line_map(G), line_map(A_T)
gradient_map, weight_gradient_map = line_map(tuple(zip(*A_T))), line_map(tuple(zip(*G)))  # the transposes


def fits(weight_shape: tuple[int, ...], stride: Size, padding: Size, dilation: Size, groups: int) -> bool:
    """Whether a convolution can be done this way: 3x3, stride 1, channels and outputs multiples of LANES."""
    outputs, channels = weight_shape[:2]
    shape_fits = (*weight_shape[2:], *stride, *dilation, groups) == (3, 3, 1, 1, 1, 1, 1) and max(padding) <= 2
    return shape_fits and not outputs % LANES and not channels % LANES


def conv2d(x: np.ndarray, weight: np.ndarray, bias: np.ndarray | None, padding: Size) -> np.ndarray:
    """Images (N, C, H, W) and weights (O, C, 3, 3) to (N, O, H + 2 padding - 2, W + 2 padding - 2)."""
    return _convolve(to_pixels(x), pack_weights(weight, 1, False, np.arange(9)), bias, padding)


def conv2d_backward_input(grad: np.ndarray, weight: np.ndarray, padding: Size) -> np.ndarray:
    """Gradient with respect to the input: a convolution with the kernel turned around."""
    panels = pack_weights(weight, 1, True, np.arange(9)[::-1])
    return _convolve(to_pixels(grad), panels, None, (2 - padding[0], 2 - padding[1]))


def conv2d_backward_weight(grad: np.ndarray, x: np.ndarray, weight_shape: tuple[int, ...], padding: Size) -> np.ndarray:
    """Gradient with respect to the weight: the adjoint of each step."""
    out = zeros(weight_shape, x.dtype)
    if not x.size:
        return out
    pixels, grads = to_pixels(x), to_pixels(grad)
    outputs, channels = weight_shape[:2]
    tiles = _tiles(grads.shape)
    block = min(GRADIENT_TILES, int(np.prod(tiles)))
    padded = -(-channels // ROWS) * ROWS
    space = workspace("winograd", 1, POINTS * block * (channels + outputs + 2 * LANES), x.dtype)[0]
    scratch = workspace("winograd patches", get_num_threads(), 2 * POINTS * max(channels, outputs), x.dtype)
    products = zeros((POINTS, outputs // LANES, padded * LANES), x.dtype)
    total = int(np.prod(tiles))
    for first in range(0, total, block):
        last = min(total, first + block)
        pairs_loop(len(scratch), pixels, grads, *padding, tiles, first, last, block, space, scratch)
        multiply_pairs_loop(POINTS * products.shape[1], channels, last - first, block, space, products)
    parts = empty((1, 1, outputs // LANES, 9 * padded, LANES), x.dtype)
    scratch = workspace("winograd weights", outputs // LANES, 18 * padded * LANES, x.dtype)
    weight_gradient_loop(outputs // LANES, products, scratch, parts.reshape(outputs // LANES, -1))
    sum_parts_loop(outputs, parts, places_of_taps(9, 9, channels), out.reshape(1, outputs, channels, 9))
    return out


def _convolve(pixels: np.ndarray, panels: np.ndarray, bias: np.ndarray | None, padding: Size) -> np.ndarray:
    n, height, width, channels = pixels.shape
    outputs = panels.shape[1] * LANES
    out = empty((n, height + 2 * padding[0] - 2, width + 2 * padding[1] - 2, outputs), pixels.dtype)
    tiles = _tiles(out.shape)
    total = int(np.prod(tiles))
    if not total:
        return from_pixels(out)
    weights = empty((outputs // LANES, POINTS, channels * LANES), pixels.dtype)
    scratch = workspace("winograd weights", len(weights), 18 * channels * LANES, pixels.dtype)
    weight_loop(len(weights), panels.reshape(outputs // LANES, -1), scratch, weights)
    shift = np.zeros((2, outputs), pixels.dtype)
    if bias is not None:
        shift[1] = bias
    block = min(TILES, -(-total // (4 * ROWS)) * ROWS)
    wide = channels + LANES, outputs + LANES
    size = POINTS * (block * sum(wide) + 2 * max(channels, outputs))
    space = workspace("winograd", get_num_threads(), size, pixels.dtype)
    convolve_loop(len(space), pixels, *padding, tiles, block, weights.reshape(-1), shift.reshape(-1), space, out)
    return from_pixels(out)


def _tiles(shape: tuple[int, ...]) -> tuple[int, int, int]:
    """How many images, rows and columns of 4x4 tiles there are for outputs (N, H, W, O)."""
    return shape[0], -(-shape[1] // 4), -(-shape[2] // 4)


# -- transforms of one tile --------------------------------------------------------------------------------------------


def _take_patch(x, n, top, left, size, patch):
    """Copy size x size pixels of an image from (top, left) on, zeros outside, to rows of the patch."""
    channels = x.shape[3]
    for i in range(size):
        for j in range(size):
            y, at = top + i, left + j
            target = patch[(i * size + j) * channels : (i * size + j + 1) * channels]
            if 0 <= y < x.shape[1] and 0 <= at < x.shape[2]:
                copy(x[n, y, at], target)
            else:
                target[:] = 0


take_patch = inline(_take_patch)


def _transform_input(x, flat, n, top, left, scratch, values, start, point_step):
    """V = B^T d B for one tile, channel by channel."""
    height, width, channels = x.shape[1:]
    patch, half = scratch[: POINTS * channels], scratch[POINTS * channels :]
    if top >= 0 and left >= 0 and top + 6 <= height and left + 6 <= width:
        source, first, row = flat, ((n * height + top) * width + left) * channels, width * channels
    else:
        take_patch(x, n, top, left, 6, patch)
        source, first, row = patch, 0, 6 * channels
    for j in range(6):
        input_map(source, first + j * channels, row, half, j * channels, 6 * channels, channels)
    for i in range(6):
        input_map(half, i * 6 * channels, channels, values, start + i * 6 * point_step, point_step, channels)


transform_input = inline(_transform_input)


def _transform_gradient(grad, flat, n, top, left, scratch, values, start, point_step):
    """A grad A^T for one tile of output gradients."""
    height, width, channels = grad.shape[1:]
    patch, half = scratch[: POINTS * channels], scratch[POINTS * channels :]
    if top + 4 <= height and left + 4 <= width:
        source, first, row = flat, ((n * height + top) * width + left) * channels, width * channels
    else:
        take_patch(grad, n, top, left, 4, patch)
        source, first, row = patch, 0, 4 * channels
    for j in range(4):
        gradient_map(source, first + j * channels, row, half, j * channels, 4 * channels, channels)
    for i in range(6):
        gradient_map(half, i * 4 * channels, channels, values, start + i * 6 * point_step, point_step, channels)


transform_gradient = inline(_transform_gradient)


def _transform_output(values, start, point_step, scratch, n, top, left, flat, out):
    """A^T M A for one tile, written where it lies inside the image."""
    height, width, channels = out.shape[1:]
    half, tile = scratch[: 24 * channels], scratch[24 * channels :]
    for j in range(6):
        output_map(values, start + j * point_step, 6 * point_step, half, j * channels, 6 * channels, channels)
    for i in range(min(4, height - top)):
        at = ((n * height + top + i) * width + left) * channels
        if left + 4 <= width:
            output_map(half, i * 6 * channels, channels, flat, at, channels, channels)
        else:
            output_map(half, i * 6 * channels, channels, tile, 0, channels, channels)
            inside = (width - left) * channels
            copy(tile[:inside], flat[at : at + inside])


transform_output = inline(_transform_output)


# -- loops -------------------------------------------------------------------------------------------------------------


def _transform_weights(begin, end, panels, scratch, weights):
    """U = G g G^T, for all channels of a panel of outputs at once."""
    line = weights.shape[2]
    for panel in range(begin, end):
        half, kernel, values = scratch[panel], panels[panel], weights[panel].reshape(-1)
        for j in range(3):
            weight_map(kernel, j * line, 3 * line, half, j * line, 3 * line, line)
        for i in range(6):
            weight_map(half, i * 3 * line, line, values, i * 6 * line, line, line)


def _convolve_tiles(begin, end, x, pad_y, pad_x, tiles, block, weights, bias, space, out):
    channels, outputs = x.shape[3], out.shape[3]
    flat_x, flat_out = x.reshape(-1), out.reshape(-1)
    total, per_image = tiles[0] * tiles[1] * tiles[2], tiles[1] * tiles[2]
    wide_v, wide_m = channels + LANES, outputs + LANES
    step_v, step_m = block * wide_v, block * wide_m
    at_v, at_m, whole = np.arange(block) * wide_v, np.arange(block) * wide_m, np.zeros(1, np.int64)
    tasks, lanes = -(-total // block), space.shape[0]
    for lane in range(begin, end):
        values = space[lane, : POINTS * step_v]
        products = space[lane, POINTS * step_v : POINTS * (step_v + step_m)]
        scratch = space[lane, POINTS * (step_v + step_m) :]
        for task in range(lane, tasks, lanes):
            first, last = task * block, min(total, task * block + block)
            for t in range(first, last):
                n, row, column = t // per_image, t % per_image // tiles[2], t % tiles[2]
                transform_input(
                    x, flat_x, n, row * 4 - pad_y, column * 4 - pad_x, scratch, values, at_v[t - first], step_v
                )
            for point in range(POINTS):
                shift = outputs if point == 7 else 0
                for k in range(0, channels, BLOCK_K):
                    length = min(BLOCK_K, channels - k)
                    for panel in range(outputs // LANES):
                        at = ((panel * POINTS + point) * channels + k) * LANES
                        for t in range(0, last - first, ROWS):
                            correlate_tile(
                                values, point * step_v + k, at_v, t, whole, 0, 1, length, weights, at,
                                bias, shift + panel * LANES, int(k == 0),
                                products, point * step_m + panel * LANES, at_m, t,
                            )  # fmt: skip
            for t in range(first, last):
                n, row, column = t // per_image, t % per_image // tiles[2], t % tiles[2]
                transform_output(products, at_m[t - first], step_m, scratch, n, row * 4, column * 4, flat_out, out)


def _transform_pairs(begin, end, x, grad, pad_y, pad_x, tiles, first, last, block, space, scratch):
    """V and A grad A^T for the tiles ``first`` to ``last``; each lane takes every len(scratch)-th."""
    channels, outputs = x.shape[3], grad.shape[3]
    flat_x, flat_grad = x.reshape(-1), grad.reshape(-1)
    per_image = tiles[1] * tiles[2]
    wide_v, wide_g = channels + LANES, outputs + LANES
    values, grads = space[: POINTS * block * wide_v], space[POINTS * block * wide_v :]
    for lane in range(begin, end):
        for t in range(first + lane, last, scratch.shape[0]):
            n, row, column = t // per_image, t % per_image // tiles[2], t % tiles[2]
            at = t - first
            transform_input(
                x, flat_x, n, row * 4 - pad_y, column * 4 - pad_x, scratch[lane], values, at * wide_v, block * wide_v
            )
            transform_gradient(
                grad, flat_grad, n, row * 4, column * 4, scratch[lane], grads, at * wide_g, block * wide_g
            )


def _multiply_pairs(begin, end, channels, count, block, space, products):
    """Add V^T (A grad A^T) over ``count`` tiles: one task for each point and panel of outputs."""
    panels, line = products.shape[1], products.shape[2]
    wide_v, wide_g = channels + LANES, panels * LANES + LANES
    values, grads, sums = space[: POINTS * block * wide_v], space[POINTS * block * wide_v :], products.reshape(-1)
    for task in range(begin, end):
        point, panel = task // panels, task % panels
        for c in range(0, line // LANES, ROWS):
            outer_tile(
                values, point * block * wide_v + min(c, channels - ROWS), 0, wide_v,
                grads, point * block * wide_g + panel * LANES, 0, wide_g, 1, count,
                sums, task * line + c * LANES, LANES,
            )  # fmt: skip


def _weight_gradient(begin, end, products, scratch, out):
    """G^T (sums) G, for all channels of a panel of outputs at once."""
    panels, line = products.shape[1], products.shape[2]
    sums = products.reshape(-1)
    for panel in range(begin, end):
        half = scratch[panel]
        for j in range(6):
            weight_gradient_map(sums, (j * panels + panel) * line, 6 * panels * line, half, j * line, 6 * line, line)
        for i in range(3):
            weight_gradient_map(half, i * 6 * line, line, out[panel], i * 3 * line, line, line)


weight_loop = jit(_transform_weights)
convolve_loop = jit(_convolve_tiles)
pairs_loop = jit(_transform_pairs)
multiply_pairs_loop = jit(_multiply_pairs)
weight_gradient_loop = jit(_weight_gradient)
