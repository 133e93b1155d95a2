"""Plain arrays in, plain arrays out: the loops behind the operations, one package for each device."""

from __future__ import annotations

from importlib import import_module
from types import ModuleType

DEVICES = ("cpu",)


def for_device(device: str) -> ModuleType:
    """The kernel package of a device.

    Raises
    ------
    ValueError
        If there are no kernels for ``device``.
    """
    if device not in DEVICES:
        raise ValueError(f"device {device!r} is not available, expected one of: {', '.join(DEVICES)}")
    return import_module(f"tinycnn.kernels.{device}")
