"""Weights files: exact round trips, PyTorch's formats, and files that must be refused."""

import collections
import datetime
import io
import os
import pickle
import zipfile
from pathlib import Path

import numpy as np
import pytest

import tinycnn as tc
from tests.weights.pickles import dict_of, tensor, zipped
from tinycnn import weights
from tinycnn.compression import container
from tinycnn.errors import WeightsError
from tinycnn.files.atomic import atomic_write

ARRAYS = {
    "a.weight": np.random.default_rng(0).normal(size=(3, 4)).astype(np.float32),
    "a.bias": np.arange(3.0),
    "count": np.array(7, np.int64),
    "mask": np.array([True, False]),
    "empty": np.zeros((0, 2), np.float32),
}


@pytest.mark.parametrize("suffix", [".safetensors", ".npz"])
def test_round_trip_is_exact(tmp_path, suffix):
    weights.save(tmp_path / f"w{suffix}", ARRAYS)
    loaded = weights.load(tmp_path / f"w{suffix}")
    assert set(loaded) == set(ARRAYS)
    for name, array in ARRAYS.items():
        assert loaded[name].dtype == array.dtype
        np.testing.assert_array_equal(loaded[name], array)


def test_a_model_saves_and_loads(tmp_path):
    first, second = tc.models.resnet8(width=0.5), tc.models.resnet8(width=0.5)
    first.save(tmp_path / "m.safetensors")
    second.load(tmp_path / "m.safetensors")
    assert all((a == b).all() for a, b in zip(first.state_dict().values(), second.state_dict().values()))


@pytest.mark.parametrize("zipped", [True, False])
def test_pytorch_state_dicts_load_without_pytorch(tmp_path, zipped):
    torch = pytest.importorskip("torch")
    base = torch.randn(4, 5)
    state = {
        "plain": torch.randn(2, 3),
        "transposed": base.T,
        "shared": base[1:, ::2],
        "scalar": torch.tensor(3),
        "half": torch.randn(3).half(),
        "brain": torch.randn(3).bfloat16(),
        "empty": torch.zeros(0, 3),
        "parameter": torch.nn.Parameter(torch.randn(2)),
    }
    for tree, name in ((state, "a.pth"), ({"epoch": 3, "state_dict": state}, "b.pt")):
        torch.save(tree, tmp_path / name, _use_new_zipfile_serialization=zipped)
        loaded = weights.load(tmp_path / name)
        for key, value in state.items():
            np.testing.assert_array_equal(loaded[key], value.detach().float().numpy())


@pytest.mark.parametrize("protocol", [2, 4, 5])
@pytest.mark.parametrize("zipped", [True, False])
def test_arrays_paths_and_generators_beside_the_weights_do_not_matter(tmp_path, zipped, protocol):
    torch = pytest.importorskip("torch")
    state = torch.nn.Linear(3, 2).state_dict()
    beside = {
        "history": np.arange(3.0),
        "numpy_rng": ("MT19937", np.zeros(624, np.uint32), 624, 0, 0.0),
        "rng": torch.get_rng_state(),
        "best": np.float64(0.5),
        "path": Path("runs/1"),
        "seen": frozenset({1, 2}),
        "losses": collections.deque([0.5, 0.25], maxlen=5),
        "when": datetime.datetime(2020, 1, 1),
        "raw": [bytearray(b"x"), 1j],
    }
    torch.save(
        {**beside, "state_dict": state},
        tmp_path / "c.pth",
        _use_new_zipfile_serialization=zipped,
        pickle_protocol=protocol,
    )
    assert weights.load(tmp_path / "c.pth").keys() == state.keys()


def test_pytorch_modules_file_loads_with_its_metadata(tmp_path):
    torch = pytest.importorskip("torch")
    net = torch.nn.Sequential(torch.nn.Conv2d(1, 2, 3), torch.nn.BatchNorm2d(2))
    torch.save(net.state_dict(), tmp_path / "n.pth")
    loaded = weights.load(tmp_path / "n.pth")
    assert list(loaded) == list(net.state_dict())


class Runs:
    """Pickles as a call of a function."""

    def __init__(self, function, *arguments):
        self.call = function, arguments

    def __reduce__(self):
        return self.call


