"""The implementations of ``parallel_for``: mailboxes or numba.prange, with the same bits."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tinycnn.kernels.cpu.machine.parallel import BACKEND, JIT_DISABLED

pytestmark = pytest.mark.skipif(JIT_DISABLED, reason="nothing is compiled")

ROOT = Path(__file__).parents[2]

BITS = """
import hashlib, sys
import numpy as np
import tinycnn as tc
from tinycnn import functional as F

tc.set_num_threads(3)
rng = np.random.default_rng(0)

def bits(function, *shapes):
    tensors = [tc.Tensor(rng.normal(size=shape).astype(np.float32), requires_grad=True) for shape in shapes]
    out = function(*tensors)
    out.backward(tc.Tensor(rng.normal(size=out.shape).astype(np.float32)))
    digest = hashlib.sha256()
    for array in (out.data, *(tensor.grad for tensor in tensors)):
        digest.update(np.ascontiguousarray(array).tobytes())
    return digest.hexdigest()

for name in sys.argv[1:]:
    if name == "direct":
        print(bits(lambda x, w: F.conv2d(x, w, stride=2, padding=1), (2, 3, 61, 60), (18, 3, 3, 3)))
    if name == "winograd":
        shapes = (2, 16, 26, 25), (32, 16, 3, 3), (32,)
        print(bits(lambda x, w, b: F.conv2d(x, w, b, padding=1, algorithm="winograd"), *shapes))
    if name == "linear":
        print(bits(lambda x, w: F.linear(x, w), (20, 300), (70, 300)))
    if name == "relu":
        print(bits(F.relu, (3, 5, 70, 70)))
"""


def child(*arguments, **environment):
    """Run Python in a child process."""
    env = {**os.environ, "PYTHONPATH": str(ROOT), **environment}
    command = [sys.executable, *arguments]
    done = subprocess.run(command, capture_output=True, text=True, env=env, cwd=ROOT, timeout=1500)
    assert done.returncode == 0, done.stdout + done.stderr
    return done


@pytest.mark.parametrize(
    "operations", [("relu",), pytest.param(("relu", "linear", "direct", "winograd"), marks=pytest.mark.slow)]
)
def test_both_backends_compute_the_same_bits(operations):
    """The slow one compiles for a minute or two: prange compiles each kernel four times."""
    mailbox, prange = (
        child("-c", BITS, *operations, TINYCNN_THREADS_BACKEND=name).stdout for name in ("mailbox", "prange")
    )
    assert mailbox == prange and len(mailbox.split()) == len(operations)


@pytest.mark.skipif(BACKEND == "prange", reason="this is that run")
def test_the_reduced_run_on_prange():
    """The documented command: ``TINYCNN_THREADS_BACKEND=prange pytest -m prange``."""
    run = ["-m", "pytest", "-q", "-m", "prange", "-p", "no:cacheprovider", "tests/kernels"]
    said = child(*run, TINYCNN_THREADS_BACKEND="prange").stdout
    assert " passed" in said and "failed" not in said


MOVED = """
import sys, numba
sys.modules["llvmlite.binding.ffi"] = None  # to import it is an error from here on
import numpy as np
import tinycnn as tc
from tinycnn import functional as F
x = np.linspace(-1, 1, 40_000, dtype=np.float32)
assert (F.relu(tc.Tensor(x)).data == np.maximum(x, 0)).all()
F.sigmoid(tc.Tensor(x))
from tinycnn.kernels.cpu.machine.parallel import BACKEND
print(BACKEND)
"""


def test_prange_takes_over_where_parts_of_numba_have_moved_with_one_warning():
    done = child("-c", MOVED, TINYCNN_THREADS_BACKEND="")
    assert done.stdout == "prange\n"
    (line,) = done.stderr.splitlines()
    assert "kernels run on numba.prange" in line and "llvmlite.binding.ffi" in line


def test_an_unknown_backend_is_refused():
    code = """
try:
    import tinycnn.kernels.cpu.machine.parallel
except ValueError as error:
    print(error)
"""
    said = child("-c", code, TINYCNN_THREADS_BACKEND="tbb").stdout
    assert said == "TINYCNN_THREADS_BACKEND is 'tbb', expected one of: mailbox, prange\n"


SERIAL = """
import os, threading
import numpy as np
from tinycnn.kernels.cpu.machine import prange, settings
from tinycnn.kernels.cpu.machine.parallel import parallel_for

settings.set_num_threads(4)

def _note_parts(begin, end, parts):
    for i in range(begin, end):
        parts[i] = begin

note_parts = parallel_for(_note_parts)

def count_parts():
    parts = np.zeros(2**14, np.int64)
    note_parts(parts.size, parts)
    return len(set(parts.tolist()))

print(count_parts())
with prange.parallel_loop.lock:  # as while another thread computes
    print(count_parts())
print(count_parts(), flush=True)
child = os.fork()
if child == 0:
    print(count_parts(), flush=True)
    os._exit(0)
os.waitpid(child, 0)
settings.set_num_threads(1)
print(count_parts())
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system cannot fork")
def test_loops_of_prange_are_serial_where_it_cannot_be_called():
    """Beside a loop of another thread, and after a fork."""
    assert child("-c", SERIAL, TINYCNN_THREADS_BACKEND="prange").stdout.split() == ["4", "1", "4", "1", "1"]
