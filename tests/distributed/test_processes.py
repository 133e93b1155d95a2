"""Processes of our own: the ring, functions of scripts, gradients and training equal to one process's, accidents."""

import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from tests.distributed import program
from tinycnn import distributed
from tinycnn.distributed import ALONE, DistributedError, MismatchError, processes, ring_allreduce, ring_bytes
from tinycnn.distributed.shipping import pack, unpack

ROOT = Path(__file__).parents[2]


def everything(communicator):
    """Return the bytes sent by a 4,800-byte all-reduce, and the results of the ranks' program."""
    before = communicator.sent
    communicator.allreduce(np.ones(1200, np.float32)).wait()
    return {"sent": communicator.sent - before} | program.everything(communicator)


@pytest.fixture(scope="module")
def alone():
    return program.train(ALONE)


@pytest.mark.parametrize("ranks", [1, 2, 3, 4])
def test_ranks_do_together_what_one_process_does(ranks, alone):
    answers = distributed.run(everything, ranks)
    for answer in answers:
        assert answer["wrong"] == []
        assert answer["sent"] == ring_bytes(ranks, 4800)
        assert max(answer["gaps"][kind] for kind in ("plain", "dropout", "batch norm")) < 1e-12
        assert (answer["gaps"]["local batch norm"] > 1e-3) == (ranks > 1), "batch norm by rank is another function"
        assert_same_training(answer["trained"], alone)
    assert all(answer["trained"] == answers[0]["trained"] for answer in answers), "ranks have the same bits"


def assert_same_training(one, other):
    for name in ("history", "weights", "probabilities"):
        np.testing.assert_allclose(one[name], other[name], rtol=1e-9, atol=1e-12, err_msg=name)


@pytest.mark.parametrize("before, after", [(1, 3), (3, 1)])
def test_training_goes_on_with_another_number_of_ranks(before, after, alone, tmp_path):
    path = str(tmp_path / "checkpoint.safetensors")
    for ranks, function in ((before, program.train_five_batches), (after, program.go_on)):
        answers = distributed.run(function, ranks, path) if ranks > 1 else [function(ALONE, path)]
    assert_same_training(answers[0], alone)


@pytest.mark.parametrize(
    ("kind", "message"),
    [
        ("dies", "rank 1 died"),
        ("fails", "rank 1: ZeroDivisionError: division by zero"),
        ("hangs", "rank 1 hangs: the others waited 3 s for it"),
        ("another model", "rank 1 has another model: Sequential of 618 parameters"),
        ("other data", "rank 1 has another data set: 22 images of 3 classes"),
    ],
)
def test_all_stop_with_one_message_and_the_last_checkpoint_stands(kind, message, tmp_path):
    path, start = tmp_path / "checkpoint.safetensors", time.monotonic()
    with pytest.raises(DistributedError, match=message):
        distributed.run(program.accident, 3, kind, str(path), timeout=3)
    assert time.monotonic() - start < 60
    if kind in ("dies", "fails", "hangs"):  # in the second epoch
        resumed = program.trainer(ALONE)
        resumed.resume(path)
        assert (resumed.loader.epoch, resumed.loader.position) == (1, 0)


# -- ranks that hang, differ, or return early --------------------------------------------------------------------------


def hangs_alone(communicator):
    while communicator.rank == 1:
        time.sleep(0.1)
    return communicator.rank


def stops(communicator):
    if communicator.rank == 1:
        os.kill(os.getpid(), signal.SIGSTOP)
    return communicator.rank


def all_stop(communicator):
    os.kill(os.getpid(), signal.SIGSTOP)


def answers_halfway(communicator):
    return np.zeros(2**25 if communicator.rank else 1)


def returns_early(communicator):
    return communicator.rank or communicator.allreduce(np.zeros((2, 3))).wait()


needs_stop = pytest.mark.skipif(not hasattr(signal, "SIGSTOP"), reason="this system has no SIGSTOP")


@pytest.mark.parametrize(
    ("function", "message"),
    [
        (hangs_alone, "rank 1 hangs: still running 2 s after the others returned"),
        pytest.param(stops, "rank 1 hangs: ", marks=needs_stop),
        pytest.param(all_stop, "rank 0 hangs: no heartbeat for 5 s", marks=needs_stop),
        (returns_early, r"rank 1, 2 returned .*rank 0 is in allreduce of \(2, 3\) float64"),
    ],
)
def test_a_rank_that_nobody_waits_for_cannot_hold_up_the_run(function, message):
    with pytest.raises(DistributedError, match=message):
        distributed.run(function, 3, timeout=2)


