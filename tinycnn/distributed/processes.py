"""Worker processes of our own on this machine, connected in a ring: no MPI, no ``main()``, any operating system.

:func:`run` starts them, hands each the function, and waits for results. If one dies, fails or hangs, it ends all.
"""

from __future__ import annotations

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
from contextlib import suppress
from typing import Any

from tinycnn.distributed.communicator import DistributedError, MismatchError, PeerGoneError, checked_timeout
from tinycnn.distributed.connections import Listener, Sender, call, receive, send
from tinycnn.distributed.ring import Ring
from tinycnn.distributed.shipping import pack, unpack

START_SECONDS = 120.0
GRACE = 1.0  # seconds for others to report after a rank failed: the cause may not be the first report
LOOK_EVERY = 0.25  # seconds between two checks for silent processes
SHORTEST_SILENCE = 5.0  # seconds; a busy machine may keep a rank from running for as long
_CHILD = """
import json, sys
sys.path[:] = json.loads(sys.argv[1])
from tinycnn.distributed.processes import work
work()
"""


def run(function: Callable[..., Any], ranks: int, *arguments: Any, timeout: float | None = None) -> list[Any]:
    """Run ``function(communicator, *arguments)`` in several processes; return their results, by rank.

    A function of a script may be given, and may use its imports, classes and other functions. The processors are
    divided among the processes, unless NUMBA_NUM_THREADS sets the threads of each.

    Parameters
    ----------
    function : callable
    ranks : int
    arguments
        Any values that pickle accepts.
    timeout : float, optional
        Seconds that a rank waits for another, that a process may be silent (its heartbeat comes from a thread of its
        own), and that it may run after the others returned (default 300, or the environment variable TINYCNN_TIMEOUT).

    Raises
    ------
    DistributedError
        If a process fails, dies or hangs, or if ranks call different operations: which, and why. The others are ended.

    Examples
    --------
    >>> import numpy as np
    >>> def add(communicator):
    ...     return communicator.allreduce(np.array([communicator.rank + 1.0])).wait().item()
    >>> run(add, 2)
    [3.0, 3.0]
    """
    if not isinstance(ranks, int) or isinstance(ranks, bool) or ranks < 1:
        raise ValueError(f"run: ranks is {ranks!r}, expected a whole number of at least 1")
    if not callable(function):
        raise TypeError(f"run: function is {function!r}, expected a function of a communicator")
    seconds, task = checked_timeout("run", timeout), pack((function, arguments))
    with _Crew(ranks, seconds) as crew:
        crew.connect(task)
        return crew.results()


