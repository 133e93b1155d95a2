"""The communicator of programs that ``mpiexec`` starts; mpi4py is imported only in those."""

from __future__ import annotations

import hashlib
import os
import shutil
import sys
import time
from collections.abc import Callable
from importlib import util
from pathlib import Path
from typing import Any, NoReturn

import numpy as np

from tinycnn.distributed.communicator import (
    ALONE,
    Communicator,
    DistributedError,
    MismatchError,
    Request,
    check_array,
    described,
    time_limit,
)
from tinycnn.distributed.processes import threads_each
from tinycnn.kernels.cpu.machine.settings import set_num_threads

SIZES = ("OMPI_COMM_WORLD_SIZE", "PMI_SIZE")
RANKS = ("OMPI_COMM_WORLD_RANK", "PMI_RANK")
EAGER, PAUSE = 5.0, 1e-3
GRACE, TELL = 2.0, 10.0
_HERE = 1
_give_way = getattr(os, "sched_yield", lambda: time.sleep(0))


def world() -> Communicator:
    """Return all processes that ``mpiexec -n N`` started with this program; ALONE without ``mpiexec``.

    The processors of each machine are divided among its ranks, unless NUMBA_NUM_THREADS sets the threads of a rank.

    Raises
    ------
    DistributedError
        If mpi4py is missing, or works with another MPI than that of ``mpiexec``.
    """
    size = _from_environment(SIZES, 1)
    if size == 1:
        return ALONE
    try:
        from mpi4py import MPI
    except (ImportError, RuntimeError) as error:
        raise DistributedError(
            f"mpiexec started {size} processes, but mpi4py cannot be used ({error}): pip install 'tinycnn[mpi]', "
            "and an MPI library; `tinycnn doctor` checks both"
        ) from None
    if MPI.COMM_WORLD.size != size:
        name = MPI.Get_library_version().split(",")[0].splitlines()[0].strip("\0 ")
        raise DistributedError(
            f"mpiexec started {size} processes, but mpi4py's library ({name}) sees {MPI.COMM_WORLD.size}: "
            "this mpiexec is of another MPI; take the one that came with the library"
        )
    if "NUMBA_NUM_THREADS" not in os.environ:
        set_num_threads(_own_threads(MPI.COMM_WORLD, MPI.COMM_TYPE_SHARED))
    return MPICommunicator(MPI, time_limit())


def find_mpiexec() -> str | None:
    """Return the path of ``mpiexec``, of this Python's environment if it has one; None if it or mpi4py is missing."""
    here = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")])
    return shutil.which("mpiexec", path=here) if util.find_spec("mpi4py") else None


def launched_rank() -> int:
    """Return this process's rank as ``mpiexec`` set it, 0 without: only rank 0 prints, before anything is imported."""
    return _from_environment(RANKS, 0)


def _from_environment(names: tuple[str, ...], default: int) -> int:
    return next((int(os.environ[name]) for name in names if os.environ.get(name, "").isdecimal()), default)


def _own_threads(everyone: Any, same_machine: Any) -> int:
    """Return this rank's part of the processors that the ranks on its machine may use, at most those that it may
    use itself.
    """
    node = everyone.Split_type(same_machine)
    own = os.sched_getaffinity(0) if hasattr(os, "sched_getaffinity") else set(range(os.cpu_count() or 1))
    together = set().union(*node.allgather(own))
    return min(len(own), threads_each(len(together), node.size))


