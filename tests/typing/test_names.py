"""Types for users: a type checker finds misspelt names, and help and completion find the right ones."""

import pydoc
import re
import subprocess
import sys
from pathlib import Path

import pytest

import tinycnn as tc

FILE = Path(__file__).with_name("names.py")


def test_a_type_checker_rejects_misspelt_names_and_nothing_else(tmp_path):
    pytest.importorskip("mypy")
    command = [sys.executable, "-m", "mypy", "--no-error-summary", "--cache-dir", str(tmp_path), str(FILE)]
    done = subprocess.run(command, capture_output=True, text=True, cwd=FILE.parents[2])
    rejected = {int(line) for line in re.findall(r"names\.py:(\d+): error", done.stdout)}
    marked = {
        number for number, line in enumerate(FILE.read_text().splitlines(), 1) if line.rstrip().endswith("# wrong")
    }
    assert rejected == marked and len(marked) > 10, done.stdout


def test_methods_and_operators_have_names_docstrings_and_a_place():
    x = tc.Tensor([1.0])
    for name in ("sum", "reshape", "exp", "matmul", "backward", "astype", "max"):
        assert name in dir(x) and getattr(tc.Tensor, name).__doc__
    assert "Return the sum over" in pydoc.render_doc(tc.Tensor.sum)
    assert tc.Tensor.sum.__code__.co_filename.endswith("reduction.py")
    assert not hasattr(tc.Tensor, "__getattr__")
