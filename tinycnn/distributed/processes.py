"""Worker processes of our own on this machine, connected in a ring: no MPI, no ``main()``, any operating system.

:func:`run` starts them, hands each the function, and waits for results. If one dies, fails or hangs, it ends all.
"""

from __future__ import annotations

import hmac
import json
import os
import secrets
import select
import socket
import subprocess
import sys
import threading
import time
import traceback
from collections.abc import Callable
from typing import Any

from tinycnn.distributed.communicator import DistributedError, time_limit
from tinycnn.distributed.ring import Ring
from tinycnn.distributed.shipping import pack, unpack

HOST = "127.0.0.1"
START_SECONDS = 120.0
GRACE = 1.0
_CHILD = """
import json, sys
sys.path[:] = json.loads(sys.argv[1])
from tinycnn.distributed.processes import work
work()
"""


def run(function: Callable[..., Any], ranks: int, *arguments: Any, timeout: float | None = None) -> list[Any]:
    """``function(communicator, *arguments)`` in so many processes; what each returned, by rank.

    A function of a script may be given, and may use its imports and its other functions. The processors are shared out
    among the processes, unless NUMBA_NUM_THREADS says how many threads each has.

    Parameters
    ----------
    function : callable
    ranks : int
    arguments
        Whatever pickle can take.
    timeout : float, optional
        Seconds that a rank waits for another (default 300, or the environment variable TINYCNN_TIMEOUT).

    Raises
    ------
    DistributedError
        If a process fails, dies or hangs: which, and why. The others are ended.

    Examples
    --------
    >>> import numpy as np
    >>> def add(communicator):
    ...     return communicator.allreduce(np.array([communicator.rank + 1.0])).wait().item()
    >>> run(add, 2)
    [3.0, 3.0]
    """
    if not isinstance(ranks, int) or ranks < 1:
        raise ValueError(f"run: ranks is {ranks!r}, expected a whole number of at least 1")
    task = pack((function, arguments))
    with _Crew(ranks, time_limit() if timeout is None else timeout) as crew:
        crew.connect(task)
        return crew.results()


class _Crew:
    """The processes as their parent sees them."""

    def __init__(self, ranks: int, timeout: float) -> None:
        self.token, self.timeout = secrets.token_bytes(32), timeout
        self.server = _listen()
        environment = {"NUMBA_NUM_THREADS": str(threads_each(_processors(), ranks)), **os.environ}
        command = [sys.executable, "-c", _CHILD, json.dumps(sys.path)]
        self.processes = [subprocess.Popen(command, stdin=subprocess.PIPE, env=environment) for _ in range(ranks)]
        self.lines: list[socket.socket] = []

    def __enter__(self) -> _Crew:
        return self

    def __exit__(self, *_: object) -> None:
        for line in (self.server, *self.lines):
            line.close()
        for process in self.processes:
            process.kill()
            process.wait()

    def connect(self, task: bytes) -> None:
        """Give each process its rank and the task, then the address of the next."""
        for rank, process in enumerate(self.processes):
            own = pack((rank, len(self.processes), self.timeout, self.token, self.server.getsockname(), task))
            try:
                process.stdin.write(own)  # type: ignore[union-attr]
                process.stdin.close()  # type: ignore[union-attr]
            except OSError:
                raise DistributedError(f"rank {rank} ended at its start ({_status(process)})") from None
        found: dict[int, tuple[socket.socket, Any]] = {}
        deadline = time.monotonic() + START_SECONDS
        self.server.settimeout(0.2)
        while len(found) < len(self.processes):
            try:
                line = _accept(self.server, self.token)
            except TimeoutError:
                dead = [rank for rank, process in enumerate(self.processes) if process.poll() is not None]
                if dead:
                    raise DistributedError(
                        f"rank {dead[0]} ended at its start ({_status(self.processes[dead[0]])})"
                    ) from None
                if time.monotonic() > deadline:
                    raise DistributedError(f"the processes did not start within {START_SECONDS:g} s") from None
                continue
            rank, address = _receive(line)
            found[rank] = line, address
        self.lines = [found[rank][0] for rank in range(len(found))]
        for rank, line in enumerate(self.lines):
            _send(line, found[(rank + 1) % len(found)][1])

    def results(self) -> list[Any]:
        """What each process returned, or the error that explains why one did not."""
        answers: dict[int, Any] = {}
        while len(answers) < len(self.lines):
            self._collect(answers, None)
            if any(not good for good, _ in answers.values()):
                end = time.monotonic() + GRACE
                while time.monotonic() < end and len(answers) < len(self.lines):
                    self._collect(answers, GRACE / 5)
                raise self._verdict(answers)
        return [answers[rank][1] for rank in range(len(answers))]

    def _collect(self, answers: dict[int, Any], seconds: float | None) -> None:
        """Wait for at least one answer; a line that breaks is an answer too."""
        waiting = [line for rank, line in enumerate(self.lines) if rank not in answers]
        for line in select.select(waiting, [], [], seconds)[0]:
            rank = self.lines.index(line)
            try:
                answers[rank] = _receive(line)
            except OSError:
                self.processes[rank].wait()
                answers[rank] = False, None

    def _verdict(self, answers: dict[int, Any]) -> DistributedError:
        """The first cause: a death, then an error, then a rank that is silent while the others wait for it."""
        failed = {rank: answer for rank, (good, answer) in sorted(answers.items()) if not good}
        for rank, answer in failed.items():
            if answer is None:
                return DistributedError(f"rank {rank} died ({_status(self.processes[rank])})")
        for rank, (kind, message, trace) in failed.items():
            if kind != DistributedError.__name__:
                error = DistributedError(f"rank {rank}: {kind}: {message}")
                error.add_note(trace)
                return error
        silent = [rank for rank in range(len(self.lines)) if rank not in answers]
        if silent:
            return DistributedError(f"rank {silent[0]} hangs: the others waited {self.timeout:g} s for it")
        return DistributedError(next(iter(failed.values()))[1])