class _Crew:
    """The worker processes, as their parent sees them."""

    def __init__(self, ranks: int, timeout: float) -> None:
        self.token, self.timeout = secrets.token_bytes(32), timeout
        self.processes: list[subprocess.Popen] = []
        self.lines: list[socket.socket] = []
        self.listener = Listener(self.token)
        environment = {"NUMBA_NUM_THREADS": str(threads_each(_processors(), ranks)), **os.environ}
        command = [sys.executable, "-c", _CHILD, json.dumps(sys.path)]
        try:
            for _ in range(ranks):
                self.processes.append(subprocess.Popen(command, stdin=subprocess.PIPE, env=environment))
        except BaseException:
            self.__exit__()
            raise

    def __enter__(self) -> _Crew:
        return self

    def __exit__(self, *_: object) -> None:
        self.listener.close()
        for line in self.lines:
            line.close()
        for process in self.processes:
            process.kill()
            process.wait()

    def connect(self, task: bytes) -> None:
        """Give each process its rank and the task, then the address of the next."""
        for rank, process in enumerate(self.processes):
            own = pack((rank, len(self.processes), self.timeout, self.token, self.listener.address, task))
            try:
                process.stdin.write(own)  # type: ignore[union-attr]
                process.stdin.close()  # type: ignore[union-attr]
            except OSError:
                raise DistributedError(f"rank {rank} ended at its start ({_status(process)})") from None
        found: dict[int, tuple[socket.socket, Any]] = {}
        deadline = time.monotonic() + START_SECONDS
        while len(found) < len(self.processes):
            line = self.listener.accept(0.2)
            if line is None:
                self._check_start(deadline)
                continue
            line.settimeout(max(self.timeout, SHORTEST_SILENCE))
            rank, address = receive(line)
            found[rank] = line, address
        self.lines = [found[rank][0] for rank in range(len(found))]
        for rank, line in enumerate(self.lines):
            send(line, found[(rank + 1) % len(found)][1])

    def _check_start(self, deadline: float) -> None:
        for rank, process in enumerate(self.processes):
            if process.poll() is not None:
                raise DistributedError(f"rank {rank} ended at its start ({_status(process)})")
        if time.monotonic() > deadline:
            raise DistributedError(f"the processes did not start within {START_SECONDS:g} s")

    def results(self) -> list[Any]:
        """Return each process's result, or raise the error that explains why one is missing."""
        answers: dict[int, Any] = {}
        started = time.monotonic()
        heard = dict.fromkeys(range(len(self.lines)), started)
        looked = answered = started
        while len(answers) < len(self.lines):
            before = len(answers)
            self._collect(answers, heard, LOOK_EVERY)
            now = time.monotonic()
            if now - looked > 4 * LOOK_EVERY:  # this process itself was stopped
                heard = dict.fromkeys(heard, now)
            looked, answered = now, now if len(answers) > before else answered
            if any(not good for good, _ in answers.values()):
                end = now + GRACE
                while time.monotonic() < end and len(answers) < len(self.lines):
                    self._collect(answers, heard, GRACE / 5)
                raise self._verdict(answers)
            self._check_that_all_go_on(answers, heard, answered)
        return [answers[rank][1] for rank in range(len(answers))]

    def _check_that_all_go_on(self, answers: dict[int, Any], heard: dict[int, float], answered: float) -> None:
        now = time.monotonic()
        running = [rank for rank in heard if rank not in answers]
        for rank in running:
            if now - heard[rank] > max(self.timeout, SHORTEST_SILENCE):
                raise DistributedError(f"rank {rank} hangs: no heartbeat for {now - heard[rank]:.0f} s")
        if answers and running and now - answered > self.timeout:
            who = ", ".join(map(str, running))
            raise DistributedError(f"rank {who} hangs: still running {self.timeout:g} s after the others returned")

    def _collect(self, answers: dict[int, Any], heard: dict[int, float], seconds: float) -> None:
        """Receive answers and heartbeats for some seconds; a broken connection is an answer too."""
        waiting = [line for rank, line in enumerate(self.lines) if rank not in answers]
        for line in select.select(waiting, [], [], seconds)[0]:
            rank = self.lines.index(line)
            try:
                message = receive(line)
            except TimeoutError:
                continue  # it stopped in the middle of an answer: its heartbeat is missed
            except OSError:
                self.processes[rank].wait()
                message = False, None
            heard[rank] = time.monotonic()
            if message is not None:
                answers[rank] = message

    def _verdict(self, answers: dict[int, Any]) -> DistributedError:
        """Return the first cause: a death, an error, a difference, then a rank that others wait for."""
        failed = {rank: answer for rank, (good, answer) in sorted(answers.items()) if not good}
        for rank, answer in failed.items():
            if answer is None:
                return DistributedError(f"rank {rank} died ({_status(self.processes[rank])})")
        ours = (DistributedError.__name__, MismatchError.__name__, PeerGoneError.__name__)
        for rank, (kind, message, trace) in failed.items():
            if kind not in ours:
                error = DistributedError(f"rank {rank}: {kind}: {message}")
                error.add_note(trace)
                return error
        for kind, message, _ in failed.values():
            if kind == MismatchError.__name__:
                return MismatchError(message)
        silent = [rank for rank in range(len(self.lines)) if rank not in answers]
        if silent:
            return DistributedError(f"rank {silent[0]} hangs: the others waited {self.timeout:g} s for it")
        kind, message, _ = next(iter(failed.values()))
        returned = ", ".join(str(rank) for rank, (good, _) in sorted(answers.items()) if good)
        if kind == PeerGoneError.__name__ and returned:
            message = f"rank {returned} returned while others waited for it: {message}"
        return DistributedError(message)


def work() -> None:
    """Run one rank, in a worker process."""
    rank, size, timeout, token, address, task = unpack(sys.stdin.buffer.read())
    listener = Listener(token)
    line = call(address, token, START_SECONDS)
    send(line, (rank, listener.address))
    following = call(receive(line), token, START_SECONDS)
    preceding = listener.accept(START_SECONDS)
    listener.close()
    if preceding is None:
        raise DistributedError(f"rank {rank} waited {START_SECONDS:g} s for the previous rank to start")
    threading.Thread(target=_end_with, args=(line,), daemon=True).start()
    sender = Sender(line, min(1.0, timeout / 4))
    sender.start_heartbeat()
    try:
        function, arguments = unpack(task)
        answer = True, function(Ring(rank, size, following, preceding, timeout), *arguments)
        message = pack(answer)
    except BaseException as error:
        message = pack((False, (type(error).__name__, _text(error), traceback.format_exc())))
    for stream in (sys.stdout, sys.stderr):
        with suppress(OSError, ValueError, AttributeError):  # closed, or not there
            stream.flush()
    sender.send(message)
    os._exit(0)


def _text(error: BaseException) -> str:
    try:
        return str(error)
    except Exception:
        return "an error without a text"


def _end_with(line: socket.socket) -> None:
    """End this process when its parent has gone."""
    try:
        line.recv(1)
    finally:
        os._exit(1)


def threads_each(processors: int, ranks: int) -> int:
    """Return the threads of each of several processes on one machine, so that all together do not exceed its
    processors.

    >>> threads_each(8, 3), threads_each(2, 4)
    (2, 1)
    """
    return max(1, processors // ranks)


def _processors() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _status(process: subprocess.Popen) -> str:
    code = process.wait()
    return f"signal {-code}" if code < 0 else f"exit status {code}"
