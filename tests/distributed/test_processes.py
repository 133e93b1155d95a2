"""Processes of our own: the ring, functions of scripts, gradients and training equal to one process's, accidents."""

import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from tests.distributed import program
from tinycnn import distributed
from tinycnn.distributed import ALONE, DistributedError, ring_allreduce, ring_bytes
from tinycnn.distributed.shipping import pack, unpack

ROOT = Path(__file__).parents[2]


def everything(communicator):
    """What a 4,800-byte all-reduce sends, and what the ranks do under MPI too."""
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


SCRIPT = """
import numpy as np
from tinycnn import distributed

FACTOR = 10

def scaled(x):
    return FACTOR * x

def work(communicator, offset=1):
    again = [scaled(x) for x in [communicator.rank + offset]]
    return communicator.allreduce(np.array(again)).wait().item()

print(distributed.run(work, 2))
print(distributed.run(lambda communicator, x: (communicator.rank, x), 2, "argument"))
"""


def test_a_script_without_main_can_use_its_own_functions(tmp_path):
    path = tmp_path / "script.py"
    path.write_text(SCRIPT)
    env = {"PYTHONPATH": str(ROOT), "PATH": ""}
    done = subprocess.run([sys.executable, "-W", "error", path], env=env, capture_output=True, text=True, timeout=120)
    assert done.stdout.splitlines() == ["[30, 30]", "[(0, 'argument'), (1, 'argument')]"], done.stderr


def test_functions_travel_with_what_they_use():
    def outer(n):
        return 1 if n == 0 else n * outer(n - 1)  # a cell that holds the function itself

    assert unpack(pack(outer))(5) == 120
    assert unpack(pack(np.linalg.norm)) is np.linalg.norm
    with pytest.raises(TypeError, match="cannot be sent to another process"):
        pack(sys.stdout)


def test_a_ring_of_arrays_in_one_process():
    """All-reduce against a sum, with the exchange of all ranks done by hand, step by step."""
    for size in (1, 2, 3, 5):
        for length in (0, 1, 4, 7, 20):
            arrays = [np.random.default_rng(rank).normal(size=length) for rank in range(size)]
            expected = np.sum(arrays, axis=0)
            _in_step(arrays)
            for array in arrays:
                np.testing.assert_allclose(array, expected, rtol=1e-13)


def _in_step(arrays):
    """Threads that meet at each exchange."""
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
