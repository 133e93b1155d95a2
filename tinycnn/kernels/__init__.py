"""Plain arrays in, plain arrays out: the loops behind the operations.

:mod:`.protocol` is their contract, :mod:`.reference` computes them in NumPy; :mod:`.cpu` and :mod:`.cuda` are the fast
ones.
"""

from __future__ import annotations

import functools
import os
import warnings
from collections.abc import Callable
from functools import cache
from importlib import import_module
from typing import Any

import numpy as np

from tinycnn.choice import Choice
from tinycnn.kernels.protocol import FILE_OF, MODULES, Kernels

DEVICES = ("cpu", "cuda")
_PACKAGES = {"fast": "cpu", "reference": "reference"}  # of the sets that compute on the CPU


class KernelSet:
    """The kernels of one package by name, as :class:`~tinycnn.kernels.protocol.Kernels` describes them.

    Each checks its arguments first (:mod:`.contracts`). A file is imported, and Numba with it, when its first kernel is
    used. If Numba cannot be imported, the reference takes the place of the fast kernels, with a warning.
    """

    def __init__(self, package: str) -> None:
        self.package = package

    def __getattr__(self, name: str) -> Any:
        if name not in FILE_OF:
            raise AttributeError(f"{__name__}.{self.package} has no kernel {name!r}")
        try:
            kernel = unchecked(self.package, name)
        except (ImportError, OSError):
            if self.package != "cpu" or (reason := numba_is_missing()) is None:
                raise
            warnings.warn(
                f"numba cannot be imported ({reason}): tinycnn computes with its reference kernels, which are many "
                "times slower; pip install numba",
                RuntimeWarning,
                stacklevel=2,
            )
            self.package = "reference"
            return getattr(self, name)
        checked = import_module(f"{__name__}.contracts").checked(kernel)
        setattr(self, name, checked)
        return checked


def unchecked(package: str, name: str) -> Any:
    """Return a kernel of a package without its check of arguments."""
    module = MODULES.get(package, {}).get(FILE_OF[name], FILE_OF[name])
    kernel = getattr(import_module(f"{__name__}.{package}.{module}"), name)
    return _with_plain_numbers(kernel) if package == "reference" else kernel


def numba_is_missing() -> str | None:
    """Return why Numba cannot be imported, or None if it can."""
    try:
        import_module("numba")
    except (ImportError, OSError) as error:  # OSError: llvmlite's library cannot be loaded
        return str(error)
    return None


def _with_plain_numbers(kernel: Callable) -> Callable:
    """Return a kernel in NumPy that warns of no NaN or infinity, and neither gets nor returns NumPy's scalars.

    A scalar would make float64 of float32, and is not an array.
    """

    @functools.wraps(kernel)
    def reference_kernel(*arguments: Any, **options: Any) -> Any:
        arguments = tuple(map(_without_scalar, arguments))
        options = {name: _without_scalar(value) for name, value in options.items()}
        with np.errstate(all="ignore"):
            result = kernel(*arguments, **options)
        return np.asarray(result) if isinstance(result, np.generic) else result

    return reference_kernel


def _without_scalar(value: Any) -> Any:
    return value.item() if isinstance(value, np.generic) else value


@cache
def _kernel_set(package: str) -> Kernels:
    kernels: Any = KernelSet(package)
    return kernels


def _named(name: Any, what: str) -> Kernels:
    if not isinstance(name, str) or name not in _PACKAGES:
        raise ValueError(f"{what} is {name!r}, expected 'fast' or 'reference'")
    return _kernel_set(_PACKAGES[name])


class use_kernels(Choice, default=_named(os.environ.get("TINYCNN_KERNELS") or "fast", "TINYCNN_KERNELS")):
    """Choice of the kernels that operations on the CPU use inside a ``with`` block or a decorated function.

    An operation runs backward with the kernels of its forward pass, wherever ``backward`` is called.

    Parameters
    ----------
    name : {"fast", "reference"}
        "fast" are the compiled kernels of :mod:`tinycnn.kernels.cpu`, the default. "reference" are those of
        :mod:`tinycnn.kernels.reference`, in plain NumPy: slow, to read and to step through in a debugger. The
        environment variable ``TINYCNN_KERNELS`` sets the default.

    Raises
    ------
    ValueError
        If the name is not known.

    Examples
    --------
    >>> import tinycnn as tc
    >>> with tc.use_kernels("reference"):
    ...     tc.functional.relu(tc.Tensor([-1.0, 2.0])).data.tolist()
    [0.0, 2.0]
    """

    def __init__(self, name: str) -> None:
        super().__init__(_named(name, "use_kernels: name"))


def is_on_gpu(value: Any) -> bool:
    """True if a value is one of our arrays on a GPU. (NumPy's arrays have a ``device``, too.)"""
    return getattr(value, "device", None) == "cuda"


def on_host(value: Any) -> Any:
    """Return the value itself; of an array on a GPU, a copy that NumPy can use."""
    return value.to_host() if is_on_gpu(value) else value


def for_device(device: str) -> Kernels:
    """Return the kernels of a device; on the CPU those that :class:`use_kernels` chose.

    Raises
    ------
    ValueError
        If there is no such name.
    DeviceError
        If the device is not there, with what to install.
    """
    return use_kernels.current() if device == "cpu" else _for_other_device(device)


@cache
def _for_other_device(device: str) -> Kernels:
    if device not in DEVICES:
        raise ValueError(f"device is {device!r}, expected one of: {', '.join(DEVICES)}")
    import_module(f"{__name__}.cuda.requirements").require()
    return _kernel_set(device)
