"""The child process: its rights, its limits, and that nothing it does reaches the grader."""

import os
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from tinycnn.assign import sandbox as module
from tinycnn.assign.sandbox import Sandbox, StudentError, missing

CODE = """
import os, sys, time
import numpy as np

count = 0
def double(x): return 2 * x
def change(x, y):
    y[0] = 7
def add(x, *, to=1): return x + to
def counted():
    global count
    count += 1
    return count
def broken(x):
    return x.no_such_thing
def leave(status): os._exit(status)
def spin():
    while True: pass
def sleep(): time.sleep(1e6)
def work(seconds):
    end = time.process_time() + seconds
    while time.process_time() < end: pass
def odd(): return {1, 2}
def large(): return np.zeros(2**27, np.uint8)
def say(text): print(text, file=sys.stderr); print(text)
def shout():
    for _ in range(100): print("x" * 100_000)
    return 1
def environment(): return dict(os.environ)
def listing(): return sorted(os.listdir("."))
def path(): return list(sys.path)
def read(name): return open(name).read()
def write(name):
    with open(name, "w") as file: file.write("x")
def load(name): return str(__import__(name))
def fork(): return os.fork()
def signal(): os.kill(os.getppid(), 0)
def connect():
    import socket
    socket.socket(socket.AF_INET, socket.SOCK_STREAM)
def fill(count):
    with open("file", "wb") as file: file.write(bytes(count))
    time.sleep(1e6)
def hoard(): return len(np.ones(2**33, np.uint8))
def raise_limits():
    import resource
    resource.setrlimit(resource.RLIMIT_AS, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
def thread():
    import threading
    done = []
    worker = threading.Thread(target=lambda: done.append(1)); worker.start(); worker.join()
    return done
"""


@pytest.fixture
def child(toy):
    with Sandbox(toy, CODE.encode()) as sandbox:
        sandbox.start()
        yield sandbox


def fails(sandbox, function, *arguments):
    with pytest.raises(StudentError) as caught:
        sandbox.ask(function, *arguments)
    return caught.value


def needs(sandbox, protection):
    if protection not in sandbox.protections:
        pytest.skip(f"this platform has no protection {protection!r}")


def test_functions_are_asked_and_answer(child):
    assert np.array_equal(child.ask("double", np.arange(3)), [0, 2, 4])
    assert child.ask("add", 1, to=(2)) == 3
    assert [child.ask("counted") for _ in range(3)] == [1, 2, 3]
    assert child.ask("thread") == [1]


def test_changed_arguments_are_noticed(child):
    child.ask("double", np.zeros(2))
    assert child.changed == []
    child.ask("change", np.zeros(2), np.zeros(2))
    assert child.changed == [1]


def test_an_error_has_its_type_text_and_line_and_is_not_the_end(child):
    error = fails(child, "broken", 1)
    assert (error.kind, error.line, error.fatal) == (
        "AttributeError",
        CODE.splitlines().index("    return x.no_such_thing") + 1,
        False,
    )
    error = fails(child, "dubble")
    assert "there is no function dubble in toy.py; did you mean double" in error.text
    assert child.ask("double", 4) == 8


def test_values_that_are_not_plain_are_named(child):
    assert "a value of type set" in fails(child, "odd").text
    assert "large returned more than 64 MB" in fails(child, "large").text


@pytest.mark.parametrize(("function", "kind"), [("spin", "Timeout"), ("sleep", "Timeout")])
def test_what_does_not_end_is_ended_and_a_new_process_goes_on(child, function, kind):
    start = time.monotonic()
    error = fails(child, function)
    assert error.kind == kind and error.fatal and time.monotonic() - start < 60
    assert child.ask("counted") == 1


def test_what_fills_the_disk_is_ended(child, monkeypatch):
    monkeypatch.setattr(module, "_MOST_ON_DISK", 2**20)
    error = fails(child, "fill", 3 * 2**20)
    assert error.kind == "Died" and "more than 1 MB to disk" in error.text
    child.left = 0.5
    assert fails(child, "fill", 2**19).kind == "Timeout"


