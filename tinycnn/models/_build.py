"""What the four files share: how widths scale and how weights start."""

from __future__ import annotations

from tinycnn import nn
from tinycnn.nn import init


def scale(channels: int, width: float, multiple: int = 1) -> int:
    """``channels * width``, rounded to the nearest multiple and at least one of it."""
    if not width > 0:
        raise ValueError(f"width is {width!r}, expected a number above 0")
    return max(1, round(channels * width / multiple)) * multiple


def he_start(model: nn.Module, linear_std: float | None = None) -> None:
    """He-normal convolutions (fan-out, for ReLU) with zero bias; normal linear layers if a deviation is given."""
    for module in model.modules():
        if isinstance(module, nn.Conv2d):
            init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
            if module.bias is not None:
                init.zeros_(module.bias)
        elif isinstance(module, nn.Linear) and linear_std is not None:
            init.normal_(module.weight, std=linear_std)
            init.zeros_(module.bias)
