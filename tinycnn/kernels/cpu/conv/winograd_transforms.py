"""The transforms of Winograd's convolution, tile by tile: B^T d B, A grad A^T, A^T M A, G g G^T and G^T sums G.

:mod:`.winograd` explains them, :mod:`.winograd_tiles` where their results are stored.
"""

from __future__ import annotations

from tinycnn.kernels.cpu.conv.winograd_range import fill_strip
from tinycnn.kernels.cpu.conv.winograd_tiles import SIDE, tile_offset, tiles_in_line
from tinycnn.kernels.cpu.machine.nhwc import copy
from tinycnn.kernels.cpu.machine.parallel import helper
from tinycnn.kernels.cpu.machine.simd import LANES, ROWS, tile_map

B_T = (
    (4, 0, -5, 0, 1, 0),
    (0, -4, -4, 1, 1, 0),
    (0, 4, -4, -1, 1, 0),
    (0, -2, -1, 2, 1, 0),
    (0, 2, -1, -2, 1, 0),
    (0, 4, 0, -5, 0, 1),
)
_FINITE_POINTS = ((0, 1 / 4), (1, -1 / 6), (-1, -1 / 6), (2, 1 / 24), (-2, 1 / 24))  # and their scales


def values_of(kernel: int) -> tuple[tuple[float, ...], ...]:
    """Return G, which gives the values of a kernel at the six points.

    >>> values_of(3)[3]
    (0.041666666666666664, 0.08333333333333333, 0.16666666666666666)
    """
    return (*(tuple(scale * p**j for j in range(kernel)) for p, scale in _FINITE_POINTS), (0,) * (kernel - 1) + (1,))


def outputs_of(kernel: int) -> tuple[tuple[float, ...], ...]:
    """Return A^T, which gives outputs from values at the six points.

    >>> outputs_of(5)
    ((1, 1, 1, 1, 1, 0), (0, 1, -1, 2, -2, 1))
    """
    count = SIDE + 1 - kernel
    return tuple((*(p**i for p, _ in _FINITE_POINTS), int(i == count - 1)) for i in range(count))


def _transposed(matrix):
    return tuple(zip(*matrix))


def _for_3_and_5(matrix_3, matrix_5):
    """Return ``tile_map`` with the size of the kernel, 3 or 5, as first argument."""
    map_3, map_5 = tile_map(matrix_3), tile_map(matrix_5)

    def apply(kernel, a, a_start, a_row, a_step, a_next, b, b_start, b_row, b_step, b_next, count, tiles):
        if kernel == 3:
            map_3(a, a_start, a_row, a_step, a_next, b, b_start, b_row, b_step, b_next, count, tiles)
        else:
            map_5(a, a_start, a_row, a_step, a_next, b, b_start, b_row, b_step, b_next, count, tiles)

    return helper(apply)


input_map = tile_map(B_T)
weight_map = _for_3_and_5(values_of(3), values_of(5))
output_map = _for_3_and_5(outputs_of(3), outputs_of(5))
gradient_map = _for_3_and_5(_transposed(outputs_of(3)), _transposed(outputs_of(5)))
adjoint_map = _for_3_and_5(_transposed(values_of(3)), _transposed(values_of(5)))


def _enter_line(t, line, x, flat, tiles, side, pad_y, pad_x, height, width, strip, flags):
    """Return the row of tiles that holds t. If it is not ``line``, copy the pixels that it needs into ``strip``.

    The row's element of ``flags`` becomes 1 if they are out of range.
    """
    entered = t // tiles[2]
    if entered != line:
        n, row = entered // tiles[1], entered % tiles[1]
        if fill_strip(x, flat, n, row * side - pad_y, -pad_x, height, width, strip):
            flags[entered] = 1
    return entered


enter_line = helper(_enter_line)


def _transform_input(x, kernel, pad_y, pad_x, tiles, first, last, strip, values, step, flags):
    """V = B^T d B for the tiles ``first`` to ``last``, channel by channel.

    The input rows that a row of tiles needs are first copied, with their padding, into a strip that stays in the cache.
    """
    channels, flat = x.shape[3], x.reshape(-1)
    side = SIDE + 1 - kernel
    width = tiles[2] * side + kernel - 1
    t, line = first, -1
    while t < last:
        line = enter_line(t, line, x, flat, tiles, side, pad_y, pad_x, SIDE, width, strip, flags)
        count = tiles_in_line(t, first, last, tiles[2])
        source, target = t % tiles[2] * side * channels, tile_offset(t, first, step, channels)
        input_map(
            strip, source, width * channels, channels, side * channels, values, target, SIDE * step, step, channels,
            channels, count,
        )  # fmt: skip
        t += count