def work() -> None:
    """What a worker process runs."""
    rank, size, timeout, token, address, task = unpack(sys.stdin.buffer.read())
    server = _listen()
    line = _call(address, token)
    _send(line, (rank, server.getsockname()))
    following = _call(_receive(line), token)
    preceding = _accept(server, token)
    server.close()
    threading.Thread(target=_end_with, args=(line,), daemon=True).start()
    try:
        function, arguments = unpack(task)
        answer = True, function(Ring(rank, size, following, preceding, timeout), *arguments)
        message = pack(answer)
    except BaseException as error:
        message = pack((False, (type(error).__name__, str(error), traceback.format_exc())))
    _send_bytes(line, message)
    os._exit(0)


def _end_with(line: socket.socket) -> None:
    """End this process when its parent is gone."""
    try:
        line.recv(1)
    finally:
        os._exit(1)


def threads_each(processors: int, ranks: int) -> int:
    """Threads for each of several processes on one machine, so that all together do not exceed its processors.

    >>> threads_each(8, 3), threads_each(2, 4)
    (2, 1)
    """
    return max(1, processors // ranks)


def _processors() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _status(process: subprocess.Popen) -> str:
    code = process.wait()
    return f"signal {-code}" if code < 0 else f"exit status {code}"


# -- sockets -----------------------------------------------------------------------------------------------------------


def _listen() -> socket.socket:
    return socket.create_server((HOST, 0))


def _call(address: Any, token: bytes) -> socket.socket:
    line = socket.socket()
    line.connect(tuple(address))
    line.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    line.sendall(token)
    return line


def _accept(server: socket.socket, token: bytes) -> socket.socket:
    """The next caller who knows the token."""
    while True:
        line, _ = server.accept()
        line.settimeout(START_SECONDS)
        line.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if hmac.compare_digest(_receive_bytes(line, len(token)), token):
            line.settimeout(None)
            return line
        line.close()


def _send(line: socket.socket, value: Any) -> None:
    _send_bytes(line, pack(value))


def _send_bytes(line: socket.socket, data: bytes) -> None:
    line.sendall(len(data).to_bytes(8, "big") + data)


def _receive(line: socket.socket) -> Any:
    return unpack(_receive_bytes(line, int.from_bytes(_receive_bytes(line, 8), "big")))


def _receive_bytes(line: socket.socket, count: int) -> bytes:
    data = bytearray(count)
    view = memoryview(data)
    while view:
        got = line.recv_into(view)
        if not got:
            raise ConnectionError("the other end is gone")
        view = view[got:]
    return bytes(data)
