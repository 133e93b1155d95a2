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

_SOURCES = sorted(Path(__file__).parent.glob("*.py"))


@cache
def _digest(*files: Path) -> str:
    """Digest of some files' contents."""
    digest = hashlib.sha256()
    for path in files:
        digest.update(path.read_bytes() if path.is_file() else str(path).encode())
    return digest.hexdigest()


class _KernelCache(FunctionCache):
    """Numba's disk cache, which a change of any kernel's source makes void: a helper is compiled into its callers.

    Numba looks at the time of the kernel's own file only, and leaves compile flags out of the key.

    Parameters
    ----------
    function : the function to compile.
    kernel : what it was made for, which tells it from others that were made in the same lines.
    """

    def __init__(self, function: Callable, kernel: Callable) -> None:
        super().__init__(function)
        self._cache_file._source_stamp = _digest(*_SOURCES)
        self._kernel = kernel.__module__, kernel.__qualname__, _digest(Path(kernel.__code__.co_filename))

    def _index_key(self, sig: Any, codegen: Any) -> tuple:
        return sig, codegen.magic_tuple(), *self._kernel


def compiled_and_kept(function: Callable, fastmath: frozenset[str] = SAFE_MATH, kernel: Callable | None = None) -> Any:
    """Compile on first use, to run without Python's global lock; keep what was compiled on disk.

    Parameters
    ----------
    function : the function to compile.
    fastmath : LLVM's flags for floating-point arithmetic.
    kernel : what ``function`` was made for, if many are made in one place.
    """
    dispatcher: Any = numba.njit(fastmath=set(fastmath), error_model="numpy", nogil=True)(function)
    with suppress(RuntimeError):  # no writable cache folder: compile in every process
        dispatcher._cache = _KernelCache(function, kernel or function)
    return dispatcher


def inline(helper: Callable) -> Callable:
    """Compile a small helper that kernels call inside their loops."""
    return numba.njit(inline="never", fastmath=set(SAFE_MATH), error_model="numpy", nogil=True)(helper)
