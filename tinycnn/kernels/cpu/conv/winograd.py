"""Winograd's convolutions F(4x4, 3x3) and F(2x2, 5x5): 4 and 2.8 times fewer multiplications.

A product of polynomials is cheap where they are known by their values: multiply the values, point by point. A
convolution is such a product. Six values, at the points 0, 1, -1, 2, -2 and infinity, determine what 6 inputs and a
kernel of 3 make (4 outputs) or a kernel of 5 (2 outputs). In two dimensions, for one tile d (6x6) and one kernel g,
with * point by point::

    output = A^T [ (G g G^T) * (B^T d B) ] A

G takes the values of a kernel: row p is ``f_p (1, p, p^2, ...)``, its scale ``f_p`` taken from the interpolation; A^T
reads outputs from values: row i is ``p^i``. B^T, the same for both sizes, is what interpolation leaves for the input.

Over all channels and tiles, each of the 36 points is a matrix product of its own, tiles x channels by channels x
outputs, and those run on the micro-kernel of the direct convolution::

    V[point] (tiles, C) = B^T d B      U[point] (C, O) = G g G^T      M[point] = V[point] U[point]      out = A^T M A

Two ways around the loops: many tiles and few channels, block by block of tiles, V and M of a block staying in the cache
(:func:`_convolve_tiles`); few tiles and many channels, panel by panel of LANES outputs, U of a panel staying there
(:func:`_convolve_panels`). In memory, groups of ROWS tiles lie together: ``[group][point][tile of the group][channel]``

The gradient of the input is a convolution with the kernel turned by 180 degrees and channels and outputs exchanged. The
gradient of the weight is the adjoint of every step, in reverse: G^T [ V^T (A grad A^T) ] G. The bias costs nothing:
column 1 of A^T is all ones, so it is added once to M at the point (1, 1).

Fewer multiplications, larger numbers in between: the float32 error is about ten times that of the direct convolution.
S. Winograd, "Arithmetic complexity of computations" (1980); A. Lavin and S. Gray, "Fast algorithms for convolutional
neural networks" (CVPR 2016), from whose section 4.3 the points are.
"""

from __future__ import annotations

import math

import numpy as np

from tinycnn.kernels.cpu.conv.direct import BLOCK_K
from tinycnn.kernels.cpu.conv.winograd_range import add_gradients, any_out_of_range, redo_outputs
from tinycnn.kernels.cpu.conv.winograd_transforms import (
    POINTS,
    SIDE,
    put_gradient,
    transform_gradient,
    transform_input,
    transform_outputs,
    transform_weights,
)
from tinycnn.kernels.cpu.machine.allocator import empty, workspace, zeros
from tinycnn.kernels.cpu.machine.nhwc import from_pixels, to_pixels
from tinycnn.kernels.cpu.machine.parallel import inline, jit
from tinycnn.kernels.cpu.machine.settings import get_num_threads
from tinycnn.kernels.cpu.machine.simd import LANES, ROWS, correlate_tile, outer_tile, prefetch

BLOCK, MOST_GROUPS = 160_000, 3  # numbers of V and M, and groups of tiles, that a block may have: part of a cache
SHARED = 3 * 2**20  # numbers that the last cache holds beside others: a larger U is read once for MANY_GROUPS
MANY_GROUPS = 16
GRADIENT_BLOCK, LARGE_BLOCK = 2**19, 2**23  # numbers of V and A grad A^T, where the gradient's values are fewer or more
FEW_TILES, MANY_WEIGHTS = 128, 2**15  # panel by panel for at most so many tiles and at least so many channels * outputs
PANELS = 2  # of outputs that are made together, so that V is read from the cache
FEW_WEIGHTS, PANEL_WEIGHTS = 2**12, 2**14  # their gradient: 8 parts of the tiles, 4 parts, or panel by panel

Size = tuple[int, int]


