"""No kernel touches memory that is not its own: every array between protected pages (:mod:`tests.kernels.guarded`)."""

import os
import subprocess
import sys

import pytest

from tinycnn.kernels.cpu.machine.compile import JIT_DISABLED

pytestmark = [
    pytest.mark.skipif(JIT_DISABLED, reason="nothing is compiled"),
    pytest.mark.skipif(sys.platform == "win32", reason="pages are protected by mprotect, which Windows lacks"),
]


def run(place, calls, seed, **environment):
    command = [sys.executable, "-X", "faulthandler", "-m", "tests.kernels.guarded"]
    command += ["--place", place, "--calls", str(calls), "--seed", str(seed)]
    done = subprocess.run(command, capture_output=True, text=True, env={**os.environ, **environment}, timeout=3000)
    last = done.stdout.splitlines()[-2:]
    assert done.returncode == 0, f"status {done.returncode} in {last[-1:]}: {done.stderr[-3000:]}"
    return last[0]


@pytest.mark.parametrize("place", ["start", "end"])
def test_all_kernels_between_protected_pages(place):
    assert run(place, 120, 5).endswith("not reached: []")


@pytest.mark.slow
@pytest.mark.parametrize("place", ["start", "end"])
@pytest.mark.parametrize("seed", range(3))
def test_all_kernels_between_protected_pages_at_length(place, seed):
    assert run(place, 1500, 100 + seed).endswith("not reached: []")


@pytest.mark.slow
def test_plain_loops_stay_inside_their_arrays(tmp_path):
    run("end", 400, 7, NUMBA_BOUNDSCHECK="1", NUMBA_CACHE_DIR=str(tmp_path))


def test_a_read_outside_is_noticed(tmp_path):
    """The guard itself: a loop that reads one element too many ends its process."""
    code = """
import sys
import numpy as np
from tests.kernels.guarded import Guard
from tinycnn.kernels.cpu.machine import parallel

def _read(begin, end, x, out):
    for i in range(begin, end):
        out[i] = x[i + {shift}]

read = parallel.parallel_for(_read)
parallel.run = Guard(parallel.run, at_end=True)
read(8, np.arange(8.0), np.zeros(8))
print("done")
"""
    for shift, status in ((0, [0]), (1, [-11, -10])):  # SIGSEGV or SIGBUS
        (tmp_path / "reader.py").write_text(code.format(shift=shift))
        paths = os.pathsep.join([os.getcwd(), os.environ.get("PYTHONPATH", "")])
        env = {**os.environ, "PYTHONPATH": paths, "NUMBA_CACHE_DIR": str(tmp_path)}
        done = subprocess.run([sys.executable, str(tmp_path / "reader.py")], capture_output=True, text=True, env=env)
        assert done.returncode in status, done.stderr
