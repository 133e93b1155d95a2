"""How functions are compiled: the flags, and the cache on disk."""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numba

try:
    from tinycnn.kernels.cpu.machine.cache import keep_on_disk
except ImportError as moved:  # a Numba whose cache has another form
    logging.getLogger("tinycnn").warning("tinycnn: each process compiles its kernels with this Numba (%s)", moved)

    def keep_on_disk(dispatcher: Any, kernel: Callable, sources: tuple[Path, ...]) -> None:
        """Keep nothing."""


JIT_DISABLED = bool(getattr(numba.config, "DISABLE_JIT", False))

SAFE_MATH = frozenset({"contract", "nsz", "arcp"})
"""LLVM's flags for floating-point arithmetic. Each keeps NaN and infinity; "reassoc", which vectorises sums, is an
option of a kernel."""

_SOURCES = tuple(sorted(Path(__file__).parents[1].rglob("*.py")))  # of all kernels


def compiled_and_kept(function: Callable, fastmath: frozenset[str] = SAFE_MATH, kernel: Callable | None = None) -> Any:
    """Compile on first use, to run without Python's global lock; keep the result on disk where that is possible.

    Parameters
    ----------
    function : the function to compile
    fastmath : LLVM's flags for floating-point arithmetic
    kernel : the function that ``function`` was made for, if many are made in the same lines
    """
    return _kept(numba.njit(fastmath=set(fastmath), error_model="numpy", nogil=True)(function), kernel or function)


def compiled_with_prange(function: Callable, kernel: Callable) -> Any:
    """Do the same for a function with a loop over ``numba.prange``."""
    return _kept(numba.njit(parallel=True, error_model="numpy", nogil=True)(function), kernel)


def _kept(dispatcher: Any, kernel: Callable) -> Any:
    if not JIT_DISABLED:
        keep_on_disk(dispatcher, kernel, _SOURCES)
    return dispatcher


def helper(function: Callable, fastmath: frozenset[str] = SAFE_MATH) -> Any:
    """Compile a small function that kernels call inside their loops. LLVM puts it in its callers' place."""
    return numba.njit(inline="never", fastmath=set(fastmath), error_model="numpy", nogil=True)(function)
