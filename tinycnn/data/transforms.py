"""Transforms of whole batches (N, C, H, W). Each takes (images, rng) and returns new images; the same rng, the same
result.

Those that move pixels keep the dtype, so they run on bytes, before :class:`Normalize` makes floats of them.
"""

from __future__ import annotations

import math
import operator
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

Rng = np.random.Generator
_ROUNDING = 1e-3  # by which floats may leave their range


def _check(transform: str, name: str, value: Any, least: float, most: float = math.inf) -> Any:
    """Return a number; raise TypeError if it is not one, ValueError unless least <= value <= most."""
    if isinstance(value, bool) or not isinstance(value, (int, float, np.integer, np.floating)):
        raise TypeError(f"{transform}: {name} is {value!r}, expected a number")
    if not least <= value <= most:
        limit = f"at least {least}" if most == math.inf else f"from {least} to {most}"
        raise ValueError(f"{transform}: {name} is {value!r}, expected {limit}")
    return value


def _check_whole(transform: str, name: str, value: Any, least: int) -> int:
    """Return an integer of at least `least`, or raise as :func:`_check`."""
    _check(transform, name, value, least)
    try:
        return operator.index(value)
    except TypeError:
        raise TypeError(f"{transform}: {name} is {value!r}, expected an integer") from None


def _check_images(transform: str, images: Any) -> None:
    """Raise unless images are an array (N, C, H, W) of integers or floats."""
    if not isinstance(images, np.ndarray) or images.dtype.kind not in "uif":
        kind = f"an array of {images.dtype}" if isinstance(images, np.ndarray) else f"a {type(images).__name__}"
        raise TypeError(f"{transform}: images are {kind}, expected an array of bytes or floats")
    if images.ndim != 4:
        raise ValueError(f"{transform}: images have shape {images.shape}, expected (N, C, H, W)")


def _as_dtype(values: np.ndarray, dtype: np.dtype) -> np.ndarray:
    """Return floats as another dtype: rounded and kept in range if it is of integers."""
    if dtype.kind in "ui":
        limits = np.iinfo(dtype)
        values = np.clip(np.rint(values), limits.min, limits.max)
    return values.astype(dtype)


class Compose:
    """Several transforms, one after another."""

    def __init__(self, transforms: Sequence[Any]) -> None:
        if not isinstance(transforms, Iterable):
            raise TypeError(f"Compose: transforms is {transforms!r}, expected a list of transforms")
        self.transforms = list(transforms)
        for transform in self.transforms:
            if not callable(transform):
                raise TypeError(f"Compose: {transform!r} is not a transform, expected callables (images, rng)")

    def __call__(self, images: np.ndarray, rng: Rng) -> np.ndarray:
        """Return the last transform's output."""
        for transform in self.transforms:
            images = transform(images, rng)
        return images


