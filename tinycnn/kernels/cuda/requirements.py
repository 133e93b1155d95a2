"""The requirements of a GPU, with what to install where one is missing: driver, compiler, numba-cuda, CuPy."""

from __future__ import annotations

import ctypes
import os
import sys
from importlib import metadata, util
from typing import NamedTuple

from tinycnn.errors import DeviceError

Version = tuple[int, int]

EXTRAS = {13: "cuda", 12: "cuda12"}
SIMULATE = "NUMBA_ENABLE_CUDASIM=1 runs the kernels without a GPU, slowly, in Numba's simulator"


class Found(NamedTuple):
    """Versions, None for what is missing. ``driver`` is the CUDA version up to which the driver goes.

    The compiler writes PTX, a portable assembly. ``linker``, if it is of the driver's major version, makes the GPU's
    code of it, else the driver does.
    """

    driver: Version | None
    gpus: int
    compiler: Version | None
    linker: Version | None
    numba_cuda: str | None
    cupy: bool


def simulated() -> bool:
    """Return True if Numba's simulator stands in for a GPU."""
    return os.environ.get("NUMBA_ENABLE_CUDASIM", "0") not in ("", "0")


def look() -> Found:
    """Look at this machine."""
    driver, gpus = _driver()
    compiler = next(filter(None, map(_version, ("nvidia-nvvm", "nvidia-cuda-nvcc-cu12"))), None)
    linkers = filter(None, map(_version, ("nvidia-nvjitlink", "nvidia-nvjitlink-cu12")))
    linker = next((version for version in linkers if driver and version[0] == driver[0]), None)
    numba_cuda = metadata.version("numba-cuda") if util.find_spec("numba_cuda") else None
    return Found(driver, gpus, compiler, linker, numba_cuda, util.find_spec("cupy") is not None)


def missing(found: Found) -> str:
    """Return the reason why kernels cannot run on a GPU, and what to do; empty if they can.

    >>> missing(Found((12, 4), 1, (13, 0), None, "0.30.4", True)).split(":")[0]
    'the compiler makes code for CUDA 13.0, but the driver knows CUDA up to 12.4 (unsupported PTX version)'
    """
    if found.driver is None:
        return f"no NVIDIA driver is found (nvidia-smi would show it); {SIMULATE}"
    if not found.gpus:
        return f"there is a driver for CUDA {_text(found.driver)}, but it finds no GPU; {SIMULATE}"
    extra = EXTRAS[max(min(found.driver[0], 13), 12)]
    if found.driver < (12, 0):
        return f"the driver knows CUDA up to {_text(found.driver)}, and 12.0 is needed: install a newer driver"
    if found.numba_cuda is None or not found.cupy:
        absent = " and ".join(n for n, here in (("numba-cuda", found.numba_cuda), ("CuPy", found.cupy)) if not here)
        return f"{absent} is not installed: pip install 'tinycnn[{extra}]'"
    reader, known = ("linker", found.linker) if found.linker else ("driver", found.driver)
    if found.compiler is not None and found.compiler > known:
        remedy = f"pip install 'tinycnn[{extra}]' 'cuda-toolkit=={_text(found.driver)}.*', or install a newer driver"
        if found.linker:
            remedy = f"pip install --upgrade nvidia-nvjitlink{'-cu12' if extra == 'cuda12' else ''}"
        return (
            f"the compiler makes code for CUDA {_text(found.compiler)}, but the {reader} knows CUDA up to "
            f"{_text(known)} (unsupported PTX version): {remedy}"
        )
    return ""


def require() -> None:
    """Raise DeviceError, with what to do, unless kernels can run on a GPU or in the simulator."""
    problem = "" if simulated() else missing(look())
    if problem:
        raise DeviceError(f"device 'cuda' is not available: {problem}")


def or_simulator() -> str:
    """Take Numba's simulator for this process if there is no GPU to use; a sentence that says what is used.

    Call it before anything imports ``numba.cuda``.
    """
    problem = "" if simulated() else missing(look())
    if not problem and not simulated():
        return "On a GPU."
    os.environ["NUMBA_ENABLE_CUDASIM"] = "1"
    if "numba" in sys.modules:
        sys.modules["numba"].config.ENABLE_CUDASIM = 1  # it has read the environment already
    return "In Numba's simulator, which runs each of a GPU's threads as a thread of Python."


def _driver() -> tuple[Version | None, int]:
    """The CUDA version that the driver knows, and how many GPUs it finds."""
    try:
        driver = ctypes.CDLL("nvcuda.dll" if sys.platform == "win32" else "libcuda.so.1")
        number, count = ctypes.c_int(), ctypes.c_int()
        driver.cuDriverGetVersion(ctypes.byref(number))
        if driver.cuInit(0) == 0:
            driver.cuDeviceGetCount(ctypes.byref(count))
    except (OSError, AttributeError):
        return None, 0
    return (number.value // 1000, number.value % 1000 // 10), count.value


def _version(package: str) -> Version | None:
    try:
        major, minor = metadata.version(package).split(".")[:2]
    except metadata.PackageNotFoundError:
        return None
    return int(major), int(minor)


def _text(version: Version) -> str:
    return ".".join(map(str, version))
