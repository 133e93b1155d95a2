"""MPI: the same program by 1, 2 and 4 ranks, and the command under ``mpiexec``. Skipped where there is no MPI."""

import csv
import json
import os
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from tests.distributed import program
from tests.distributed.test_processes import assert_same_training
from tinycnn.distributed import ALONE, DistributedError, launched_rank, world
from tinycnn.distributed.mpi import find_mpiexec

ROOT = Path(__file__).parents[2]
MPIEXEC = find_mpiexec()
needs_mpi = pytest.mark.skipif(MPIEXEC is None, reason="needs mpi4py and mpiexec: pip install mpi4py mpich")
PROGRAM = ("-m", "tests.distributed.program")
COMMAND = ("-m", "tinycnn", "train")
TINY = [
    *COMMAND,
    *("--model", "resnet8", "--width", "0.25", "--image-size", "12", "--limit", "96", "--batch-size", "20"),
    *("--schedule", "constant"),
]


def mpiexec(ranks, *arguments, folder=ROOT, **environment):
    """Run Python on several ranks, more than processors if need be, also as root in a container."""
    several = {
        "OMPI_ALLOW_RUN_AS_ROOT": "1",
        "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM": "1",
        "PRTE_MCA_rmaps_default_mapping_policy": ":oversubscribe",
        "OMPI_MCA_rmaps_base_oversubscribe": "1",
    }
    env = {**os.environ, **several, "PYTHONPATH": str(ROOT), **environment}
    env = {name: value for name, value in env.items() if value}
    command = [MPIEXEC, "-n", str(ranks), sys.executable, *map(str, arguments)]
    return subprocess.run(command, cwd=folder, env=env, capture_output=True, text=True, timeout=300)


def answers(done):
    assert done.returncode == 0, done.stderr[-3000:]
    return json.loads(done.stdout)["answers"]


@pytest.fixture(scope="module")
def alone():
    return program.train(ALONE)


@needs_mpi
@pytest.mark.parametrize("ranks", [1, 2, 4])
def test_ranks_do_together_what_one_process_does(ranks, alone):
    done = answers(mpiexec(ranks, *PROGRAM, "everything"))
    for answer in done:
        assert answer["wrong"] == []
        assert max(answer["gaps"][kind] for kind in ("plain", "dropout", "batch norm")) < 1e-12
        assert (answer["gaps"]["local batch norm"] > 1e-3) == (ranks > 1)
        assert_same_training(answer["trained"], alone)
    assert all(answer["trained"] == done[0]["trained"] for answer in done), "ranks have the same bits"


@needs_mpi
@pytest.mark.parametrize("processors", [1, 2])
def test_processors_are_shared_out(processors):
    available = sorted(os.sched_getaffinity(0))[:processors] if hasattr(os, "sched_getaffinity") else []
    if len(available) < processors:
        pytest.skip(f"needs {processors} processors that can be chosen")
    pin = f"import os; os.sched_setaffinity(0, {available}); import tests.distributed.program as p; p.main(['ranks'])"
    done = mpiexec(1 if processors == 1 else 2, "-c", pin, NUMBA_NUM_THREADS="")
    assert json.loads(done.stdout)["threads"] == 1


MISMATCH = """
import os, sys
import numpy as np
from tests.distributed.test_processes import CALLS
from tinycnn.distributed import MismatchError, world
communicator = world()
try:
    CALLS[sys.argv[1]](communicator)
except MismatchError as error:
    print(error, flush=True)
os._exit(0)
"""


@needs_mpi
@pytest.mark.parametrize("kind", ["shape", "dtype", "size", "kind", "second"])
def test_mismatched_operations_name_what_differs(kind):
    done = mpiexec(2, "-c", MISMATCH, kind)
    assert "rank 1 called " in done.stdout and ", rank 0 called allreduce of (" in done.stdout, done.stderr[-2000:]


