"""Glyphs: digits or letters drawn from matplotlib's fonts, warped, coloured and made noisy. Needs no download.

Train and test use different font families, so test accuracy measures how well the idea of a "7" was learned, not one
font's. Every image comes with the affine map that drew it and the box around its glyph.
"""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from tinycnn.data.dataset import ArrayDataset, Transform, is_whole
from tinycnn.errors import DataError

SYMBOLS = {"digits": "0123456789", "letters": "ABCDEFGHIJKLMNOPQRSTUVWXYZ"}
TEST_FAMILIES = ("STIXGeneral", "cmss10")
_TRAIN_FAMILIES = ("DejaVu Sans", "DejaVu Sans Mono", "DejaVu Serif", "cmr10", "cmb10", "cmti10", "cmtt10")
_COUNTS = {"train": 8000, "test": 2000}
_CHUNK_PIXELS = 2_000_000
_MOST = 10_000_000  # glyphs; 10 GB at 32 x 32


class Glyphs(ArrayDataset):
    """A data set of glyphs.

    Parameters
    ----------
    split : "train" or "test"
        Of font families: the test split has :data:`TEST_FAMILIES`, which training never sees.
    size : int
        Height and width, 8 to 224.
    channels : 1 or 3
    symbols : "digits" or "letters"
        10 or 26 classes.
    count : int, optional
        8,000 for training and 2,000 for testing by default.
    seed : int
        Same arguments, same images (with the same version of matplotlib, whose fonts they are).
    difficulty : float
        0: upright, centred, clean. 1: turned, sheared, moved, of any colour on a textured ground, with noise.
    transform : callable, optional

    Attributes
    ----------
    warps : float array, shape (N, 2, 3)
        The affine map from glyph coordinates (the glyph's height spans -1 to 1) to pixels, x before y.
    boxes : float array, shape (N, 4)
        Left, top, right and bottom of the glyph in pixels.
    fonts : list of str
        The font file of each image.

    Raises
    ------
    DataError
        If an argument is out of range.

    Examples
    --------
    >>> data = Glyphs("test", size=16, count=4)
    >>> data.images.shape, data.labels.tolist()
    ((4, 1, 16, 16), [0, 1, 2, 3])
    """

    def __init__(
        self,
        split: str = "train",
        size: int = 28,
        channels: int = 1,
        symbols: str = "digits",
        count: int | None = None,
        seed: int = 0,
        difficulty: float = 1.0,
        transform: Transform | None = None,
    ) -> None:
        _check(split, size, channels, symbols, count, seed, difficulty)
        count = _COUNTS[split] if count is None else count
        rng = np.random.default_rng([seed, split == "test", size, channels])
        text = SYMBOLS[symbols]
        stencils = _stencils(split, text, 2 * size)
        labels = np.arange(count) % len(text)
        faces = rng.integers(len(stencils.fonts), size=count)
        warps = _draw_warps(rng, count, size, difficulty)
        images = np.empty((count, channels, size, size), np.uint8)
        step = max(1, _CHUNK_PIXELS // (4 * size * size))
        for start in range(0, count, step):
            part = slice(start, start + step)
            masks = _warp(stencils.masks[faces[part], labels[part]], warps[part], size)
            images[part] = _paint(rng, masks, channels, difficulty)
        super().__init__(images, labels, tuple(text), transform, f"glyphs ({split})")
        self.warps = warps
        self.boxes = _boxes(stencils.extents[faces, labels], warps)
        self.fonts = [stencils.fonts[face] for face in faces]


def _check(split: str, size: int, channels: int, symbols: str, count: int | None, seed: int, difficulty: float) -> None:
    rules: list[tuple[str, Any, bool, str]] = [
        ("split", split, split in tuple(_COUNTS), "'train' or 'test'"),
        ("size", size, is_whole(size, 8, 224), "8 to 224"),
        ("channels", channels, is_whole(channels, 1, 3) and channels != 2, "1 or 3"),
        ("symbols", symbols, symbols in tuple(SYMBOLS), "'digits' or 'letters'"),
        ("count", count, count is None or is_whole(count, 1), "at least 1"),
        ("count", count, not is_whole(count, _MOST + 1), f"at most {_MOST}"),
        ("seed", seed, is_whole(seed, 0), "at least 0"),
        ("difficulty", difficulty, isinstance(difficulty, (int, float, np.number)) and 0 <= difficulty <= 2, "0 to 2"),
    ]
    for name, value, good, expected in rules:
        if not good:
            raise DataError(f"glyphs: {name} is {value!r}, expected {expected}")


class _Stencils:
    """Each glyph of each font as a mask, its longer side filling half of a square, and its extent in it."""

    def __init__(self, fonts: list[str], masks: np.ndarray, extents: np.ndarray) -> None:
        self.fonts, self.masks, self.extents = fonts, masks, extents


@cache
def _stencils(split: str, text: str, side: int) -> _Stencils:
    from matplotlib.ft2font import FT2Font

    wanted = TEST_FAMILIES if split == "test" else _TRAIN_FAMILIES
    fonts, masks, extents = [], [], []
    for path in _font_files():
        font = FT2Font(str(path))
        if font.family_name in wanted and all(ord(symbol) in font.get_charmap() for symbol in text):
            drawn = [_stencil(font, symbol, side) for symbol in text]
            fonts.append(path.name)
            masks.append([mask for mask, _ in drawn])
            extents.append([extent for _, extent in drawn])
    if not fonts:
        raise DataError(f"glyphs: matplotlib has none of the fonts {', '.join(wanted)}; reinstall matplotlib")
    return _Stencils(fonts, np.array(masks, np.float32), np.array(extents, np.float32))


def _font_files() -> list[Path]:
    import matplotlib

    return sorted((Path(matplotlib.get_data_path()) / "fonts" / "ttf").glob("*.ttf"))


def _stencil(font: Any, symbol: str, side: int) -> tuple[np.ndarray, tuple[float, float]]:
    """Return a glyph in the middle of a square of ``side``, its longer side being side / 2, and its half extents on
    the scale of warps.
    """
    font.set_size(side, 72)
    for _ in range(2):
        font.clear()
        font.set_text(symbol, 0.0)
        font.draw_glyphs_to_bitmap(antialiased=True)
        bitmap = np.asarray(font.get_image(), np.float32) / 255
        rows, columns = (np.flatnonzero(bitmap.any(axis=axis)) for axis in (1, 0))
        bitmap = bitmap[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
        font.set_size(side * (side / 2) / max(bitmap.shape), 72)
    out = np.zeros((side, side), np.float32)
    height, width = (min(n, side) for n in bitmap.shape)
    top, left = (side - height) // 2, (side - width) // 2
    out[top : top + height, left : left + width] = bitmap[:height, :width]
    return out, (width / (side / 2), height / (side / 2))


def _draw_warps(rng: np.random.Generator, count: int, size: int, difficulty: float) -> np.ndarray:
    """Return affine maps from glyph coordinates to pixels: scale, shear, rotation, translation."""
    angle = np.radians(rng.uniform(-20, 20, count)) * difficulty
    shear = rng.uniform(-0.25, 0.25, count) * difficulty
    stretch = np.exp(rng.uniform(-0.2, 0.2, count) * difficulty)
    height = size * (0.36 - 0.08 * difficulty * rng.uniform(0, 1, count))
    shift = rng.uniform(-0.12, 0.12, (count, 2)) * size * difficulty
    cos, sin = np.cos(angle), np.sin(angle)
    warps = np.empty((count, 2, 3))
    warps[:, 0, 0], warps[:, 0, 1] = height * cos * stretch, height * (cos * shear - sin)
    warps[:, 1, 0], warps[:, 1, 1] = height * sin * stretch, height * (sin * shear + cos)
    warps[:, :, 2] = (size - 1) / 2 + shift
    return warps


def _warp(masks: np.ndarray, warps: np.ndarray, size: int) -> np.ndarray:
    """Draw masks (n, side, side) through warps: bilinear, four samples for each pixel. Returns (n, size, size)."""
    side = masks.shape[1]
    inverse = np.linalg.inv(warps[:, :, :2]).astype(np.float32)
    grid = np.arange(2 * size, dtype=np.float32) / 2 - 0.25
    x, y = (
        g[None] - warps[:, axis, 2, None, None].astype(np.float32) for axis, g in enumerate(np.meshgrid(grid, grid))
    )
    u, v = (inverse[:, i, 0, None, None] * x + inverse[:, i, 1, None, None] * y for i in (0, 1))
    column, row = (w * (side / 4) + (side - 1) / 2 for w in (u, v))
    sampled = _bilinear(masks, row, column)
    return sampled.reshape(len(masks), size, 2, size, 2).mean(axis=(2, 4))


def _bilinear(masks: np.ndarray, row: np.ndarray, column: np.ndarray) -> np.ndarray:
    """Return masks at fractional positions, 0 outside."""
    side = masks.shape[1]
    padded = np.pad(masks, ((0, 0), (1, 1), (1, 1))).reshape(len(masks), -1)
    row, column = (np.clip(w + 1, 0, side + 0.999) for w in (row, column))
    top, left = row.astype(np.int32), column.astype(np.int32)
    down, right = row - top, column - left
    at = (top * (side + 2) + left).reshape(len(masks), -1)
    corners = [np.take_along_axis(padded, at + step, axis=1).reshape(row.shape) for step in (0, 1, side + 2, side + 3)]
    upper = corners[0] + (corners[1] - corners[0]) * right
    lower = corners[2] + (corners[3] - corners[2]) * right
    return upper + (lower - upper) * down


def _paint(rng: np.random.Generator, masks: np.ndarray, channels: int, difficulty: float) -> np.ndarray:
    """Draw ink on ground: two colours of enough contrast, a soft texture on the ground, noise over all."""
    count, size = len(masks), masks.shape[1]
    ground, ink = _colours(rng, count, channels, difficulty)
    texture = _soft_noise(rng, count, size) * (0.18 * difficulty * rng.uniform(0, 1, (count, 1, 1, 1)))
    image = ground + texture.astype(np.float32)
    image += masks[:, None] * (ink - image)
    noise = 0.06 * difficulty * rng.uniform(0, 1, (count, 1, 1, 1))
    image += rng.standard_normal(image.shape, dtype=np.float32) * noise.astype(np.float32)
    return np.rint(np.clip(image, 0, 1) * 255).astype(np.uint8)


def _colours(rng: np.random.Generator, count: int, channels: int, difficulty: float) -> tuple[np.ndarray, np.ndarray]:
    """Return ground and ink (n, channels, 1, 1): dark ground and light ink, or the reverse, at least 0.4 of
    brightness apart.
    """
    dark = 0.3 * difficulty * rng.uniform(0, 1, count)
    light = np.minimum(1.0, dark + 0.4 + (0.6 - 0.3 * min(difficulty, 1)) * rng.uniform(0, 1, count) + 0.3)
    flipped = rng.uniform(0, 1, count) < 0.5 * min(difficulty, 1)
    levels = np.stack([np.where(flipped, light, dark), np.where(flipped, dark, light)])
    tint = rng.uniform(-0.2, 0.2, (2, count, channels)) * (difficulty if channels == 3 else 0)
    tint -= tint.mean(axis=2, keepdims=True)
    colours = np.clip(levels[:, :, None] + tint, 0, 1).astype(np.float32)[..., None, None]
    return colours[0], colours[1]


def _soft_noise(rng: np.random.Generator, count: int, size: int) -> np.ndarray:
    """Return smooth random fields from -1 to 1: a 5x5 grid of random numbers, interpolated."""
    coarse = rng.uniform(-1, 1, (count, 5, 5)).astype(np.float32)
    place = np.linspace(0, 4, size, dtype=np.float32)
    weights = np.clip(1 - np.abs(place[:, None] - np.arange(5, dtype=np.float32)), 0, 1)
    return (weights @ coarse @ weights.T)[:, None]


def _boxes(extents: np.ndarray, warps: np.ndarray) -> np.ndarray:
    """Return boxes around glyphs of half extents (x, y) drawn through warps."""
    reach = np.abs(warps[:, :, :2]) @ extents[:, :, None]
    return np.concatenate([warps[:, :, 2] - reach[:, :, 0], warps[:, :, 2] + reach[:, :, 0]], axis=1)
