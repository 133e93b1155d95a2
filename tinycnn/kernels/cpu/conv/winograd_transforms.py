"""The transforms of Winograd's convolution, tile by tile: B^T d B, A grad A^T, A^T M A, G g G^T and G^T sums G.

:mod:`.winograd` says what they are for, and what lies where.
"""

from __future__ import annotations

from tinycnn.kernels.cpu.conv.winograd_range import fill_line
from tinycnn.kernels.cpu.machine.nhwc import copy
from tinycnn.kernels.cpu.machine.parallel import inline
from tinycnn.kernels.cpu.machine.simd import LANES, ROWS, tile_map

SIDE, POINTS = 6, 36

B_T = (
    (4, 0, -5, 0, 1, 0),
    (0, -4, -4, 1, 1, 0),
    (0, 4, -4, -1, 1, 0),
    (0, -2, -1, 2, 1, 0),
    (0, 2, -1, -2, 1, 0),
    (0, 4, 0, -5, 0, 1),
)
_POINTS = ((0, 1 / 4), (1, -1 / 6), (-1, -1 / 6), (2, 1 / 24), (-2, 1 / 24))  # and their scales


def values_of(kernel: int) -> tuple[tuple[float, ...], ...]:
    """G: the values of a kernel at the six points.

    >>> values_of(3)[3]
    (0.041666666666666664, 0.08333333333333333, 0.16666666666666666)
    """
    return (*(tuple(scale * p**j for j in range(kernel)) for p, scale in _POINTS), (0,) * (kernel - 1) + (1,))


def outputs_of(kernel: int) -> tuple[tuple[float, ...], ...]:
    """A^T: the outputs from values at the six points.

    >>> outputs_of(5)
    ((1, 1, 1, 1, 1, 0), (0, 1, -1, 2, -2, 1))
    """
    count = SIDE + 1 - kernel
    return tuple((*(p**i for p, _ in _POINTS), int(i == count - 1)) for i in range(count))


def _transposed(matrix):
    return tuple(zip(*matrix))


input_map = tile_map(B_T)
weight_map_3, weight_map_5 = tile_map(values_of(3)), tile_map(values_of(5))
output_map_3, output_map_5 = tile_map(outputs_of(3)), tile_map(outputs_of(5))
gradient_map_3, gradient_map_5 = tile_map(_transposed(outputs_of(3))), tile_map(_transposed(outputs_of(5)))
adjoint_map_3, adjoint_map_5 = tile_map(_transposed(values_of(3))), tile_map(_transposed(values_of(5)))


def _run(t, first, last, across):
    """How many tiles from t on lie in one line of ``across`` tiles and in one group of ROWS, counted from ``first``."""
    return min(last - t, across - t % across, ROWS - (t - first) % ROWS)


run = inline(_run)


def _place(t, first, step, channels):
    """Where tile t of those from ``first`` on lies among the values."""
    return (t - first) // ROWS * POINTS * step + (t - first) % ROWS * channels


place = inline(_place)


def _enter_line(t, line, x, flat, tiles, side, pad_y, pad_x, height, width, band, flags):
    """The line of tiles in which t lies; if it is not ``line``, the pixels that it needs are copied into the band.

    ``flags`` of the line becomes 1 if they are out of range.
    """
    now = t // tiles[2]
    if now != line:
        n, row = now // tiles[1], now % tiles[1]
        if fill_line(x, flat, n, row * side - pad_y, -pad_x, height, width, band):
            flags[now] = 1
    return now


enter_line = inline(_enter_line)


def _transform_input(x, kernel, pad_y, pad_x, tiles, first, last, band, values, step, flags):
    """V = B^T d B for the tiles ``first`` to ``last``, channel by channel.

    The rows that a line of tiles needs are first copied, with their padding, into a band that stays in the cache.
    """
    channels, flat = x.shape[3], x.reshape(-1)
    side = SIDE + 1 - kernel
    width = tiles[2] * side + kernel - 1
    t, line = first, -1
    while t < last:
        line = enter_line(t, line, x, flat, tiles, side, pad_y, pad_x, SIDE, width, band, flags)
        count = run(t, first, last, tiles[2])
        source, at = t % tiles[2] * side * channels, place(t, first, step, channels)
        input_map(
            band, source, width * channels, channels, side * channels, values, at, SIDE * step, step, channels,
            channels, count,
        )  # fmt: skip
        t += count


transform_input = inline(_transform_input)


