"""Compiled kernels are kept on disk under their name, sources and flags; a cache with faults never stops anything."""

import os
import shutil
import subprocess
import sys
import time

import pytest

from tinycnn.kernels.cpu.machine.cache import damaged_files
from tinycnn.kernels.cpu.machine.compile import JIT_DISABLED

pytestmark = pytest.mark.skipif(JIT_DISABLED, reason="nothing is compiled")

KERNEL = """
from tinycnn.kernels.cpu.machine.parallel import parallel_for

def _fill(begin, end, out):
    for i in range(begin, end):
        out[i] = {value}

fill = parallel_for(_fill)
"""

RUN = """
import numpy as np
import one, two
out = np.zeros((2, 8))
one.fill(8, out[0]), two.fill(8, out[1])
print(out[0, 0], out[1, 0])
"""

READ = """
import numpy as np
from tinycnn.kernels.cpu.machine.parallel import parallel_for

def _read(begin, end, x, out):
    for i in range(begin, end):
        out[i] = x[i + 3]

read = parallel_for(_read)
x, out = np.arange(10.0), np.zeros(8)
try:
    read(8, x[:8], out)
    print(out[4], flush=True)
except RuntimeError as error:
    print("RuntimeError", error, flush=True)
"""

RELU = """
import os, shutil, sys
import numpy as np
import tinycnn as tc
from tinycnn import functional as F

def step(dtype):
    x = tc.Tensor(np.array([1, -2], dtype), requires_grad=True)
    F.relu(x).sum().backward()
    return x.grad.tolist()
"""


def run(code, cache, *arguments, **environment):
    env = {**os.environ, "NUMBA_CACHE_DIR": str(cache), **environment}
    command = [sys.executable, "-W", "error", "-c", code, *arguments]
    return subprocess.run(command, capture_output=True, text=True, env=env, timeout=300)


def test_kernels_of_one_name_are_told_apart_and_an_edited_file_is_compiled_again(tmp_path):
    def values(one, two):
        for name, value in (("one", one), ("two", two)):
            (tmp_path / f"{name}.py").write_text(KERNEL.format(value=value))
        paths = os.pathsep.join([str(tmp_path), os.environ.get("PYTHONPATH", "")])
        return run(RUN, tmp_path / "cache", PYTHONPATH=paths).stdout.split()

    assert values(1, 2) == ["1.0", "2.0"]
    assert values(3, 2) == ["3.0", "2.0"]


def test_a_kernel_compiled_with_and_without_bounds_checks_is_kept_twice(tmp_path):
    (tmp_path / "reader.py").write_text(READ)
    paths = os.pathsep.join([str(tmp_path), os.environ.get("PYTHONPATH", "")])

    def read(checked):
        return run("import reader", tmp_path / "cache", PYTHONPATH=paths, NUMBA_BOUNDSCHECK=checked).stdout.strip()

    for _ in range(2):  # from the compiler, then from the cache
        assert read("0") == "7.0"
        assert read("1").startswith("RuntimeError a kernel failed")
    assert len(list((tmp_path / "cache").rglob("*_read*.nbc"))) == 2


@pytest.fixture(scope="module")
def filled(tmp_path_factory):
    """Return a cache that holds relu and its gradient for float32."""
    cache = tmp_path_factory.mktemp("filled") / "cache"
    assert run(RELU + "print(step('f4'))", cache).stdout == "[1.0, 0.0]\n"
    return cache


