"""Plain arrays in, plain arrays out: the loops behind the operations, one package for each device."""

from __future__ import annotations

from functools import cache
from importlib import import_module
from typing import Any

from tinycnn.kernels.protocol import FILE_OF, MODULE_ON_CPU

DEVICES = ("cpu", "cuda")


class Kernels:
    """The kernels of one device by name, each behind its check of arguments (:mod:`.contracts`).

    A file is imported, and Numba with it, when its first kernel is asked for.
    """

    def __init__(self, device: str) -> None:
        self._device = device

    def __getattr__(self, name: str) -> Any:
        if name not in FILE_OF:
            raise AttributeError(f"{__name__}.{self._device} has no kernel {name!r}")
        checked = import_module(f"{__name__}.contracts").checked(unchecked(self._device, name))
        setattr(self, name, checked)
        return checked


def unchecked(device: str, name: str) -> Any:
    """Return a kernel of a device without its check of arguments."""
    file = FILE_OF[name]
    module = MODULE_ON_CPU.get(file, file) if device == "cpu" else file
    return getattr(import_module(f"{__name__}.{device}.{module}"), name)


def is_on_gpu(value: Any) -> bool:
    """Whether a value is one of our arrays on a GPU. (NumPy's arrays have a ``device``, too.)"""
    return getattr(value, "device", None) == "cuda"


def on_host(value: Any) -> Any:
    """The value itself; of an array on a GPU, a copy that NumPy can use."""
    return value.to_host() if is_on_gpu(value) else value


@cache
def for_device(device: str) -> Kernels:
    """The kernels of a device.

    Raises
    ------
    ValueError
        If there is no such name.
    DeviceError
        If the device is not there, with what to install.
    """
    if device not in DEVICES:
        raise ValueError(f"device is {device!r}, expected one of: {', '.join(DEVICES)}")
    if device == "cuda":
        import_module(f"{__name__}.cuda.found").require()
    return Kernels(device)
