"""One file from one address: continued, within limits of size and time."""

from __future__ import annotations

import http
import http.client
import logging
import os
import queue
import shutil
import threading
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any, BinaryIO

from tinycnn.errors import DataError

Progress = Callable[[int, int | None, str], None]

MAX_BYTES = 1 << 30  # of a file whose size is not known
MAX_SECONDS = 3600.0  # for one file, all addresses together
MIN_RATE = 1000  # bytes per second, on average over each WINDOW_SECONDS
WINDOW_SECONDS = 60.0
ANSWER_SECONDS = 60.0  # until the headers are there, redirections and name lookup included
READ_SECONDS = 30.0  # between two chunks
_CHUNK = 1 << 16
_log = logging.getLogger(__name__)


class DownloadFailed(Exception):
    """The error that an address did not deliver; the text is the reason."""


class BadRange(DownloadFailed):
    """The error that the server does not continue where the part ends."""


class TooLarge(DownloadFailed):
    """The error that the server sends more than the file can have."""


def download(url: str, part: Path, size: int | None, deadline: float, progress: Progress | None, name: str) -> None:
    """Append the rest of a file to `part`, or write all of it over `part` if the server does not continue.

    Nothing that `part` holds is cut off before all has arrived: an address that ignores ranges and breaks off early
    leaves as many bytes as there were.

    Parameters
    ----------
    url
        The address.
    part
        The file to write.
    size
        Bytes of the whole file, if known.
    deadline
        Time of :func:`time.monotonic` at which to give up.
    progress
        Called as ``progress(done_bytes, total_bytes, name)``; the total is None where unknown.
    name
        For `progress`.

    Raises
    ------
    DownloadFailed
        If the server does not deliver, offers another size, or is too slow. The bytes received so far stay in `part`.
    DataError
        If `part` cannot be written.
    """
    have = part.stat().st_size if part.is_file() else 0
    headers = {"User-Agent": "tinycnn", **({"Range": f"bytes={have}-"} if have else {})}
    try:
        with _open(urllib.request.Request(url, headers=headers), deadline) as response:
            _save(response, part, have, size, deadline, progress, name)
    except urllib.error.HTTPError as error:
        error.close()
        kind = BadRange if error.code == http.HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE else DownloadFailed
        raise kind(f"HTTP {error.code} {error.reason}") from error
    except urllib.error.URLError as error:
        raise DownloadFailed(str(error.reason)) from error
    except DataError:
        raise
    except (http.client.HTTPException, OSError, ValueError) as error:
        raise DownloadFailed(f"{type(error).__name__}: {error}") from error


class _WebRedirects(urllib.request.HTTPRedirectHandler):
    """Redirections to other web addresses only: not to files, nor by FTP."""

    def redirect_request(self, req: Any, fp: Any, code: int, msg: str, headers: Any, newurl: str) -> Any:
        if urllib.parse.urlsplit(newurl).scheme not in ("http", "https"):
            fp.close()
            raise urllib.error.URLError(f"redirects to {newurl}, expected http or https")
        return super().redirect_request(req, fp, code, msg, headers, newurl)


def _open(request: urllib.request.Request, deadline: float) -> Any:
    """Return the response; a thread waits for it, since neither name lookup nor slow headers have a limit of time."""
    seconds = min(ANSWER_SECONDS, deadline - time.monotonic())
    if seconds <= 0:
        raise DownloadFailed(f"not tried: the {MAX_SECONDS:.0f} s for this file are over")
    answers: queue.SimpleQueue = queue.SimpleQueue()
    given_up = threading.Event()

    def work() -> None:
        try:
            answer = urllib.request.build_opener(_WebRedirects).open(request, timeout=READ_SECONDS)
        except Exception as error:
            answer = error
        answers.put(answer)
        if given_up.is_set() and not isinstance(answer, Exception):
            answer.close()

    threading.Thread(target=work, name="tinycnn-download", daemon=True).start()
    try:
        answer = answers.get(timeout=seconds)
    except queue.Empty:
        given_up.set()
        raise DownloadFailed(f"no answer within {seconds:.0f} s") from None
    if isinstance(answer, Exception):
        raise answer
    return answer


def _save(
    response: Any, part: Path, have: int, size: int | None, deadline: float, progress: Progress | None, name: str
) -> None:
    continues = getattr(response, "status", None) == http.HTTPStatus.PARTIAL_CONTENT
    given = response.headers.get("Content-Range") or ""
    if continues and not (have and given.startswith(f"bytes {have}-")):
        raise BadRange(f"sends the range {given!r}, expected one from byte {have}")
    done = have if continues else 0
    length = response.headers.get("Content-Length")
    total = done + int(length) if length is not None else None
    if total is not None and size is not None and total != size:
        raise DownloadFailed(f"offers {total} bytes, expected {size}")
    limit = MAX_BYTES if size is None else size
    if total is not None and total > limit:
        raise DownloadFailed(f"offers {total} bytes, expected at most {limit}")
    expected = total if total is not None else size
    _check_room(part, (expected or 0) - have)
    if have and not continues:
        _log.warning("%s: the server sends it from the beginning, although %d bytes are here", name, have)
    pace = _Pace(deadline)
    with _opened(part, "ab" if continues else "r+b" if have else "wb") as out:
        read = getattr(response, "read1", response.read)  # one chunk as it arrives, however small
        while chunk := read(_CHUNK):
            if done + len(chunk) > limit:
                raise TooLarge(f"sends more than {limit} bytes")
            _write(out, chunk, part)
            done += len(chunk)
            if progress:
                progress(done, expected, name)
            pace.check(len(chunk))
        whole = expected is None or done >= expected
        if whole:
            out.truncate(done)
        _flush(out, part)
    if not whole:
        raise DownloadFailed(f"connection closed after {done} of {expected} bytes")


class _Pace:
    """The limits of time while a file arrives."""

    def __init__(self, deadline: float) -> None:
        self._deadline, self._start, self._bytes = deadline, time.monotonic(), 0

    def check(self, count: int) -> None:
        """Count bytes; raise DownloadFailed if they come too slowly or too late."""
        now = time.monotonic()
        self._bytes += count
        if now > self._deadline:
            raise DownloadFailed(f"takes more than {MAX_SECONDS:.0f} s")
        if now - self._start >= WINDOW_SECONDS:
            if self._bytes < MIN_RATE * WINDOW_SECONDS:
                raise DownloadFailed(f"sent {self._bytes} bytes in {now - self._start:.0f} s: too slow")
            self._start, self._bytes = now, 0


def _check_room(part: Path, wanted: int) -> None:
    try:
        free = shutil.disk_usage(part.parent).free
    except OSError:
        return
    if wanted > free:
        raise DataError(f"{part}: {wanted} bytes are to be written, but its disk has {free} bytes left")


def _opened(part: Path, mode: str) -> BinaryIO:
    try:
        return open(part, mode)  # type: ignore[return-value]
    except OSError as error:
        raise _unwritable(part, error) from error


def _write(out: BinaryIO, chunk: bytes, part: Path) -> None:
    try:
        out.write(chunk)
    except OSError as error:
        raise _unwritable(part, error) from error


def _flush(out: BinaryIO, part: Path) -> None:
    """Make the bytes reach the disk before the name does."""
    try:
        out.flush()
        os.fsync(out.fileno())
    except OSError as error:
        raise _unwritable(part, error) from error


def _unwritable(part: Path, error: OSError) -> DataError:
    return DataError(f"{part}: cannot be written ({error.strerror}); what has arrived is continued by the next fetch")
