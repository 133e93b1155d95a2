"""How a loop is cut into tasks, and which loops are worth more than one thread."""

from __future__ import annotations

from typing import Any

import numpy as np

from tinycnn.kernels.cpu.machine.compile import helper
from tinycnn.kernels.cpu.machine.tuning import ALIGNED_TASKS, MIN_ALIGNED_COUNT

KERNEL_FAILED = "a kernel failed: it ran out of memory, or a compiled function raised an error"


def _cut(count, i, parts):
    """Return the beginning of part ``i`` of a loop."""
    start = count * i // parts
    return start if count < MIN_ALIGNED_COUNT or i == parts else start // ALIGNED_TASKS * ALIGNED_TASKS


cut: Any = helper(_cut)


def are_small(arguments: tuple, elements: int) -> bool:
    """Return True if all arrays have fewer elements."""
    return not any(isinstance(a, np.ndarray) and a.size >= elements for a in arguments)
