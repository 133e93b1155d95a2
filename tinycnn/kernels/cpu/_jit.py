"""How every CPU kernel is compiled: one function, one cache key, one contiguity rule."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import Any

import numba
import numpy as np
from numba.core.caching import FunctionCache

from tinycnn.kernels.cpu.pool import run

JIT_DISABLED = bool(getattr(numba.config, "DISABLE_JIT", False))

# Every flag here keeps NaN and infinity; "reassoc" (needed to vectorise a sum) is asked for by name.
_SAFE_MATH = {"contract", "nsz", "arcp"}


@cache
def _sources_digest() -> str:
    """Digest of all kernel sources, so that editing a helper recompiles the kernels that inlined it.

    Numba invalidates its disk cache by the kernel's own file only, and leaves compile flags out of the key.
    """
    digest = hashlib.sha256()
    for path in sorted(Path(__file__).parent.glob("*.py")):
        digest.update(path.read_bytes())
    return digest.hexdigest()


class _KernelCache(FunctionCache):
    """Numba's disk cache with the digest of all kernel sources in its key."""

    def _index_key(self, sig: Any, codegen: Any) -> tuple:
        return (*super()._index_key(sig, codegen), _sources_digest())


def jit(kernel: Callable, *, reassociate: bool = False) -> Callable:
    """Compile ``kernel(begin, end, ...)`` on first use, and run it as ``loop(count, ...)`` on all threads.

    The kernel does the independent pieces of work ``begin`` to ``end``; the loop all of them, 0 to ``count``. What is
    compiled is cached on disk where a writable place is found.

    Parameters
    ----------
    kernel : function of two integers, and of arrays and numbers; it writes into arrays it was given.
    reassociate : allow sums to be reordered so that they vectorise (still independent of the thread count).

    Notes
    -----
    With ``NUMBA_DISABLE_JIT=1`` the function is called as it is, to be stepped through in a debugger.
    """
    if JIT_DISABLED:
        return lambda count, *arguments: kernel(0, count, *arguments)
    compiled = compile_without_lock(kernel, _SAFE_MATH | {"reassoc"} if reassociate else _SAFE_MATH)
    return lambda count, *arguments: run(compiled, count, arguments)


def compile_without_lock(function: Callable, fastmath: set[str]) -> Callable:
    """Compile on first use, to run without Python's global lock, cached on disk."""
    compiled: Any = numba.njit(fastmath=fastmath, error_model="numpy", nogil=True)(function)
    with suppress(RuntimeError):  # no writable cache folder: compile in every process
        compiled._cache = _KernelCache(function)
    return compiled


def inline(helper: Callable) -> Callable:
    """Compile a small helper that kernels call inside their loops."""
    return numba.njit(inline="never", fastmath=_SAFE_MATH, error_model="numpy", nogil=True)(helper)


def carray(array: np.ndarray) -> np.ndarray:
    """The array itself if it is C-contiguous, aligned and writable, else a copy that is.

    Kernels see this one layout only, so each compiles once per dtype.
    """
    return array if array.flags.carray else np.array(array, order="C")
