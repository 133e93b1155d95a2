"""Checkpoints: exact restoration, refusals, and survival of a kill or a full disk."""

import errno
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import tinycnn as tc
from tinycnn import nn
from tinycnn.checkpoint import load_checkpoint, reading_checkpoint, save_checkpoint
from tinycnn.errors import CheckpointError, UnknownNameError
from tinycnn.weights.safetensors import save_safetensors

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
    array = load_checkpoint(path)["model"]["layer1.0.weight"]
    array[0, 1, 2] = 30
    assert array.tolist() == [[[0, 1, 2], [3, 4, 30]]]


def test_truncations_are_refused(path):
    save_checkpoint(path, STATE)
    whole = path.read_bytes()
    for length in (*range(0, len(whole), 11), len(whole) - 1):
        path.write_bytes(whole[:length])
        with pytest.raises(CheckpointError, match="is damaged"):
            load_checkpoint(path)


def test_every_changed_byte_is_noticed_and_the_file_named(path):
    save_checkpoint(path, STATE)
    whole = path.read_bytes()
    for at in range(len(whole)):
        path.write_bytes(whole[:at] + bytes([whole[at] ^ (1 << at % 8)]) + whole[at + 1 :])
        with pytest.raises(CheckpointError) as caught:
            load_checkpoint(path)
        assert str(path) in str(caught.value)


def test_swapped_and_zeroed_pieces_are_noticed(path):
    save_checkpoint(path, STATE)
    whole = path.read_bytes()
    rng = np.random.default_rng(0)
    for _ in range(60):
        one, two = sorted(int(n) for n in rng.choice(len(whole) - 8, 2, replace=False))
        swapped = whole[:one] + whole[two : two + 4] + whole[one + 4 : two] + whole[one : one + 4] + whole[two + 4 :]
        zeroed = whole[:one] + bytes(8) + whole[one + 8 :]
        for other in (swapped, zeroed, whole[:one] + b"0" + whole[one + 1 :]):
            path.write_bytes(other)
            if other != whole:
                with pytest.raises(CheckpointError):
                    load_checkpoint(path)


def first_format(path, tree, arrays, **metadata):
    save_safetensors(path, arrays, {"format": "1", "tree": json.dumps(tree), **metadata})


def test_checkpoints_of_the_first_format_still_load(path):
    tree = {"model": {"w": {"array": "model/w"}}, "betas": [0.9], "state": {"0": {"items": [1]}}, "nan": float("inf")}
    first_format(path, tree, {"model/w": np.arange(3.0)})
    assert_equal(load_checkpoint(path), {**tree, "model": {"w": np.arange(3.0)}})


@pytest.mark.parametrize("number", ["0", "3", "two", "", "11"])
def test_another_format_number_is_refused(path, number):
    save_safetensors(path, {}, {"format": number, "tree": "{}"}, checksum=True)
    with pytest.raises(
        CheckpointError, match=f"checkpoint.safetensors is not a checkpoint.*format is {number}, expected 2"
    ):
        load_checkpoint(path)


@pytest.mark.parametrize(
    ("tree", "checksum", "message"),
    [
        ("{}", False, "has no checksum"),
        ("[]", True, "its tree is a list, expected a dict"),
        ("{", True, "is refused"),
        ('{"a": {"array": "missing"}}', True, "KeyError"),
        ('{"a": {"items": 1}}', True, "TypeError"),
        ('{"a": {"scalar": ["O8", "00"]}}', True, "is not a dtype"),
        ('{"a": ' + "[" * 150_000 + "]" * 150_000 + "}", True, "is refused"),
    ],
)
def test_wrong_trees_are_refused_and_the_file_named(path, tree, checksum, message):
    save_safetensors(path, {}, {"format": "2", "tree": tree}, checksum)
    with pytest.raises(CheckpointError, match=message) as caught:
        load_checkpoint(path)
    assert str(path) in str(caught.value)


@pytest.mark.parametrize(
    ("state", "message"),
    [
        ({"a": {"b": {1, 2}}}, "the entry 'a/b' is a set, expected dicts, lists"),
        ({"a": [Path("x")]}, "the entry 'a/0' is a"),
        ({"m": np.array([None])}, "the entry 'm' is an array of object"),
        ([1], "the state is a list, expected a dict"),
        ({"text": "a" * 2**24}, "the safetensors header has"),
    ],
)
def test_what_would_not_come_back_is_refused_when_saved(path, state, message):
    save_checkpoint(path, STATE)
    with pytest.raises(CheckpointError, match=message):
        save_checkpoint(path, state)
    assert_equal(STATE, load_checkpoint(path))


def test_keys_and_types_come_back(path):
    state = {0: "a", "0": ("b", [None]), "array": {"array": np.arange(2)}, "a/b": {"c": np.ones(1)}, "a": {"b/c": b"x"}}
    save_checkpoint(path, state)
    back = load_checkpoint(path)
    assert list(back) == list(state) and back["0"] == ("b", [None]) and back["a"] == state["a"]
    assert back["array"]["array"].tolist() == [0, 1] and back["a/b"]["c"].tolist() == [1]


def test_a_reader_of_the_tree_names_the_file(path):
    for error in (KeyError("model"), AttributeError("no"), TypeError("no"), IndexError("no"), UnknownNameError("no")):
        with pytest.raises(CheckpointError, match=r"checkpoint\.safetensors is refused"), reading_checkpoint(path):
            raise error


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
    """The system itself refuses further writing, in a process that may write 4 kB."""
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
