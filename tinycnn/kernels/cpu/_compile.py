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
        return sig, codegen.magic_tuple(), _sources_digest()


def compiled_and_kept(function: Callable, fastmath: frozenset[str] = SAFE_MATH) -> Any:
    """Compile on first use, to run without Python's global lock; keep what was compiled on disk."""
    dispatcher: Any = numba.njit(fastmath=set(fastmath), error_model="numpy", nogil=True)(function)
    with suppress(RuntimeError):  # no writable cache folder: compile in every process
        dispatcher._cache = _KernelCache(function)
    return dispatcher


def inline(helper: Callable) -> Callable:
    """Compile a small helper that kernels call inside their loops."""
    return numba.njit(inline="never", fastmath=set(SAFE_MATH), error_model="numpy", nogil=True)(helper)
