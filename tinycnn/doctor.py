"""Diagnosis of an installation: a sentence for each part that is installed or missing, and how to get it."""

from __future__ import annotations

import importlib
import os
import platform
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from importlib import metadata, util
from pathlib import Path

import numpy as np

from tinycnn.data.registry import IDX, default_root
from tinycnn.distributed.mpi import find_mpiexec
from tinycnn.kernels import numba_is_missing
from tinycnn.kernels.cpu.machine.settings import get_num_threads
from tinycnn.kernels.cuda import requirements

Finding = tuple[str, str]

KERNEL_BYTES = 200_000  # of the largest compiled kernels on disk


def examine() -> Iterator[Finding]:
    """Return findings, each ("ok", "note" or "problem") and a sentence."""
    for check in (_python, _packages, _threads, _kernel_cache, _kernels, _data, _gpu, _mpi, _reference):
        try:
            yield from check()
        except Exception as error:
            yield (
                "problem",
                f"{check.__name__.strip('_')}: the check itself failed: {type(error).__name__}: {error}",
            )


def report(say: Callable[[str], None]) -> bool:
    """Print all findings; return True if none is a problem."""
    marks = {"ok": "[ok]     ", "note": "[note]   ", "problem": "[problem]"}
    healthy = True
    for kind, sentence in examine():
        healthy &= kind != "problem"
        say(f"{marks[kind]} {sentence}")
    say("Everything that training needs is here." if healthy else "Mend the problems above, then run this again.")
    return healthy


def _python() -> Iterator[Finding]:
    version = platform.python_version()
    good = sys.version_info >= (3, 11)
    yield (
        "ok" if good else "problem",
        f"Python {version} on {platform.system()} {platform.machine()}"
        + ("" if good else "; tinycnn needs 3.11 or newer"),
    )


def _packages() -> Iterator[Finding]:
    for name in ("numpy", "numba", "matplotlib", "tqdm", "cloudpickle", "pillow"):
        try:
            yield "ok", f"{name} {metadata.version(name)}"
        except metadata.PackageNotFoundError:
            yield "problem", f"{name} is missing: pip install {name}"


def _threads() -> Iterator[Finding]:
    reason = numba_is_missing()
    if reason is not None:
        yield "problem", f"numba cannot be imported ({reason}): kernels run in NumPy, slowly; pip install numba"
        return
    numba = importlib.import_module("numba")
    if numba.config.DISABLE_JIT:
        yield "note", "NUMBA_DISABLE_JIT is set: kernels run as plain Python, thousands of times slower"
        return
    cores, threads = os.cpu_count(), get_num_threads()
    yield "ok", f"{threads} threads for {cores} processors (fewer: set NUMBA_NUM_THREADS, or tinycnn.set_num_threads)"


def _kernel_cache() -> Iterator[Finding]:
    """Examine the folder of compiled kernels."""
    if numba_is_missing() is not None:
        return
    from tinycnn.kernels.cpu.machine.cache import damaged_files

    folder, problem = _kernel_folder()
    if problem:
        mend = "; kernels that are not there yet are compiled in each process until there is room"
        yield "problem", f"{problem}{mend}, or NUMBA_CACHE_DIR is set to another folder"
    if folder is None:
        return
    damaged = damaged_files(folder)
    if damaged:
        names = ", ".join(path.name for path in damaged[:3])
        yield (
            "problem",
            f"{len(damaged)} files of compiled kernels in {folder} are damaged ({names}): they are replaced when their "
            "kernels run; to be rid of all, delete the folder",
        )
    elif not problem:
        yield "ok", f"compiled kernels are kept in {folder}"


