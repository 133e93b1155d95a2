"""The thread pool: every range once, errors come back, threads and forks do not disturb it."""

import os
import threading
import time
from pathlib import Path

import numpy as np
import pytest

import tinycnn as tc
from tinycnn.kernels.cpu.machine import mailbox, settings
from tinycnn.kernels.cpu.machine import threads as pool
from tinycnn.kernels.cpu.machine.mailbox import atomic_load
from tinycnn.kernels.cpu.machine.parallel import parallel_for
from tinycnn.kernels.cpu.machine.tuning import CHUNKS_PER_THREAD


@pytest.fixture(autouse=True)
def four_threads():
    tc.set_num_threads(4)


def _count_visits(begin, end, visits, work):
    for i in range(begin, end):
        visits[i] += 1
        for _ in range(work):  # long enough for the caller to give up watching
            visits[i] += visits[i] % 2


def _note_ranges(begin, end, ranges):
    ranges[begin, 0] = end


def _fail_at(begin, end, part, array):
    if begin == part:
        raise ValueError


def _last_is_first(begin, end, done, patience):
    """The first task waits for all others, for a while."""
    for i in range(begin, end):
        while i == 0 and patience > 0:
            patience -= 1
            finished = 0
            for other in range(1, done.size):
                finished += atomic_load(done, other)
            if finished == done.size - 1:
                break
        done[i] = patience > 0


def _note_threads(thread_id, begin, end, rows, threads):
    for i in range(begin, end):
        threads[i] = thread_id


count_visits, note_ranges, fail_at = parallel_for(_count_visits), parallel_for(_note_ranges), parallel_for(_fail_at)
last_is_first, note_threads = parallel_for(_last_is_first), parallel_for(_note_threads, per_thread="rows")


def native_threads():
    """Return how many threads the operating system counts for this process, 0 where that is not known."""
    tasks = Path("/proc/self/task")
    return len(list(tasks.iterdir())) if tasks.is_dir() else 0


def wait_until(condition, seconds=30):
    stop = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < stop, "it did not come true in time"
        time.sleep(0.001)


@pytest.mark.parametrize("count", [1, 2, 3, 4, 5, 31, 1001, 2**14 + 7])
@pytest.mark.prange
def test_every_piece_is_done_once(count):
    visits = np.zeros(max(count, pool.MIN_PARALLEL_ELEMENTS), np.int64)
    for _ in range(20):
        count_visits(count, visits, 0)
    assert set(visits[:count]) == {20} and not visits[count:].any()


def test_a_caller_waits_as_long_as_it_takes():
    visits = np.ones(pool.MIN_PARALLEL_ELEMENTS, np.int64)
    count_visits(4, visits, 30_000_000)
    assert (visits[:4] > 1).all() and (visits[:4] % 2 == 0).all()


def test_the_pieces_are_shared_and_small_work_stays_with_the_caller():
    ranges = np.zeros((4, pool.MIN_PARALLEL_ELEMENTS), np.int64)
    note_ranges(4, ranges)
    assert ranges[:, 0].tolist() == [1, 2, 3, 4]
    ranges = np.zeros((4, 1), np.int64)
    note_ranges(4, ranges)
    assert ranges[:, 0].tolist() == [4, 0, 0, 0]


def test_threads_that_have_finished_take_over_from_one_that_has_not(monkeypatch):
    monkeypatch.setattr(pool, "MIN_PARALLEL_ELEMENTS", 0)
    done = np.zeros(4 * CHUNKS_PER_THREAD, np.int64)
    last_is_first(done.size, done, 0)  # compiled, while the workers fall asleep
    for _ in range(5):  # on a busy machine they may all sleep on for once
        done[:] = 0
        last_is_first(done.size, done, 10**8)
        if done.all():
            return
    raise AssertionError("pieces of a thread that waits were left to it")


def test_nobody_waits_for_a_worker_that_has_not_begun(monkeypatch):
    test_every_piece_is_done_once(5)
    monkeypatch.setattr(pool._Worker, "wake", lambda worker: None)
    while not all(worker.asleep for worker in pool._pool.team.workers):
        pass
    test_every_piece_is_done_once(1001)
    monkeypatch.undo()
    test_every_piece_is_done_once(1001)