def fits(weight_shape: tuple[int, ...], stride: Size, padding: Size, dilation: Size, groups: int) -> bool:
    """Whether a convolution can be done this way: 3x3 or 5x5, stride 1, channels and outputs multiples of LANES."""
    outputs, channels, *kernel = weight_shape
    plain = (*stride, *dilation, groups) == (1, 1, 1, 1, 1) and kernel in ([3, 3], [5, 5]) and max(padding) < kernel[0]
    return plain and not outputs % LANES and not channels % LANES


def conv2d(x: np.ndarray, weight: np.ndarray, bias: np.ndarray | None, padding: Size) -> np.ndarray:
    """Images (N, C, H, W) and weights (O, C, K, K), K = 3 or 5, to (N, O, H + 2 padding - K + 1, ...)."""
    return _convolve(to_pixels(x), weight, False, bias, padding)


def conv2d_backward_input(grad: np.ndarray, weight: np.ndarray, padding: Size) -> np.ndarray:
    """Gradient with respect to the input: a convolution with the kernel turned around."""
    last = weight.shape[2] - 1
    return _convolve(to_pixels(grad), weight, True, None, (last - padding[0], last - padding[1]))


def conv2d_backward_weight(grad: np.ndarray, x: np.ndarray, weight_shape: tuple[int, ...], padding: Size) -> np.ndarray:
    """Gradient with respect to the weight: the adjoint of each step."""
    if not x.size:
        return zeros(weight_shape, x.dtype)
    out = empty(weight_shape, x.dtype)
    pixels, grads = to_pixels(x), to_pixels(grad)
    outputs, channels, kernel, _ = weight_shape
    tiles = _tiles(grads.shape, kernel)
    groups = -(-math.prod(tiles) // ROWS)
    steps = _step(channels), _step(outputs)
    size, band = POINTS * sum(steps), _band(tiles, kernel, max(channels, outputs))
    flags = np.zeros(tiles[0] * tiles[1], np.uint8)
    if channels * outputs < PANEL_WEIGHTS:
        parts = min(groups, 8 if channels * outputs < FEW_WEIGHTS else 4)
        block = min(-(-groups // parts), _few_groups(size))
        space = workspace("winograd", get_num_threads(), block * size + band, x.dtype)
        padded = -(-channels // ROWS) * ROWS
        sums = empty((parts, outputs // LANES, POINTS * padded * LANES), x.dtype)
        parts_loop(parts, pixels, grads, kernel, *padding, tiles, *steps, block, space, sums, flags)
        sum_parts_loop(outputs // LANES, sums, kernel, out)
        return _with_direct(flags, pixels, grads, padding, tiles, out)
    most = GRADIENT_BLOCK if POINTS * channels * outputs < SHARED else LARGE_BLOCK
    block = min(groups, max(1, most // size))
    space = workspace("winograd", 1, block * size, x.dtype)[0]
    share = 8 * ROWS
    tasks = -(-outputs // (PANELS * LANES)) * -(-channels // share)
    kept = tasks if block < groups else get_num_threads()
    sums_size = (PANELS * POINTS * share + kernel * kernel * (share + ROWS)) * LANES
    sums = workspace("winograd sums", kept, sums_size, x.dtype)
    bands = workspace("winograd bands", get_num_threads(), band, x.dtype)
    for first in range(0, groups, block):
        count = min(block, groups - first)
        pairs_loop(count, pixels, grads, kernel, *padding, tiles, first, *steps, block, space, bands, flags)
        ends = int(first == 0), int(first + count == groups)
        gradient_loop(
            tasks, count, channels, outputs, kernel, share, *steps, block, space, *ends, kept == tasks, sums, out
        )
    return _with_direct(flags, pixels, grads, padding, tiles, out)


def _with_direct(flags, pixels, grads, padding, tiles, out):
    """Add to the weight's gradient what the rows of tiles that were out of range contribute."""
    if any_out_of_range(flags):
        add_gradients(flags.reshape(tiles[:2]), pixels, grads, padding, SIDE + 1 - out.shape[2], out)
    return out


def _convolve(
    pixels: np.ndarray, weight: np.ndarray, turned: bool, bias: np.ndarray | None, padding: Size
) -> np.ndarray:
    n, height, width, channels = pixels.shape
    kernel, outputs = weight.shape[2], weight.shape[1 if turned else 0]
    out = empty((n, height + 2 * padding[0] - kernel + 1, width + 2 * padding[1] - kernel + 1, outputs), pixels.dtype)
    tiles = _tiles(out.shape, kernel)
    total = math.prod(tiles)
    if not total:
        return from_pixels(out)
    shift = np.zeros((2, outputs), pixels.dtype)
    if bias is not None:
        shift[1] = bias
    few = total <= FEW_TILES and channels * outputs >= MANY_WEIGHTS
    by_loops = _by_panels if few else _by_tiles
    flags = np.zeros(tiles[0] * tiles[1], np.uint8)
    by_loops(pixels, np.ascontiguousarray(weight), turned, shift.reshape(-1), padding, tiles, flags, out)
    if any_out_of_range(flags):
        if turned:
            weight = weight[:, :, ::-1, ::-1].transpose(1, 0, 2, 3)
        redo_outputs(flags.reshape(tiles[:2]), pixels, weight, bias, padding, SIDE + 1 - kernel, out)
    return from_pixels(out)


def _by_panels(pixels, weight, turned, shift, padding, tiles, flags, out):
    """Few tiles, many weights: V of all tiles, then panel by panel."""
    kernel, channels, threads = weight.shape[2], pixels.shape[3], get_num_threads()
    groups, line = -(-math.prod(tiles) // ROWS), channels * LANES
    values = workspace("winograd", 1, POINTS * groups * _step(channels), pixels.dtype)[0]
    bands = workspace("winograd bands", threads, _band(tiles, kernel, channels), pixels.dtype)
    values_loop(groups, pixels, kernel, *padding, tiles, bands, values, flags)
    together = max(1, min(PANELS, out.shape[3] // LANES // threads))
    wide = together * LANES
    size = (together * POINTS + kernel * kernel) * line + POINTS * (groups * _step(wide) + wide)
    space = workspace("winograd panels", threads, size, pixels.dtype)
    panels_loop(-(-out.shape[3] // wide), values, channels, weight, turned, shift, tiles, together, space, out)


def _by_tiles(pixels, weight, turned, shift, padding, tiles, flags, out):
    """Many tiles: U of all panels, then block by block of tiles."""
    kernel, channels, outputs, threads = weight.shape[2], pixels.shape[3], out.shape[3], get_num_threads()
    line = channels * LANES
    weights = empty((outputs // LANES, POINTS * line), pixels.dtype)
    space = workspace("winograd panels", threads, kernel * kernel * line, pixels.dtype)
    weights_loop(len(weights), weight, turned, space, weights)
    group_size, groups = POINTS * (_step(channels) + _step(outputs)), -(-math.prod(tiles) // ROWS)
    most = _few_groups(group_size) if weights.size < SHARED else MANY_GROUPS
    block = -(-groups // (threads * -(-groups // (threads * most))))
    size = block * group_size + max(_band(tiles, kernel, channels), SIDE * SIDE * outputs)
    space = workspace("winograd", threads, size, pixels.dtype)
    tiles_loop(
        -(-groups // block), pixels, kernel, *padding, tiles, block, weights.reshape(-1), shift, space, flags, out
    )


def _tiles(shape: tuple[int, ...], kernel: int) -> tuple[int, int, int]:
    """How many images, rows and columns of tiles there are for outputs (N, H, W, O)."""
    side = SIDE + 1 - kernel
    return shape[0], -(-shape[1] // side), -(-shape[2] // side)


def _band(tiles: tuple[int, int, int], kernel: int, channels: int) -> int:
    """Numbers in the pixels that a line of tiles needs."""
    return SIDE * (tiles[2] * (SIDE + 1 - kernel) + kernel - 1) * channels


def _few_groups(size: int) -> int:
    """How many groups of tiles make a block that stays in the cache of a processor, which others may use too."""
    return min(MOST_GROUPS, max(1, BLOCK // size))


def _step(channels: int) -> int:
    """From point to point in a group of tiles: a line more than its numbers, or all points would share some lines."""
    return ROWS * channels + LANES


# -- products ----------------------------------------------------------------------------------------------------------


def _multiply(point, values, step_v, at_v, channels, groups, weights, panels, bias, shift, products, step_m, at_m):
    """M[point] = V[point] U[point] for some panels of outputs."""
    whole = np.zeros(1, np.int64)
    for k in range(0, channels, BLOCK_K):
        length = min(BLOCK_K, channels - k)
        for panel in range(panels):
            from_bias = shift + panel * LANES if point == SIDE + 1 else 0
            at = ((panel * POINTS + point) * channels + k) * LANES
            for group in range(groups):
                correlate_tile(
                    values, (group * POINTS + point) * step_v + k, at_v, 0, whole, 0, 1, length, weights, at,
                    bias, from_bias, int(k == 0),
                    products, (group * POINTS + point) * step_m + panel * LANES, at_m, 0,
                )  # fmt: skip


multiply = inline(_multiply)


def _transform_pairs(x, grad, kernel, pad_y, pad_x, tiles, first, count, step_v, step_g, values, grads, band, flags):
    """V and A grad A^T for ``count`` groups of tiles, zeros for those that do not exist."""
    start, last = first * ROWS, min(tiles[0] * tiles[1] * tiles[2], (first + count) * ROWS)
    if last < (first + count) * ROWS:
        values[(count - 1) * POINTS * step_v : count * POINTS * step_v] = 0
        grads[(count - 1) * POINTS * step_g : count * POINTS * step_g] = 0
    transform_input(x, kernel, pad_y, pad_x, tiles, start, last, band, values, step_v, flags)
    transform_gradient(grad, kernel, tiles, start, last, band, grads, step_g, flags)


transform_pairs = inline(_transform_pairs)


def _add_products(point, values, grads, count, channels, outputs, step_v, step_g, panel, panels, first, share, sums):
    """Add V^T (A grad A^T) over ``count`` groups of tiles, for some panels of outputs and ``share`` channels."""
    for p in range(panels):
        for c in range(0, share, ROWS):
            outer_tile(
                values, point * step_v + min(first + c, channels - ROWS), POINTS * step_v, channels,
                grads, point * step_g + (panel + p) * LANES, POINTS * step_g, outputs, count, ROWS,
                sums, ((p * POINTS + point) * share + c) * LANES, LANES,
            )  # fmt: skip


add_products = inline(_add_products)


def _fetch_point(point, values, step, channels, first, some, count):
    """Ask the caches for some channels of a point, in ``count`` groups of tiles."""
    for group in range(count):
        for tile in range(ROWS):
            prefetch(values, (group * POINTS + point) * step + tile * channels + first, some)


fetch_point = inline(_fetch_point)


def _fetch_part(point, pixels, tile, first, block):
    """Ask the caches for one of POINTS parts of ``block`` groups of tiles, a tile being ``tile`` numbers of pixels."""
    part = block * ROWS * tile // POINTS
    prefetch(pixels, first * tile + point * part, part)


fetch_part = inline(_fetch_part)


# -- loops -------------------------------------------------------------------------------------------------------------


def _convolve_weights(lane, begin, end, weight, turned, space, weights):
    for panel in range(begin, end):
        transform_weights(weight, turned, panel, space[lane], weights[panel])


def _convolve_tiles(lane, begin, end, x, kernel, pad_y, pad_x, tiles, block, weights, bias, space, flags, out):
    """Block by block of groups of tiles: V, then all points and panels, then the outputs.

    While a block is multiplied, the caches get the pixels of the next one, and the lines of its outputs.
    """
    channels, outputs, source, pixels = x.shape[3], out.shape[3], x.reshape(-1), out.reshape(-1)
    step_v, step_m = ROWS * channels + LANES, ROWS * outputs + LANES
    at_v, at_m = np.arange(ROWS) * channels, np.arange(ROWS) * outputs
    total = tiles[0] * tiles[1] * tiles[2]
    tile_in, tile_out = x.size // total, out.size // total
    values = space[lane, : POINTS * block * step_v]
    products = space[lane, POINTS * block * step_v : POINTS * block * (step_v + step_m)]
    patch = space[lane, POINTS * block * (step_v + step_m) :]
    for task in range(begin, end):
        first, last = task * block * ROWS, min(total, (task + 1) * block * ROWS)
        transform_input(x, kernel, pad_y, pad_x, tiles, first, last, patch, values, step_v, flags)
        for point in range(POINTS):
            fetch_part(point, source, tile_in, last, block)
            fetch_part(point, pixels, tile_out, first, block)
            multiply(
                point, values, step_v, at_v, channels, -(-(last - first) // ROWS), weights, outputs // LANES, bias,
                outputs, products, step_m, at_m,
            )  # fmt: skip
        transform_outputs(
            products, step_m, first, last, outputs, kernel, tiles, patch, out, pixels, 0, outputs
        )  # fmt: skip


def _convolve_values(lane, begin, end, x, kernel, pad_y, pad_x, tiles, bands, values, flags):
    """V of all tiles, group by group."""
    step = ROWS * x.shape[3] + LANES
    last = min(tiles[0] * tiles[1] * tiles[2], end * ROWS)
    some = values[begin * POINTS * step :]
    transform_input(x, kernel, pad_y, pad_x, tiles, begin * ROWS, last, bands[lane], some, step, flags)


def _convolve_panels(lane, begin, end, values, channels, weight, turned, bias, tiles, together, space, out):
    """``together`` panels of outputs at a time: U, then all points and tiles, then the outputs."""
    kernel, outputs, pixels = weight.shape[2], out.shape[3], out.reshape(-1)
    total = tiles[0] * tiles[1] * tiles[2]
    groups, line, wide = -(-total // ROWS), channels * LANES, together * LANES
    step_v, step_m = ROWS * channels + LANES, ROWS * wide + LANES
    at_v, at_m = np.arange(ROWS) * channels, np.arange(ROWS) * wide
    packed, rest = space[lane, : kernel * kernel * line], space[lane, kernel * kernel * line :]
    weights, rest = rest[: together * POINTS * line], rest[together * POINTS * line :]
    products, patch = rest[: POINTS * groups * step_m], rest[POINTS * groups * step_m :]
    for task in range(begin, end):
        panel = task * together
        count = min(together, outputs // LANES - panel)
        for i in range(count):
            some = weights[i * POINTS * line : (i + 1) * POINTS * line]
            transform_weights(weight, turned, panel + i, packed, some)
        for point in range(POINTS):
            multiply(
                point, values, step_v, at_v, channels, groups, weights, count, bias, outputs + panel * LANES, products,
                step_m, at_m,
            )  # fmt: skip
        transform_outputs(
            products, step_m, 0, total, wide, kernel, tiles, patch, out, pixels, panel * LANES, count * LANES
        )  # fmt: skip


def _gradient_pairs(
    lane, begin, end, x, grad, kernel, pad_y, pad_x, tiles, first, step_v, step_g, block, space, bands, flags
):  # fmt: skip
    """V and A grad A^T for groups of tiles from ``first`` on."""
    values, grads = space[begin * POINTS * step_v :], space[POINTS * (block * step_v + begin * step_g) :]
    transform_pairs(
        x,
        grad,
        kernel,
        pad_y,
        pad_x,
        tiles,
        first + begin,
        end - begin,
        step_v,
        step_g,
        values,
        grads,
        bands[lane],
        flags,
    )


def _gradient(
    lane, begin, end, count, channels, outputs, kernel, share, step_v, step_g, block, space, fresh, finish, one_each,
    kept, out,
):  # fmt: skip
    """Sums over tiles of V^T (A grad A^T), ``share`` channels and PANELS panels a task; at last G^T sums G."""
    panels, line = outputs // LANES, share * LANES
    columns = -(-panels // PANELS)
    values, grads = space[: POINTS * block * step_v], space[POINTS * block * step_v :]
    for task in range(begin, end):
        place = task if one_each else lane
        sums, result = kept[place, : PANELS * POINTS * line], kept[place, PANELS * POINTS * line :]
        panel, first = task % columns * PANELS, task // columns * share
        together = min(PANELS, panels - panel)
        if fresh:
            sums[:] = 0
        for point in range(POINTS):
            fetch_point(point + 1, values, step_v, channels, first, min(share, channels - first), count)
            fetch_point(point + 1, grads, step_g, outputs, panel * LANES, together * LANES, count)
            add_products(
                point, values, grads, count, channels, outputs, step_v, step_g, panel, together, first, share, sums
            )
        if finish:
            for p in range(together):
                some = sums[p * POINTS * line : (p + 1) * POINTS * line]
                put_gradient(some, share, kernel, result, panel + p, first, channels, out)


def _gradient_parts(
    lane, begin, end, x, grad, kernel, pad_y, pad_x, tiles, step_v, step_g, block, space, sums, flags
):  # fmt: skip
    """The same for few channels: each part takes some of the tiles, and all channels and outputs."""
    channels, outputs = x.shape[3], grad.shape[3]
    parts, panels = sums.shape[:2]
    total = tiles[0] * tiles[1] * tiles[2]
    groups = -(-total // ROWS)
    pixels, gradients = x.reshape(-1), grad.reshape(-1)
    tile_x, tile_g = x.size // total, grad.size // total
    padded = sums.shape[2] // (POINTS * LANES)
    both, band = space[lane, : POINTS * block * (step_v + step_g)], space[lane, POINTS * block * (step_v + step_g) :]
    values, grads = both[: POINTS * block * step_v], both[POINTS * block * step_v :]
    for part in range(begin, end):
        start, stop = part * groups // parts, (part + 1) * groups // parts
        every = sums[part].reshape(-1)
        every[:] = 0
        for first in range(start, stop, block):
            count = min(block, stop - first)
            transform_pairs(
                x, grad, kernel, pad_y, pad_x, tiles, first, count, step_v, step_g, values, grads, band, flags
            )
            for point in range(POINTS):
                fetch_part(point, pixels, tile_x, (first + count) * ROWS, block)
                fetch_part(point, gradients, tile_g, (first + count) * ROWS, block)
                add_products(
                    point, values, grads, count, channels, outputs, step_v, step_g, 0, panels, 0, padded, every
                )


def _sum_parts(begin, end, sums, kernel, out):
    """Add the parts in order, then G^T sums G."""
    padded = sums.shape[2] // (POINTS * LANES)
    result = np.empty(kernel * kernel * (padded + ROWS) * LANES, out.dtype)
    for panel in range(begin, end):
        total = sums[0, panel]
        for part in range(1, sums.shape[0]):
            other = sums[part, panel]
            for i in range(total.size):
                total[i] += other[i]
        put_gradient(total, padded, kernel, result, panel, 0, out.shape[1], out)


weights_loop = jit(_convolve_weights, per_thread="space")
tiles_loop = jit(_convolve_tiles, per_thread="space")
values_loop = jit(_convolve_values, per_thread="bands")
panels_loop = jit(_convolve_panels, per_thread="space")
pairs_loop = jit(_gradient_pairs, per_thread="bands")
gradient_loop = jit(_gradient, per_thread="kept")
parts_loop = jit(_gradient_parts, per_thread="space")
sum_parts_loop = jit(_sum_parts)