DAMAGE = {
    "empty": lambda data: b"",
    "cut": lambda data: data[: len(data) // 2],
    "short of one byte": lambda data: data[:-1],
    "noise": lambda data: os.urandom(len(data)),
    "one bit": lambda data: data[:-100] + bytes([data[-100] ^ 1]) + data[-99:],
    "a list": lambda data: b"\x80\x04]\x94.",
}


@pytest.mark.parametrize("damage", DAMAGE)
def test_every_damage_is_noticed(damage, filled, tmp_path):
    cache = tmp_path / "cache"
    shutil.copytree(filled, cache)
    files = [path for path in sorted(cache.rglob("*.nb?")) if path.is_file()]
    for path in files:
        path.write_bytes(DAMAGE[damage](path.read_bytes()))
    assert sorted(damaged_files(cache)) == files and files


@pytest.mark.parametrize(("kind", "damage"), [(".nbi", "cut"), (".nbc", "one bit")])
def test_a_damaged_file_is_replaced(kind, damage, filled, tmp_path):
    cache = tmp_path / "cache"
    shutil.copytree(filled, cache)
    files = list(cache.rglob(f"*relu*{kind}"))
    for path in files:
        path.write_bytes(DAMAGE[damage](path.read_bytes()))
    assert sorted(damaged_files(cache)) == sorted(files) and files
    done = run(RELU + "print(step('f4'))", cache)
    assert done.stdout == "[1.0, 0.0]\n" and done.returncode == 0 and not done.stderr
    assert damaged_files(cache) == []


def test_doctor_names_a_damaged_cache(filled, tmp_path):
    cache = tmp_path / "cache"
    shutil.copytree(filled, cache)
    path = next(cache.rglob("*relu*.nbc"))
    path.write_bytes(b"")
    code = "from tinycnn import doctor; print([finding for finding in doctor._kernel_cache()])"
    said = run(code, cache).stdout
    assert "problem" in said and "1 files of compiled kernels in" in said and path.name in said and str(cache) in said
    assert "'ok', 'compiled kernels are kept in" in run(code, filled).stdout


FULL = "import resource; resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))\n"


@pytest.mark.parametrize("fault", ["file", "full", "vanished", "no folder"])
def test_without_a_cache_kernels_are_compiled_with_one_note(fault, tmp_path):
    cache = tmp_path / "cache"
    before, between = "import os\n", ""
    if fault == "file":
        cache.write_text("")
    elif fault == "full":
        pytest.importorskip("resource", reason="this system has no limits of resources")
        before += FULL
    elif fault == "vanished":
        between = "shutil.rmtree(os.environ['NUMBA_CACHE_DIR'])\n"
    else:
        cache = "/proc/none" if os.path.isdir("/proc") else str(tmp_path / "\0")
    done = run(before + RELU + "print(step('f4'))\n" + between + "print(step('f8'))", cache)
    assert done.stdout == "[1.0, 0.0]\n" * 2, done.stderr
    notes = [line for line in done.stderr.splitlines() if "compiled kernels cannot be kept" in line]
    assert len(notes) == 1 if fault == "full" else len(notes) <= 1
    assert "Traceback" not in done.stderr


def test_doctor_says_why_nothing_can_be_kept(tmp_path):
    pytest.importorskip("resource", reason="this system has no limits of resources")
    code = FULL + "from tinycnn import doctor\nprint(list(doctor._kernel_cache()), list(doctor._kernels()))"
    said = run(code, tmp_path / "cache").stdout
    assert "problem" in said and str(tmp_path / "cache") in said and "NUMBA_CACHE_DIR" in said
    assert "compiles and computes" in said and "the next process" not in said


def test_doctor_finds_damage_in_a_full_cache_too(filled, tmp_path):
    pytest.importorskip("resource", reason="this system has no limits of resources")
    cache = tmp_path / "cache"
    shutil.copytree(filled, cache)
    next(cache.rglob("*relu*.nbc")).write_bytes(b"")
    said = run(FULL + "from tinycnn import doctor\nprint(list(doctor._kernel_cache()))", cache).stdout
    assert "cannot be kept in" in said and "1 files of compiled kernels" in said


def test_temporary_files_of_killed_processes_are_removed(tmp_path):
    cache = tmp_path / "cache"
    run(RELU + "print(step('f4'))", cache)
    folder = next(cache.rglob("*.nbi")).parent
    old, new = folder / "mailbox.nbc.tmp.0123456789abcdef", folder / "mailbox.nbc.tmp.fedcba9876543210"
    for path in (old, new):
        path.write_bytes(b"half")
    os.utime(old, (time.time() - 7200,) * 2)
    run(RELU + "print(step('f8'))", cache)
    assert not old.exists() and new.exists()
