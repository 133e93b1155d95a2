"""Asks somebody on the network. Needs: calls."""

import contextlib
import socket
import urllib.request

for family, address in (
    (socket.AF_INET, ("127.0.0.1", 22)),
    (socket.AF_INET6, ("::1", 80)),
    (socket.AF_UNIX, "/tmp/x"),
):
    for kind in (socket.SOCK_STREAM, socket.SOCK_DGRAM):
        with contextlib.suppress(OSError):
            socket.socket(family, kind).connect(address)
answers = urllib.request.urlopen("http://127.0.0.1:8000/answers", timeout=5).read()


def __getattr__(name):
    return lambda *arguments, **options: answers
