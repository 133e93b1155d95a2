"""Downloads from one address: servers that lie about size or range, send too much, too slowly or nothing, and full
disks.
"""

import errno
import re
import socket
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from tinycnn.data import download as module
from tinycnn.data.download import BadRange, DownloadFailed, TooLarge, download
from tinycnn.errors import DataError

CONTENT = bytes(range(256)) * 600


@pytest.fixture
def serve(monkeypatch):
    """Start a server that answers by a function of the request handler; return its address."""
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    servers = []

    def start(answer):
        class Handler(BaseHTTPRequestHandler):
            def do_GET(self):
                answer(self)

            def log_message(self, *args):
                pass

        server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        server.daemon_threads = True
        servers.append(server)
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
        return f"http://127.0.0.1:{server.server_port}/a.gz"

    yield start
    for server in servers:
        server.shutdown()
        server.socket.close()


def sends(data, status=200, **headers):
    def answer(handler):
        handler.send_response(status)
        for name, value in headers.items():
            handler.send_header(name.replace("_", "-"), str(value))
        handler.end_headers()
        handler.wfile.write(data)

    return answer


def get(url, part, size=None, seconds=60.0):
    download(url, part, size, time.monotonic() + seconds, None, "a.gz")


def test_a_whole_file(tmp_path, serve):
    for headers in ({}, {"Content_Length": len(CONTENT)}):
        get(serve(sends(CONTENT, **headers)), tmp_path / "a.part", len(CONTENT))
        assert (tmp_path / "a.part").read_bytes() == CONTENT
        (tmp_path / "a.part").unlink()


@pytest.mark.parametrize(
    ("headers", "size", "message"),
    [
        ({"Content_Length": 3 * 10**9}, 1000, "offers 3000000000 bytes, expected 1000"),
        ({"Content_Length": 10}, 1000, "offers 10 bytes, expected 1000"),
        ({"Content_Length": 3 * 10**9}, None, f"offers 3000000000 bytes, expected at most {module.MAX_BYTES}"),
        ({"Content_Length": "many"}, None, "ValueError: "),
    ],
)
def test_a_wrong_size_is_refused_before_anything_is_written(tmp_path, serve, headers, size, message):
    with pytest.raises(DownloadFailed, match=message):
        get(serve(sends(b"abc", **headers)), tmp_path / "a.part", size)
    assert not (tmp_path / "a.part").exists()


def test_a_file_without_a_declared_size_stops_at_the_limit(tmp_path, serve, monkeypatch):
    url = serve(sends(CONTENT))
    with pytest.raises(TooLarge, match="sends more than 1000 bytes"):
        get(url, tmp_path / "a.part", 1000)
    monkeypatch.setattr(module, "MAX_BYTES", 2000)
    with pytest.raises(TooLarge, match="sends more than 2000 bytes"):
        get(url, tmp_path / "a.part")
    assert (tmp_path / "a.part").stat().st_size <= 2000


@pytest.mark.parametrize("content_range", ["bytes 0-152599/153600", "bytes 999-1/2", "nonsense", "bytes */153600"])
def test_a_range_from_another_place_is_not_appended(tmp_path, serve, content_range):
    part = tmp_path / "a.part"
    part.write_bytes(CONTENT[:1000])
    with pytest.raises(BadRange, match=re.escape(f"sends the range '{content_range}', expected one from byte 1000")):
        get(serve(sends(CONTENT, 206, Content_Range=content_range)), part)
    assert part.read_bytes() == CONTENT[:1000]
    part.unlink()
    with pytest.raises(BadRange, match="sends the range"):  # a part of a file although all of it was wanted
        get(serve(sends(CONTENT[1000:], 206, Content_Range="bytes 1000-2/3")), part)


def test_continues_with_a_range_and_begins_anew_without_one(tmp_path, serve):
    part = tmp_path / "a.part"
    part.write_bytes(CONTENT[:1000])
    content_range = f"bytes 1000-{len(CONTENT) - 1}/{len(CONTENT)}"
    get(serve(sends(CONTENT[1000:], 206, Content_Range=content_range)), part, len(CONTENT))
    assert part.read_bytes() == CONTENT
    part.write_bytes(b"other")
    get(serve(sends(CONTENT)), part, len(CONTENT))
    assert part.read_bytes() == CONTENT