HOSTILE = {
    "os.system": pickle.dumps({"x": Runs(os.system, "exit 3")}),
    "eval": pickle.dumps(Runs(eval, "1 + 1")),
    "getattr": pickle.dumps(Runs(getattr, "a", "upper")),
    "inst": b"(S'exit 3'\nios\nsystem\n.",
    "old protocol": pickle.dumps(Runs(os.system, "exit 3"), protocol=0),
    "nested import": pickle.dumps(Runs(__import__, "os")),
    "numpy object": pickle.dumps(np.array([print], dtype=object)),
}


@pytest.mark.parametrize("name", HOSTILE)
@pytest.mark.parametrize("zipped", [True, False])
def test_hostile_pickles_are_refused_by_name(tmp_path, monkeypatch, name, zipped):
    def forbidden(*_):
        raise AssertionError("the file ran code")

    monkeypatch.setattr(os, "system", forbidden)
    path = tmp_path / "evil.pth"
    if zipped:
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr("archive/data.pkl", HOSTILE[name])
    else:
        path.write_bytes(pickle.dumps(0x1950A86A20F9469CFC6C) + pickle.dumps(1001) + pickle.dumps({}) + HOSTILE[name])
    with pytest.raises(WeightsError, match=r"is refused: it asks for [\w.]+, and only tensors are built"):
        weights.load(path)


def saved_pth(torch, tmp_path):
    torch.save({"w": torch.randn(50, 50)}, tmp_path / "whole.pth")
    return (tmp_path / "whole.pth").read_bytes()


@pytest.mark.parametrize("share", [0.0, 0.01, 0.3, 0.7, 0.99])
def test_truncated_files_are_refused(tmp_path, share):
    torch = pytest.importorskip("torch")
    weights.save(tmp_path / "w.safetensors", ARRAYS)
    weights.save(tmp_path / "w.npz", ARRAYS)
    files = {s: (tmp_path / f"w{s}").read_bytes() for s in (".safetensors", ".npz")}
    files[".pth"] = saved_pth(torch, tmp_path)
    for suffix, data in files.items():
        path = tmp_path / f"cut{suffix}"
        path.write_bytes(data[: int(share * len(data))])
        with pytest.raises(WeightsError, match="cut"):
            weights.load(path)


PTH = zipped(dict_of(w=tensor()))


@pytest.mark.parametrize("name", ["w", "w.pth", "w.npz", "w.safetensors", "w.tcz", "w.bin", "w.SAFETENSORS", "ü.1"])
def test_the_content_is_the_format_whatever_the_name(tmp_path, name):
    arrays = {"w": np.arange(6, dtype=np.float32)}
    writers = weights.save_safetensors, weights.save_npz, container.save, lambda path, _: path.write_bytes(PTH)
    for write in writers:
        write(tmp_path / name, arrays)
        assert (weights.load(tmp_path / name)["w"] == arrays["w"]).all()


@pytest.mark.parametrize("length", [0x80, 0x02_80, 0x8B_1F, 0x7B])
def test_a_safetensors_length_may_look_like_another_format(tmp_path, length):
    text = b'{"w":{"dtype":"U8","shape":[1],"data_offsets":[0,1]}}'
    text += b" " * (length - len(text))
    (tmp_path / "w.pth").write_bytes(len(text).to_bytes(8, "little") + text + b"\5")
    assert weights.load(tmp_path / "w.pth")["w"].tolist() == [5]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "unknown format, expected the content of a .safetensors, .npz, .tcz or PyTorch"),
        (b"hello", "unknown format"),
        (bytes(100), "unknown format"),
        (b"\x1f\x8b" + bytes(100), "compressed with gzip: unpack it first"),
        (b"\x89HDF\r\n\x1a\n" + bytes(100), "an HDF5 file"),
        (b"version https://git-lfs.github.com/spec/v1\noid", "git lfs pull"),
        (b"<!DOCTYPE html><html>", "a web page"),
        (b"\x93NUMPY\x01\x00", "one array"),
        (b"PK\x03\x04" + bytes(100), "no table of contents"),
    ],
)
def test_other_files_are_called_what_they_are(tmp_path, content, message):
    (tmp_path / "w.bin").write_bytes(content)
    with pytest.raises(WeightsError, match=message) as caught:
        weights.load(tmp_path / "w.bin")
    assert str(tmp_path / "w.bin") in str(caught.value)


