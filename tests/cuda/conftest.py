"""The CUDA target: in Numba's simulator (``NUMBA_ENABLE_CUDASIM=1 pytest tests/cuda``), or on a GPU (``-m gpu``)."""

import sys

import pytest

from tinycnn.kernels.cuda import _runtime


@pytest.fixture(autouse=True, scope="session")
def threads_take_turns_quickly():
    """The simulator's barriers wait for Python's threads to take turns: every 0.1 ms, not every 5 ms."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-4)
    yield
    sys.setswitchinterval(before)


@pytest.fixture
def runtime():
    """The runtime file, where kernels can run."""
    if not _runtime.SIMULATED and _runtime.cupy is None:
        pytest.skip("no GPU; in the simulator: NUMBA_ENABLE_CUDASIM=1 pytest tests/cuda")
    return _runtime
