"""The CUDA target: in Numba's simulator (``NUMBA_ENABLE_CUDASIM=1 pytest tests/cuda``), or on a GPU (``-m gpu``)."""

import pytest

from tinycnn.kernels.cuda import array
from tinycnn.kernels.cuda.machine.target import SIMULATED
from tinycnn.kernels.cuda.requirements import look, missing


@pytest.fixture
def runtime():
    """Return the module of device arrays, if kernels can run."""
    if not SIMULATED and missing(look()):
        pytest.skip("no GPU; in the simulator: NUMBA_ENABLE_CUDASIM=1 pytest tests/cuda")
    return array
