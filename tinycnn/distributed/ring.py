"""Ring all-reduce, and a communicator that runs it over two sockets."""

from __future__ import annotations

import select
import socket
import threading
from collections.abc import Callable
from queue import SimpleQueue
from typing import NoReturn

import numpy as np

from tinycnn import arguments
from tinycnn.distributed.communicator import (
    DistributedError,
    MismatchError,
    PeerGoneError,
    Request,
    check_array,
    described,
)

Exchange = Callable[[np.ndarray, np.ndarray], None]

PIECE = 2**20
HEADER = 160  # bytes of an operation in words, which neighbours compare before it begins


def ring_allreduce(array: np.ndarray, rank: int, size: int, exchange: Exchange) -> None:
    """Replace an array (n,) by its sum over all ranks; each sends 2 (size - 1) / size of it, however many there are.

    The array is cut into ``size`` chunks. Reduce-scatter: in each of size - 1 steps a rank sends one chunk to the next
    rank, which adds it to its own; each chunk has then visited every rank once, and one rank holds its sum.
    All-gather: the sums travel around the ring in the same way. Each sum is computed in one place, so
    all ranks get the same bits.

    Parameters
    ----------
    array : (n,)
    rank, size : int
    exchange : callable
        ``exchange(out, into)`` sends ``out`` to the next rank while it receives ``into`` from the previous one.

    Notes
    -----
    P. Patarasuk and X. Yuan, "Bandwidth optimal all-reduce algorithms for clusters of workstations", Journal of
    Parallel and Distributed Computing 69, 2009. No algorithm sends less.
    """
    chunks = np.array_split(array, size)
    received = np.empty_like(chunks[0])
    for step in range(2 * (size - 1)):
        out, into = chunks[(rank - step) % size], chunks[(rank - step - 1) % size]
        if step < size - 1:
            exchange(out, received[: len(into)])
            into += received[: len(into)]
        else:
            exchange(out, into)


def ring_bytes(size: int, nbytes: float) -> float:
    """Return the bytes that each of ``size`` ranks sends in a ring all-reduce: 2 (size - 1) / size of the array's.

    >>> ring_bytes(4, 100.0)
    150.0
    """
    arguments.integer("ring_bytes", "size", size, 1)
    return 2 * (size - 1) / size * arguments.number("ring_bytes", "nbytes", nbytes, 0)


