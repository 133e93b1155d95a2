"""Transforms of whole batches (N, C, H, W). Each takes (images, rng) and returns new images; the same rng, the same
result.

Those that move pixels keep the dtype, so they run on bytes, before :class:`Normalize` makes floats of them.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

Rng = np.random.Generator


def _check(transform: str, name: str, value: float, least: float, most: float = math.inf) -> None:
    """Raise ValueError unless least <= value <= most."""
    if not least <= value <= most:
        limit = f"at least {least}" if most == math.inf else f"from {least} to {most}"
        raise ValueError(f"{transform}: {name} is {value!r}, expected {limit}")


class Compose:
    """One transform after another."""

    def __init__(self, transforms: Sequence[Any]) -> None:
        self.transforms = list(transforms)

    def __call__(self, images: np.ndarray, rng: Rng) -> np.ndarray:
        """The last one's output."""
        for transform in self.transforms:
            images = transform(images, rng)
        return images


class Normalize:
    """Bytes to float32 from 0 to 1, then (x - mean) / std for each channel.

    Parameters
    ----------
    mean, std : sequences of float, one for each channel
        On the scale from 0 to 1.
    """

    def __init__(self, mean: Sequence[float], std: Sequence[float]) -> None:
        if not std or min(std) <= 0:
            raise ValueError(f"Normalize: std is {tuple(std)}, expected numbers above 0")
        if len(mean) != len(std):
            raise ValueError(f"Normalize: mean has {len(mean)} numbers but std has {len(std)}, expected as many")
        self.mean, self.std = tuple(mean), tuple(std)

    def __call__(self, images: np.ndarray, rng: Rng) -> np.ndarray:
        """Float32 images."""
        if images.shape[1] != len(self.mean):
            raise ValueError(f"Normalize: images have {images.shape[1]} channels, mean has {len(self.mean)}")
        scale = 1 / 255 if images.dtype == np.uint8 else 1.0
        mean, std = (np.array(v, np.float32).reshape(-1, 1, 1) for v in (self.mean, self.std))
        return images.astype(np.float32) * (np.float32(scale) / std) - mean / std

    @classmethod
    def of(cls, images: np.ndarray) -> Normalize:
        """With the mean and standard deviation of some images."""
        sample = images[:: max(1, len(images) // 5000)]
        scaled = sample.astype(np.float64) / (255 if images.dtype == np.uint8 else 1)
        mean, std = scaled.mean(axis=(0, 2, 3)), scaled.std(axis=(0, 2, 3))
        return cls(tuple(map(float, mean)), tuple(float(s) or 1.0 for s in std))


class RandomCrop:
    """A random ``size x size`` window of the images with a border of ``padding`` zeros."""

    def __init__(self, size: int, padding: int = 0) -> None:
        _check("RandomCrop", "size", size, 1)
        _check("RandomCrop", "padding", padding, 0)
        self.size, self.padding = size, padding

    def __call__(self, images: np.ndarray, rng: Rng) -> np.ndarray:
        """Windows, one place for each image."""
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
    """Mirrored left to right with probability ``p``."""

    def __init__(self, p: float = 0.5) -> None:
        _check("RandomHorizontalFlip", "p", p, 0, 1)
        self.p = p

    def __call__(self, images: np.ndarray, rng: Rng) -> np.ndarray:
        """Some of them mirrored."""
        chosen = rng.random(len(images)) < self.p
        return np.where(chosen[:, None, None, None], images[..., ::-1], images)


class Resize:
    """Bilinear interpolation to ``size x size``."""

    def __init__(self, size: int) -> None:
        _check("Resize", "size", size, 1)
        self.size = size

    def __call__(self, images: np.ndarray, rng: Rng) -> np.ndarray:
        """Resized images of the same dtype."""
        out = images.astype(np.float32)
        for axis in (2, 3):
            out = _interpolate(out, self.size, axis)
        return np.rint(out).astype(np.uint8) if images.dtype == np.uint8 else out.astype(images.dtype)


def _interpolate(x: np.ndarray, size: int, axis: int) -> np.ndarray:
    """Linear interpolation along one axis; when shrinking, each output averages the span that it covers."""
    length = x.shape[axis]
    ratio = length / size
    centres = (np.arange(size) + 0.5) * ratio - 0.5
    distance = np.abs(np.arange(length)[None] - centres[:, None]) / max(ratio, 1.0)
    weights = np.clip(1 - distance, 0, None)
    weights /= weights.sum(axis=1, keepdims=True)
    return np.moveaxis(np.tensordot(x, weights.astype(np.float32), axes=([axis], [1])), -1, axis)


class CenterCrop:
    """The ``size x size`` window in the middle."""

    def __init__(self, size: int) -> None:
        _check("CenterCrop", "size", size, 1)
        self.size = size

    def __call__(self, images: np.ndarray, rng: Rng) -> np.ndarray:
        """The windows."""
        top, left = ((n - self.size) // 2 for n in images.shape[2:])
        if min(top, left) < 0:
            raise ValueError(f"CenterCrop: images of shape {images.shape} are smaller than {self.size}")
        return images[:, :, top : top + self.size, left : left + self.size]


class ColorJitter:
    """Brightness and contrast multiplied by random factors from 1 - amount to 1 + amount."""

    def __init__(self, brightness: float = 0.2, contrast: float = 0.2) -> None:
        _check("ColorJitter", "brightness", brightness, 0, 1)
        _check("ColorJitter", "contrast", contrast, 0, 1)
        self.brightness, self.contrast = brightness, contrast

    def __call__(self, images: np.ndarray, rng: Rng) -> np.ndarray:
        """Images of the same dtype, kept in range."""
        shape = (len(images), 1, 1, 1)
        brightness, contrast = (1 + rng.uniform(-a, a, shape) for a in (self.brightness, self.contrast))
        mean = images.mean(axis=(1, 2, 3), keepdims=True)
        out = ((images - mean) * contrast + mean) * brightness
        top = 255 if images.dtype == np.uint8 else 1.0
        return np.clip(out, 0, top).astype(images.dtype)


class Cutout:
    """A square of ``size`` pixels set to 0 at a random place (DeVries and Taylor 2017)."""

    def __init__(self, size: int) -> None:
        _check("Cutout", "size", size, 1)
        self.size = size

    def __call__(self, images: np.ndarray, rng: Rng) -> np.ndarray:
        """Images with a hole."""
        centre_y, centre_x = (rng.integers(n, size=len(images)) for n in images.shape[2:])
        rows, columns = (np.arange(n) for n in images.shape[2:])
        half = self.size / 2
        in_y = np.abs(rows[None] - centre_y[:, None] + 0.5) <= half
        in_x = np.abs(columns[None] - centre_x[:, None] + 0.5) <= half
        return images * ~(in_y[:, None, :, None] & in_x[:, None, None, :])
