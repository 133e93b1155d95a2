"""Starting, asking and ending the child process that runs a student's code."""

from __future__ import annotations

import contextlib
import importlib.util
import json
import os
import queue
import secrets
import shutil
import signal
import subprocess
import sys
import sysconfig
import tempfile
import threading
import time
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from types import TracebackType
from typing import IO, Any, Self

from tinycnn.assign import wire
from tinycnn.assign.confine import PROTECTIONS
from tinycnn.assign.task import Task
from tinycnn.errors import TinyCNNError

LARGEST_MESSAGE = 64 * 2**20
_COUNTS = {"S": 1.0, "": 0.25}  # share of wall time charged: sleeping process; no /proc
_COUNTS_OTHERWISE = 0.05  # running or stopped (CPU time is charged separately)
_STARTING = 120.0
_MOST_ON_DISK = 64 * 2**20
_LONGEST_LOG, _LONGEST_KIND = 4000, 80
_COMPANIONS = ("numba", "llvmlite")  # the packages that tinycnn needs beside NumPy
_HERE = Path(__file__).parent


class GraderError(TinyCNNError, RuntimeError):
    """The error that the grader itself does not work here; the student is not to blame."""


class StudentError(Exception):
    """A call of a student's function that gave no value.

    Attributes
    ----------
    kind : str
        The exception's type, or "Timeout", "Died", "Unsendable", "Forged".
    text : str
        The message; may repeat text that a student's code made up.
    line : int
        In the student's file; 0 where unknown.
    fatal : bool
        True if the process has ended.
    """

    def __init__(self, kind: str, text: str, line: int = 0, fatal: bool = False) -> None:
        super().__init__(text)
        self.kind, self.text, self.line, self.fatal = kind, text, line, fatal