class Ring:
    """A communicator over a socket to the next rank and one from the previous rank.

    A thread of its own moves the data, operation by operation, while the caller computes.

    Parameters
    ----------
    rank, size : int
    following, preceding : socket
        Connected to the next and from the previous rank.
    timeout : float
        Seconds without a byte after which another rank counts as hanging.

    Attributes
    ----------
    sent : int
        Bytes of arrays that this rank has sent.
    """

    def __init__(
        self, rank: int, size: int, following: socket.socket, preceding: socket.socket, timeout: float
    ) -> None:
        self.rank, self.size, self.timeout, self.sent = rank, size, timeout, 0
        self._operation = ""
        self._following, self._preceding = following, preceding
        for connection in (following, preceding):
            connection.setblocking(False)
        self._jobs: SimpleQueue[_Job] = SimpleQueue()
        threading.Thread(target=self._work, name="tinycnn-ring", daemon=True).start()

    def allreduce(self, array: np.ndarray) -> Request:
        """Begin to replace a contiguous array by its sum over all ranks."""
        return self._begin("allreduce", array, lambda: self._sum(array.reshape(-1)))

    def broadcast(self, array: np.ndarray, root: int = 0) -> None:
        """Replace a contiguous array by that of rank ``root``; it travels around the ring in chunks."""
        if not 0 <= root < self.size:
            raise ValueError(f"broadcast: root is {root!r}, expected a rank from 0 to {self.size - 1}")
        self._begin(f"broadcast from {root}", array, lambda: self._pass_on(array.reshape(-1), root)).wait()

    def barrier(self) -> None:
        """Return when all ranks are here."""
        array = np.zeros(self.size)
        self._begin("barrier", array, lambda: self._sum(array)).wait()

    def abort(self, message: str) -> NoReturn:
        """Raise DistributedError: when this rank ends, the others do."""
        raise DistributedError(message)

    def exchange(self, out: np.ndarray, into: np.ndarray) -> None:
        """Send ``out`` to the next rank while ``into`` is filled by the previous one; either may be empty.

        Raises
        ------
        DistributedError
            If the neighbour is gone, or nothing moves for the time limit.
        """
        leaving = _bytes(out)
        self.sent += len(leaving)
        self._move(leaving, _bytes(into))

    def _move(self, leaving: memoryview, arriving: memoryview) -> None:
        while leaving or arriving:
            receiving, sending, _ = select.select(
                [self._preceding] if arriving else [], [self._following] if leaving else [], [], self.timeout
            )
            if not receiving and not sending:
                awaited = (self.rank - 1 if arriving else self.rank + 1) % self.size
                raise DistributedError(
                    f"rank {self.rank} waited {self.timeout:g} s for rank {awaited} in {self._operation}"
                )
            if receiving:
                arriving = arriving[self._receive(arriving) :]
            if sending:
                leaving = leaving[self._send(leaving) :]

    def _receive(self, into: memoryview) -> int:
        try:
            count = self._preceding.recv_into(into)
        except BlockingIOError:  # there was nothing after all
            return 0
        except ConnectionError:
            count = 0
        if not count:
            raise self._gone(self.rank - 1)
        return count

    def _send(self, out: memoryview) -> int:
        try:
            return self._following.send(out)
        except BlockingIOError:
            return 0
        except ConnectionError:
            raise self._gone(self.rank + 1) from None

    def _gone(self, rank: int) -> PeerGoneError:
        return PeerGoneError(f"rank {rank % self.size} is gone; rank {self.rank} is in {self._operation}")

    def _sum(self, array: np.ndarray) -> None:
        """Add chunk by chunk, so that the addend was just received and is still in the processor's cache."""
        for i in range(0, len(array), PIECE):
            ring_allreduce(array[i : i + PIECE], self.rank, self.size, self.exchange)

    def _pass_on(self, array: np.ndarray, root: int) -> None:
        nothing, last = array[:0], (root - 1) % self.size
        pieces = [array[i : i + PIECE] for i in range(0, len(array), PIECE)]
        for arriving, leaving in zip([*pieces, nothing], [nothing, *pieces]):
            self.exchange(
                nothing if self.rank == last else leaving,
                nothing if self.rank == root else arriving,
            )

    def _begin(self, operation: str, array: np.ndarray, run: Callable[[], None]) -> _Job:
        check_array(array)
        words = described(operation, array)

        def checked() -> None:
            self._operation = words
            self._compare_with_neighbour()
            run()

        job = _Job(array, checked)
        self._jobs.put(job)
        return job

    def _compare_with_neighbour(self) -> None:
        """Send the next rank a description of the coming operation, and compare it with the previous rank's."""
        if self.size == 1:
            return
        own = self._operation.encode()[:HEADER].ljust(HEADER)
        other = bytearray(HEADER)
        self._move(memoryview(own), memoryview(other))
        if other != own:
            words, rank = other.decode(errors="replace").rstrip(), (self.rank - 1) % self.size
            raise MismatchError(f"rank {rank} called {words}, rank {self.rank} called {self._operation}")

    def _work(self) -> None:
        while True:
            self._jobs.get().do()


class _Job:
    """An operation for the thread."""

    def __init__(self, array: np.ndarray, run: Callable[[], None]) -> None:
        self._array, self._run = array, run
        self._error: BaseException | None = None
        self._ended = threading.Event()

    def do(self) -> None:
        try:
            self._run()
        except BaseException as error:
            self._error = error
        self._ended.set()

    def test(self) -> bool:
        return self._ended.is_set()

    def wait(self) -> np.ndarray:
        self._ended.wait()
        if self._error is not None:
            raise self._error
        return self._array


def _bytes(array: np.ndarray) -> memoryview:
    return memoryview(array.view(np.uint8).data) if array.size else memoryview(b"")