def history(folder):
    with (folder / "history.csv").open(newline="") as file:
        return [[float(row[name]) for name in ("train_loss", "test_loss")] for row in csv.DictReader(file)]


@needs_mpi
def test_the_command_is_one_program_for_any_number_of_ranks(tmp_path):
    def train(ranks, *arguments):
        done = mpiexec(ranks, *arguments, "--quiet", folder=tmp_path)
        assert done.returncode == 0, done.stderr[-3000:]
        return done.stdout

    train(1, *TINY, "--epochs", 3, "--name", "straight")
    out = train(2, *TINY, "--epochs", 2, "--name", "changing")
    assert out.count("by 2 ranks of 1 thread") == out.count("checkpoint, history and figures") == 1
    out = train(4, *COMMAND, "--resume", "runs/changing", "--epochs", 3)
    assert "by 4 ranks" in out
    straight, changing = (history(tmp_path / "runs" / name) for name in ("straight", "changing"))
    np.testing.assert_allclose(changing, straight, rtol=1e-3)
    assert sorted(path.name for path in (tmp_path / "runs").iterdir()) == ["changing", "straight"]
    files = [{path.name for path in (tmp_path / "runs" / name).iterdir()} for name in ("straight", "changing")]
    assert files[0] == files[1]


@needs_mpi
@pytest.mark.parametrize(
    ("kind", "message"),
    [
        ("dies", ""),  # the launcher's message
        ("fails", "rank 1: division by zero"),
        ("hangs", "rank 1 hangs: the others waited 3 s"),
        ("another model", "rank 1 has another model: Sequential of 618 parameters"),
        ("other data", "rank 1 has another data set: 22 images of 3 classes"),
    ],
)
def test_all_stop_with_one_message_and_the_last_checkpoint_stands(kind, message, tmp_path):
    path, start = tmp_path / "checkpoint.safetensors", time.monotonic()
    done = mpiexec(2, *PROGRAM, "accident", kind, path, TINYCNN_TIMEOUT="3")
    assert done.returncode != 0 and time.monotonic() - start < 60
    assert message in done.stderr and "Traceback" not in done.stderr
    assert done.stderr.count("tinycnn: error: ") == bool(message)
    if kind in ("dies", "fails", "hangs"):  # in the second epoch
        resumed = program.trainer(ALONE)
        resumed.resume(path)
        assert (resumed.loader.epoch, resumed.loader.position) == (1, 0)


@needs_mpi
@pytest.mark.parametrize(
    ("arguments", "limit", "message"),
    [
        (["--model", "resnet19"], "", "unknown model 'resnet19'"),
        (["--epochz", "3"], "", "unknown argument --epochz"),
        ([], "soon", "TINYCNN_TIMEOUT is 'soon'"),
    ],
)
def test_a_wrong_option_is_one_message(arguments, limit, message, tmp_path):
    done = mpiexec(2, *COMMAND, *arguments, folder=tmp_path, TINYCNN_TIMEOUT=limit)
    assert done.returncode != 0 and "Traceback" not in done.stderr
    assert done.stderr.count(f"tinycnn: error: {message}") == done.stderr.count("tinycnn: error") == 1


def test_without_mpiexec_mpi_is_not_imported(monkeypatch):
    for name in ("OMPI_COMM_WORLD_SIZE", "PMI_SIZE", "OMPI_COMM_WORLD_RANK", "PMI_RANK"):
        monkeypatch.delenv(name, raising=False)
    assert world() is ALONE and launched_rank() == 0
    code = "import sys, tinycnn.distributed as d; d.world(); print('mpi4py' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, check=True)
    assert done.stdout.strip() == "False"


def test_a_missing_mpi4py_is_named(monkeypatch):
    monkeypatch.setenv("PMI_SIZE", "4")
    monkeypatch.setitem(sys.modules, "mpi4py", None)
    with pytest.raises(DistributedError, match=r"mpiexec started 4 processes, but mpi4py cannot be used"):
        world()
