"""CIFAR's binary records: the folders that are searched, the arrays that are read, and the errors for damaged files."""

import pickle
import re

import numpy as np
import pytest

from tinycnn.data.cifar import CIFAR, load_cifar
from tinycnn.errors import DataError


def records(labels, seed=0):
    """Return records with the given label bytes (n, label bytes) and random pixels; the pixels too."""
    labels = np.asarray(labels, np.uint8)
    pixels = np.random.default_rng(seed).integers(0, 256, (len(labels), 3072), dtype=np.uint8)
    return np.concatenate([labels, pixels], axis=1).tobytes(), pixels.reshape(-1, 3, 32, 32)


def raises(message):
    return pytest.raises(DataError, match=f"^{re.escape(message)}$")


@pytest.mark.parametrize("layout", [".", "cifar10", "cifar-10-batches-bin", "cifar10/cifar-10-batches-bin"])
def test_layouts(tmp_path, layout):
    (tmp_path / layout).mkdir(parents=True, exist_ok=True)
    data, pixels = records([[3], [9], [0]])
    (tmp_path / layout / "test_batch.bin").write_bytes(data)
    images, labels, classes = load_cifar("cifar10", tmp_path, "test")
    np.testing.assert_array_equal(images, pixels)
    np.testing.assert_array_equal(labels, [3, 9, 0])
    assert (images.dtype, labels.dtype, classes[3], classes[9]) == (np.uint8, np.int64, "cat", "truck")


def test_planes_are_red_green_blue_by_rows(tmp_path):
    planes = np.arange(3072, dtype=np.uint32).astype(np.uint8)
    (tmp_path / "test_batch.bin").write_bytes(b"\5" + planes.tobytes())
    image = load_cifar("cifar10", tmp_path, "test")[0][0]
    assert image[2, 7, 11] == (2 * 1024 + 7 * 32 + 11) % 256


def test_some_batches_in_their_order(tmp_path):
    first, pixels_first = records([[1], [2]], 1)
    second, pixels_second = records([[7]], 2)
    (tmp_path / "data_batch_4.bin").write_bytes(second)
    (tmp_path / "data_batch_2.bin").write_bytes(first)
    images, labels, _ = load_cifar("cifar10", tmp_path, "train")
    np.testing.assert_array_equal(labels, [1, 2, 7])
    np.testing.assert_array_equal(images, np.concatenate([pixels_first, pixels_second]))


def test_one_file_of_training_records(tmp_path):
    (tmp_path / "train_batch.bin").write_bytes(records([[4]])[0])
    assert load_cifar("cifar10", tmp_path, "train")[1].tolist() == [4]


def test_fine_labels_of_cifar100(tmp_path):
    data, pixels = records([[19, 0], [4, 99]])
    for file in ("train.bin", "test.bin"):
        (tmp_path / file).write_bytes(data)
        images, labels, classes = load_cifar("cifar100", tmp_path, file[:-4])
        np.testing.assert_array_equal(images, pixels)
        assert labels.tolist() == [0, 99]
    assert (len(classes), classes[0], classes[99]) == (100, "apple", "worm")
    assert list(classes) == sorted(set(classes))


@pytest.mark.parametrize(
    ("size", "whole", "over"), [(0, 0, 0), (3072, 0, 3072), (3074, 1, 1), (2 * 3073 + 500, 2, 500)]
)
def test_truncated_golden(tmp_path, size, whole, over):
    path = tmp_path / "data_batch_1.bin"
    path.write_bytes(b"\0" * size)
    with raises(
        f"{path}: {size} bytes is {whole} records of 3073 bytes and {over} bytes over, "
        "expected one or more whole records (truncated?)"
    ):
        load_cifar("cifar10", tmp_path, "train")


def test_label_outside_golden(tmp_path):
    for name, labels in (("data_batch_1.bin", [[1]]), ("data_batch_2.bin", [[9], [10]])):
        (tmp_path / name).write_bytes(records(labels)[0])
    with raises(f"{tmp_path / 'data_batch_2.bin'}: record 1 has label 10, expected 0 to 9"):
        load_cifar("cifar10", tmp_path, "train")