def test_a_long_computation_and_a_large_answer_are_no_accident():
    answers = distributed.run(slow_and_large, 2, timeout=2)
    assert [answer.nbytes for answer in answers] == [2**26, 2**26]


def slow_and_large(communicator):
    end = time.monotonic() + 7  # longer than any silence that is allowed
    while time.monotonic() < end:
        sum(range(1000))
    return np.zeros(2**26, np.uint8)


CALLS = {
    "shape": lambda c: c.allreduce(np.zeros((2, 3) if c.rank else (3, 2))).wait(),
    "size": lambda c: c.allreduce(np.zeros(5 + c.rank)).wait(),
    "dtype": lambda c: c.allreduce(np.zeros(4, np.float32 if c.rank else np.int32)).wait(),
    "kind": lambda c: c.broadcast(np.zeros(4)) if c.rank else c.allreduce(np.zeros(4)).wait(),
    "root": lambda c: c.broadcast(np.zeros(4), root=c.rank),
    "barrier": lambda c: c.barrier() if c.rank else c.allreduce(np.zeros(c.size)).wait(),
    "second": lambda c: (c.barrier(), c.allreduce(np.zeros(4 + c.rank)).wait()),
}


def mismatched(communicator, kind):
    CALLS[kind](communicator)


@pytest.mark.parametrize(
    ("kind", "one", "other"),
    [
        ("shape", r"allreduce of \(3, 2\) float64", r"allreduce of \(2, 3\) float64"),
        ("size", r"allreduce of \(5,\) float64", r"allreduce of \(6,\) float64"),
        ("dtype", r"allreduce of \(4,\) int32", r"allreduce of \(4,\) float32"),
        ("kind", r"allreduce of \(4,\) float64", r"broadcast from 0 of \(4,\) float64"),
        ("root", r"broadcast from 0 of \(4,\) float64", r"broadcast from 1 of \(4,\) float64"),
        ("barrier", r"allreduce of \(2,\) float64", r"barrier of \(2,\) float64"),
        ("second", r"allreduce of \(4,\) float64", r"allreduce of \(5,\) float64"),
    ],
)
def test_mismatched_operations_name_what_differs(kind, one, other):
    message = rf"rank 0 called {one}, rank 1 called {other}|rank 1 called {other}, rank 0 called {one}"
    with pytest.raises(MismatchError, match=message):
        distributed.run(mismatched, 2, kind, timeout=20)


def refused_arrays(communicator):
    read_only = np.zeros(3)
    read_only.flags.writeable = False
    caught = []
    for array in (np.zeros((3, 3)).T[1:], read_only, [1.0], np.array(["text"]), None):
        try:
            communicator.allreduce(array)
        except (TypeError, ValueError) as error:
            caught.append(f"{type(error).__name__}: {error}")
    return caught


def test_arrays_that_cannot_be_summed_in_place_are_refused():
    (caught,) = distributed.run(refused_arrays, 1)
    assert [text.split(":")[0] for text in caught] == ["ValueError"] * 2 + ["TypeError"] * 3
    assert "not contiguous" in caught[0] and "read-only" in caught[1] and "list" in caught[2]


def test_strangers_on_the_port_change_nothing(monkeypatch):
    kept = []

    class Visited(processes.Listener):
        def __init__(self, token):
            super().__init__(token)
            for data in (b"", token[:-1], b"x" * 100):
                kept.append(socket.create_connection(self.address))
                kept[-1].sendall(data)
            socket.create_connection(self.address).close()

    monkeypatch.setattr(processes, "Listener", Visited)
    assert distributed.run(rank_of, 2, timeout=20) == [0, 1]
    for line in kept:
        line.close()


def rank_of(communicator):
    return communicator.rank


@pytest.mark.parametrize("timeout", [0, -1, float("nan"), float("inf"), "soon", True])
def test_a_wrong_timeout_is_refused(timeout):
    with pytest.raises(ValueError, match=r"run: timeout is .*, expected seconds above 0"):
        distributed.run(rank_of, 1, timeout=timeout)


