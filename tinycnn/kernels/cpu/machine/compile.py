"""How kernels are compiled: the flags, and one function for kernels and one for helpers."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numba

from tinycnn.kernels.cpu.machine.cache import keep_on_disk

JIT_DISABLED = bool(getattr(numba.config, "DISABLE_JIT", False))

# Every flag here keeps NaN and infinity; "reassoc" (needed to vectorise a sum) is asked for by name.
SAFE_MATH = frozenset({"contract", "nsz", "arcp"})

_SOURCES = tuple(sorted(Path(__file__).parents[1].rglob("*.py")))  # of all kernels


def compiled_and_kept(function: Callable, fastmath: frozenset[str] = SAFE_MATH, kernel: Callable | None = None) -> Any:
    """Compile on first use, to run without Python's global lock; keep the result on disk where that is possible.

    Parameters
    ----------
    function : the function to compile.
    fastmath : LLVM's flags for floating-point arithmetic.
    kernel : what ``function`` was made for, if many are made in one place.
    """
    dispatcher: Any = numba.njit(fastmath=set(fastmath), error_model="numpy", nogil=True)(function)
    if not JIT_DISABLED:
        keep_on_disk(dispatcher, kernel or function, _SOURCES)
    return dispatcher


def inline(helper: Callable) -> Callable:
    """Compile a small helper that kernels call inside their loops."""
    return numba.njit(inline="never", fastmath=set(SAFE_MATH), error_model="numpy", nogil=True)(helper)
