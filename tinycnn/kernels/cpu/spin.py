"""Waiting for another thread without going to sleep: waking a sleeper costs more than many a kernel."""

from __future__ import annotations

from typing import Any

from numba import types
from numba.extending import intrinsic

from tinycnn.kernels.cpu._jit import compile_without_lock

SPINS = 200_000  # some hundred microseconds
GRACE = 6_000  # some microseconds


def _read_element(typing_context, numbers, index):
    """``numbers[index]``, read from memory each time."""

    def emit(context: Any, builder: Any, signature: Any, args: tuple) -> Any:
        data = context.make_array(signature.args[0])(context, builder, args[0]).data
        return builder.load_atomic(builder.gep(data, [args[1]]), "acquire", 8)

    return types.int64(numbers, types.intp), emit


_read: Any = intrinsic(_read_element)


def _spin(numbers, index, old):
    """Wait until ``numbers[index]`` is no longer ``old``, for a while; whether it happened.

    The thread that changed it still holds Python's lock for some microseconds. Asking for the lock then would put this
    thread to sleep, so it goes on spinning for as long.
    """
    for _ in range(SPINS):
        if _read(numbers, index) != old:
            total = 0
            for _ in range(GRACE):
                total += _read(numbers, index)
            return total != -1
    return False


spin = compile_without_lock(_spin, set())
