"""Exceptions of signal handlers at any point: no memory is lost, and later results keep their bits."""

import gc
import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import tinycnn as tc
from tests.kernels.points import at_each_point
from tests.kernels.test_pool import native_threads, wait_until
from tinycnn import functional as F
from tinycnn.kernels.cpu.machine import allocator
from tinycnn.kernels.cpu.machine import threads as pool
from tinycnn.kernels.cpu.machine.compile import JIT_DISABLED
from tinycnn.kernels.cpu.machine.scratch import workspace
from tinycnn.kernels.geometry import ConvShape

ROOT = Path(__file__).parents[2]
BIG = allocator.MIN_BLOCK_BYTES
compiled = pytest.mark.skipif(JIT_DISABLED, reason="nothing is compiled, so no thread is started")


@pytest.fixture
def four_threads():
    tc.set_num_threads(4)


@pytest.fixture
def slab(monkeypatch):
    """The only slab."""
    slab = allocator._Slab(64 * BIG)
    monkeypatch.setattr(allocator, "_slabs", [slab])
    return slab


def lost(slab):
    """Return the bytes of a slab that are neither free nor in use, after all returned blocks are free."""
    slab.collect()
    used = sum(block.stop - block.start for block in slab.used.values())
    return slab.memory.nbytes - used - sum(stop - start for start, stop in slab.free)


def test_an_exception_at_any_point_of_an_allocation_loses_no_memory(slab):
    def prepare():
        arrays = [allocator.empty((BIG + i,), np.uint8) for i in range(9)]
        del arrays[::2]
        return (arrays,)

    def allocate(arrays):
        arrays.pop(1)
        more = [allocator.empty((BIG + 100 * i,), np.uint8) for i in range(3)]
        for number, array in enumerate(arrays + more):
            array[:] = number
        return [array[0] == array[-1] == number for number, array in enumerate(arrays + more)]

    cut = 0
    for result in at_each_point(prepare, allocate, [allocator]):
        cut += result is None
        assert result is None or all(result)
        assert lost(slab) == 0 and slab.free == [(0, slab.memory.nbytes)] and not slab.used
    assert cut > 50


def test_a_handler_that_allocates_gets_memory_of_its_own(slab):
    kept = []

    def handler():
        kept.append(allocator.empty((BIG,), np.uint8))
        kept[-1][:] = 1

    def prepare():
        kept.clear()
        return ()

    def allocate():
        arrays = [allocator.zeros((BIG + 100 * i,), np.uint8) for i in range(3)]
        return not any(array.any() for array in arrays)

    for result in at_each_point(prepare, allocate, [allocator], handler):
        assert result and kept[0].all() and lost(slab) == 0
    kept.clear()
    assert lost(slab) == 0 and slab.free == [(0, slab.memory.nbytes)]


@compiled
def test_an_exception_at_any_point_of_a_launch_leaves_the_pool_as_it_was(four_threads):
    x = np.linspace(-1, 1, 4 * pool.MIN_PARALLEL_ELEMENTS, dtype=np.float32)
    right, before = np.maximum(x, 0), native_threads()
    cut = 0

    def prepare():
        pool._pool.team = None  # the workers are started in the launch
        return (tc.Tensor(x),)

    F.relu(*prepare())
    for result in at_each_point(prepare, F.relu, [pool]):
        cut += result is None
        np.testing.assert_array_equal(F.relu(tc.Tensor(x)).data, right)
        assert not pool._pool.team.mailboxes[0, 0], "the mailboxes stay claimed"
    assert cut > 20
    pool._pool.team = None
    gc.collect()
    wait_until(lambda: native_threads() <= before)


def test_scratch_memory_in_use_is_not_given_out_again():
    dtype = np.dtype(np.float32)
    for size in (100, BIG):
        held = workspace("test", 2, size, dtype)[1]
        other = workspace("test", 2, size, dtype)
        assert not np.shares_memory(held, other)
        address = other.__array_interface__["data"][0]
        del other
        assert workspace("test", 2, size, dtype).__array_interface__["data"][0] == address


@compiled
def test_a_handler_that_computes_does_not_disturb_what_it_interrupts(four_threads):
    from tinycnn.kernels.cpu.conv import winograd

    rng = np.random.default_rng(0)
    arrays = [rng.normal(size=shape).astype(np.float32) for shape in ((2, 128, 4, 4), (128, 128, 3, 3))]
    others = [rng.normal(size=array.shape).astype(np.float32) for array in arrays]

    shape = ConvShape.of(arrays[0].shape, arrays[1].shape, padding=1)

    def compute(x, weight):
        return winograd.conv2d(x, weight, None, shape)

    right = compute(*arrays).copy()
    results = list(at_each_point(lambda: arrays, compute, [winograd], lambda: compute(*others)))
    assert len(results) > 20
    for result in results:
        np.testing.assert_array_equal(result, right)


def _run(*arguments, seconds):
    return subprocess.run(
        [sys.executable, "-m", *arguments],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=seconds,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )


@compiled
@pytest.mark.skipif(not hasattr(signal, "setitimer"), reason="this system has no interval timers")
@pytest.mark.parametrize(
    ("count", "busy"), [(20, 5), pytest.param(1000, 300, marks=pytest.mark.slow)], ids=["some", "many"]
)
def test_results_keep_their_bits_after_interrupts(count, busy):
    done = _run("tests.kernels.interrupts", str(count), str(busy), "0", seconds=300 + 10 * count)
    print(done.stdout)
    assert done.returncode == 0, done.stderr[-2000:]
    assert "Exception ignored" not in done.stderr
