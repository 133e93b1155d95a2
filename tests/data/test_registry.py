"""Data sets by name, with conversions and helpful refusals."""

import numpy as np
import pytest

from tinycnn.data import default_root, load
from tinycnn.errors import DataError, UnknownNameError


def write_npz(path, **extra):
    images = np.random.default_rng(0).integers(256, size=(6, 5, 7), dtype=np.uint8)
    np.savez(path, images=images, labels=np.arange(6) % 2, **extra)


def test_npz_is_resized_coloured_and_limited(tmp_path):
    write_npz(tmp_path / "a.npz", classes=np.array(["cat", "dog"]))
    data = load("npz", root=tmp_path / "a.npz", size=4, channels=3, limit=5)
    assert data.images.shape == (5, 3, 4, 4) and data.classes == ("cat", "dog")
    assert (data.images[:, 0] == data.images[:, 2]).all()


def test_npz_with_splits(tmp_path):
    images = np.zeros((3, 1, 4, 4), np.uint8)
    arrays = {f"{s}_{k}": v for s in ("train", "test") for k, v in (("images", images), ("labels", np.arange(3)))}
    np.savez(tmp_path / "b.npz", **arrays)
    assert len(load("npz", "test", tmp_path / "b.npz")) == 3


def test_damaged_or_incomplete_npz(tmp_path):
    (tmp_path / "c.npz").write_bytes(b"PK\x03\x04 no")
    with pytest.raises(DataError, match="is not an archive of arrays, or damaged"):
        load("npz", root=tmp_path / "c.npz")
    np.savez(tmp_path / "d.npz", pictures=np.zeros(3))
    with pytest.raises(DataError, match="lacks images and labels; it has pictures"):
        load("npz", root=tmp_path / "d.npz")
    with pytest.raises(DataError, match="there is no file"):
        load("npz", root=tmp_path / "e.npz")


def test_unknown_name_suggests_the_nearest():
    with pytest.raises(UnknownNameError, match="unknown data set 'minst'; did you mean"):
        load("minst")


@pytest.mark.parametrize("name", ["mnist", "kmnist", "cifar10", "cifar100"])
def test_missing_files_say_what_is_wanted_and_how_to_get_it(name, tmp_path):
    with pytest.raises(DataError) as caught:
        load(name, root=tmp_path)
    message = str(caught.value)
    assert f"tinycnn data fetch {name}" in message and "glyphs" in message and str(tmp_path) in message


def test_the_root_comes_from_the_environment(monkeypatch, tmp_path):
    monkeypatch.setenv("TINYCNN_DATA", str(tmp_path))
    assert default_root() == tmp_path
