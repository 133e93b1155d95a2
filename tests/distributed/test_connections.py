"""Connections: only callers that know the token are accepted; heartbeats and messages use one connection."""

import socket
import threading
import time

import pytest

from tinycnn.distributed.connections import Listener, Sender, call, receive, send
from tinycnn.distributed.shipping import pack

TOKEN = bytes(range(32))


@pytest.fixture
def listener():
    listener = Listener(TOKEN)
    yield listener
    listener.close()


def stranger(address, data=b"", leave=False):
    line = socket.create_connection(address)
    line.sendall(data)
    if leave:
        line.close()
    return line


def test_strangers_neither_end_nor_delay_a_call(listener):
    kept = [stranger(listener.address) for _ in range(3)]
    kept += [stranger(listener.address, TOKEN[:16]), stranger(listener.address, b"GET / HTTP/1.1\r\n\r\n" * 9)]
    kept += [stranger(listener.address, leave=True), stranger(listener.address, TOKEN[:31] + b"x")]
    kept += [stranger(listener.address) for _ in range(110)]
    caller = call(listener.address, TOKEN, 10)
    begin = time.monotonic()
    line = listener.accept(30)
    assert line is not None and time.monotonic() - begin < 10
    send(caller, {"a": 1})
    assert receive(line) == {"a": 1}
    for each in (*kept, caller, line):
        each.close()


def test_a_token_may_come_in_parts(listener):
    caller = socket.create_connection(listener.address)

    def speak():
        for byte in TOKEN:
            caller.sendall(bytes([byte]))
            time.sleep(0.001)

    threading.Thread(target=speak).start()
    line = listener.accept(10)
    assert line is not None
    line.close()
    caller.close()


@pytest.mark.parametrize("data", [b"", TOKEN[:31], b"x" * 32])
def test_without_the_token_no_call_is_accepted(listener, data):
    caller = stranger(listener.address, data)
    assert listener.accept(0.2) is None
    caller.close()


def test_messages_and_heartbeats_do_not_mix():
    ours, theirs = socket.socketpair()
    sender = Sender(theirs, 1e-4)
    sender.start_heartbeat()
    values = [bytes([i]) * 100_000 for i in range(20)]
    threading.Thread(target=lambda: [sender.send(pack(value)) for value in values], daemon=True).start()
    got, beats = [], 0
    while len(got) < len(values):
        message = receive(ours)
        beats += message is None
        got += [] if message is None else [message]
    assert got == values and beats
    ours.close()
    theirs.close()


def test_a_connection_that_ends_is_an_error():
    ours, theirs = socket.socketpair()
    theirs.sendall((100).to_bytes(8, "big") + b"half")
    theirs.close()
    with pytest.raises(ConnectionError, match="the other end is gone"):
        receive(ours)
    ours.close()
