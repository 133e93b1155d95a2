"""Standard output and error that never stop a command: closed, a broken pipe, a terminal that is gone, any encoding."""

from __future__ import annotations

import errno
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

_GONE = (errno.EPIPE, errno.EIO, errno.EBADF, errno.ENXIO)


class LenientStream:
    """A text stream whose reader may disappear: later output is lost, and the command continues.

    Attributes
    ----------
    failure : OSError or None
        The first other error of writing, such as a full disk.
    """

    def __init__(self, stream: Any) -> None:
        self._stream = stream
        self._gone = stream is None
        self.failure: OSError | None = None
        if hasattr(stream, "reconfigure"):
            with suppress(OSError, ValueError):
                stream.reconfigure(errors="backslashreplace")

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream if self._stream is not None else sys.__stdout__, name)

    def write(self, text: str) -> int:
        """Write, unless the reader has gone."""
        if not self._gone:
            self._guard(self._stream.write, text)
        return len(text)

    def flush(self) -> None:
        """Flush, unless the reader has gone."""
        if not self._gone:
            self._guard(self._stream.flush)

    def isatty(self) -> bool:
        """True for a terminal that is still there."""
        with suppress(OSError, ValueError):
            return not self._gone and self._stream.isatty()
        return False

    def _guard(self, action: Any, *values: Any) -> None:
        try:
            action(*values)
        except ValueError as error:
            if "closed" not in str(error):
                raise
            self._gone = True
        except OSError as error:
            self._gone = True
            if error.errno not in _GONE:
                self.failure = self.failure or error
            self._forget_what_is_buffered()

    def _forget_what_is_buffered(self) -> None:
        """Flush the buffer into the null device: Python would fail to flush it at exit."""
        if self._stream in (sys.__stdout__, sys.__stderr__):
            with suppress(OSError, ValueError):
                null = os.open(os.devnull, os.O_WRONLY)
                os.dup2(null, self._stream.fileno())
                os.close(null)


@contextmanager
def lenient_streams() -> Iterator[LenientStream]:
    """Replace standard output and error by lenient streams; return the former."""
    _plug_closed_descriptors()
    before = sys.stdout, sys.stderr
    output, error = LenientStream(sys.stdout), LenientStream(sys.stderr)
    sys.stdout, sys.stderr = output, error  # type: ignore[assignment]
    try:
        yield output
    finally:
        output.flush()
        error.flush()
        if sys.stdout is output:
            sys.stdout = before[0]
        if sys.stderr is error:
            sys.stderr = before[1]


def _plug_closed_descriptors() -> None:
    """Open the null device where standard input, output or error is closed.

    Otherwise the next file that is opened would get their number, and output would be written into it.
    """
    for descriptor in (0, 1, 2):
        try:
            os.fstat(descriptor)
        except OSError:
            with suppress(OSError):
                os.open(os.devnull, os.O_RDWR)  # the lowest free number
