"""Forks at any point: the child computes the same values, and never waits for a thread that it does not have."""

import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest

from tests.kernels.points import at_each_point
from tinycnn.kernels.cpu.machine import allocator
from tinycnn.kernels.cpu.machine.compile import JIT_DISABLED

pytestmark = [
    pytest.mark.skipif(not hasattr(os, "fork"), reason="this system cannot fork"),
    pytest.mark.filterwarnings("ignore:.*multi-threaded.*fork.*:DeprecationWarning"),
]
ROOT = Path(__file__).parents[2]


def in_child(function, seconds=30):
    """Return the exit code of a forked child that calls a function, negative if it did not return in time."""
    child = os.fork()
    if child == 0:
        status = 1
        try:
            signal.alarm(seconds)
            function()
            status = 0
        finally:
            os._exit(status)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def in_thread(function, *arguments):
    thread = threading.Thread(target=function, args=arguments)
    thread.start()
    thread.join()


def test_a_fork_at_any_point_of_another_threads_allocation(monkeypatch):
    slab = allocator._Slab(64 * allocator.MIN_BLOCK_BYTES)
    monkeypatch.setattr(allocator, "_slabs", [slab])
    codes = []

    def allocate():
        arrays = [allocator.empty((allocator.MIN_BLOCK_BYTES + 100 * i,), np.uint8) for i in range(3)]
        del arrays[1]
        return arrays, allocator.empty((allocator.MIN_BLOCK_BYTES,), np.uint8)

    def check():
        arrays = [allocator.empty((allocator.MIN_BLOCK_BYTES + i,), np.uint8) for i in range(4)]
        for number, array in enumerate(arrays):
            array[:] = number
        assert all((array == number).all() for number, array in enumerate(arrays))
        slab.collect()
        used = sum(block.stop - block.start for block in slab.used.values())
        assert used + sum(stop - start for start, stop in slab.free) == slab.memory.nbytes

    def fork():
        in_thread(lambda: codes.append(in_child(check)))

    for _ in at_each_point(tuple, allocate, [allocator], fork):
        pass
    assert len(codes) > 30 and set(codes) == {0}


@pytest.mark.skipif(JIT_DISABLED, reason="nothing is compiled")
def test_a_fork_waits_for_a_thread_that_compiles():
    from tinycnn.kernels.cpu.machine import fork

    entered, go_on = threading.Event(), threading.Event()

    def compile_for_a_while():
        for lock in fork._locks():
            lock.acquire()
        entered.set()
        go_on.wait(0.2)
        for lock in fork._locks():
            lock.release()

    def take_the_locks():
        for lock in fork._locks():
            assert lock.acquire(timeout=5)
            lock.release()

    thread = threading.Thread(target=compile_for_a_while)
    thread.start()
    entered.wait()
    assert in_child(take_the_locks) == 0
    thread.join()
    in_thread(take_the_locks)


PROGRAM = """
import sys, threading, warnings
warnings.simplefilter("ignore", DeprecationWarning)
import numpy as np
import tinycnn as tc
from tests.kernels.test_fork import in_child
from tinycnn import functional as F

tc.set_num_threads(4)
rng = np.random.default_rng(0)
x, w = rng.normal(size=(4, 16, 24, 24)).astype(np.float32), rng.normal(size=(16, 16, 3, 3)).astype(np.float32)

def compute():
    images, weight = tc.Tensor(x, requires_grad=True), tc.Tensor(w, requires_grad=True)
    F.max_pool2d(F.relu(F.conv2d(images, weight, padding=1)), 2).sum().backward()
    return images.grad, weight.grad

def check():
    assert all(map(np.array_equal, compute(), right))

def check_again_and_again():
    while not ended:
        checked.append(all(map(np.array_equal, compute(), right)))

right = [array.copy() for array in compute()]
ended, checked, codes = [], [], []
threads = [threading.Thread(target=check_again_and_again) for _ in range(3)]
for thread in threads:
    thread.start()
for _ in range(int(sys.argv[1])):
    codes.append(in_child(check, 60))
ended.append(True)
for thread in threads:
    thread.join()
print(len(codes), "forks:", sum(code < 0 for code in codes), "hung,", sum(code > 0 for code in codes), "wrong;",
      len(checked), "passes beside them:", len(checked) - sum(checked), "wrong")
sys.exit(any(codes) or not all(checked))
"""


@pytest.mark.skipif(JIT_DISABLED, reason="nothing is compiled, so no thread is started")
@pytest.mark.parametrize("forks", [20, pytest.param(300, marks=pytest.mark.slow)])
def test_children_compute_the_same_while_other_threads_compute(forks):
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, str(forks)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=120 + 10 * forks,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )
    print(done.stdout)
    assert done.returncode == 0, done.stdout + done.stderr[-2000:]