class Normalize:
    """Conversion of bytes to float32 from 0 to 1, then (x - mean) / std for each channel.

    Parameters
    ----------
    mean, std : sequences of float, one for each channel
        On the scale from 0 to 1.
    """

    def __init__(self, mean: Sequence[float], std: Sequence[float]) -> None:
        self.mean, self.std = _as_numbers("mean", mean), _as_numbers("std", std)
        if not self.std or min(self.std) <= 0:
            raise ValueError(f"Normalize: std is {self.std}, expected numbers above 0")
        if len(self.mean) != len(self.std):
            raise ValueError(
                f"Normalize: mean has {len(self.mean)} numbers but std has {len(self.std)}, expected as many"
            )

    def __call__(self, images: np.ndarray, rng: Rng) -> np.ndarray:
        """Return float32 images."""
        _check_images("Normalize", images)
        if images.shape[1] != len(self.mean):
            raise ValueError(f"Normalize: images have {images.shape[1]} channels, mean has {len(self.mean)}")
        scale = 1 / _white(images.dtype)
        mean, std = (np.array(v, np.float32).reshape(-1, 1, 1) for v in (self.mean, self.std))
        return images.astype(np.float32) * (np.float32(scale) / std) - mean / std

    @classmethod
    def of(cls, images: np.ndarray) -> Normalize:
        """Return a transform with the mean and standard deviation of some images."""
        _check_images("Normalize.of", images)
        if not images.size:
            raise ValueError(f"Normalize.of: images have shape {images.shape}, expected at least one pixel")
        sample = images[:: max(1, len(images) // 5000)]
        scaled = sample.astype(np.float64) / _white(images.dtype)
        mean, std = scaled.mean(axis=(0, 2, 3)), scaled.std(axis=(0, 2, 3))
        return cls(tuple(map(float, mean)), tuple(float(s) or 1.0 for s in std))


def _as_numbers(name: str, values: Any) -> tuple[float, ...]:
    try:
        numbers = tuple(float(value) for value in values)
    except (TypeError, ValueError):
        raise TypeError(f"Normalize: {name} is {values!r}, expected a sequence of numbers, one a channel") from None
    if not all(map(math.isfinite, numbers)):
        raise ValueError(f"Normalize: {name} is {numbers}, expected finite numbers")
    return numbers


def _white(dtype: np.dtype) -> int:
    """Return the value of white: the largest of unsigned integers, else 1."""
    return int(np.iinfo(dtype).max) if dtype.kind == "u" else 1


class RandomCrop:
    """A random ``size x size`` window of the images with a border of ``padding`` zeros."""

    def __init__(self, size: int, padding: int = 0) -> None:
        self.size = _check_whole("RandomCrop", "size", size, 1)
        self.padding = _check_whole("RandomCrop", "padding", padding, 0)

    def __call__(self, images: np.ndarray, rng: Rng) -> np.ndarray:
        """Return the windows, each image with its own position."""
        _check_images("RandomCrop", images)
        p = self.padding
        padded = np.pad(images, ((0, 0), (0, 0), (p, p), (p, p)))
        room_y, room_x = padded.shape[2] - self.size, padded.shape[3] - self.size
        if min(room_y, room_x) < 0:
            raise ValueError(
                f"RandomCrop: images of shape {images.shape} with padding {p} are smaller than {self.size}"
            )
        top, left = (rng.integers(room + 1, size=len(images)) for room in (room_y, room_x))
        out = np.empty((*images.shape[:2], self.size, self.size), images.dtype)
        for i, (y, x) in enumerate(zip(top, left)):
            out[i] = padded[i, :, y : y + self.size, x : x + self.size]
        return out


class RandomHorizontalFlip:
    """Mirroring left to right with probability ``p``."""

    def __init__(self, p: float = 0.5) -> None:
        self.p = _check("RandomHorizontalFlip", "p", p, 0, 1)

    def __call__(self, images: np.ndarray, rng: Rng) -> np.ndarray:
        """Return the images, some of them mirrored."""
        _check_images("RandomHorizontalFlip", images)
        chosen = rng.random(len(images)) < self.p
        return np.where(chosen[:, None, None, None], images[..., ::-1], images)


class Resize:
    """Bilinear interpolation to ``size x size``."""

    def __init__(self, size: int) -> None:
        self.size = _check_whole("Resize", "size", size, 1)

    def __call__(self, images: np.ndarray, rng: Rng) -> np.ndarray:
        """Return resized images of the same dtype."""
        _check_images("Resize", images)
        if 0 in images.shape[2:]:
            raise ValueError(f"Resize: images have shape {images.shape}, expected at least one pixel each")
        exact = images.dtype.itemsize <= 2 or images.dtype == np.float32
        out = images.astype(np.float32 if exact else np.float64)
        for axis in (2, 3):
            out = _interpolate(out, self.size, axis)
        return _as_dtype(out, images.dtype)


def _interpolate(x: np.ndarray, size: int, axis: int) -> np.ndarray:
    """Interpolate linearly along one axis; when shrinking, each output averages the span that it covers."""
    length = x.shape[axis]
    ratio = length / size
    centres = (np.arange(size) + 0.5) * ratio - 0.5
    distance = np.abs(np.arange(length)[None] - centres[:, None]) / max(ratio, 1.0)
    weights = np.clip(1 - distance, 0, None)
    weights /= weights.sum(axis=1, keepdims=True)
    return np.moveaxis(np.tensordot(x, weights.astype(x.dtype), axes=([axis], [1])), -1, axis)


class CenterCrop:
    """The ``size x size`` window in the middle."""

    def __init__(self, size: int) -> None:
        self.size = _check_whole("CenterCrop", "size", size, 1)

    def __call__(self, images: np.ndarray, rng: Rng) -> np.ndarray:
        """Return the windows."""
        _check_images("CenterCrop", images)
        top, left = ((n - self.size) // 2 for n in images.shape[2:])
        if min(top, left) < 0:
            raise ValueError(f"CenterCrop: images of shape {images.shape} are smaller than {self.size}")
        return images[:, :, top : top + self.size, left : left + self.size]


class ColorJitter:
    """Brightness and contrast multiplied by random factors from 1 - amount to 1 + amount.

    Parameters
    ----------
    brightness, contrast : float
        Amounts from 0 to 1.
    value_range : (low, high), optional
        Black and white: results are clipped to it. By default those of the dtype for integers. For floats, 0 and 1 or
        0 and 255, by the largest value of the batch; floats below 0 or above 255 have no known range, and are not
        clipped. PyTorch's transform assumes that all floats are from 0 to 1.
    """

    def __init__(
        self, brightness: float = 0.2, contrast: float = 0.2, value_range: tuple[float, float] | None = None
    ) -> None:
        self.brightness = _check("ColorJitter", "brightness", brightness, 0, 1)
        self.contrast = _check("ColorJitter", "contrast", contrast, 0, 1)
        self.value_range = value_range
        if value_range is not None:
            try:
                low, high = value_range
                in_order = bool(low < high)
            except (TypeError, ValueError):
                in_order = False
            if not in_order:
                raise ValueError(f"ColorJitter: value_range is {value_range!r}, expected (low, high) with low < high")

    def __call__(self, images: np.ndarray, rng: Rng) -> np.ndarray:
        """Return images of the same dtype, kept in range."""
        _check_images("ColorJitter", images)
        shape = (len(images), 1, 1, 1)
        brightness, contrast = (1 + rng.uniform(-a, a, shape) for a in (self.brightness, self.contrast))
        if not images.size:
            return images.copy()
        mean = images.mean(axis=(1, 2, 3), keepdims=True)
        out = ((images - mean) * contrast + mean) * brightness
        low, high = self.value_range or _range_of(images)
        return _as_dtype(np.clip(out, low, high), images.dtype)


def _range_of(images: np.ndarray) -> tuple[float, float]:
    """Return black and white, as far as the dtype and the values of a batch tell them."""
    if images.dtype.kind in "ui":
        limits = np.iinfo(images.dtype)
        return limits.min, limits.max
    low, high = np.fmin.reduce(images, axis=None), np.fmax.reduce(images, axis=None)
    if low < -_ROUNDING or high > 255 + _ROUNDING:
        return -math.inf, math.inf
    return 0.0, 1.0 if high <= 1 + _ROUNDING else 255.0


class Cutout:
    """A square of ``size`` pixels set to 0 at a random place (DeVries and Taylor 2017, https://arxiv.org/abs/1708.04552).

    Its centre is a pixel of the image, so a part of the square may be outside; for even sizes the centre is the pixel
    below and right of the middle.
    """

    def __init__(self, size: int) -> None:
        self.size = min(_check_whole("Cutout", "size", size, 1), 2**31)

    def __call__(self, images: np.ndarray, rng: Rng) -> np.ndarray:
        """Return images with a square of zeros."""
        _check_images("Cutout", images)
        if not images.size:
            return images.copy()
        inside = []
        for length in images.shape[2:]:
            first = rng.integers(length, size=len(images))[:, None] - self.size // 2
            inside.append((np.arange(length) >= first) & (np.arange(length) < first + self.size))
        hole = inside[0][:, None, :, None] & inside[1][:, None, None, :]
        return np.where(hole, images.dtype.type(0), images)
