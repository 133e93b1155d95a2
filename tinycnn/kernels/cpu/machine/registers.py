"""The size of the tile that the micro-kernel keeps in registers: ROWS rows of LANES elements.

A vector may be wider than the registers of a processor: LLVM then splits it. ROWS follows the number of registers: 8
with AVX-512, where a row of float32 is one register and 8 of them hide the latency of an addition, else 6, each of two
registers. See Goto and van de Geijn, "Anatomy of High-Performance Matrix Multiplication" (2008), for why tiles of this
form are the fastest.
"""

from __future__ import annotations

from llvmlite.binding import get_host_cpu_features

_HAS_AVX512 = bool(get_host_cpu_features().get("avx512f", False))

LANES = 16
"""Elements of a row of the tile."""

ROWS = 8 if _HAS_AVX512 else 6
"""Rows of the tile."""

MAP_LANES = 16 if _HAS_AVX512 else 8
"""Channels that a product with a constant matrix works on at once."""

ALIGNMENT = 64
"""Bytes of a cache line, and of the largest register."""
