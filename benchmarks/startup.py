"""How long until the first step: import, compilation in a fresh installation, and a later process."""

from __future__ import annotations

import argparse
import statistics
import tempfile
from typing import NamedTuple

from benchmarks import write_csv
from benchmarks.children import OURS, run_child

IMPORT = "import time; s = time.perf_counter(); import {module}; print('seconds', time.perf_counter() - s)"
FIRST_STEP = """
import time; start = time.perf_counter()
{setup}
from numba.core import event
class Listener(event.Listener):
    def __init__(self): self.begun, self.taken, self.depth = [], {{}}, 0
    def on_start(self, e): self.begun.append(time.perf_counter())
    def on_end(self, e):
        began = self.begun.pop()
        if not self.begun:
            name = e.data["dispatcher"].py_func.__name__.lstrip("_")
            self.taken[name] = self.taken.get(name, 0) + time.perf_counter() - began
listener = Listener()
with event.install_listener("numba:compile", listener):
    model, optimizer = make("resnet20")
    step(model, optimizer, *batch(32, 32))
print("total", time.perf_counter() - start)
for name, seconds in listener.taken.items():
    print("compile:" + name, seconds)
"""


class Row(NamedTuple):
    """One figure, in seconds."""

    what: str
    seconds: float


def run(options: argparse.Namespace) -> None:
    """Print and write the table."""
    rows = []
    for module in ("numpy", "tinycnn"):
        times = [run_child(IMPORT.format(module=module))["seconds"] for _ in range(2 * options.rounds)]
        rows.append(Row(f"import {module}", statistics.median(times)))
    code = FIRST_STEP.format(setup=OURS.format(threads=options.threads))
    with tempfile.TemporaryDirectory() as cache:
        fresh, later = (run_child(code, NUMBA_CACHE_DIR=cache) for _ in range(2))
    rows.append(Row("first step of ResNet-20 in a fresh installation", fresh["total"]))
    rows.append(Row("first step of ResNet-20 in a later process", later["total"]))
    slowest = sorted(fresh.items(), key=lambda item: -item[1])
    rows += [Row(name.replace(":", " "), seconds) for name, seconds in slowest if name.startswith("compile:")][:10]
    print("\nseconds from the start of a process")
    for row in rows:
        print(f"{row.what:52}{row.seconds:8.2f}")
    write_csv(options.out / "startup.csv", rows)
