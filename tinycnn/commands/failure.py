"""Error messages of commands."""

from __future__ import annotations

import time

from tinycnn.errors import TinyCNNError

_EXPECTED = (TinyCNNError, ValueError, TypeError, RuntimeError, OSError, MemoryError)


def describe(error: BaseException) -> str:
    """Return the failure in one line, without the words of the operating system's tables."""
    if isinstance(error, MemoryError):
        return f"out of memory: {error}; take a smaller --width, --batch-size or image size"
    if isinstance(error, OSError) and error.strerror:
        return f"{error.filename}: {error.strerror}" if error.filename else error.strerror
    if isinstance(error, _EXPECTED):
        return str(error) or type(error).__name__
    return f"{type(error).__name__}: {error} (--debug shows where)"


def let_rank_0_speak() -> bool:
    """Return True on another rank than 0, after rank 0 has had time to print before mpiexec sees this one end."""
    from tinycnn.distributed.mpi import launched_rank

    if launched_rank() == 0:
        return False
    time.sleep(1)
    return True