def test_missing_golden(tmp_path):
    with raises(
        "\n".join(
            [
                f"cifar100: no test file found under {tmp_path}. Looked for test.bin in:",
                f"  {tmp_path / 'cifar100' / 'cifar-100-binary'}",
                f"  {tmp_path / 'cifar100'}",
                f"  {tmp_path / 'cifar-100-binary'}",
                f"  {tmp_path}",
                "and for the Python version (the same names without .bin) in cifar-100-python.",
                f"To place it by hand, unpack this (the binary version) into {tmp_path / 'cifar100'}:",
                "  cifar-100-binary.tar.gz  md5 03b5dce01913d631647c71ecec9e9cb8",
                "To use a folder elsewhere: --root FOLDER",
                "To download it: tinycnn data fetch cifar100",
                "To work without any download: --data glyphs",
            ]
        )
    ):
        load_cifar("cifar100", tmp_path, "test")


def test_missing_names_what_is_there(tmp_path):
    (tmp_path / "cifar10").mkdir()
    for name in ("cifar-10-matlab.tar.gz", ".hidden", *(f"z{number}" for number in range(9))):
        (tmp_path / "cifar10" / name).touch()
    with pytest.raises(DataError) as caught:
        load_cifar("cifar10", tmp_path, "test")
    assert f"In {tmp_path} there is: 'cifar10'\n" in str(caught.value)
    assert f"In {tmp_path / 'cifar10'} there is: 'cifar-10-matlab.tar.gz', 'z0'" in str(caught.value)
    assert "'z6' and 2 more" in str(caught.value) and ".hidden" not in str(caught.value)


@pytest.mark.parametrize("layout", [".", "cifar10", "cifar-10-batches-py", "cifar10/cifar-10-batches-py"])
def test_the_python_version_is_found(tmp_path, layout):
    folder = tmp_path / layout
    folder.mkdir(parents=True, exist_ok=True)
    parts = []
    for number in (2, 1):
        pixels = np.random.default_rng(number).integers(0, 256, (3, 3072), dtype=np.uint8)
        batch = {b"data": pixels, b"labels": [number, 9, 0], b"batch_label": b"training", b"filenames": [b"a.png"] * 3}
        (folder / f"data_batch_{number}").write_bytes(pickle.dumps(batch, protocol=2))
        parts.insert(0, pixels)
    images, labels, classes = load_cifar("cifar10", tmp_path, "train")
    np.testing.assert_array_equal(images, np.concatenate(parts).reshape(-1, 3, 32, 32))
    assert (labels.tolist(), labels.dtype, classes[9]) == ([1, 9, 0, 2, 9, 0], np.int64, "truck")


def test_the_python_version_of_cifar100_gives_fine_labels(tmp_path):
    folder = tmp_path / "cifar-100-python"
    folder.mkdir()
    batch = {"data": np.zeros((2, 3072), np.uint8), "coarse_labels": [1, 2], "fine_labels": [99, 5]}
    (folder / "test").write_bytes(pickle.dumps(batch))
    assert load_cifar("cifar100", tmp_path, "test")[1].tolist() == [99, 5]


@pytest.mark.parametrize("label", [10, -1])
def test_labels_of_the_python_version_are_checked(tmp_path, label):
    (tmp_path / "test_batch").write_bytes(pickle.dumps({"data": np.zeros((1, 3072), np.uint8), "labels": [label]}))
    with raises(f"{tmp_path / 'test_batch'}: record 0 has label {label}, expected 0 to 9"):
        load_cifar("cifar10", tmp_path, "test")


def test_bad_arguments(tmp_path):
    with raises("cifar10: split is 'val', expected 'train' or 'test'"):
        load_cifar("cifar10", tmp_path, "val")
    with raises("load_cifar: unknown data set 'cifar', expected one of cifar10, cifar100"):
        load_cifar("cifar", tmp_path, "train")
    assert [entry.record for entry in CIFAR.values()] == [3073, 3074]