def _kernel_folder() -> tuple[Path | None, str]:
    """Return the folder of compiled kernels if there is one, and why nothing can be kept there, found by writing."""
    from tinycnn.kernels.cpu.machine.cache import cache_folder

    chosen = os.environ.get("NUMBA_CACHE_DIR")
    try:
        folder = cache_folder()
    except Exception as error:
        return None, f"no folder for compiled kernels{f', {chosen}' if chosen else ''} ({error})"
    try:
        with tempfile.TemporaryFile(dir=folder) as file:
            file.write(bytes(KERNEL_BYTES))
            file.flush()
    except OSError as error:
        return folder, f"compiled kernels cannot be kept in {folder} ({error.strerror})"
    return folder, ""


def _kernels() -> Iterator[Finding]:
    from tinycnn import functional as F
    from tinycnn.tensor import Tensor

    image = np.arange(16, dtype=np.float32).reshape(1, 1, 4, 4)
    start = time.perf_counter()
    out = F.conv2d(Tensor(image), Tensor(np.ones((1, 1, 3, 3), np.float32))).data
    seconds = time.perf_counter() - start
    if out.ravel().tolist() != [45.0, 54.0, 81.0, 90.0]:
        yield "problem", f"the convolution kernel computes {out.ravel().tolist()}, expected [45, 54, 81, 90]"
    else:
        kept = numba_is_missing() is None and not _kernel_folder()[1]
        later = "; the next process takes it from the cache" if kept else ""
        yield "ok", f"the convolution kernel compiles and computes ({seconds:.1f} s{later})"


def _data() -> Iterator[Finding]:
    root = default_root()
    yield "ok", "the embedded data set glyphs needs no files"
    found = [name for name in (*IDX, "cifar10", "cifar100") if (root / name).is_dir()]
    if found:
        yield "ok", f"data in {root}: {', '.join(found)}"
    else:
        yield (
            "note",
            f"no other data in {root} (set TINYCNN_DATA to change it); to get some: tinycnn data fetch mnist",
        )


def _gpu() -> Iterator[Finding]:
    if requirements.simulated():
        yield "note", "NUMBA_ENABLE_CUDASIM is set: device 'cuda' is Numba's simulator, thousands of times slower"
        return
    here = requirements.look()
    problem = requirements.missing(here)
    if not problem:
        yield "ok", f"{here.gpus} GPU, driver for CUDA {'.'.join(map(str, here.driver or ()))}: --device cuda"
    elif here.driver is None:
        yield "note", f"device 'cuda' is not available: {problem}"
    else:
        yield "problem", f"device 'cuda' is not available: {problem}"


_TOGETHER = """
from tinycnn.distributed import world
import numpy
communicator = world()
total = communicator.allreduce(numpy.array([communicator.rank + 1])).wait()
if communicator.rank == 0:
    print(total.item())
"""


def _mpi() -> Iterator[Finding]:
    """Check that mpiexec and mpi4py work together: two processes add 1 and 2."""
    mpiexec = find_mpiexec()
    if mpiexec is None:
        missing = "no mpiexec is found" if util.find_spec("mpi4py") else "mpi4py is not installed"
        yield "note", f"{missing}; only `mpiexec -n 4 tinycnn train` needs MPI: pip install 'tinycnn[mpi]' mpich"
        return
    command = [mpiexec, "-n", "2", sys.executable, "-c", _TOGETHER]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=60)
        said = (done.stderr or done.stdout).strip()
    except subprocess.TimeoutExpired:
        done, said = None, "no answer within 60 s"
    if done is not None and done.stdout.strip() == "3":
        yield "ok", f"MPI: {mpiexec} and mpi4py {metadata.version('mpi4py')} work together"
    else:
        yield "problem", f"MPI: {mpiexec} with mpi4py {metadata.version('mpi4py')} does not work: {said}"


def _reference() -> Iterator[Finding]:
    if util.find_spec("torch") is None:
        yield "note", "PyTorch is not installed; only tests and benchmarks that compare with it need it"
    else:
        yield "ok", f"PyTorch {metadata.version('torch')}, for tests and benchmarks that compare with it"
