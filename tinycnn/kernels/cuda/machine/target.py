"""The target of the kernels: a GPU, on which memory is CuPy's, or Numba's simulator, in which it is NumPy's.

With ``NUMBA_ENABLE_CUDASIM=1`` Numba runs CUDA kernels as Python threads, so that they can be tested anywhere, and read
with a debugger.
"""

from __future__ import annotations

import math as python_math
from contextlib import suppress
from functools import cache
from types import SimpleNamespace
from typing import Any

import numba.cuda
import numpy as np
from numba import config

cuda: Any = numba.cuda
SIMULATED = bool(config.ENABLE_CUDASIM)  # type: ignore[attr-defined]

xp: Any = np  # the module whose arrays hold memory on the target; None on a GPU without CuPy
core: Any = None  # NVIDIA's module for launches, which comes with numba-cuda
math: Any = python_math
if SIMULATED:
    # As on a GPU, these return infinity and NaN where Python raises an error, and float32 stays float32.
    numpys = {"exp": np.exp, "log": np.log, "log1p": np.log1p, "sqrt": np.sqrt, "tanh": np.tanh, "pow": np.power}
    math = SimpleNamespace(**{**vars(python_math), **numpys})
else:
    try:
        import cupy as xp  # type: ignore[no-redef]
    except ImportError:
        xp = None
    with suppress(ImportError):
        from cuda import core  # type: ignore[no-redef]  # noqa: F401

# The simulator starts a Python thread for each CUDA thread, one block at a time.
THREADS = 8 if SIMULATED else 256
BLOCKS_PER_SM = 2 if SIMULATED else 32


@cache
def num_sms() -> int:
    """Return how many streaming multiprocessors the GPU has; 1 in the simulator."""
    return 1 if SIMULATED else int(cuda.get_current_device().MULTIPROCESSOR_COUNT)


def synchronize() -> None:
    """Wait until the GPU has finished everything it was given."""
    if not SIMULATED:
        cuda.synchronize()


@cache
def import_compiler() -> None:
    """Import the part of numba-cuda 0.30 that mentions ``np.row_stack``, also with NumPy 2.5, which has no such name.

    Numba imports it before the first compilation. Here it finds the name, which is taken back afterwards.
    """
    missing = not hasattr(np, "row_stack")
    if missing:
        np.row_stack = np.vstack  # type: ignore[attr-defined]  # noqa: NPY201
    try:
        from numba.cuda.np import arrayobj  # noqa: F401
    finally:
        if missing:
            with suppress(AttributeError):  # another thread was faster
                del np.row_stack  # type: ignore[attr-defined]  # noqa: NPY201
