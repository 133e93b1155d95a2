"""Every kernel compiled for a GPU of compute capability 9.0, where there is none: what the simulator cannot see.

It needs ``pip install 'numba-cuda[cu13]'``.
"""

import gc
from functools import cache
from importlib import import_module
from types import SimpleNamespace

import numpy as np
import pytest

from tests.cuda.cases import CASES
from tests.cuda.test_twins import contiguous, kernel, moved
from tinycnn.kernels.cuda import _runtime

if _runtime.SIMULATED:
    pytest.skip("compiles for a GPU: run it without NUMBA_ENABLE_CUDASIM", allow_module_level=True)
pytest.importorskip("numba_cuda", reason="needs pip install 'numba-cuda[cu13]'")

from numba import cuda, types
from numba.cuda.np.numpy_support import from_dtype

GPU = SimpleNamespace(compute_capability=(9, 0), id=0, MULTIPROCESSOR_COUNT=1)


@pytest.fixture(scope="module", autouse=True)
def no_gpu_needed():
    """Arrays are NumPy's, a launch is noted and not done, and the GPU is one on paper."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(_runtime, "xp", np)
        patch.setattr(_runtime, "processors", lambda: GPU.MULTIPROCESSOR_COUNT)
        patch.setattr(cuda.dispatcher.CUDADispatcher, "__getitem__", lambda self, grid: Noted(self))
        for name in "dispatcher", "compiler", "api":
            module = import_module(f"numba.cuda.{name}")
            if hasattr(module, "get_current_device"):
                patch.setattr(module, "get_current_device", lambda: GPU)
        yield


class Noted:
    """A kernel whose launches are noted."""

    launches: dict = {}  # noqa: RUF012

    def __init__(self, dispatcher):
        self.dispatcher = dispatcher

    def __call__(self, *arguments):
        self.launches[self.dispatcher, tuple(map(type_of, arguments))] = None


def type_of(argument):
    if isinstance(argument, np.ndarray):
        return types.Array(from_dtype(argument.dtype), argument.ndim, "C")
    if isinstance(argument, np.generic):
        return from_dtype(argument.dtype)
    return types.boolean if isinstance(argument, bool) else types.int64


@cache
def launched_by(name, dtype):
    Noted.launches = {}
    for arguments in CASES[name](np.dtype(dtype)):
        kernel("cuda", name)(*(moved(_runtime, contiguous, a) for a in arguments))
    return list(Noted.launches)


@cache
def compiled(dispatcher, signature):
    return cuda.compile_ptx(dispatcher.py_func, types.void(*signature), cc=(9, 0))[0]


@pytest.mark.parametrize("name", CASES)
def test_float32_kernels_compute_in_float32_and_in_registers(name):
    for dispatcher, signature in launched_by(name, "float32"):
        ptx = compiled(dispatcher, signature)
        assert ".target sm_90" in ptx
        assert ".f64" not in ptx, f"{dispatcher.py_func.__name__} computes in float64"
        assert "__local_depot" not in ptx, f"{dispatcher.py_func.__name__} keeps arrays in memory"


def test_float64_kernels_compile():
    kernels = {dispatcher: signature for name in CASES for dispatcher, signature in launched_by(name, "float64")}
    for dispatcher, signature in kernels.items():
        assert ".visible .entry" in compiled(dispatcher, signature)


def test_every_kernel_was_compiled():
    launched = {dispatcher for name in CASES for dispatcher, _ in launched_by(name, "float32")}
    missing = {
        f"{dispatcher.__module__}.{dispatcher.py_func.__qualname__}"
        for dispatcher in gc.get_objects()
        if isinstance(dispatcher, cuda.dispatcher.CUDADispatcher)
        and not dispatcher.targetoptions.get("device")
        and dispatcher.__module__.startswith("tinycnn.")
        and dispatcher not in launched
    }
    assert not missing
