"""Plain arrays in, plain arrays out: the loops behind the operations, one package for each device."""

from __future__ import annotations

from functools import cache
from importlib import import_module
from typing import Any

from tinycnn.kernels.protocol import FILE_OF

DEVICES = ("cpu",)


class Kernels:
    """The kernels of one device by name; a file is imported, and Numba with it, when its first kernel is asked for."""

    def __init__(self, device: str) -> None:
        self._package = f"{__name__}.{device}"

    def __getattr__(self, name: str) -> Any:
        if name not in FILE_OF:
            raise AttributeError(f"{self._package} has no kernel {name!r}")
        kernel = getattr(import_module(f"{self._package}.{FILE_OF[name]}"), name)
        setattr(self, name, kernel)
        return kernel


@cache
def for_device(device: str) -> Kernels:
    """The kernels of a device.

    Raises
    ------
    ValueError
        If there are no kernels for ``device``.
    """
    if device not in DEVICES:
        raise ValueError(f"device {device!r} is not available, expected one of: {', '.join(DEVICES)}")
    return Kernels(device)
