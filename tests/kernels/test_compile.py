"""Compiled kernels are kept on disk, each under its own name and sources."""

import subprocess
import sys

import pytest

from tinycnn.kernels.cpu._compile import JIT_DISABLED

KERNEL = """
from tinycnn.kernels.cpu._jit import jit

def _fill(begin, end, out):
    for i in range(begin, end):
        out[i] = {value}

fill = jit(_fill)
"""

RUN = """
import numpy as np
import one, two
out = np.zeros((2, 8))
one.fill(8, out[0]), two.fill(8, out[1])
print(out[0, 0], out[1, 0])
"""


@pytest.mark.skipif(JIT_DISABLED, reason="nothing is compiled")
def test_kernels_of_one_name_are_told_apart_and_an_edited_file_is_compiled_again(tmp_path, monkeypatch):
    monkeypatch.setenv("NUMBA_CACHE_DIR", str(tmp_path / "cache"))

    def run(one, two):
        for name, value in (("one", one), ("two", two)):
            (tmp_path / f"{name}.py").write_text(KERNEL.format(value=value))
        done = subprocess.run([sys.executable, "-c", RUN], cwd=tmp_path, capture_output=True, text=True, check=True)
        return done.stdout.split()

    assert run(1, 2) == ["1.0", "2.0"]
    assert run(3, 2) == ["3.0", "2.0"]
