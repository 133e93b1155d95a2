"""Measurements that need a process of their own: peak memory, and everything before the first step."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path


def run_child(code: str, **environment: str) -> dict[str, float]:
    """Run Python code in a new process; return the numbers that it printed as lines ``name value``."""
    return _run(["-c", code], environment)


def run_code(code: str, tree: Path) -> dict[str, float]:
    """Run code as :func:`run_child` does, with the tinycnn of a checkout."""
    return _run(["-P", "-c", code], {"PYTHONPATH": str(tree.resolve())})


def run_program(program: Path, tree: Path) -> dict[str, float]:
    """Run a program as :func:`run_child` does, with the tinycnn of a checkout."""
    return _run(["-P", str(program)], {"PYTHONPATH": str(tree.resolve())})


def _run(arguments: list[str], environment: dict[str, str]) -> dict[str, float]:
    settings = {**os.environ, **environment}
    done = subprocess.run([sys.executable, *arguments], stdout=subprocess.PIPE, text=True, env=settings, check=True)
    return {name: float(value) for name, value in re.findall(r"^(\S+) (\S+)$", done.stdout, re.MULTILINE)}


PEAK = """
import pathlib, re, resource
def peak():
    status = pathlib.Path("/proc/self/status")
    if status.exists():  # in Linux, ru_maxrss begins with that of the parent
        return int(re.search(r"VmHWM:\\s*(\\d+)", status.read_text())[1]) / 2**10
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
"""

OURS = """
import numpy as np, tinycnn as tc
from tinycnn import functional as F
tc.set_num_threads({threads})
def make(name):
    model = getattr(tc.models, name)()
    return model, tc.optim.SGD(list(model.parameters()), lr=1e-3, momentum=0.9)
def batch(count, size):
    rng = np.random.default_rng(0)
    return tc.Tensor(rng.normal(size=(count, 3, size, size)).astype(np.float32)), rng.integers(10, size=count)
def step(model, optimizer, images, labels):
    optimizer.zero_grad()
    F.cross_entropy(model(images), labels).backward()
    optimizer.step()
"""

PYTORCH = """
import numpy as np, torch
from benchmarks import torch_nets
torch.set_num_threads({threads})
def make(name):
    model = getattr(torch_nets, name)()
    return model, torch.optim.SGD(model.parameters(), lr=1e-3, momentum=0.9)
def batch(count, size):
    return torch.randn(count, 3, size, size), torch.randint(10, (count,))
def step(model, optimizer, images, labels):
    optimizer.zero_grad()
    torch.nn.functional.cross_entropy(model.forward(images), labels).backward()
    optimizer.step()
"""


def peak_memory(side: str, name: str, count: int, size: int, threads: int) -> float:
    """Return the MiB of a process that imports the library, makes the network and does three training steps."""
    if sys.platform == "win32":
        return float("nan")
    code = PEAK + side.format(threads=threads)
    code += f"""
model, optimizer = make("{name}")
images, labels = batch({count}, {size})
for _ in range(3):
    step(model, optimizer, images, labels)
print("peak", peak())
"""
    return run_child(code)["peak"]