class MPICommunicator:
    """A communicator over MPI.

    All calls are non-blocking and waiting ranks yield, so that a machine with more ranks than processors makes
    progress. MPI's own waiting would not end when a rank hangs.

    Parameters
    ----------
    mpi : module
        mpi4py.MPI.
    timeout : float
        Seconds after which a missing rank counts as hanging.
    """

    def __init__(self, mpi: Any, timeout: float) -> None:
        self._mpi, self._world, self.timeout = mpi, mpi.COMM_WORLD.Dup(), timeout
        self.rank, self.size, self.operations = self._world.rank, self._world.size, 0

    def allreduce(self, array: np.ndarray) -> Request:
        """Begin to replace a contiguous array by its sum over all ranks."""
        return self._begin("allreduce", array, lambda: self._world.Iallreduce(self._mpi.IN_PLACE, array))

    def broadcast(self, array: np.ndarray, root: int = 0) -> None:
        """Replace a contiguous array by that of rank ``root``."""
        if not 0 <= root < self.size:
            raise ValueError(f"broadcast: root is {root!r}, expected a rank from 0 to {self.size - 1}")
        self._begin(f"broadcast from {root}", array, lambda: self._world.Ibcast(array, root)).wait()

    def barrier(self) -> None:
        """Return when all ranks are here."""
        self._begin("barrier", np.empty(0), self._world.Ibarrier).wait()

    def _begin(self, operation: str, array: np.ndarray, start: Callable[[], Any]) -> _Started:
        """Begin an operation, and beside it a comparison of the ranks' calls."""
        check_array(array)
        words = described(operation, array)
        number = int.from_bytes(hashlib.blake2b(words.encode(), digest_size=7).digest(), "big")
        extremes = np.array([number, -number])
        compared = self._world.Iallreduce(self._mpi.IN_PLACE, extremes, self._mpi.MAX)
        return _Started(self, words, (compared, extremes), start(), array)

    def compare(self, words: str, extremes: np.ndarray) -> None:
        """Raise MismatchError, on all ranks, if the ranks called different operations."""
        if extremes[0] != -extremes[1]:
            calls = self._world.allgather(words)
            other = next(rank for rank, call in enumerate(calls) if call != calls[0])
            raise MismatchError(f"rank {other} called {calls[other]}, rank 0 called {calls[0]}")

    def abort(self, message: str) -> NoReturn:
        """Print the message and end all ranks. If all fail alike, only rank 0 prints."""
        if self.rank:
            time.sleep(GRACE * min(self.rank, 3))
            message = f"rank {self.rank}: {message}"
        print(f"tinycnn: error: {message}", file=sys.stderr, flush=True)
        time.sleep(GRACE / 4)  # until mpiexec has passed it on
        self._mpi.COMM_WORLD.Abort(1)
        raise SystemExit(1)

    def tell(self, number: int) -> None:
        """Tell rank 0 that this rank waits in operation ``number``."""
        self._told = self._world.Isend(np.array([self.rank, number]), 0, _HERE)

    def hanging(self, number: int) -> DistributedError:
        """Return the message for operation ``number`` that does not end: rank 0 knows which ranks wait in it."""
        waiting, told = {self.rank}, np.empty(2, np.int64)
        while self._world.Iprobe(tag=_HERE):
            self._world.Recv(told, tag=_HERE)
            if told[1] == number:
                waiting.add(int(told[0]))
        silent = [rank for rank in range(self.size) if rank not in waiting] if not self.rank else [0]
        who = f"rank {', '.join(map(str, silent))} hangs" if silent else "MPI moves no data"
        return DistributedError(f"{who}: the others waited {self.timeout:g} s")


class _Started:
    """An operation in progress. MPI moves its data while a rank is inside MPI, in ``test`` and ``wait``."""

    def __init__(
        self, communicator: MPICommunicator, words: str, comparison: tuple[Any, np.ndarray], request: Any, array: Any
    ) -> None:
        self._communicator, self._words, self._comparison = communicator, words, comparison
        self._request, self._array = request, array
        communicator.operations += 1
        self._number = communicator.operations

    def test(self) -> bool:
        return self._comparison[0].Test() and self._request.Test()

    def wait(self) -> np.ndarray:
        self._await(self._comparison[0])
        self._communicator.compare(self._words, self._comparison[1])
        self._await(self._request)
        return self._array

    def _await(self, request: Any) -> None:
        communicator, begin, told = self._communicator, time.monotonic(), False
        limit = communicator.timeout * (2 if communicator.rank else 1)  # rank 0 prints first
        while not request.Test():
            waited = time.monotonic() - begin
            if waited > limit:
                raise communicator.hanging(self._number)
            if communicator.rank and not told and waited > min(TELL, communicator.timeout / 2):
                communicator.tell(self._number)
                told = True
            if waited < EAGER:
                _give_way()
            else:
                time.sleep(PAUSE)