class Sandbox:
    """A child process with one student's file in it; starts when it is first asked, and again after it died.

    Parameters
    ----------
    task : Task
    source : bytes
        The student's file.
    framework : Path, optional
        The copy of tinycnn that the child gets a copy of, with its compiled kernels; by default the one that runs here.
    keep : Path, optional
        The folder for the child's copy at the end, with its compiled kernels: only for code that can be trusted.

    Attributes
    ----------
    protections : list of str or None
        Those of :data:`tinycnn.assign.confine.PROTECTIONS` that hold; None before the start.
    printed : str
        The end of the student's printed output.
    changed : list of int
        The arguments that the last call changed.
    left : float
        Seconds of processor time that calls may still take.
    """

    def __init__(self, task: Task, source: bytes, framework: Path | None = None, keep: Path | None = None) -> None:
        self.task, self.source, self.framework, self.keep = task, source, framework, keep
        self.protections: list[str] | None = None
        self.printed = ""
        self.changed: list[int] = []
        self.left = task.seconds
        self._process: subprocess.Popen[bytes] | None = None
        self._place: tempfile.TemporaryDirectory[str] | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, value: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    # -- start and end -------------------------------------------------------------------------------------------------

    def start(self) -> None:
        """Start the child and import the student's file.

        Raises
        ------
        StudentError
            If the import raises an error, or does not end.
        GraderError
            If the child does not reach the student's file.
        """
        self._place = tempfile.TemporaryDirectory(prefix=f"tinycnn-of-{os.getpid()}-", ignore_cleanup_errors=True)
        folder = Path(self._place.name)
        try:
            settings = self._furnish(folder)
            self._furnished = _bytes_in(folder)
            command = [sys.executable, "-I", "-S", "-B", "-u", "-X", "utf8", str(folder / "own" / "child.py")]
            self._process = subprocess.Popen(
                command,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                cwd=folder / "home",
                env=_environment(folder / "home"),
                start_new_session=True,
            )
            self._listen()
            self._send(json.dumps(settings).encode() + b"\n")
            self.left, kept = _STARTING, self.left
            hello = self._receive()
            self.left = kept
            self.protections = hello["protections"]
        except (StudentError, OSError, KeyError, TypeError) as error:
            self.close()
            raise GraderError(f"the process for the student's code does not start: {error}\n{self.printed}") from error
        self._exchange("", (), {})

    def _furnish(self, place: Path) -> dict[str, Any]:
        """Fill the child's folder; return the settings for the child."""
        own, home, task = place / "own", place / "home", self.task
        for folder in (own, home):
            folder.mkdir()
        for name in ("child.py", "wire.py", "confine.py"):
            shutil.copy(_HERE / name, own)
        modules = [home / task.file]
        modules[0].write_bytes(self.source)
        if task.adapter:
            modules.append(own / "adapter.py")
            shutil.copy(task.adapter, own)
        packages = {name: _place_of(name) for name in _with_companions(task.packages) if name != "tinycnn"}
        read = [*_readable(), str(own), *(path for name in packages for path in _paths_of(name))]
        write = [str(home)]
        if "tinycnn" in task.packages:
            copy_framework(place / "lib", task.reserved, self.framework)
            packages["tinycnn"] = str(place / "lib")
            write.append(str(place / "lib"))
        user = _can_drop_root((sys.executable, *read))
        if user:
            for path in [place, *place.rglob("*")]:
                os.chown(path, 65534, 65534)
        return {
            "modules": [str(path) for path in modules],
            "packages": packages,
            "largest": LARGEST_MESSAGE,
            "memory": task.memory_mb * 2**20,
            "seconds": int(sum(test.seconds for test in task.tests) + 2 * task.seconds) + 10,
            "file_size": 16 * 2**20,
            "files": 64,
            "user": user,
            "read": read,
            "write": write,
        }

    def close(self) -> None:
        """End the child with all that it started, and remove its folder."""
        if self._process is not None:
            process, self._process = self._process, None
            _kill(process)
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(10)
            end = time.monotonic() + 10  # should something that escaped hold the pipe, the thread is left behind
            while self._reader.is_alive() and time.monotonic() < end:
                with contextlib.suppress(queue.Empty):
                    self._replies.get(timeout=0.02)
            self._logger.join(1)
            for stream in (process.stdin, process.stdout, process.stderr):
                with contextlib.suppress(OSError):
                    assert stream
                    stream.close()
        if self._place is not None:
            if self.keep:
                shutil.copytree(Path(self._place.name) / "lib" / "tinycnn", self.keep, dirs_exist_ok=True)
            self._place.cleanup()
            self._place = None

    # -- questions and answers -----------------------------------------------------------------------------------------

    def ask(self, function: str, *arguments: Any, **options: Any) -> Any:
        """Return the value of a student's function.

        Raises
        ------
        StudentError
            If it raises, does not end, or returns something that is not a plain value.
        """
        if self._process is None:
            self.start()
        return self._exchange(function, arguments, options)

    def _exchange(self, function: str, arguments: tuple, options: dict[str, Any]) -> Any:
        nonce = secrets.token_hex(16)
        request = {"nonce": nonce, "function": function, "arguments": list(arguments), "options": options}
        message = wire.encode(request)
        try:
            self._send(len(message).to_bytes(8, "little") + message)
            reply = self._receive()
            if not isinstance(reply, dict) or reply.get("nonce") != nonce:
                raise StudentError("Forged", "something else than the answer came from the process", fatal=True)
        except StudentError:
            self.close()
            raise
        if "error" in reply:
            kind, text, line = (reply.get(name, "") for name in ("error", "text", "line"))
            raise StudentError(str(kind)[:_LONGEST_KIND], str(text)[:_LONGEST_LOG], line if type(line) is int else 0)
        changed = reply.get("changed")
        self.changed = [n for n in changed if type(n) is int] if isinstance(changed, list) else []
        return reply.get("value")

    def _send(self, data: bytes) -> None:
        """Write without waiting: a child that does not read must not stop the grader."""
        assert self._process and self._process.stdin
        threading.Thread(target=_write_all, args=(self._process.stdin, data), daemon=True).start()

    def _receive(self) -> Any:
        """Return the next message, within the time that is left."""
        assert self._process and self._place
        folder, pid = Path(self._place.name), self._process.pid
        seconds, asleep, before = self.left, 0.0, _activity(pid)[1]
        while True:
            begin = time.monotonic()
            try:
                message = self._replies.get(timeout=0.1)
                break
            except queue.Empty:
                passed = min(time.monotonic() - begin, 0.5)  # a grader that was itself stopped has not waited
            state, used = _activity(pid)
            asleep += passed * _COUNTS.get(state, _COUNTS_OTHERWISE)
            if max(asleep, used - before) > seconds and self._replies.empty():
                raise StudentError("Timeout", f"it did not end within {seconds:.3g} seconds", fatal=True)
            if _bytes_in(folder) > self._furnished + _MOST_ON_DISK:
                raise StudentError("Died", f"it wrote more than {_MOST_ON_DISK >> 20} MB to disk", fatal=True)
        self.left = max(0.0, seconds - max(asleep, _activity(pid)[1] - before))
        if isinstance(message, wire.WireError):
            raise StudentError("Unsendable", f"the answer has {message}", fatal=True)
        if message is None:
            raise StudentError("Died", self._how_it_ended(), fatal=True)
        try:
            return wire.decode(message)
        except wire.WireError as error:
            raise StudentError("Forged", f"the answer cannot be read: {error}", fatal=True) from error

    def _how_it_ended(self) -> str:
        assert self._process
        try:
            code = self._process.wait(5)
        except subprocess.TimeoutExpired:
            return "the process closed its connection"
        if code >= 0:
            return f"the process ended itself (exit status {code})"
        name = signal.Signals(-code).name if -code in set(signal.Signals) else f"signal {-code}"
        hints = {"SIGXCPU": ": too much processor time", "SIGXFSZ": ": too large a file", "SIGKILL": ": out of limits"}
        return f"the process was ended by {name}{hints.get(name, '')}"

    # -- listening -----------------------------------------------------------------------------------------------------

    def _listen(self) -> None:
        assert self._process
        self._replies: queue.Queue[Any] = queue.Queue(maxsize=1)
        self._reader = threading.Thread(target=_read_all, args=(self._process.stdout, self._replies), daemon=True)
        self._logger = threading.Thread(target=self._keep_log, args=(self._process.stderr,), daemon=True)
        self._reader.start()
        self._logger.start()

    def _keep_log(self, stream: IO[bytes]) -> None:
        with contextlib.suppress(OSError, ValueError):
            while part := os.read(stream.fileno(), 2**16):
                self.printed = (self.printed + part[-_LONGEST_LOG:].decode("utf-8", "replace"))[-_LONGEST_LOG:]