@pytest.mark.parametrize("rows", [1, 2, 4, 9])
@pytest.mark.prange
def test_a_thread_has_a_number_that_is_a_row_of_the_workspace(rows):
    threads = np.full(pool.MIN_PARALLEL_ELEMENTS, -1)
    for _ in range(5):
        note_threads(pool.MIN_PARALLEL_ELEMENTS, np.zeros((rows, 1)), threads)
        assert threads.min() == 0 and threads.max() < min(4, rows)
    tc.set_num_threads(1)
    note_threads(pool.MIN_PARALLEL_ELEMENTS, np.zeros((rows, 1)), threads)
    assert not threads.any()


def test_changes_of_the_number_of_threads_leave_no_thread_behind():
    pool._pool.team = None
    test_every_piece_is_done_once(31)
    before = native_threads()  # with three workers
    for count in (4, 9, 2, 12, 3, 1, 8, 1):
        tc.set_num_threads(count)
        test_every_piece_is_done_once(31)
    wait_until(lambda: native_threads() <= max(before - 3, 0))


def test_the_number_of_threads_may_change_while_another_thread_computes():
    rng, ended = np.random.default_rng(0), []
    x, w = rng.normal(size=(2, 32, 20, 20)).astype(np.float32), rng.normal(size=(32, 32, 3, 3)).astype(np.float32)

    def compute():
        images, weight = tc.Tensor(x, requires_grad=True), tc.Tensor(w, requires_grad=True)
        out = tc.functional.conv2d(images, weight)
        out.sum().backward()
        return out.data, images.grad, weight.grad

    def change():
        while not ended:
            tc.set_num_threads(int(rng.integers(1, 17)))

    right, thread = compute(), threading.Thread(target=change)
    thread.start()
    try:
        for _ in range(8):
            for one, other in zip(right, compute(), strict=True):
                np.testing.assert_array_equal(one, other)
    finally:
        ended.append(True)
        thread.join()


def test_a_worker_that_a_request_is_on_its_way_to_does_not_sleep(monkeypatch):
    served, team = [], iter([object(), object(), None])
    monkeypatch.setattr(pool, "serve", lambda mailboxes, thread_id: served.append(thread_id))
    worker = pool._Worker()
    worker.wake()
    worker.wakeups.put(None)  # what ends its sleep
    worker.run(lambda: next(team), np.zeros((2, mailbox.MAILBOX_SIZE), np.int64), 1)
    assert served == [1, 1] and worker.wakeups.empty() and not worker.expected and not worker.asleep


def test_loops_are_done_by_fewer_threads_where_no_more_can_be_started(monkeypatch):
    def refuse(*arguments):
        raise RuntimeError("can't start new thread")

    pool._pool.team = None
    monkeypatch.setattr(pool._thread, "start_new_thread", refuse)
    test_every_piece_is_done_once(1001)
    assert pool._pool.team.workers == []
    test_every_piece_is_done_once(1001)


@pytest.mark.parametrize("part", range(4))
@pytest.mark.prange
def test_an_error_in_any_thread_comes_back_and_the_pool_goes_on(part):
    with pytest.raises(RuntimeError, match="a kernel failed"):
        fail_at(4, part, np.zeros(pool.MIN_PARALLEL_ELEMENTS))
    test_every_piece_is_done_once(5)


def test_a_worker_that_slept_wakes_again():
    for _ in range(3):
        test_every_piece_is_done_once(5)
        while not all(worker.asleep for worker in pool._pool.team.workers):
            pass


@pytest.mark.prange
def test_kernels_may_be_called_from_several_threads():
    x = np.linspace(-1, 1, 2 * pool.MIN_PARALLEL_ELEMENTS, dtype=np.float32)
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
@pytest.mark.prange
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


@pytest.mark.parametrize("count", [1025, 10**9, 2**70])
def test_more_threads_than_a_machine_profits_from_are_refused(count):
    before = settings.get_num_threads()
    with pytest.raises(ValueError, match="expected at most 1024"):
        settings.set_num_threads(count)
    assert settings.get_num_threads() == before


@pytest.mark.parametrize(
    ("text", "threads"),
    [("3", 3), ("0012", 12), ("1024", 1024), ("1025", 1024), ("99999999999", 1024), ("9" * 10_000, 1024)],
)
def test_the_number_of_threads_in_the_environment_is_bounded(text, threads, monkeypatch):
    monkeypatch.setenv("NUMBA_NUM_THREADS", text)
    assert settings.default_num_threads() == threads
    for other in ("0", "-3", "abc", "2.5", "²"):
        monkeypatch.setenv("NUMBA_NUM_THREADS", other)
        assert settings.default_num_threads() >= 1
