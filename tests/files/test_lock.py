"""Locks between processes and between threads."""

import subprocess
import sys
import threading
import time

import pytest

from tinycnn.files import lock as module
from tinycnn.files.lock import locked

HOLDER = """
import sys
from pathlib import Path
from tinycnn.files.lock import locked
with locked(Path(sys.argv[1]), 9):
    print("held", flush=True)
    sys.stdin.read()
"""


def test_one_holder_at_a_time_and_no_file_afterwards(tmp_path):
    inside, most, waits = 0, 0, []

    def work():
        nonlocal inside, most
        for _ in range(5):
            with locked(tmp_path / "lock", 20, lambda: waits.append(1)):
                inside += 1
                most = max(most, inside)
                time.sleep(0.002)
                inside -= 1

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (most, inside) == (1, 0) and waits
    assert list(tmp_path.iterdir()) == []


def test_another_process_is_waited_for_and_a_killed_one_holds_nothing(tmp_path):
    with subprocess.Popen(
        [sys.executable, "-c", HOLDER, tmp_path / "lock"], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as holder:
        assert holder.stdout.readline().strip() == b"held"
        waits = []
        second = locked(tmp_path / "lock", 0.1, lambda: waits.append(1))
        with pytest.raises(TimeoutError, match=r"another process has held this lock for 0 s"), second:
            pass
        assert waits == [1]
        holder.kill()
        holder.wait()
    with locked(tmp_path / "lock", 5):
        pass
    assert list(tmp_path.iterdir()) == []


def test_errors_release_the_lock(tmp_path):
    for _ in range(2):
        with pytest.raises(KeyError), locked(tmp_path / "lock", 1):
            raise KeyError


def test_a_file_system_without_locks_is_no_obstacle(tmp_path, monkeypatch):
    def no_locks(file):
        raise OSError(95, "Operation not supported")

    monkeypatch.setattr(module, "_lock", no_locks)
    with locked(tmp_path / "lock", 1), locked(tmp_path / "lock", 1):
        pass
    assert list(tmp_path.iterdir()) == []


def test_a_lock_file_that_its_holder_deleted_is_made_again(tmp_path, monkeypatch):
    path, lock = tmp_path / "lock", module._lock

    def deleted_meanwhile(file):
        if not waited:
            waited.append(1)
            path.unlink()
        lock(file)

    waited = []
    monkeypatch.setattr(module, "_lock", deleted_meanwhile)
    if sys.platform != "win32":  # where open files cannot be deleted
        with locked(path, 5):
            assert path.exists()
    assert not path.exists()
