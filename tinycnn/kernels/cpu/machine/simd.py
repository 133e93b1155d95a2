"""The innermost loops of matrix products and convolutions: the micro-kernel.

A processor reaches its peak only if operands stay in registers. Tiles hold ROWS x LANES elements of the result::

    correlate_tile   C += A B      rows of A contiguous along k, anywhere in memory; B packed (k, LANES)
    outer_tile       C += A^T B    ROWS elements of A and LANES of B contiguous for each k, one step apart along k
    stream_tile      C = A^T B     written past the caches, for a C that is larger than they are

``tile_map`` multiplies small tiles with a constant matrix from both sides, the transforms of Winograd's convolution.
``prefetch`` loads cache lines that will be read or written soon, while there is something to compute. ``copy_peak`` and
``count_above`` compare magnitudes.

:mod:`.simd_python` defines each of them by a plain loop, with its signature and its docstring. :mod:`.simd_llvm` and
:mod:`.simd_magnitude` hold the vector code.
"""

from __future__ import annotations

from tinycnn.kernels.cpu.machine.parallel import BACKEND, JIT_DISABLED
from tinycnn.kernels.cpu.machine.registers import LANES, MAP_LANES, ROWS

if JIT_DISABLED or BACKEND != "mailbox":
    from tinycnn.kernels.cpu.machine.simd_python import (
        copy_peak,
        correlate_tile,
        count_above,
        outer_tile,
        prefetch,
        stream_end,
        stream_tile,
        tile_map,
    )
else:
    from tinycnn.kernels.cpu.machine.simd_llvm import (
        correlate_tile,
        outer_tile,
        prefetch,
        stream_end,
        stream_tile,
        tile_map,
    )
    from tinycnn.kernels.cpu.machine.simd_magnitude import copy_peak, count_above

__all__ = [
    "LANES",
    "MAP_LANES",
    "ROWS",
    "copy_peak",
    "correlate_tile",
    "count_above",
    "outer_tile",
    "prefetch",
    "stream_end",
    "stream_tile",
    "tile_map",
]
