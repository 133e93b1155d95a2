"""Arrays on a GPU, with all that they can do: import them from here.

Importing :mod:`.elementwise`, :mod:`.indexing`, :mod:`.layout`, :mod:`.numpy_functions` and :mod:`.reduction` registers
what an array's operators and methods run.
"""

from tinycnn.kernels.cuda import elementwise, indexing, layout, numpy_functions, reduction  # noqa: F401
from tinycnn.kernels.cuda.machine.device_array import (
    DeviceArray,
    contiguous,
    empty,
    from_host,
    to_host,
    transfers,
    zeros,
)
from tinycnn.kernels.cuda.machine.views import repeated

__all__ = ["DeviceArray", "contiguous", "empty", "from_host", "repeated", "to_host", "transfers", "zeros"]