def test_an_archive_of_something_else_is_refused_with_its_members(tmp_path):
    with zipfile.ZipFile(tmp_path / "w.pth", "w") as archive:
        archive.writestr("word/document.xml", "x")
    with pytest.raises(WeightsError, match=r"neither data.pkl.*word/document.xml"):
        weights.load(tmp_path / "w.pth")


@pytest.mark.parametrize("suffix", [".safetensors", ".npz", ".NPZ"])
def test_tensors_are_saved_as_arrays(tmp_path, suffix):
    state = {"leaf": tc.Tensor(np.ones(2, np.float32), requires_grad=True), "list": [1.0, 2.0], "number": 3}
    weights.save(tmp_path / f"w{suffix}", state)
    back = weights.load(tmp_path / f"w{suffix}")
    assert back["leaf"].tolist() == [1, 1] and back["list"].tolist() == [1, 2] and back["number"] == 3


def test_a_network_whose_child_is_called_module_loads_its_own_file(tmp_path):
    class Wrapper(tc.nn.Module):
        """A network with one child."""

        def __init__(self):
            super().__init__()
            self.module = tc.nn.Linear(2, 2)

    first, second, bare = Wrapper(), Wrapper(), tc.nn.Linear(2, 2)
    first.save(tmp_path / "w.npz")
    second.load(tmp_path / "w.npz")
    bare.load(tmp_path / "w.npz")
    assert (second.module.weight.data == first.module.weight.data).all()
    assert (bare.weight.data == first.module.weight.data).all()


def test_missing_files_and_names_of_no_format(tmp_path):
    for name in ("w.npz", "w.bin", "w"):
        with pytest.raises(FileNotFoundError, match="there is no file"):
            weights.load(tmp_path / name)
    with pytest.raises(WeightsError, match="is a folder, expected a weights file"):
        weights.load(tmp_path)
    with pytest.raises(WeightsError, match=r"expected a name that ends in [.]safetensors, [.]npz"):
        weights.save(tmp_path / "w.pth", ARRAYS)


def test_a_failed_write_leaves_the_old_file_and_no_other(tmp_path):
    path = tmp_path / "w.npz"
    weights.save(path, {"w": np.zeros(2)})
    before = path.read_bytes()
    message = r"cannot write .*w.npz \(No space left on device\); what was there is unchanged"
    with pytest.raises(OSError, match=message), atomic_write(path) as file:
        file.write(b"half")
        raise OSError(28, "No space left on device")
    assert path.read_bytes() == before and os.listdir(tmp_path) == ["w.npz"]


@pytest.mark.skipif(os.name == "nt", reason="Windows has no umask to follow")
@pytest.mark.parametrize("mask", [0o022, 0o077])
def test_files_have_the_mode_of_the_users_umask(tmp_path, mask):
    before = os.umask(mask)
    try:
        weights.save(tmp_path / "w.npz", {"w": np.zeros(2)})
    finally:
        os.umask(before)
    assert (tmp_path / "w.npz").stat().st_mode & 0o777 == 0o666 & ~mask


def test_a_folder_that_is_not_there_is_named(tmp_path):
    with pytest.raises(OSError, match=r"cannot write .*w\.npz \(No such file or directory\)"):
        weights.save(tmp_path / "nowhere" / "w.npz", {"w": np.zeros(2)})


@pytest.mark.parametrize("content", [b"hi", b""])
def test_text_is_no_archive(tmp_path, content):
    (tmp_path / "w.npz").write_bytes(content)
    with pytest.raises(WeightsError, match=r"w\.npz: not an \.npz archive, or truncated"):
        weights.load(tmp_path / "w.npz")


def test_npz_with_objects_is_refused(tmp_path):
    stream = io.BytesIO()
    np.savez(stream, w=np.array([print], dtype=object))
    (tmp_path / "o.npz").write_bytes(stream.getvalue())
    with pytest.raises(WeightsError, match=r"not an \.npz archive of arrays"):
        weights.load(tmp_path / "o.npz")