def _transform_gradient(grad, kernel, tiles, first, last, band, values, step, flags):
    """A grad A^T for the tiles ``first`` to ``last`` of output gradients."""
    channels, flat = grad.shape[3], grad.reshape(-1)
    side = SIDE + 1 - kernel
    width = tiles[2] * side
    t, line = first, -1
    while t < last:
        line = enter_line(t, line, grad, flat, tiles, side, 0, 0, side, width, band, flags)
        count = run(t, first, last, tiles[2])
        source, at = t % tiles[2] * side * channels, place(t, first, step, channels)
        if kernel == 3:
            gradient_map_3(
                band, source, width * channels, channels, side * channels, values, at, SIDE * step, step, channels,
                channels, count,
            )  # fmt: skip
        else:
            gradient_map_5(
                band, source, width * channels, channels, side * channels, values, at, SIDE * step, step, channels,
                channels, count,
            )  # fmt: skip
        t += count


transform_gradient = inline(_transform_gradient)


def _transform_outputs(values, step, start, last, wide, kernel, tiles, patch, out, pixels, first_output, count):
    """A^T M A for ``count`` of the ``wide`` outputs in M, for the tiles ``start`` to ``last``.

    Tiles inside the image are written where they belong, others by way of a patch; ``pixels`` is out, flat.
    """
    height, width, outputs = out.shape[1:]
    side = SIDE + 1 - kernel
    whole = width // side
    t = start
    while t < last:
        n, row, column = t // (tiles[1] * tiles[2]), t // tiles[2] % tiles[1], t % tiles[2]
        top, left = row * side, column * side
        inside = top + side <= height and column < whole
        at = place(t, start, step, wide)
        if inside:
            together = min(run(t, start, last, tiles[2]), whole - column)
            target, line, pixel = pixels, width * outputs, outputs
            first = ((n * height + top) * width + left) * outputs + first_output
        else:
            together, target, line, pixel, first = 1, patch, side * count, count, 0
        if kernel == 3:
            output_map_3(
                values, at, SIDE * step, step, wide, target, first, line, pixel, side * outputs, count, together
            )  # fmt: skip
        else:
            output_map_5(
                values, at, SIDE * step, step, wide, target, first, line, pixel, side * outputs, count, together
            )  # fmt: skip
        if not inside:
            for i in range(min(side, height - top)):
                for j in range(min(side, width - left)):
                    pixel_at = (i * side + j) * count
                    inner = patch[pixel_at : pixel_at + count]
                    copy(inner, out[n, top + i, left + j, first_output : first_output + count])
        t += together


transform_outputs = inline(_transform_outputs)


def _transform_weights(weight, turned, panel, packed, values):
    """U = G g G^T for a panel of LANES outputs: first (tap, channel, lane), then all channels at once."""
    kernel = weight.shape[2]
    channels, area = weight.shape[0 if turned else 1], kernel * kernel
    flat = weight.reshape(-1)
    out_step, in_step = (area, weight.shape[1] * area) if turned else (weight.shape[1] * area, area)
    for c in range(channels):
        for tap in range(area):
            at = panel * LANES * out_step + c * in_step + (area - 1 - tap if turned else tap)
            target = packed[(tap * channels + c) * LANES : (tap * channels + c + 1) * LANES]
            for lane in range(LANES):
                target[lane] = flat[at + lane * out_step]
    line = channels * LANES
    if kernel == 3:
        weight_map_3(packed, 0, 3 * line, line, 0, values, 0, SIDE * line, line, 0, line, 1)
    else:
        weight_map_5(packed, 0, 5 * line, line, 0, values, 0, SIDE * line, line, 0, line, 1)


transform_weights = inline(_transform_weights)


def _put_gradient(sums, share, kernel, result, panel, first, channels, out):
    """G^T sums G, to where ``share`` channels and a panel of outputs lie in the weight.

    From tap to tap a result has ROWS lines more than its numbers take, or all taps would share some lines of the cache.
    """
    line, step, area = share * LANES, (share + ROWS) * LANES, kernel * kernel
    if kernel == 3:
        adjoint_map_3(sums, 0, SIDE * line, line, 0, result, 0, 3 * step, step, 0, line, 1)
    else:
        adjoint_map_5(sums, 0, SIDE * line, line, 0, result, 0, 5 * step, step, 0, line, 1)
    flat = out.reshape(-1)
    for c in range(0, share, ROWS):
        channel = min(first + c, channels - ROWS)
        for lane in range(LANES):
            start = ((panel * LANES + lane) * channels + channel) * area
            target = flat[start : start + ROWS * area]
            for i in range(ROWS):
                for tap in range(area):
                    target[i * area + tap] = result[tap * step + (c + i) * LANES + lane]


put_gradient = inline(_put_gradient)
