"""Damaged files of every format: each is refused by name or read as it was, never anything else."""

import collections
import io

import numpy as np
import pytest

from tests.weights.pickles import dict_of, legacy, storage, tensor, zipped
from tinycnn import weights
from tinycnn.checkpoint import load_checkpoint, save_checkpoint
from tinycnn.compression import container
from tinycnn.errors import CheckpointError, WeightsError

ARRAYS = {
    "layer.weight": np.random.default_rng(0).normal(size=(20, 10)).astype(np.float32).round(1),
    "layer.bias": np.arange(10.0),
    "count": np.array(7, np.int64),
}


def packed_npz(path):
    stream = io.BytesIO()
    np.savez_compressed(stream, **ARRAYS)
    path.write_bytes(stream.getvalue())


def pickled(layout):
    kinds = {"float32": "FloatStorage", "float64": "DoubleStorage", "int64": "LongStorage"}
    tensors, data = {}, {}
    for key, (name, array) in enumerate(ARRAYS.items()):
        strides = [n // array.itemsize for n in array.strides]
        store = storage(str(key), array.size, kinds[array.dtype.name])
        tensors[name], data[str(key)] = tensor(store, 0, array.shape, strides), array.tobytes()
    if layout is zipped:
        return zipped(dict_of(**tensors), data)
    sizes = {str(key): array.itemsize for key, array in enumerate(ARRAYS.values())}
    whole = legacy(dict_of(**tensors), dict.fromkeys(data, b""))
    body = b"".join((len(v) // sizes[k]).to_bytes(8, "little") + v for k, v in data.items())
    return whole[: len(whole) - 8 * len(data)] + body


WRITERS = {
    "pth (zip)": lambda path: path.write_bytes(pickled(zipped)),
    "pth (legacy)": lambda path: path.write_bytes(pickled(legacy)),
    "safetensors": lambda path: weights.save_safetensors(path, ARRAYS),
    "npz": lambda path: weights.save_npz(path, ARRAYS),
    "npz (compressed)": packed_npz,
    "tcz": lambda path: container.save(path, ARRAYS),
    "checkpoint": lambda path: save_checkpoint(path, {"model": ARRAYS, "epoch": 3, "history": [{"loss": 0.25}]}),
}
CHECKED = ("pth (zip)", "npz", "npz (compressed)", "tcz", "checkpoint")
"""Formats with checksums: what is read from a damaged file is what was written."""


def mutate(data, rng):
    """Return damaged bytes, as disks, transfers and people damage them."""
    at, length = int(rng.integers(len(data))), int(rng.integers(1, 64))
    other = int(rng.integers(len(data)))
    return [
        lambda: data[:at],
        lambda: data[:at] + bytes([data[at] ^ 1 << int(rng.integers(8))]) + data[at + 1 :],
        lambda: data[:at] + rng.bytes(length) + data[at + length :],
        lambda: data[:at] + bytes(length) + data[at + length :],
        lambda: data[:at] + data[at + length :],
        lambda: data[:at] + rng.bytes(length) + data[at:],
        lambda: data[:at] + data[other : other + length] + data[at + length :],
        lambda: data[:at] + b"\xff" * length + data[at + length :],
        lambda: data + rng.bytes(length),
        lambda: rng.bytes(length) + data,
    ][rng.integers(10)]()


def flat(tree, path=""):
    if isinstance(tree, dict):
        return [leaf for key in tree for leaf in flat(tree[key], f"{path}/{key}")]
    return [(path, np.asarray(tree).dtype.str, np.shape(tree), np.asarray(tree).tobytes())]


def survive(tmp_path, name, count, seed):
    """Count the ends of ``count`` damaged files: refused, same, or other."""
    path = tmp_path / "w"
    WRITERS[name](path)
    load, kind = (load_checkpoint, CheckpointError) if name == "checkpoint" else (weights.load, WeightsError)
    whole, expected = path.read_bytes(), sorted(flat(load(path)))
    rng = np.random.default_rng(seed)
    seen = collections.Counter()
    for _ in range(count):
        path.write_bytes(mutate(whole, rng))
        try:
            seen["same" if sorted(flat(load(path))) == expected else "other"] += 1
        except kind as error:
            assert str(path) in str(error)
            seen["refused"] += 1
    return seen


def check(name, seen, count):
    assert sum(seen.values()) == count
    assert seen["refused"] > count / 3
    if name in CHECKED:
        assert not seen["other"]


@pytest.mark.parametrize("name", WRITERS)
def test_damaged_files_are_refused_or_the_same(tmp_path, name):
    check(name, survive(tmp_path, name, 40, 0), 40)


@pytest.mark.slow
@pytest.mark.parametrize("name", WRITERS)
def test_many_damaged_files_are_refused_or_the_same(tmp_path, name):
    check(name, survive(tmp_path, name, 2000, 1), 2000)
