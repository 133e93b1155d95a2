"""Rows of tiles whose elements differ too much in size for Winograd's transforms, and their direct convolution.

The transforms add and subtract all pixels of a tile. One pixel that is NaN, infinite or very large would spoil all 16
outputs of its tile, also those whose windows do not hold it. So while the input rows of a row of tiles are copied into
the strip, their largest magnitude is found. A row of tiles is out of range if

* an element is not finite, or so large that intermediate results could overflow (``LARGEST``),
* fewer than one in ``RARE`` of the elements that are not 0 reach a 128th of the largest (float64: 2**-26 of it), or
* it holds few pixels of the image, and fewer than half of these elements reach 2**-16 of the largest (2**-36).

A pixel of 128 times the typical size costs errors of up to 3e-5 of the largest output in float32 (3x3, 16 channels).
The second rule looks at a sample of the pixels of a large strip first. A larger fraction would also select the
gradients behind batch norm and ReLU, where a third of the elements is hundreds of times larger than the rest.

The strip of a row that is out of range is set to zero, and the direct convolution computes its contribution afterwards.
Weight gradients are sums over the rows of tiles, so there its contribution is added.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from tinycnn.kernels.cpu.conv import direct
from tinycnn.kernels.cpu.machine.nhwc import as_nchw, to_nhwc
from tinycnn.kernels.cpu.machine.parallel import helper
from tinycnn.kernels.cpu.machine.simd import copy_peak, count_above
from tinycnn.kernels.geometry import ConvShape, Padding

# For float32 and float64: the bit pattern of 2**84 and 2**979, and the exponents of two ratios as bit patterns.
LARGEST = (127 + 84) << 23, (1023 + 979) << 52
RATIO = 7 << 23, 26 << 52
FAR = 16 << 23, 36 << 52
RARE = 8
SAMPLE, FEW = 16, 64  # pixels that are examined; all of them if fewer elements of the sample are not 0
SMALL = 32  # pixels of the image in a strip, up to which all of them are examined


def _is_out_of_range(peak, strip, inside, pixels, channels):
    """Return True if a strip is out of range; ``peak`` is the bit pattern of its largest magnitude."""
    single = strip.itemsize == 4
    if peak > (LARGEST[0] if single else LARGEST[1]):
        return True
    near = peak - (RATIO[0] if single else RATIO[1])
    if near <= 0:
        return False
    step = 1 if inside <= SMALL else max(1, pixels // SAMPLE)
    while True:
        large = others = 0
        for p in range(0, pixels, step):
            large += count_above(strip, p * channels, channels, near)
            others += count_above(strip, p * channels, channels, 0)
        if step == 1:
            break
        if others >= FEW and RARE * large >= 2 * others:
            return False
        step = 1
    if RARE * large < others:
        return True
    if inside > SMALL:
        return False
    far, large = max(peak - (FAR[0] if single else FAR[1]), 0), 0
    for p in range(pixels):
        large += count_above(strip, p * channels, channels, far)
    return 2 * large < others


is_out_of_range = helper(_is_out_of_range)


def _fill_strip(x, flat, n, top, left, rows, width, strip):
    """Copy ``rows`` rows of ``width`` pixels from (top, left) on into ``strip``, zeros outside the image.

    Return 1, and leave zeros in the strip, if they are out of range; else 0.
    """
    height, image_width, channels = x.shape[1], x.shape[2], x.shape[3]
    low, high = min(max(-left, 0), width), max(min(image_width - left, width), 0)
    line, peak, inside = width * channels, 0, 0
    for row in range(rows):
        y, start = top + row, row * line
        if y < 0 or y >= height or low >= high:
            strip[start : start + line] = 0
            continue
        source = ((n * height + y) * image_width + left + low) * channels
        strip[start : start + low * channels] = 0
        peak = max(peak, copy_peak(flat, source, strip, start + low * channels, (high - low) * channels))
        strip[start + high * channels : start + line] = 0
        inside += high - low
    if is_out_of_range(peak, strip, inside, rows * width, channels):
        strip[: rows * line] = 0
        return 1
    return 0


fill_strip = helper(_fill_strip)


def any_out_of_range(flags: np.ndarray) -> bool:
    """Return True if a row of tiles was out of range."""
    return b"\1" in flags.tobytes()


def redo_outputs(flags, pixels, weight, bias, padding: Padding, side: int, out) -> None:
    """Compute the outputs of the flagged rows of tiles by the direct convolution.

    Parameters
    ----------
    flags : uint8, (N, rows of tiles)
    pixels : (N, H, W, C)
    weight : (C_out, C, K, K)
    bias : (C_out,) or None
    padding : (top, bottom, left, right)
    side : int
        Rows of outputs in a tile.
    out : (N, H_out, W_out, C_out)
        The flagged rows are written.
    """
    for lines, height in _lines_by_height(flags, side, out.shape[1]):
        strips = as_nchw(_strips(pixels, lines, side, padding[0], height + weight.shape[2] - 1))
        done = direct.conv2d(strips, weight, bias, _shape(strips, weight, padding))
        for (n, row), outputs in zip(lines, to_nhwc(done)):
            out[n, row * side : row * side + height] = outputs


def add_gradients(flags, pixels, grads, padding: Padding, side: int, out) -> None:
    """Add the contribution of the flagged rows of tiles to the gradient of the weight ``out`` (C_out, C, K, K)."""
    for lines, height in _lines_by_height(flags, side, grads.shape[1]):
        strips = as_nchw(_strips(pixels, lines, side, padding[0], height + out.shape[2] - 1))
        gradients = as_nchw(_strips(grads, lines, side, 0, height))
        out += direct.conv2d_backward_weight(gradients, strips, _shape(strips, out, padding))


def _shape(strips: np.ndarray, weight: np.ndarray, padding: Padding) -> ConvShape:
    """Return the shapes of a convolution of strips that have their padding above and below."""
    return ConvShape(strips.shape, weight.shape, padding=(0, 0, *padding[2:]))


def _lines_by_height(flags: np.ndarray, side: int, rows: int) -> Iterator[tuple[list[tuple[int, int]], int]]:
    """Yield the flagged (image, row of tiles) that have ``side`` rows of outputs, then those with fewer."""
    lines = [(int(n), int(row)) for n, row in np.argwhere(flags)]
    for height in sorted({side, rows - (flags.shape[1] - 1) * side}, reverse=True):
        chosen = [(n, row) for n, row in lines if min(side, rows - row * side) == height]
        if chosen:
            yield chosen, height


def _strips(pixels: np.ndarray, lines: list[tuple[int, int]], side: int, padding: int, height: int) -> np.ndarray:
    """Copy ``height`` rows of pixels for each row of tiles, with zeros above and below the image."""
    strips = np.zeros((len(lines), height, *pixels.shape[2:]), pixels.dtype)
    for strip, (n, row) in zip(strips, lines):
        top = row * side - padding
        first, last = max(top, 0), min(top + height, pixels.shape[1])
        if first < last:
            strip[first - top : last - top] = pixels[n, first:last]
    return strips
