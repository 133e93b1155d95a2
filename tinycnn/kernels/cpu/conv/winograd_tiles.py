"""How outputs are cut into tiles, and where the values of the tiles are stored.

Tiles are numbered row by row, image by image: ``tiles`` are the numbers of images, of rows of tiles and of tiles in a
row. Groups of ROWS tiles are stored together: ``[group][point][tile of the group][channel]``.
"""

from __future__ import annotations

from tinycnn.kernels.cpu.machine.numbers import positions
from tinycnn.kernels.cpu.machine.parallel import helper
from tinycnn.kernels.cpu.machine.simd import LANES, ROWS, prefetch
from tinycnn.kernels.cpu.machine.tuning import WINOGRAD_BLOCK_ELEMENTS, WINOGRAD_BLOCK_GROUPS

SIDE, POINTS = 6, 36

TILES = positions("kernel", "top", "left", "images", "rows", "columns", "block")
"""Positions of the numbers of a loop over tiles: the size of the kernel, the padding, the numbers of images, of rows of
tiles and of tiles in a row, and the groups of tiles of a block."""


def count_tiles(shape: tuple[int, ...], kernel: int) -> tuple[int, int, int]:
    """Return the numbers of images, of rows of tiles and of tiles in a row for outputs (N, H_out, W_out, C_out)."""
    side = SIDE + 1 - kernel
    return shape[0], -(-shape[1] // side), -(-shape[2] // side)


def strip_elements(tiles: tuple[int, int, int], kernel: int, channels: int) -> int:
    """Return the number of elements of the input rows that a row of tiles needs."""
    return SIDE * (tiles[2] * (SIDE + 1 - kernel) + kernel - 1) * channels


def cached_groups(elements: int) -> int:
    """Return the number of groups of tiles, of ``elements`` each, that stay in the cache of a processor."""
    return min(WINOGRAD_BLOCK_GROUPS, max(1, WINOGRAD_BLOCK_ELEMENTS // elements))


def point_step(channels: int) -> int:
    """Return the step from point to point in a group: a cache line more than its elements.

    Without it, all points would share some sets of the cache.
    """
    return ROWS * channels + LANES


def _tiles_in_line(t, first, last, across):
    """Return how many tiles from t on are in one row of ``across`` tiles and in one group, counted from ``first``."""
    return min(last - t, across - t % across, ROWS - (t - first) % ROWS)


tiles_in_line = helper(_tiles_in_line)


def _tile_offset(t, first, step, channels):
    """Return the offset of tile t among the values of the tiles from ``first`` on."""
    return (t - first) // ROWS * POINTS * step + (t - first) % ROWS * channels


tile_offset = helper(_tile_offset)


def _prefetch_part(point, pixels, tile, first, block):
    """Prefetch one of POINTS parts of ``block`` groups of tiles; a tile has ``tile`` elements of pixels."""
    part = block * ROWS * tile // POINTS
    prefetch(pixels, first * tile + point * part, part)


prefetch_part = helper(_prefetch_part)