transform_input = helper(_transform_input)


def _transform_gradient(grad, kernel, tiles, first, last, strip, values, step, flags):
    """A grad A^T for the tiles ``first`` to ``last`` of output gradients, channel by channel."""
    channels, flat = grad.shape[3], grad.reshape(-1)
    side = SIDE + 1 - kernel
    width = tiles[2] * side
    t, line = first, -1
    while t < last:
        line = enter_line(t, line, grad, flat, tiles, side, 0, 0, side, width, strip, flags)
        count = tiles_in_line(t, first, last, tiles[2])
        source, target = t % tiles[2] * side * channels, tile_offset(t, first, step, channels)
        gradient_map(
            kernel, strip, source, width * channels, channels, side * channels, values, target, SIDE * step, step,
            channels, channels, count,
        )  # fmt: skip
        t += count


transform_gradient = helper(_transform_gradient)


def _transform_outputs(values, step, start, last, columns, kernel, tiles, patch, out, pixels, first_output, count):
    """A^T M A for ``count`` of the ``columns`` outputs in M, for the tiles ``start`` to ``last``.

    Tiles inside the image are written to ``out``, of which ``pixels`` is a flat view, others by way of a patch.
    """
    height, width, outputs = out.shape[1:]
    side = SIDE + 1 - kernel
    complete = width // side
    t = start
    while t < last:
        n, row, column = t // (tiles[1] * tiles[2]), t // tiles[2] % tiles[1], t % tiles[2]
        top, left = row * side, column * side
        inside = top + side <= height and column < complete
        source = tile_offset(t, start, step, columns)
        if inside:
            tile_count = min(tiles_in_line(t, start, last, tiles[2]), complete - column)
            target, line, pixel = pixels, width * outputs, outputs
            first = ((n * height + top) * width + left) * outputs + first_output
        else:
            tile_count, target, line, pixel, first = 1, patch, side * count, count, 0
        output_map(
            kernel, values, source, SIDE * step, step, columns, target, first, line, pixel, side * outputs, count,
            tile_count,
        )  # fmt: skip
        if not inside:
            for i in range(min(side, height - top)):
                for j in range(min(side, width - left)):
                    offset = (i * side + j) * count
                    inner = patch[offset : offset + count]
                    copy(inner, out[n, top + i, left + j, first_output : first_output + count])
        t += tile_count


transform_outputs = helper(_transform_outputs)


def _transform_weights(weight, rotated, panel, packed, values):
    """U = G g G^T for a panel of LANES outputs: packed as (tap, channel, lane), then transformed for all channels."""
    kernel = weight.shape[2]
    channels, area = weight.shape[0 if rotated else 1], kernel * kernel
    flat = weight.reshape(-1)
    out_step, in_step = (area, weight.shape[1] * area) if rotated else (weight.shape[1] * area, area)
    for c in range(channels):
        for tap in range(area):
            source = panel * LANES * out_step + c * in_step + (area - 1 - tap if rotated else tap)
            target = packed[(tap * channels + c) * LANES : (tap * channels + c + 1) * LANES]
            for lane in range(LANES):
                target[lane] = flat[source + lane * out_step]
    line = channels * LANES
    weight_map(kernel, packed, 0, kernel * line, line, 0, values, 0, SIDE * line, line, 0, line, 1)


transform_weights = helper(_transform_weights)


def _put_gradient(sums, count, kernel, result, panel, first, channels, out):
    """Write G^T sums G for ``count`` channels and a panel of outputs to the gradient of the weight.

    In ``result`` a tap has ROWS lines more than its elements need; else all taps would share some sets of the cache.
    """
    line, step, area = count * LANES, (count + ROWS) * LANES, kernel * kernel
    adjoint_map(kernel, sums, 0, SIDE * line, line, 0, result, 0, kernel * step, step, 0, line, 1)
    flat = out.reshape(-1)
    for c in range(0, count, ROWS):
        channel = min(first + c, channels - ROWS)
        for lane in range(LANES):
            start = ((panel * LANES + lane) * channels + channel) * area
            target = flat[start : start + ROWS * area]
            for i in range(ROWS):
                for tap in range(area):
                    target[i * area + tap] = result[tap * step + (c + i) * LANES + lane]


put_gradient = helper(_put_gradient)
