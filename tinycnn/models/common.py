"""Parts common to the networks: scaling of widths, initialisation of weights, limits of image sizes."""

from __future__ import annotations

import numpy as np

from tinycnn import nn
from tinycnn.nn import init
from tinycnn.tensor import Tensor

LARGEST_WIDTH = 2**16  # far beyond every memory


def scale(channels: int, width: float, multiple: int = 1) -> int:
    """Return ``channels * width``, rounded to the nearest multiple and at least one of it.

    >>> scale(96, 0.25), scale(96, 0.01), scale(10, 0.5, multiple=2)
    (24, 1, 4)
    """
    if not isinstance(width, (int, float, np.integer, np.floating)) or not 0 < width <= LARGEST_WIDTH:
        raise ValueError(f"width is {width!r}, expected a number above 0 and at most {LARGEST_WIDTH}")
    return max(1, round(channels * width / multiple)) * multiple


def kaiming_init(model: nn.Module, linear_std: float | None = None) -> None:
    """Initialise convolutions He-normal (fan-out, for ReLU) with zero bias, linear layers normal if a std is given."""
    for module in model.modules():
        if isinstance(module, nn.Conv2d):
            init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
            if module.bias is not None:
                init.zeros_(module.bias)
        elif isinstance(module, nn.Linear) and linear_std is not None:
            init.normal_(module.weight, std=linear_std)
            init.zeros_(module.bias)


def check_size(net: str, x: Tensor, least: int, least_small: int, small_input: bool) -> None:
    """Raise ValueError for images that the pools would shrink to nothing, with advice.

    Raises
    ------
    ValueError
        If height or width is below ``least``, or ``least_small`` for a net built with ``small_input``.
    """
    needed = least_small if small_input else least
    height, width = x.shape[-2:] if x.ndim == 4 else (needed, needed)
    if min(height, width) < needed:
        advice = "" if small_input else f"; built with small_input=True it takes {least_small}x{least_small}"
        raise ValueError(f"{net}: images are {height}x{width}, expected at least {needed}x{needed}{advice}")