def test_what_is_not_a_function_is_refused():
    with pytest.raises(TypeError, match="run: function is 3, expected a function"):
        distributed.run(3, 2)


def test_an_error_without_a_text_is_reported():
    with pytest.raises(DistributedError, match=r"rank [01]: Speechless: an error without a text"):
        distributed.run(speechless, 2, timeout=20)


class Speechless(Exception):
    def __str__(self):
        raise ZeroDivisionError


def speechless(communicator):
    raise Speechless


SCRIPT = """
import numpy as np
from tinycnn import distributed

FACTOR = 10

def scaled(x):
    return FACTOR * x

def work(communicator, offset=1):
    again = [scaled(x) for x in [communicator.rank + offset]]
    return communicator.allreduce(np.array(again)).wait().item()

def speak(communicator):
    if communicator.rank == 1:
        print("printed by rank 1")

print(distributed.run(work, 2), flush=True)
distributed.run(speak, 2)
print(distributed.run(lambda communicator, x: (communicator.rank, x), 2, "argument"))
"""


def test_a_script_without_main_can_use_its_own_functions(tmp_path):
    path = tmp_path / "script.py"
    path.write_text(SCRIPT)
    env = {"PYTHONPATH": str(ROOT), "PATH": ""}
    done = subprocess.run([sys.executable, "-W", "error", path], env=env, capture_output=True, text=True, timeout=120)
    assert done.stdout.splitlines() == ["[30, 30]", "printed by rank 1", "[(0, 'argument'), (1, 'argument')]"], (
        done.stderr
    )


def test_functions_travel_with_what_they_use():
    def outer(n):
        return 1 if n == 0 else n * outer(n - 1)  # a cell that holds the function itself

    assert unpack(pack(outer))(5) == 120
    assert unpack(pack(np.linalg.norm)) is np.linalg.norm
    with pytest.raises(TypeError, match="cannot be sent to another process"):
        pack(sys.stdout)


def test_classes_of_a_script_and_their_objects_travel(tmp_path):
    path = tmp_path / "script.py"
    path.write_text(
        """
from tinycnn import distributed


class Shift:
    def __init__(self, amount):
        self.amount = amount

    def __call__(self, communicator):
        return Shift(self.amount + communicator.rank)


print([answer.amount for answer in distributed.run(Shift(10), 2)])
"""
    )
    env = {"PYTHONPATH": str(ROOT), "PATH": ""}
    done = subprocess.run([sys.executable, "-W", "error", path], env=env, capture_output=True, text=True, timeout=120)
    assert done.stdout == "[10, 11]\n", done.stderr


def test_a_ring_of_arrays_in_one_process():
    """Compare all-reduce with a sum; the exchange of all ranks is done by hand, step by step."""
    for size in (1, 2, 3, 5):
        for length in (0, 1, 4, 7, 20):
            arrays = [np.random.default_rng(rank).normal(size=length) for rank in range(size)]
            expected = np.sum(arrays, axis=0)
            _in_step(arrays)
            for array in arrays:
                np.testing.assert_allclose(array, expected, rtol=1e-13)


def _in_step(arrays):
    """Run threads that meet at each exchange."""
    import threading

    size, sent = len(arrays), [None] * len(arrays)
    meeting = threading.Barrier(size)

    def exchange_of(rank):
        def exchange(out, into):
            sent[rank] = out.copy()
            meeting.wait()
            into[...] = sent[rank - 1]
            meeting.wait()

        return exchange

    threads = [
        threading.Thread(target=ring_allreduce, args=(array, rank, size, exchange_of(rank)))
        for rank, array in enumerate(arrays)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


@pytest.mark.parametrize("ranks", [0, -1, 1.5, "2"])
def test_a_wrong_number_of_ranks_is_refused(ranks):
    with pytest.raises(ValueError, match="run: ranks is"):
        distributed.run(everything, ranks)


def test_the_time_limit_is_checked(monkeypatch):
    monkeypatch.setenv("TINYCNN_TIMEOUT", "soon")
    with pytest.raises(ValueError, match="TINYCNN_TIMEOUT is 'soon', expected seconds above 0"):
        distributed.run(everything, 1)
