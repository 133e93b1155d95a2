"""Data sets by name, with conversions and helpful refusals."""

import numpy as np
import pytest

from tinycnn.data import default_root, load
from tinycnn.errors import DataError, UnknownNameError


def write_npz(path, **extra):
    images = np.random.default_rng(0).integers(256, size=(8, 5, 7), dtype=np.uint8)
    np.savez(path, images=images, labels=np.arange(8) % 2, **extra)


def test_npz_is_resized_coloured_and_limited(tmp_path):
    write_npz(tmp_path / "a.npz", classes=np.array(["cat", "dog"]))
    data = load("npz", root=tmp_path / "a.npz", size=4, channels=3, limit=5)
    assert data.images.shape == (5, 3, 4, 4) and data.classes == ("cat", "dog")
    assert (data.images[:, 0] == data.images[:, 2]).all()


def test_npz_without_splits_is_divided_and_no_image_is_in_both(tmp_path):
    images = np.arange(12, dtype=np.uint8)[:, None, None] * np.ones((1, 3, 3), np.uint8)
    np.savez(tmp_path / "a.npz", images=images, labels=np.arange(12) % 2)
    train, test = (load("npz", split, tmp_path / "a.npz").images[:, 0, 0, 0].tolist() for split in ("train", "test"))
    assert test == [8, 9] and sorted(train + test) == list(range(12))


def test_a_limited_folder_has_images_of_every_class(tmp_path):
    image = pytest.importorskip("PIL.Image").new("RGB", (4, 4))
    for split in ("train", "test"):
        for name in "abc":
            (tmp_path / split / name).mkdir(parents=True)
            for number in range(4):
                image.save(tmp_path / split / name / f"{number}.png")
    assert sorted(load("folder", "train", tmp_path, 4, limit=3).labels.tolist()) == [0, 1, 2]


def write_colour(path, images):
    np.savez(path, images=np.repeat(images, 4, axis=0), labels=np.arange(4) % 2)
    return path


def test_grey_has_the_weights_of_luminance(tmp_path):
    colours = np.zeros((1, 3, 4, 4), np.uint8)
    colours[0, 0, 0], colours[0, 1, 1], colours[0, 2, 2], colours[0, :, 3] = 255, 255, 255, 200
    grey = load("npz", root=write_colour(tmp_path / "a.npz", colours), channels=1).images[0, 0, :, 0]
    assert grey.tolist() == [76, 150, 29, 200]  # 0.299, 0.587 and 0.114 of 255
    floats = load("npz", root=write_colour(tmp_path / "f.npz", (colours / 255).astype(np.float32)), channels=1)
    np.testing.assert_allclose(floats.images[0, 0, :, 0], [0.299, 0.587, 0.114, 200 / 255], rtol=1e-6)


@pytest.mark.parametrize("count", [2, 4, 13])
@pytest.mark.parametrize("channels", [1, 3])
def test_other_numbers_of_channels_are_not_converted(tmp_path, count, channels):
    path = write_colour(tmp_path / "a.npz", np.zeros((1, count, 4, 4), np.uint8))
    assert load("npz", root=path).images.shape[1] == count
    with pytest.raises(DataError, match=f"images of {count} channels cannot become images of {channels}"):
        load("npz", root=path, channels=channels)


def test_a_range_of_values_is_for_folders(tmp_path):
    pillow = pytest.importorskip("PIL.Image")
    for name in "ab":
        (tmp_path / name).mkdir()
        for number in range(2):
            pillow.fromarray(np.full((4, 4), 1000, np.uint16)).save(tmp_path / name / f"{number}.png")
    assert load("folder", root=tmp_path, size=4, channels=1).images.max() == 3
    assert load("folder", root=tmp_path, size=4, channels=1, value_range="0,2000").images.max() == 128
    with pytest.raises(DataError, match="glyphs: value_range is '0,1', expected None: it is for images of a folder"):
        load("glyphs", value_range="0,1")


def test_the_range_of_a_run_reaches_its_folder(tmp_path):
    from tinycnn.runs import Settings, datasets

    pillow = pytest.importorskip("PIL.Image")
    for name in "ab":
        (tmp_path / name).mkdir()
        for number in range(2):
            pillow.fromarray(np.full((8, 8), 0.5, np.float32)).save(tmp_path / name / f"{number}.tif")
    settings = Settings(data="folder", root=str(tmp_path), image_size=8, channels=1)
    with pytest.raises(DataError, match=r"\.tif: its pixels are floats \(here from 0\.5 to 0\.5\).*--value-range"):
        datasets(settings)
    settings.value_range = "0,1"
    assert [data.images.max() for data in datasets(settings)] == [128, 128]


def test_npz_with_splits(tmp_path):
    images = np.zeros((3, 1, 4, 4), np.uint8)
    arrays = {f"{s}_{k}": v for s in ("train", "test") for k, v in (("images", images), ("labels", np.arange(3)))}
    np.savez(tmp_path / "b.npz", **arrays)
    assert len(load("npz", "test", tmp_path / "b.npz")) == 3


def test_damaged_or_incomplete_npz(tmp_path):
    (tmp_path / "c.npz").write_bytes(b"PK\x03\x04 no")
    with pytest.raises(DataError, match=r"c\.npz is refused: .*truncated"):
        load("npz", root=tmp_path / "c.npz")
    np.savez(tmp_path / "o.npz", images=np.array([None, None]), labels=np.arange(2))
    with pytest.raises(DataError, match=r"o\.npz is refused: not an .npz archive of arrays"):
        load("npz", root=tmp_path / "o.npz")
    np.savez(tmp_path / "s.npz", train_images=np.zeros((2, 4, 4), np.uint8), train_labels=np.arange(2))
    with pytest.raises(DataError, match="lacks test_images and test_labels; it has train_images, train_labels"):
        load("npz", "test", tmp_path / "s.npz")
    np.savez(tmp_path / "n.npz", images=np.zeros((4, 9, 9, 3), np.uint8), labels=np.arange(4))
    with pytest.raises(DataError, match=r"look like \(N, H, W, C\), expected \(N, C, H, W\): save images.transpose"):
        load("npz", root=tmp_path / "n.npz")
    np.savez(tmp_path / "d.npz", pictures=np.zeros(3))
    with pytest.raises(DataError, match="lacks images and labels; it has pictures"):
        load("npz", root=tmp_path / "d.npz")
    with pytest.raises(DataError, match="there is no file"):
        load("npz", root=tmp_path / "e.npz")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"size": 0}, "glyphs: size is 0, expected at least 1"),
        ({"channels": 0}, "glyphs: channels is 0, expected 1 or 3"),
        ({"limit": 0}, "glyphs: limit is 0, expected at least 1"),
        ({"limit": 2.5}, "glyphs: limit is 2.5, expected at least 1"),
        ({"size": "a"}, "glyphs: size is 'a', expected at least 1"),
        ({"channels": True}, "glyphs: channels is True, expected 1 or 3"),
        ({"root": 3}, "glyphs: root is 3, expected a path"),
        ({"split": "valid"}, "glyphs: split is 'valid', expected 'train' or 'test'"),
    ],
)
def test_bad_arguments_golden(options, message):
    with pytest.raises(DataError) as caught:
        load("glyphs", **options)
    assert str(caught.value) == message


def test_unknown_name_suggests_the_nearest():
    with pytest.raises(UnknownNameError, match="unknown data set 'MNIST'; did you mean mnist or kmnist"):
        load("MNIST")
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
