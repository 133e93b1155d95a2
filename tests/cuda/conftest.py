"""The CUDA target: in Numba's simulator (``NUMBA_ENABLE_CUDASIM=1 pytest tests/cuda``), or on a GPU (``-m gpu``)."""

import pytest

from tinycnn.kernels.cuda import _runtime
from tinycnn.kernels.cuda.found import look, missing


@pytest.fixture
def runtime():
    """Return the runtime module, if kernels can run."""
    if not _runtime.SIMULATED and missing(look()):
        pytest.skip("no GPU; in the simulator: NUMBA_ENABLE_CUDASIM=1 pytest tests/cuda")
    return _runtime
