"""Compilation of every kernel for a GPU of compute capability 9.0, without one: errors that the simulator cannot find.

It needs ``pip install 'numba-cuda[cu13]'``.
"""

import gc
import subprocess
import sys
from functools import cache
from importlib import import_module
from types import SimpleNamespace

import numpy as np
import pytest

from tests.cuda.cases import CASES
from tests.cuda.test_twins import contiguous, kernel, moved
from tinycnn.kernels.cuda import array as runtime
from tinycnn.kernels.cuda.machine import launch, target

if target.SIMULATED:
    pytest.skip("compiles for a GPU: run it without NUMBA_ENABLE_CUDASIM", allow_module_level=True)
pytest.importorskip("numba_cuda", reason="needs pip install 'numba-cuda[cu13]'")

from cuda import core
from cuda.core.utils import StridedMemoryView
from numba import cuda, types
from numba.cuda import codegen

GPU = SimpleNamespace(compute_capability=(9, 0), id=0, MULTIPROCESSOR_COUNT=1)
make_launcher = launch.make_launcher


@pytest.fixture(scope="module", autouse=True)
def no_gpu_needed():
    """Make arrays NumPy's, record launches without running them, and pretend a GPU."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(target, "xp", np)
        patch.setattr(launch, "address", lambda raw: raw.ctypes.data)
        patch.setattr(launch, "make_launcher", note)
        for name in "numba.cuda", "numba.cuda.dispatcher", "numba.cuda.compiler", "numba.cuda.api":
            module = import_module(name)
            if hasattr(module, "get_current_device"):
                patch.setattr(module, "get_current_device", lambda: GPU)
        yield
    target.num_sms.cache_clear()


noted: dict = {}


def note(function, grid, block, kinds):
    noted[function, launch.signature(kinds)] = core.LaunchConfig(grid=grid, block=block)
    return lambda *words: None


@cache
def launched_by(name, dtype):
    noted.clear()
    launch.launchers.made.clear()
    for arguments in CASES[name](np.dtype(dtype)):
        kernel(name)(*(moved(runtime, contiguous, a) for a in arguments))
    return list(noted)


@cache
def compiled(dispatcher, signature):
    target.import_compiler()
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


@pytest.mark.filterwarnings("ignore:Grid size")  # Numba's own launch warns that the grid is small
def test_a_launch_is_what_numbas_own_would_be(monkeypatch):
    """Compare the compiled kernel, its grid, its stream and all packed arguments."""

    @launch.kernel
    def fill(scalar, row, mask, empty, maps, flag, count, factor, key, out):
        i = cuda.grid(1)
        if flag and i < out.size:
            out[i] = factor * scalar[()] + row[i] + mask[i] + maps.shape[2] + count + key + empty.size

    arrays = np.ones(()), np.ones(3, "f4"), np.ones(3, bool), np.ones((0, 2), "i2"), np.ones((2, 1, 3)), np.ones(3)
    numbers = True, 2**40, np.float32(0.5), np.uint64(2**63)
    grid, block, launches = (2, 1), 32, []
    for module in core, cuda.dispatcher:
        monkeypatch.setattr(module, "launch", lambda *arguments: launches.append(arguments))
    monkeypatch.setattr(core, "Stream", SimpleNamespace(from_handle=lambda handle: f"stream {handle}"))
    monkeypatch.setattr(cuda.dispatcher.driver, "_to_core_stream", lambda handle: f"stream {handle}")
    monkeypatch.setattr(cuda.dispatcher._Kernel, "bind", lambda kernel: None)
    monkeypatch.setattr(codegen.devices, "get_context", lambda: SimpleNamespace(device=GPU))
    monkeypatch.setattr(codegen.CUDACodeLibrary, "get_cufunc", lambda library: SimpleNamespace(kernel=library))
    monkeypatch.setattr(launch, "make_launcher", make_launcher)
    monkeypatch.setattr(launch, "launchers", launch.Launchers())

    on_device = [runtime.DeviceArray(array) for array in arrays]
    launch.launch_grid(fill, grid, block, *on_device[:5], *numbers, on_device[5])
    views = [
        StridedMemoryView.from_dlpack(array.view("u1") if array.dtype == bool else array, stream_ptr=-1)
        for array in arrays
    ]
    fill[grid, block](*views[:5], *numbers, views[5])
    assert len(fill.overloads) == 1
    ours, numbas = launches
    assert ours[:3] == numbas[:3]
    assert [getattr(word, "value", word) for word in ours[3:]] == [getattr(word, "value", word) for word in numbas[3:]]


def test_numba_cuda_compiles_without_numpys_row_stack():
    """NumPy 2.5 has it no more. It is lent for an import, and taken back."""
    code = """
import numpy as np
np.__dict__.pop("row_stack", None)
from tinycnn.kernels.cuda.machine import target
target.import_compiler()
assert not hasattr(np, "row_stack")
ptx, _ = target.cuda.compile_ptx(lambda x: None, target.cuda.types.void(target.cuda.types.float32[::1]), cc=(9, 0))
assert ".visible .entry" in ptx
"""
    subprocess.run([sys.executable, "-c", code], check=True)


def test_what_a_kernel_cannot_take_is_refused():
    with pytest.raises(ValueError, match=r"an array of shape \(3, 2\) is not contiguous"):
        launch.launch_grid(None, 1, 1, runtime.DeviceArray(np.ones((2, 3)).T))
    with pytest.raises(TypeError, match="a kernel got a float"):
        launch.launch_grid(None, 1, 1, 0.5)