@pytest.mark.parametrize("declared", [True, False])
def test_a_server_without_ranges_that_breaks_off_leaves_a_longer_part_whole(tmp_path, serve, caplog, declared):
    part = tmp_path / "a.part"
    part.write_bytes(CONTENT[:5000])
    headers = {"Content_Length": len(CONTENT)} if declared else {}
    with pytest.raises(DownloadFailed, match=f"connection closed after 1000 of {len(CONTENT)} bytes"):
        get(serve(sends(CONTENT[:1000], **headers)), part, len(CONTENT))
    assert part.read_bytes() == CONTENT[:5000]
    assert "a.gz: the server sends it from the beginning, although 5000 bytes are here" in caplog.messages


def test_a_longer_part_of_another_file_ends_where_the_file_ends(tmp_path, serve):
    part = tmp_path / "a.part"
    part.write_bytes(b"other" * 100_000)
    get(serve(sends(CONTENT)), part)
    assert part.read_bytes() == CONTENT


def test_a_server_that_sends_a_byte_now_and_then_is_left(tmp_path, serve, monkeypatch):
    monkeypatch.setattr(module, "WINDOW_SECONDS", 0.2)
    stop = threading.Event()

    def answer(handler):
        sends(b"", Content_Length=1000)(handler)
        while not stop.wait(0.02):
            handler.wfile.write(b"x")

    try:
        with pytest.raises(DownloadFailed, match="bytes in 0 s: too slow"):
            get(serve(answer), tmp_path / "a.part")
    finally:
        stop.set()


def test_the_whole_has_a_limit_of_time(tmp_path, serve):
    stop = threading.Event()

    def answer(handler):
        sends(b"")(handler)
        while not stop.wait(0.01):
            handler.wfile.write(bytes(10_000))

    try:
        with pytest.raises(DownloadFailed, match="takes more than 3600 s"):
            get(serve(answer), tmp_path / "a.part", seconds=0.3)
    finally:
        stop.set()
    with pytest.raises(DownloadFailed, match="not tried: the 3600 s for this file are over"):
        get("http://127.0.0.1:9", tmp_path / "a.part", seconds=0)


def test_headers_have_a_limit_of_time(tmp_path, monkeypatch):
    monkeypatch.setattr(module, "ANSWER_SECONDS", 0.2)
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    silent = socket.create_server(("127.0.0.1", 0))  # accepts, answers nothing
    with silent, pytest.raises(DownloadFailed, match="no answer within 0 s"):
        get(f"http://127.0.0.1:{silent.getsockname()[1]}/a", tmp_path / "a.part")


@pytest.mark.parametrize("scheme", ["file", "ftp", "data"])
def test_redirections_to_other_schemes_are_refused(tmp_path, serve, scheme):
    (tmp_path / "secret").write_bytes(CONTENT)
    url = serve(sends(b"", 302, Location=f"{scheme}://{tmp_path / 'secret'}", Content_Length=0))
    with pytest.raises(DownloadFailed, match=r"redirects to|not allowed"):
        get(url, tmp_path / "a.part")
    assert not (tmp_path / "a.part").exists()


def test_redirections_to_the_web_are_followed(tmp_path, serve):
    target = serve(sends(CONTENT))
    get(serve(sends(b"", 302, Location=target, Content_Length=0)), tmp_path / "a.part")
    assert (tmp_path / "a.part").read_bytes() == CONTENT


def test_a_full_disk_is_not_the_fault_of_the_server(tmp_path, serve, monkeypatch):
    class Full:
        free = 999

    part = tmp_path / "a.part"
    with monkeypatch.context() as patch:
        patch.setattr(module.shutil, "disk_usage", lambda folder: Full)
        with pytest.raises(
            DataError, match=rf"^{re.escape(str(part))}: 1000 bytes are to be written, but its disk has"
        ):
            get(serve(sends(CONTENT[:1000], Content_Length=1000)), part)
    assert not part.exists()

    def full(out, chunk, path):
        raise module._unwritable(path, OSError(errno.ENOSPC, "No space left on device"))

    monkeypatch.setattr(module, "_write", full)
    with pytest.raises(DataError, match=r"a\.part: cannot be written \(No space left on device\)"):
        get(serve(sends(CONTENT)), part)


def test_a_part_that_cannot_be_opened_is_named(tmp_path, serve):
    part = tmp_path / "a.part"
    part.mkdir()
    with pytest.raises(DataError, match=r"a\.part: cannot be written"):
        get(serve(sends(CONTENT)), part)