def test_a_process_that_ends_itself_gives_no_answer_whatever_its_status(child):
    for status in (0, 3):
        error = fails(child, "leave", status)
        assert error.kind == "Died" and f"exit status {status}" in error.text
    assert child.ask("counted") == 1


def test_what_one_call_takes_is_missing_to_the_next(child):
    before = child.left
    child.ask("work", 0.3)
    assert 0 <= child.left < before - 0.2


def test_an_answer_that_does_not_repeat_the_requests_secret_is_forged(child, monkeypatch):
    monkeypatch.setattr(child, "_receive", lambda: {"nonce": "guessed", "value": 6})
    error = fails(child, "double", 3)
    assert error.kind == "Forged" and error.fatal


def test_what_is_printed_is_kept_in_part_and_never_in_the_way(child):
    child.ask("say", "hello")
    assert child.ask("shout") == 1
    child.close()
    assert 0 < len(child.printed) <= 4000


def test_it_sees_its_own_file_and_a_clean_environment(child):
    assert child.ask("listing") == ["toy.py"]
    seen = child.ask("environment")
    assert not {"VIRTUAL_ENV", "PYTHONPATH", "USER", "SSH_AUTH_SOCK", "LOGNAME"} & seen.keys()
    assert seen["OPENBLAS_NUM_THREADS"] == "1"
    assert not any("site-packages" in place or "tests" in place for place in child.ask("path"))


def test_only_the_packages_of_the_task_can_be_imported(child):
    assert "numpy" in child.ask("load", "numpy.linalg") and "json" in child.ask("load", "json")
    for name in ("tinycnn", "numba", "matplotlib", "pytest", "public"):
        assert fails(child, "load", name).kind == "ModuleNotFoundError"


def test_files_of_others_cannot_be_read_or_written(child, tmp_path):
    needs(child, "files")
    (tmp_path / "secret").write_text("42")
    for name in (tmp_path / "secret", module.__file__, Path(sys.prefix) / "pyvenv.cfg", f"/proc/{os.getpid()}/environ"):
        if Path(name).exists():
            assert fails(child, "read", str(name)).kind == "PermissionError"
    assert fails(child, "write", str(tmp_path / "new")).kind == "PermissionError"
    assert not (tmp_path / "new").exists()
    child.ask("write", "here")
    assert child.ask("read", np.__file__)


def test_it_starts_no_processes_signals_nobody_and_has_no_network(child):
    needs(child, "calls")
    for function in ("fork", "signal", "connect"):
        assert fails(child, function).kind == "PermissionError"


def test_memory_has_a_limit(child):
    needs(child, "memory")
    assert fails(child, "hoard").kind == "MemoryError"
    assert fails(child, "raise_limits").kind == "ValueError"


def test_what_a_platform_lacks_is_said_in_words():
    assert missing(["limits", "memory", "calls", "files"]) == []
    assert missing(["limits", "calls", "files"]) == ["a limit on memory"]


def test_an_import_that_fails_or_hangs_is_the_students(toy):
    for code, kind in (("1 / 0", "ZeroDivisionError"), ("def f(:", "SyntaxError"), ("import os; os._exit(0)", "Died")):
        with Sandbox(toy, code.encode()) as sandbox, pytest.raises(StudentError) as caught:
            sandbox.start()
        assert caught.value.kind == kind


def test_the_childs_folder_is_gone_afterwards(toy, monkeypatch):
    with Sandbox(toy, CODE.encode()) as sandbox:
        place = Path(sandbox.ask("read", "toy.py") and sandbox._place.name)
        assert place.is_dir()
    assert not place.exists()


def test_hidden_folders_are_cut_out_of_those_that_can_be_read(tmp_path):
    for name in ("a/b/secret", "a/c", "d"):
        (tmp_path / name).mkdir(parents=True)
    allowed = {path.relative_to(tmp_path).as_posix() for path in module._without(tmp_path, [tmp_path / "a/b/secret"])}
    assert allowed == {"a/c", "d"}
