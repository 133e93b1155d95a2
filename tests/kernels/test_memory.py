"""Memory that is used again: never by two arrays at once, whatever order they come and go in."""

import threading

import numpy as np
import pytest

import tinycnn as tc
from tinycnn.kernels.cpu.machine import allocator
from tinycnn.kernels.cpu.machine.allocator import empty, storage_of, zeros

BIG = allocator.MIN_BLOCK_BYTES


def address(array):
    return array.__array_interface__["data"][0]


def test_memory_is_used_again_once_the_last_view_is_gone():
    first = empty((BIG,), np.uint8)
    where, view = address(first), first[7:9]
    del first
    second = empty((BIG,), np.uint8)
    assert address(second) != where
    del view, second
    assert address(empty((BIG,), np.uint8)) == where


def test_arrays_never_overlap_and_begin_at_a_cache_line():
    rng = np.random.default_rng(0)
    live = []
    for number in range(2000):
        if len(live) > 30 or (live and rng.random() < 0.4):
            array, mark = live.pop(rng.integers(len(live)))
            assert (array == mark).all()
        array = empty((int(rng.integers(1, 40)), BIG // 4), np.int32)
        assert address(array) % allocator.ALIGNMENT == 0
        array[...] = number
        live.append((array, number))
    for array, mark in live:
        assert (array == mark).all()
    slabs = sum(slab.memory.nbytes for slab in allocator._slabs)
    assert slabs < 8 * max(allocator.SLAB_BYTES, sum(array.nbytes for array, _ in live))


def test_free_blocks_join_again():
    slab = allocator._Slab(1000)
    arrays = [slab.take(size) for size in (100, 7, 300)]
    assert slab.free == [(512, 1000)] and slab.take(489) is None
    for number in (1, 0, 2):
        arrays[number] = None
        slab.collect()
    assert slab.free == [(0, 1000)] and not slab.used and not slab.returned
    assert slab.take(1001) is None


@pytest.mark.parametrize("seed", range(3))
def test_what_is_free_and_in_use_adds_up(seed):
    rng, slab, arrays = np.random.default_rng(seed), allocator._Slab(100_000), []
    for _ in range(300):
        if arrays and rng.random() < 0.5:
            arrays.pop(rng.integers(len(arrays)))
        else:
            arrays.append(slab.take(int(rng.integers(1, 9000))))
            if arrays[-1] is None:
                arrays.pop()
        slab.collect()
        blocks = sorted([*slab.free, *((block.start, block.stop) for block in slab.used.values())])
        assert [0, *(stop for _, stop in blocks)] == [*(start for start, _ in blocks), 100_000]
        assert len(slab.used) == len(arrays)
        assert not {stop for _, stop in slab.free} & {start for start, _ in slab.free}, "neighbours are not joined"


def test_arrays_may_go_in_another_thread():
    for _ in range(50):
        arrays = [zeros((BIG,), np.float32) for _ in range(4)]
        threads = [threading.Thread(target=arrays.pop) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert not zeros((BIG,), np.float64).any()


def test_who_owns_the_memory_of_an_array():
    mine, other = empty((BIG, 2), np.float32), empty((BIG, 2), np.float32)
    assert storage_of(mine) is storage_of(mine.T[3:]) is not storage_of(other)


def test_gradients_that_meet_are_added_without_touching_what_others_hold():
    """A tensor used three times: the engine may add into an array of its own only."""
    x = tc.Tensor(np.full((4, 8, 40, 40), 2.0, np.float32), requires_grad=True)
    y = x * 1
    kept = []
    y.register_hook(lambda grad: kept.append((grad, grad.copy())))
    (y + y + tc.functional.relu(y)).sum().backward()
    np.testing.assert_array_equal(x.grad, np.full(x.shape, 3, np.float32))
    for grad, copy in kept:
        np.testing.assert_array_equal(grad, copy)


@pytest.mark.parametrize("shape", [(0, 5), (), (3, 0, 2)])
def test_empty_and_scalar_shapes(shape):
    assert empty(shape, np.float64).shape == shape
