"""Checkpoints: what comes back, what is refused, and what survives a kill or a full disk."""

import errno
import os
import subprocess
import sys

import numpy as np
import pytest

import tinycnn as tc
from tinycnn import nn
from tinycnn.checkpoint import load_checkpoint, save_checkpoint
from tinycnn.errors import CheckpointError

STATE = {
    "model": {"layer1.0.weight": np.arange(6, dtype=np.float32).reshape(1, 2, 3), "count": np.array(7)},
    "optimizer": {"groups": [{"lr": 0.1, "betas": [0.9, 0.999]}], "state": {"0": {"step": 3, "m": np.ones((2, 0, 3))}}},
    "generator": {"seed": 0, "streams": 2, "numpy": {"state": 2**127 + 1, "name": "PCG64"}},
    "history": [{"epoch": 1, "loss": 0.1 + 0.2, "best": float("inf")}, {}],
    "schedule": None,
    "words": ["a", "ü", True, False, np.float64(0.3), np.int64(5)],
}


@pytest.fixture
def path(tmp_path):
    return tmp_path / "checkpoint.safetensors"


def assert_equal(one, other):
    if isinstance(one, dict):
        assert one.keys() == other.keys()
        for key in one:
            assert_equal(one[key], other[key])
    elif isinstance(one, np.ndarray):
        assert (one.dtype, one.shape) == (other.dtype, other.shape)
        np.testing.assert_array_equal(one, other)
    elif isinstance(one, list):
        assert len(one) == len(other)
        for a, b in zip(one, other):
            assert_equal(a, b)
    else:
        assert one == other


def test_all_comes_back(path):
    save_checkpoint(path, STATE)
    assert_equal(STATE, load_checkpoint(path))
    assert [file.name for file in path.parent.iterdir()] == [path.name]


def test_arrays_that_come_back_can_be_written_to(path):
    save_checkpoint(path, STATE)
    load_checkpoint(path)["model"]["layer1.0.weight"][0, 1, 2] = 3


def test_truncations_are_refused(path):
    save_checkpoint(path, STATE)
    whole = path.read_bytes()
    for length in (*range(0, len(whole), 11), len(whole) - 1):
        path.write_bytes(whole[:length])
        with pytest.raises(CheckpointError, match="is damaged"):
            load_checkpoint(path)


def test_damaged_bytes_are_refused_or_harmless(path):
    """Whatever single byte of the header is destroyed: an error of ours, or a tree, never anything else."""
    save_checkpoint(path, STATE)
    whole = path.read_bytes()
    end = 8 + int.from_bytes(whole[:8], "little")
    for place in range(0, end, 3):
        path.write_bytes(whole[:place] + bytes([whole[place] ^ 0x15]) + whole[place + 1 :])
        try:
            assert isinstance(load_checkpoint(path), dict)
        except CheckpointError as error:
            assert str(path) in str(error)


def test_other_files_are_refused_by_name(path, tmp_path):
    with pytest.raises(CheckpointError, match=r"checkpoint: there is no file .*checkpoint\.safetensors"):
        load_checkpoint(path)
    path.write_bytes(b"")
    with pytest.raises(CheckpointError, match="is damaged"):
        load_checkpoint(path)
    path.write_bytes(b"PK\x03\x04" + bytes(400))
    with pytest.raises(CheckpointError, match="is damaged"):
        load_checkpoint(path)
    nn.Linear(3, 2).save(tmp_path / "model.safetensors")
    with pytest.raises(CheckpointError, match=r"model\.safetensors is not a checkpoint of this version"):
        load_checkpoint(tmp_path / "model.safetensors")


def test_a_write_that_fails_leaves_the_last_good_one(path, monkeypatch):
    save_checkpoint(path, STATE)

    def fail(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    for step in ("fsync", "replace"):
        with monkeypatch.context() as patch:
            patch.setattr(os, step, fail)
            with pytest.raises(OSError, match="No space left on device"):
                save_checkpoint(path, {"other": np.zeros(1000)})
    assert_equal(STATE, load_checkpoint(path))
    assert [file.name for file in path.parent.iterdir()] == [path.name]


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no limit on file sizes to fill the disk with")
def test_a_really_full_disk(path):
    """The system itself refuses to write on, in a process that may write 4 kB."""
    save_checkpoint(path, STATE)
    code = f"""
import resource, numpy as np
from tinycnn.checkpoint import save_checkpoint
resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096))
try:
    save_checkpoint({str(path)!r}, {{"big": np.zeros(100_000)}})
except OSError as error:
    print("refused:", error)
"""
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert out.startswith("refused:")
    assert "cannot write" in out
    assert_equal(STATE, load_checkpoint(path))
    assert [file.name for file in path.parent.iterdir()] == [path.name]


def test_a_kill_while_writing_leaves_the_last_good_one(path):
    save_checkpoint(path, STATE)
    code = f"""
import os, numpy as np
from tinycnn.checkpoint import save_checkpoint
os.fsync = lambda _: os._exit(9)
save_checkpoint({str(path)!r}, {{"big": np.zeros(100_000)}})
"""
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 9
    assert_equal(STATE, load_checkpoint(path))


def test_nothing_in_it_is_a_pickle(path):
    save_checkpoint(path, STATE)
    data = path.read_bytes()
    header = int.from_bytes(data[:8], "little")
    assert data[8:10] == b'{"'
    assert set(tc.weights.load(path)) == {"model/layer1.0.weight", "model/count", "optimizer/state/0/m"}
    assert len(data) == 8 + header + 6 * 4 + 8
