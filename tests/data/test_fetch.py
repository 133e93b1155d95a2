"""Downloads from a server on this machine: mirrors, resumption, checksums, unpacking."""

import hashlib
import io
import re
import tarfile
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from tinycnn.data import fetch as module
from tinycnn.data.download import TooLarge
from tinycnn.data.fetch import DOWNLOADS, MIRRORS, Download, fetch
from tinycnn.errors import DataError, UnknownNameError

CONTENT = bytes(range(256)) * 600  # more than one read
MD5 = hashlib.md5(CONTENT).hexdigest()


class Server:
    """A server of ``files`` by path; it records every (path, Range), and may ignore ranges or cut answers short
    once.
    """

    def __init__(self):
        self.files, self.requests, self.ranges, self.cut = {}, [], True, None
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self):
                outer.answer(self)

            def log_message(self, *args):
                pass

        self.http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.http.server_port}"
        threading.Thread(target=self.http.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()

    def answer(self, handler):
        wanted = handler.headers.get("Range")
        self.requests.append((handler.path, wanted))
        if handler.path not in self.files:
            return handler.send_error(404, "Not Found")
        data, start = self.files[handler.path], 0
        if wanted and self.ranges:
            start = int(re.fullmatch(r"bytes=(\d+)-", wanted)[1])
            if start >= len(data):
                return handler.send_error(416, "Range Not Satisfiable")
        handler.send_response(206 if start else 200)
        if start:
            handler.send_header("Content-Range", f"bytes {start}-{len(data) - 1}/{len(data)}")
        handler.send_header("Content-Length", str(len(data) - start))
        handler.end_headers()
        cut, self.cut = self.cut, None
        handler.wfile.write(data[start:cut])


@pytest.fixture
def server(monkeypatch):
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    server = Server()
    yield server
    server.http.shutdown()
    server.http.server_close()


@pytest.fixture
def one_file(monkeypatch):
    monkeypatch.setitem(DOWNLOADS, "mnist", (Download("a.gz", MD5),))


def test_downloads_and_reports_progress(tmp_path, server, one_file):
    server.files["/x/a.gz"] = CONTENT
    steps = []
    paths = fetch("mnist", tmp_path, [f"{server.url}/x/"], lambda *step: steps.append(step))
    assert paths == [tmp_path / "mnist" / "a.gz"]
    assert paths[0].read_bytes() == CONTENT
    assert steps[-1] == (len(CONTENT), len(CONTENT), "a.gz")
    assert len(steps) > 1 and [step[0] for step in steps] == sorted(step[0] for step in steps)
    assert [path.name for path in (tmp_path / "mnist").iterdir()] == ["a.gz"]


def test_whole_file_is_not_asked_for_again(tmp_path, server, one_file):
    server.files["/a.gz"] = CONTENT
    fetch("mnist", tmp_path, [server.url])
    fetch("mnist", tmp_path, [server.url])
    assert len(server.requests) == 1
    (tmp_path / "mnist" / "a.gz").write_bytes(b"damaged")
    fetch("mnist", tmp_path, [server.url])
    assert (tmp_path / "mnist" / "a.gz").read_bytes() == CONTENT


def part_of(tmp_path, data):
    part = tmp_path / "mnist" / "a.gz.part"
    part.parent.mkdir(parents=True, exist_ok=True)
    part.write_bytes(data)
    return part


def test_resumes_a_part(tmp_path, server, one_file):
    server.files["/a.gz"] = CONTENT
    part_of(tmp_path, CONTENT[:1000])
    steps = []
    (path,) = fetch("mnist", tmp_path, [server.url], lambda *step: steps.append(step))
    assert path.read_bytes() == CONTENT
    assert server.requests == [("/a.gz", "bytes=1000-")]
    assert steps[0][0] > 1000 and steps[-1][:2] == (len(CONTENT), len(CONTENT))


@pytest.mark.parametrize("ranges", [False, True])
@pytest.mark.parametrize("part", [b"other file", CONTENT + b"too much"])
def test_wrong_part_is_begun_anew(tmp_path, server, one_file, part, ranges):
    server.files["/a.gz"], server.ranges = CONTENT, ranges
    part_of(tmp_path, part)
    assert fetch("mnist", tmp_path, [server.url])[0].read_bytes() == CONTENT


def test_whole_part_needs_no_server(tmp_path, one_file):
    part = part_of(tmp_path, CONTENT)
    assert fetch("mnist", tmp_path, ["http://127.0.0.1:9"])[0].read_bytes() == CONTENT
    assert not part.exists()


def test_next_mirror_goes_on_where_the_connection_broke(tmp_path, server, one_file):
    server.files |= {"/one/a.gz": CONTENT, "/two/a.gz": CONTENT}
    server.cut = 5000
    (path,) = fetch("mnist", tmp_path, [f"{server.url}/one", f"{server.url}/two"])
    assert path.read_bytes() == CONTENT
    assert server.requests == [("/one/a.gz", None), ("/two/a.gz", "bytes=5000-")]


def test_mirrors_in_turn(tmp_path, server, one_file):
    server.files |= {"/wrong/a.gz": b"<html>", "/good/a.gz": CONTENT}
    mirrors = [f"{server.url}/{name}" for name in ("gone", "wrong", "good", "never")]
    assert fetch("mnist", tmp_path, mirrors)[0].read_bytes() == CONTENT
    assert [path for path, _ in server.requests] == ["/gone/a.gz", "/wrong/a.gz", "/good/a.gz"]


def test_all_fail_golden(tmp_path, server, one_file):
    server.files |= {"/wrong/a.gz": b"<html>", "/short/a.gz": CONTENT}
    mirrors = [f"{server.url}/gone", f"{server.url}/wrong", "nonsense"]
    message = "\n".join(
        [
            "a.gz: no mirror delivered it:",
            f"  {server.url}/gone/a.gz: HTTP 404 Not Found",
            f"  {server.url}/wrong/a.gz: md5 is {hashlib.md5(b'<html>').hexdigest()}, expected {MD5}",
            "  nonsense/a.gz: ValueError: unknown url type: 'nonsense/a.gz'",
            f"To place by hand what is missing, put into {tmp_path / 'mnist'}:",
            f"  a.gz  md5 {MD5}",
            "To work without any download: tinycnn train --data glyphs",
        ]
    )
    with pytest.raises(DataError, match=f"^{re.escape(message)}$"):
        fetch("mnist", tmp_path, mirrors)
    assert list((tmp_path / "mnist").iterdir()) == []


def test_offline_all_files_that_are_missing_are_listed(tmp_path, server, monkeypatch):
    files = (Download("a.gz", MD5), Download("b.gz", "1" * 32), Download("c.gz", "2" * 32))
    monkeypatch.setitem(DOWNLOADS, "mnist", files)
    server.files["/a.gz"] = CONTENT
    with pytest.raises(DataError) as caught:
        fetch("mnist", tmp_path, [server.url])
    message = str(caught.value)
    assert message.startswith("b.gz: no mirror delivered it:")
    assert f"  b.gz  md5 {'1' * 32}\n  c.gz  md5 {'2' * 32}\n" in message and "a.gz" not in message


def test_broken_connection_keeps_the_part(tmp_path, server, one_file):
    server.files["/a.gz"], server.cut = CONTENT, 7000
    with pytest.raises(DataError, match=f"connection closed after 7000 of {len(CONTENT)} bytes"):
        fetch("mnist", tmp_path, [server.url])
    assert (tmp_path / "mnist" / "a.gz.part").read_bytes() == CONTENT[:7000]


def test_no_server(tmp_path, one_file):
    with pytest.raises(DataError, match=r"http://127\.0\.0\.1:9/a\.gz: "):
        fetch("mnist", tmp_path, ["http://127.0.0.1:9"])


def test_several_at_once_fetch_a_file_once(tmp_path, server, one_file, caplog):
    server.files["/a.gz"] = CONTENT
    answer, results = server.answer, []
    server.answer = lambda handler: (time.sleep(0.2), answer(handler))
    threads = [
        threading.Thread(target=lambda: results.append(fetch("mnist", tmp_path, [server.url]))) for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert results == [[tmp_path / "mnist" / "a.gz"]] * 4 and len(server.requests) == 1
    assert [path.name for path in (tmp_path / "mnist").iterdir()] == ["a.gz"]
    assert f"{tmp_path / 'mnist'}: another process fetches it" in caplog.messages


def test_a_mirror_that_offers_another_size_is_left_and_the_part_stays(tmp_path, server, monkeypatch):
    monkeypatch.setitem(DOWNLOADS, "mnist", (Download("a.gz", MD5, len(CONTENT)),))
    part_of(tmp_path, CONTENT[:1000])
    server.files |= {"/long/a.gz": CONTENT + b"more", "/short/a.gz": CONTENT[:-1], "/good/a.gz": CONTENT}
    mirrors = [f"{server.url}/{name}" for name in ("long", "short", "good")]
    assert fetch("mnist", tmp_path, mirrors)[0].read_bytes() == CONTENT
    assert {wanted for _, wanted in server.requests} == {"bytes=1000-"}
    with pytest.raises(DataError, match=f"offers {len(CONTENT) + 4} bytes, expected {len(CONTENT)}"):
        fetch("mnist", tmp_path / "other", mirrors[:1])


def test_a_part_to_which_too_much_is_added_is_begun_anew(tmp_path, one_file, monkeypatch):
    def download(url, part, *others):
        if part.exists():
            raise TooLarge("sends more")
        part.write_bytes(CONTENT)

    part_of(tmp_path, b"other")
    monkeypatch.setattr(module, "download", download)
    assert fetch("mnist", tmp_path, ["http://mirror"])[0].read_bytes() == CONTENT


def test_an_interrupted_download_is_continued(tmp_path, server, one_file):
    server.files["/a.gz"] = CONTENT

    def interrupt(done, total, name):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fetch("mnist", tmp_path, [server.url], interrupt)
    assert [path.name for path in (tmp_path / "mnist").iterdir()] == ["a.gz.part"]
    have = (tmp_path / "mnist" / "a.gz.part").stat().st_size
    assert 0 < have < len(CONTENT)
    assert fetch("mnist", tmp_path, [server.url])[0].read_bytes() == CONTENT
    assert server.requests[-1] == ("/a.gz", f"bytes={have}-")


def test_a_root_that_is_a_file_is_named(tmp_path):
    (tmp_path / "root").write_bytes(b"")
    with pytest.raises(DataError, match=re.escape(str(tmp_path / "root"))):
        fetch("mnist", tmp_path / "root", [])


def test_what_a_killed_process_unpacked_is_deleted(tmp_path, server, monkeypatch):
    serve_archive(server, monkeypatch, archive_of({"one.bin": b"1"}))
    (tmp_path / "cifar10" / ".unpack-x" / "d").mkdir(parents=True)
    fetch("cifar10", tmp_path, [server.url])
    assert sorted(path.name for path in (tmp_path / "cifar10").iterdir()) == ["c.tar.gz", "one.bin"]


def archive_of(members):
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as tar:
        for name, data in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
    return buffer.getvalue()


def serve_archive(server, monkeypatch, data):
    server.files["/c.tar.gz"] = data
    monkeypatch.setitem(DOWNLOADS, "cifar10", (Download("c.tar.gz", hashlib.md5(data).hexdigest()),))


def test_archive_is_unpacked(tmp_path, server, monkeypatch):
    serve_archive(server, monkeypatch, archive_of({"d/one.bin": b"1", "d/two.bin": b"22"}))
    paths = fetch("cifar10", tmp_path, [server.url])
    folder = tmp_path / "cifar10"
    assert paths == [folder / "d" / "one.bin", folder / "d" / "two.bin"]
    assert [path.read_bytes() for path in paths] == [b"1", b"22"]
    assert sorted(path.name for path in folder.iterdir()) == ["c.tar.gz", "d"]


@pytest.mark.parametrize("name", ["../evil.bin", "d/../../../evil.bin"])
def test_archive_that_climbs_out_is_refused(tmp_path, server, monkeypatch, name):
    serve_archive(server, monkeypatch, archive_of({"d/one.bin": b"1", name: b"evil"}))
    with pytest.raises(DataError, match=r"c\.tar\.gz: not unpacked \(OutsideDestinationError: "):
        fetch("cifar10", tmp_path, [server.url])
    assert [path.name for path in tmp_path.rglob("*")] == ["cifar10", "c.tar.gz"]


def test_damaged_archive(tmp_path, server, monkeypatch):
    serve_archive(server, monkeypatch, archive_of({"one.bin": CONTENT})[:200])
    with pytest.raises(DataError, match=r"c\.tar\.gz: not unpacked \("):
        fetch("cifar10", tmp_path, [server.url])


def test_fetched_cifar_is_what_the_loader_finds(tmp_path, server, monkeypatch):
    from tinycnn.data.cifar import load_cifar

    serve_archive(server, monkeypatch, archive_of({"cifar-10-batches-bin/test_batch.bin": b"\6" + bytes(3072)}))
    fetch("cifar10", tmp_path, [server.url])
    assert load_cifar("cifar10", tmp_path, "test")[1].tolist() == [6]


def test_unknown_name(tmp_path):
    with pytest.raises(UnknownNameError, match="unknown data set to fetch 'mnits'; did you mean mnist"):
        fetch("mnits", tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_tables():
    assert set(MIRRORS) == set(DOWNLOADS)
    assert module.DOWNLOADS["cifar10"][0].filename == "cifar-10-binary.tar.gz"
    assert all(re.fullmatch("[0-9a-f]{32}", item.md5) for items in DOWNLOADS.values() for item in items)
    sizes = {name: sum(item.size for item in items) for name, items in DOWNLOADS.items()}
    published = {"mnist": 11_594_722, "fashion_mnist": 30_878_645, "kmnist": 21_240_888}
    assert sizes == published | {"cifar10": 170_052_171, "cifar100": 168_513_733}
