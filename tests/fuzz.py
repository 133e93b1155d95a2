"""Random calls of every public name in a child process: ``python -m tests.fuzz --calls 20000 --seed 0``.

A call must end in a result or in an error that the caller can read. Other ends are printed, each kind once, as a line
that reproduces it: a death by a signal, a call without an end, and an error that belongs to the inside of tinycnn
(AttributeError, OverflowError, "unsupported operand type(s)", an error of Numba's ...). The exit status is 1 then.
"""

import argparse
import contextlib
import io
import os
import re
import subprocess
import sys
import threading
import traceback
import warnings
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).parents[1]
MEMORY = 6 * 2**30  # bytes of address space; threads and compiled code take about 2 of them
SECONDS = 90  # for one call; a kernel that is compiled first takes a few

READABLE = (ValueError, TypeError, IndexError, KeyError, RuntimeError, MemoryError, OSError, ImportError)
INTERNAL = (AttributeError, NameError, OverflowError, ZeroDivisionError, SystemError, RecursionError, AssertionError)
RAW = re.compile(
    r"unsupported operand|has no attribute|not subscriptable|not iterable|not callable|NoneType|unpack"
    r"|not supported between|cannot be interpreted as|must be real|can't multiply|bad operand|object is not"
    r"|only length-1|argument must be|could not convert|^ufunc|has no len|unhashable|numba|invalid literal|Cannot cast"
)
NAMED = re.compile(
    r"^[A-Za-z_][\w. ]*: |^[\w.]+\(\) (missing|takes|got)|^[\w.]+\.__init__\(\) |^missing a required|^cannot "
)


@dataclass
class Report:
    """The result of a run: how the calls ended, and the lines that ended badly by kind."""

    outcomes: Counter = field(default_factory=Counter)
    findings: dict[str, str] = field(default_factory=dict)


def fuzz(calls, seed, first=0, seconds=SECONDS):
    """Run calls ``first`` to ``first + calls`` of a seed in child processes, a new one after each death."""
    report, start, end = Report(), first, first + calls
    while start < end:
        start = _watch(report, seed, start, end, seconds)
    return report


def _watch(report, seed, start, end, seconds):
    """Run calls in one child; return the number of the next call."""
    command = [sys.executable, "-X", "faulthandler", "-m", "tests.fuzz", "--child", "--seed", str(seed)]
    command += ["--first", str(start), "--calls", str(end - start)]
    paths = os.pathsep.join([str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])])
    environment = {**os.environ, "PYTHONPATH": paths, "OPENBLAS_NUM_THREADS": "1"}
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.DEVNULL, "text": True, "env": environment, "cwd": ROOT}
    at, line, hung = start, "import", False
    with subprocess.Popen(command, **pipes) as child:

        def end_child():
            nonlocal hung
            hung = True
            child.kill()

        clock = threading.Timer(seconds, end_child)
        clock.start()
        for answer in child.stdout:
            kind, _, text = answer.rstrip("\n").partition("\t")
            if kind == "call":
                clock.cancel()
                clock = threading.Timer(seconds, end_child)
                clock.start()
                line = text
                continue
            at += 1
            report.outcomes[kind] += 1
            if kind not in ("result", "error"):
                report.findings.setdefault(f"{kind} {text}", line)
        clock.cancel()
    if at < end:  # it ended inside a call
        kind = "hang" if hung else f"death {child.returncode}"
        report.outcomes[kind] += 1
        report.findings.setdefault(f"{kind} {line.split('(')[0]} {line[:80]}", line)
        at += 1
    return at


def child(seed, first, calls):
    """Evaluate lines, and print how each ends."""
    _limit_memory()
    answers, sys.stdout = os.fdopen(os.dup(1), "w"), io.StringIO()
    from tests import fuzz_calls

    names = vars(fuzz_calls)
    for number in range(first, first + calls):
        line = fuzz_calls.Lines([seed, number]).line()
        print(f"call\t{line}", file=answers, flush=True)
        print("\t".join(_outcome(line, names)), file=answers, flush=True)


def _outcome(line, names):
    """Evaluate a line; return the kind of its end, and what tells this kind of finding from others."""
    try:
        with contextlib.redirect_stdout(io.StringIO()), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            eval(line, dict(names))
    except Exception as error:
        if is_readable(error):
            return "error", type(error).__name__
        frames = [f for f in traceback.extract_tb(error.__traceback__) if f"tinycnn{os.sep}" in f.filename]
        place = f"{Path(frames[-1].filename).name}:{frames[-1].lineno}" if frames else line.split("(")[0]
        return "internal", f"{place} {type(error).__name__}: {' '.join(str(error).split())[:150]}"
    return "result", ""


def is_readable(error):
    """True if an error tells the caller what was wrong, rather than how tinycnn is made inside.

    Errors that Python raises in the line itself, before tinycnn is entered, count as readable.
    """
    inside = any(f"tinycnn{os.sep}" in frame.filename for frame in traceback.extract_tb(error.__traceback__))
    if not inside or type(error).__module__.startswith("tinycnn"):
        return True
    message = str(error)
    if NAMED.match(message) and isinstance(error, READABLE):
        return True
    if isinstance(error, INTERNAL) or not isinstance(error, READABLE):
        return isinstance(error, AttributeError) and bool(re.match(r"^\w+ has no attribute", message))
    return not RAW.search(message)


def _limit_memory():
    """Turn the use of very much memory into MemoryError, where the system can."""
    with contextlib.suppress(ImportError, ValueError, OSError):
        import resource

        resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def main():
    """Run from the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--calls", type=int, default=20000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--first", type=int, default=0, help="number of the first call")
    parser.add_argument("--child", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.child:
        child(options.seed, options.first, options.calls)
        return 0
    report = fuzz(options.calls, options.seed, options.first)
    for kind, line in sorted(report.findings.items()):
        print(f"{kind}\n    {line}")
    print(f"{sum(report.outcomes.values())} calls, seed {options.seed}: {dict(report.outcomes)}")
    print(f"{len(report.findings)} kinds of findings; reproduce one: from tests.fuzz_calls import *")
    return 1 if report.findings else 0


if __name__ == "__main__":
    sys.exit(main())
