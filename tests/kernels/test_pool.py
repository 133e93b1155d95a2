"""The thread pool: every range once, errors come back, threads and forks do not disturb it."""

import os
import threading

import numpy as np
import pytest

import tinycnn as tc
from tinycnn.kernels.cpu import pool


@pytest.fixture(autouse=True)
def four_threads():
    before = tc.get_num_threads()
    tc.set_num_threads(4)
    yield
    tc.set_num_threads(before)


def count_visits(begin, end, visits):
    for i in range(begin, end):
        visits[i] += 1


@pytest.mark.parametrize("count", [1, 2, 3, 4, 5, 1001])
def test_every_piece_is_done_once(count):
    visits = np.zeros(max(count, pool.SMALL), np.int64)
    for _ in range(20):
        pool.run(count_visits, count, (visits,))
    assert set(visits[:count]) == {20} and not visits[count:].any()


def test_the_pieces_are_shared_and_small_work_stays_with_the_caller():
    seen = set()

    def note(begin, end, array):
        seen.add(threading.current_thread())

    pool.run(note, 4, (np.zeros(pool.SMALL),))
    assert len(seen) == 4 and threading.current_thread() in seen
    seen.clear()
    pool.run(note, 4, (np.zeros(pool.SMALL - 1),))
    assert seen == {threading.current_thread()}


@pytest.mark.parametrize("part", range(4))
def test_an_error_in_any_thread_comes_back_and_the_pool_goes_on(part):
    def fail(begin, end, array):
        if begin == part:
            raise ValueError(f"part {part}")

    with pytest.raises(ValueError, match=f"part {part}"):
        pool.run(fail, 4, (np.zeros(pool.SMALL),))
    test_every_piece_is_done_once(5)


def test_a_worker_that_slept_wakes_again():
    for _ in range(3):
        test_every_piece_is_done_once(5)
        while not all(worker.asleep for worker in pool._pool.workers):
            pass


def test_kernels_may_be_called_from_several_threads():
    x = np.linspace(-1, 1, 2 * pool.SMALL, dtype=np.float32)
    results = []

    def work():
        for _ in range(20):
            results.append(tc.functional.relu(tc.Tensor(x)).data)

    threads = [threading.Thread(target=work) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(results) == 60
    for result in results:
        np.testing.assert_array_equal(result, np.maximum(x, 0))


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system cannot fork")
@pytest.mark.filterwarnings("ignore:.*multi-threaded.*fork.*:DeprecationWarning")
def test_a_forked_child_has_workers_of_its_own():
    test_every_piece_is_done_once(5)
    child = os.fork()
    if child == 0:
        try:
            test_every_piece_is_done_once(5)
            os._exit(0)
        except BaseException:
            os._exit(1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


@pytest.mark.parametrize("count", [0, -1, 1.5, True, "two"])
def test_a_number_of_threads_that_makes_no_sense_is_refused(count):
    with pytest.raises(ValueError, match=r"set_num_threads: count is .*, expected a whole number of at least 1"):
        tc.set_num_threads(count)
