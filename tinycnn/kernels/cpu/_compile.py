"""How kernels are compiled: flags, and a disk cache that notices every change of their sources."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import Any

import numba
from numba.core.caching import FunctionCache

JIT_DISABLED = bool(getattr(numba.config, "DISABLE_JIT", False))

# Every flag here keeps NaN and infinity; "reassoc" (needed to vectorise a sum) is asked for by name.
SAFE_MATH = frozenset({"contract", "nsz", "arcp"})


@cache
def _digest(file: str) -> str:
    """Digest of all kernel sources and of a file, so that editing a helper recompiles the kernels that inlined it.

    Numba invalidates its disk cache by the kernel's own file only, and leaves compile flags out of the key.
    """
    digest = hashlib.sha256()
    for path in sorted({*Path(__file__).parent.glob("*.py"), Path(file)}):
        digest.update(path.read_bytes() if path.is_file() else str(path).encode())
    return digest.hexdigest()


class _KernelCache(FunctionCache):
    """Numba's disk cache with the kernel's place and the digest of its sources in the key."""

    place: tuple[str, str, str]

    def _index_key(self, sig: Any, codegen: Any) -> tuple:
        return sig, codegen.magic_tuple(), *self.place


def compiled_and_kept(function: Callable, fastmath: frozenset[str] = SAFE_MATH, kernel: Callable | None = None) -> Any:
    """Compile on first use, to run without Python's global lock; keep what was compiled on disk.

    Parameters
    ----------
    function : the function to compile.
    fastmath : LLVM's flags for floating-point arithmetic.
    kernel : what ``function`` was made for, if many are made in one place.
    """
    dispatcher: Any = numba.njit(fastmath=set(fastmath), error_model="numpy", nogil=True)(function)
    kernel = kernel or function
    with suppress(RuntimeError):  # no writable cache folder: compile in every process
        dispatcher._cache = _KernelCache(function)
        dispatcher._cache.place = kernel.__module__, kernel.__qualname__, _digest(kernel.__code__.co_filename)
    return dispatcher


def inline(helper: Callable) -> Callable:
    """Compile a small helper that kernels call inside their loops."""
    return numba.njit(inline="never", fastmath=set(SAFE_MATH), error_model="numpy", nogil=True)(helper)
