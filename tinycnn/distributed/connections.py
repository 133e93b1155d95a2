"""Sockets between processes on this machine: callers prove that they belong to the run, and send heartbeats."""

from __future__ import annotations

import hmac
import select
import socket
import threading
import time
from typing import Any

from tinycnn.distributed.shipping import pack, unpack

HOST = "127.0.0.1"
MOST_PENDING = 100  # callers that have not sent the whole token yet
_HEARTBEAT = (0).to_bytes(8, "big")  # a message of no bytes


class Listener:
    """A port that accepts only callers that know the token; other callers neither end nor delay anything.

    Parameters
    ----------
    token : bytes
        The bytes that a caller sends first.
    """

    def __init__(self, token: bytes) -> None:
        self._token, self._server = token, socket.create_server((HOST, 0))
        self._pending: dict[socket.socket, bytearray] = {}

    @property
    def address(self) -> tuple[str, int]:
        """Host and port for :func:`call`."""
        return self._server.getsockname()

    def accept(self, seconds: float) -> socket.socket | None:
        """Return a connection to the next caller that knows the token, None if none came in time."""
        deadline = time.monotonic() + seconds
        while (left := deadline - time.monotonic()) > 0:
            for line in select.select([self._server, *self._pending], [], [], left)[0]:
                if line is self._server:
                    self._take_call()
                elif self._knows_token(line):
                    return line
        return None

    def close(self) -> None:
        """Accept no more calls."""
        for line in (self._server, *self._pending):
            line.close()
        self._pending.clear()

    def _take_call(self) -> None:
        try:
            line, _ = self._server.accept()
        except OSError:  # the caller has left again
            return
        line.setblocking(False)
        self._pending[line] = bytearray()
        if len(self._pending) > MOST_PENDING:
            oldest = next(iter(self._pending))
            del self._pending[oldest]
            oldest.close()

    def _knows_token(self, line: socket.socket) -> bool:
        """Read the bytes of a caller; return True if they complete the token. A wrong token ends the connection."""
        heard = self._pending[line]
        try:
            data = line.recv(len(self._token) - len(heard))
        except OSError:
            data = b""
        heard += data
        if data and len(heard) < len(self._token):
            return False
        del self._pending[line]
        if hmac.compare_digest(bytes(heard), self._token):
            line.setblocking(True)
            line.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            return True
        line.close()
        return False


def call(address: Any, token: bytes, seconds: float) -> socket.socket:
    """Connect to a :class:`Listener`."""
    line = socket.create_connection(tuple(address), seconds)
    line.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    line.sendall(token)
    line.settimeout(None)
    return line


class Sender:
    """A sender of messages over a connection, with heartbeats between them from a thread of its own.

    Parameters
    ----------
    line : socket
    interval : float
        Seconds between two heartbeats.
    """

    def __init__(self, line: socket.socket, interval: float) -> None:
        self._line, self._interval, self._lock = line, interval, threading.Lock()

    def start_heartbeat(self) -> None:
        """Send heartbeats until the other end is gone."""
        threading.Thread(target=self._beat, name="tinycnn-heartbeat", daemon=True).start()

    def send(self, message: bytes) -> None:
        """Send bytes that :func:`receive` returns."""
        with self._lock:
            self._line.sendall(len(message).to_bytes(8, "big") + message)

    def _beat(self) -> None:
        try:
            while True:
                with self._lock:
                    self._line.sendall(_HEARTBEAT)
                time.sleep(self._interval)
        except OSError:
            return


def send(line: socket.socket, value: Any) -> None:
    """Send a value that :func:`receive` returns."""
    message = pack(value)
    line.sendall(len(message).to_bytes(8, "big") + message)


def receive(line: socket.socket) -> Any:
    """Return the next value, None for a heartbeat.

    Raises
    ------
    OSError
        If the other end is gone, or silent for longer than the connection's time limit.
    """
    size = int.from_bytes(_receive_bytes(line, 8), "big")
    return unpack(_receive_bytes(line, size)) if size else None


def _receive_bytes(line: socket.socket, count: int) -> bytes:
    data = bytearray(count)
    view = memoryview(data)
    while view:
        got = line.recv_into(view)
        if not got:
            raise ConnectionError("the other end is gone")
        view = view[got:]
    return bytes(data)