def _read_all(stream: Any, replies: queue.Queue) -> None:
    message: Any = b""
    while isinstance(message, bytes):
        try:
            message = wire.read(stream, LARGEST_MESSAGE)
        except wire.WireError as error:
            message = error
        except (OSError, ValueError, MemoryError):
            message = None
        replies.put(message)


def _write_all(stream: IO[bytes], data: bytes) -> None:
    with contextlib.suppress(OSError, ValueError):
        stream.write(data)
        stream.flush()


def _kill(process: subprocess.Popen[bytes]) -> None:
    if os.name == "posix":
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(process.pid, signal.SIGKILL)
    else:
        subprocess.run(["taskkill", "/T", "/F", "/PID", str(process.pid)], capture_output=True, check=False)
    with contextlib.suppress(OSError):
        process.kill()


def _activity(pid: int) -> tuple[str, float]:
    """Return a process's state ("R": running or runnable; "S": sleeping), and the processor time that it has used.

    Return "" and 0 if the system does not tell.
    """
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except (OSError, ValueError):
        return "", 0.0
    return fields[0], (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def _bytes_in(folder: Path) -> int:
    total = 0
    with contextlib.suppress(OSError):
        for path in folder.rglob("*"):
            total += path.lstat().st_size
    return total


# -- the child's environment -------------------------------------------------------------------------------------------


def _environment(home: Path) -> dict[str, str]:
    """Return an environment without the grader's variables, except those that Windows needs to start a program."""
    one = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS", "VECLIB_MAXIMUM_THREADS")
    kept = {name: os.environ[name] for name in ("SYSTEMROOT", "NUMBA_DISABLE_JIT") if name in os.environ}
    places = dict.fromkeys(("HOME", "TMPDIR", "TEMP", "TMP", "USERPROFILE"), str(home))
    return {"PATH": os.defpath, "LANG": "C.UTF-8", **dict.fromkeys(one, "1"), **places, **kept}


def _with_companions(packages: tuple[str, ...]) -> list[str]:
    """Return packages and those that they need, in the order in which they are imported."""
    more = _COMPANIONS if {"tinycnn", "numba"} & set(packages) else ()
    return list(dict.fromkeys(("numpy", *more, *packages)))


@cache
def _place_of(name: str) -> str:
    """Return the folder that holds an installed package."""
    spec = importlib.util.find_spec(name)
    if spec is None or not spec.submodule_search_locations:
        raise GraderError(f"{name} is not installed, but the assignment uses it: pip install {name}")
    return str(Path(next(iter(spec.submodule_search_locations))).parent)


def _paths_of(name: str) -> list[str]:
    """Return a package and the libraries of its wheel."""
    place = Path(_place_of(name))
    return [str(place / name), str(place / f"{name}.libs")]


@cache
def _readable() -> tuple[str, ...]:
    """Return Python's standard library and the system's libraries, without any package installed for Python."""
    standard = [sysconfig.get_path(name) for name in ("stdlib", "platstdlib")]
    system = ["/lib", "/lib64", "/usr/lib", "/usr/lib64", "/usr/local/lib", "/etc/ld.so.cache", "/proc/cpuinfo"]
    allowed = [Path(path).resolve() for path in (*standard, *system) if os.path.exists(path)]
    hidden = [Path(path).resolve() for path in sys.path if path and not _is_standard(Path(path), standard)]
    for place in allowed:
        hidden += [*place.glob("*-packages"), *place.glob("python*/*-packages")]
    hidden += [_HERE.parent.resolve(), _HERE.parents[1].resolve() / "lessons"]
    return tuple(str(path) for place in allowed for path in _without(place, hidden))


def _is_standard(path: Path, standard: list[str]) -> bool:
    name = path.resolve()
    return any(name == (real := Path(place).resolve()) or name == real / "lib-dynload" for place in standard)


def _without(place: Path, hidden: list[Path]) -> Iterator[Path]:
    """Return a folder, or its entries, so that hidden folders are not part of it."""
    if place in hidden:
        return
    if any(place in path.parents for path in hidden) and place.is_dir():
        for entry in place.iterdir():
            yield from _without(entry, hidden)
    else:
        yield place


def _can_drop_root(paths: tuple[str, ...]) -> bool:
    """True if the grader is root, and a process of the unprivileged user could still read Python."""
    if sys.platform != "linux" or os.geteuid() != 0:
        return False
    places = {folder for path in paths if os.path.exists(path) for folder in Path(path).resolve().parents}
    return all(folder.stat().st_mode & 0o001 for folder in places)


def copy_framework(target: Path, reserved: tuple[str, ...], source: Path | None = None) -> None:
    """Copy tinycnn, with its compiled kernels, without assignments and with a note in place of reserved modules."""
    package = source or _HERE.parent
    left_out = shutil.ignore_patterns("lessons", "lesson", "assign", "commands", "cli.py", "runs.py", "*.tmp")
    shutil.copytree(package, target / "tinycnn", ignore=left_out)
    for name in reserved:
        place = target.joinpath(*name.split("."))
        shutil.rmtree(place, ignore_errors=True)
        place.with_suffix(".py").write_text(_RESERVED.format(name=name), encoding="utf-8")


_RESERVED = """
def __getattr__(name):
    if name.startswith("__"):
        raise AttributeError(name)
    raise ImportError("{name} is what this assignment is about: write it yourself")
"""


def missing(protections: list[str]) -> list[str]:
    """Return a message on the protections that the platform lacks."""
    return [text for name, text in PROTECTIONS.items() if name not in protections]
