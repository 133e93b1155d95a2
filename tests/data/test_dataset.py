"""Arrays as data sets, their division, and .npz archives of them."""

import copy
import io
import pickle
import re
import zipfile

import numpy as np
import pytest

import tinycnn as tc
from tinycnn.data import ArrayDataset, Glyphs, transforms
from tinycnn.data.dataset import Dataset, held_out, load_npz
from tinycnn.errors import DataError

IMAGES = np.arange(6 * 4, dtype=np.uint8).reshape(6, 1, 2, 2)
LABELS = np.array([0, 1, 2, 0, 1, 2])
RNG = np.random.default_rng(0)


def test_items_and_batches():
    data = ArrayDataset(IMAGES, LABELS, "abc")
    image, label = data[-1]
    np.testing.assert_array_equal(image, IMAGES[5])
    assert (label, type(label), len(data), data.classes) == (2, int, 6, ("a", "b", "c"))
    assert data[np.int64(1)][1] == 1 and [label for _, label in data] == LABELS.tolist()
    images, labels = data.batch(np.array([4, 0]), RNG)
    np.testing.assert_array_equal(images, IMAGES[[4, 0]])
    assert (labels.tolist(), labels.dtype) == ([1, 0], np.int64)
    np.testing.assert_array_equal(data.subset(slice(2, 4)).images, IMAGES[2:4])
    with pytest.raises(IndexError, match="index is 6, expected -6 to 5: there are 6 images"):
        data[6]
    for wrong in (np.uint64(2**63), np.array([6]), "0", [[0], [1, 2]]):
        for use in (data.subset, lambda index: data.batch(index, RNG)):
            with pytest.raises(IndexError, match="is not an index of 6 images"):
                use(wrong)
    for wrong in (slice(2), [1, 2], 1.0, None):
        with pytest.raises(TypeError, match=r"index is .*, expected an integer; ArrayDataset\.subset"):
            data[wrong]


def test_a_part_keeps_the_transform_and_labels_become_int64():
    data = ArrayDataset(IMAGES, LABELS.astype(np.uint8), "abc", lambda images, rng: images + 1, "pictures").subset(
        [3, 1]
    )
    images, labels = data.batch(np.array([1]), RNG)
    np.testing.assert_array_equal(images, IMAGES[[1]] + 1)
    assert labels.dtype == np.int64 and labels.tolist() == [LABELS[1]] and data.name == "pictures"


def test_a_data_set_says_what_it_lacks():
    with pytest.raises(NotImplementedError, match="Dataset: __len__ is not defined"):
        len(Dataset())
    with pytest.raises(NotImplementedError, match="Dataset: batch is not defined"):
        Dataset().batch(LABELS, RNG)


def test_lists_and_tensors_are_taken():
    images = IMAGES / np.float32(255)
    for given in (images.tolist(), tc.Tensor(images), tc.Tensor(images, requires_grad=True)):
        data = ArrayDataset(given, LABELS.tolist(), ["a", "b", 3])
        assert type(data.images) is np.ndarray and data.classes == ("a", "b", "3")
        np.testing.assert_allclose(data.images, images)


@pytest.mark.parametrize(
    ("images", "labels", "message"),
    [
        (IMAGES[:, 0], LABELS, r"images have shape \(6, 2, 2\) and dtype uint8, expected \(N, C, H, W\)"),
        (IMAGES.astype(np.int64), LABELS, "dtype int64"),
        (IMAGES.astype(complex), LABELS, "dtype complex128"),
        (IMAGES > 3, LABELS, "dtype bool"),
        (np.full((6, 1, 2, 2), None), LABELS, "dtype object"),
        ([[1], [2, 3]], LABELS, "images cannot be made an array"),
        (None, LABELS, r"images have shape \(\) and dtype object"),
        (IMAGES, None, r"labels have shape \(\)"),
        (IMAGES, LABELS[:5], r"labels have shape \(5,\) and dtype int64, expected integers of shape \(6,\)"),
        (IMAGES, LABELS[:, None], r"labels have shape \(6, 1\)"),
        (IMAGES, LABELS.astype(float), "dtype float64, expected integers"),
        (IMAGES, np.where(LABELS == 1, np.nan, 0), "dtype float64, expected integers"),
        (IMAGES, LABELS > 0, "dtype bool, expected integers"),
        (IMAGES, LABELS - 1, "label -1 at index 0 is outside the 3 classes"),
        (IMAGES, LABELS + 1, "label 3 at index 2 is outside the 3 classes"),
        (IMAGES, np.where(LABELS == 1, 2**63, 0).astype(np.uint64), "label 9223372036854775808 at index 1"),
        (IMAGES[:0], LABELS[:0], r"it is empty \(images have shape \(0, 1, 2, 2\)\)"),
        (IMAGES[:, :0], LABELS, "it is empty"),
    ],
)
def test_what_does_not_fit_is_refused(images, labels, message):
    with pytest.raises(DataError, match=f"^mine: .*{message}"):
        ArrayDataset(images, labels, "abc", name="mine")


def test_classes_and_transforms_that_cannot_be_are_refused():
    with pytest.raises(DataError, match="mine: classes is 3, expected a sequence of names"):
        ArrayDataset(IMAGES, LABELS, 3, name="mine")
    with pytest.raises(DataError, match="mine: transform is a str, expected a callable or None"):
        ArrayDataset(IMAGES, LABELS, "abc", "crop", name="mine")


@pytest.mark.parametrize("duplicate", [copy.copy, copy.deepcopy, lambda data: pickle.loads(pickle.dumps(data))])
def test_copies_give_the_same_batches(duplicate):
    crop, flip = transforms.RandomCrop(12, 2), transforms.RandomHorizontalFlip()
    chain = transforms.Compose([crop, flip, transforms.ColorJitter(), transforms.Cutout(3)])
    for data in (ArrayDataset(np.tile(IMAGES, (1, 1, 6, 6)), LABELS, "abc", chain), Glyphs("test", 12, count=6)):
        data.transform = chain
        other = duplicate(data)
        first, second = (d.batch(np.arange(6), np.random.default_rng(4)) for d in (data, other))
        np.testing.assert_array_equal(first[0], second[0])
        assert (type(other), other.classes, other.name) == (type(data), data.classes, data.name)


def test_every_fifth_image_of_a_class_is_held_out():
    labels = np.array([0] * 11 + [1] * 4)
    assert held_out(labels, "test", "ab", "mine").tolist() == [4, 9, 14]
    assert held_out(labels, "train", "ab", "mine").tolist() == [0, 1, 2, 3, 5, 6, 7, 8, 10, 11, 12, 13]
    with pytest.raises(DataError, match=r"^mine: class b has 1 image, expected at least 2"):
        held_out(np.array([0, 0, 1]), "train", "ab", "mine")


def archive(path, **arrays):
    np.savez_compressed(path, **arrays)
    return path


@pytest.mark.parametrize(
    "keys", [("train_images", "train_labels", "test_images", "test_labels"), ("x_train", "y_train", "x_test", "y_test")]
)
def test_archives_with_splits(tmp_path, keys):
    train, test = np.full((3, 1, 4, 4), 1, np.uint8), np.full((2, 1, 4, 4), 2, np.uint8)
    values = (train, np.array([0, 1, 4]), test, np.array([5, 0]))
    path = archive(tmp_path / "a.npz", **dict(zip(keys, values)))
    for split, count in (("train", 3), ("test", 2)):
        images, labels, classes = load_npz(path, split)
        assert (len(images), len(labels), classes) == (count, count, tuple("012345"))


def test_names_of_classes(tmp_path):
    for names in (np.array(["x", "猫", "z"]), np.array([b"x", "猫".encode(), b"z"])):
        path = archive(tmp_path / "a.npz", images=IMAGES, labels=LABELS, classes=names)
        assert load_npz(path, "train")[2] == ("x", "猫", "z")


WHOLE = {"images": IMAGES, "labels": LABELS}


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        (WHOLE | {"classes": np.array("abc")}, r"classes of shape \(\)"),
        (WHOLE | {"classes": np.zeros((3, 2))}, r"classes of shape \(3, 2\) and dtype float64"),
        (WHOLE | {"classes": np.array([None])}, "object"),
        (WHOLE | {"classes": np.array(["a", "b"])}, "label 2 at index 2 is outside the 2 classes"),
        (WHOLE | {"labels": LABELS + 10**12}, "has the label 1000000000002, expected less than 100000"),
        (WHOLE | {"labels": LABELS * 50_000}, "has the label 100000, expected less than 100000"),
        (WHOLE | {"labels": -LABELS}, "label -1 at index 1"),
        (WHOLE | {"labels": LABELS / 1}, "dtype float64, expected integers"),
        ({"images": IMAGES[:0], "labels": LABELS[:0]}, "it is empty"),
        (WHOLE | {"images": np.float32(0)}, r"images have shape \(\)"),
        (WHOLE | {"images": np.full((6, 1, 2, 2), np.nan)}, "image 0 holds values that are not finite"),
        (WHOLE | {"images": np.array([None] * 6)}, "object"),
        ({"images": IMAGES}, "lacks labels; it has images"),
        ({}, "lacks images and labels; it has nothing"),
    ],
)
def test_archives_that_do_not_fit_are_refused_by_name(tmp_path, arrays, message):
    path = archive(tmp_path / "a.npz", **arrays)
    with pytest.raises(DataError, match=f"{re.escape(str(path))}.*{message}"):
        load_npz(path, "train")


def npy(header):
    """Return the beginning of an .npy file with the given header."""
    return b"\x93NUMPY\x01\x00" + len(header).to_bytes(2, "little") + header


@pytest.mark.parametrize(
    "member",
    [
        npy(b"{'descr': '|u1', 'fortran_order': False, 'shape': (1099511627776,)}"),
        npy(b"{'descr': '|u1', 'fortran_order': False, 'shape': (4,"),
        npy(b"{'descr': '|O', 'fortran_order': False, 'shape': (1,)}") + b"x",
        npy(b"'''"),
        b"no array",
        b"",
    ],
)
def test_headers_that_lie_are_refused_by_name(tmp_path, member):
    with zipfile.ZipFile(tmp_path / "a.npz", "w", zipfile.ZIP_DEFLATED) as file:
        file.writestr("images.npy", member)
    with pytest.raises(DataError, match=re.escape(str(tmp_path / "a.npz"))):
        load_npz(tmp_path / "a.npz", "train")


def test_archives_of_too_much_are_refused_before_they_are_unpacked(tmp_path, monkeypatch):
    path = archive(tmp_path / "a.npz", images=np.zeros((2000, 1, 10, 10), np.uint8), labels=np.arange(2000) % 3)
    monkeypatch.setenv("TINYCNN_UNPACK_LIMIT", "100000")
    with pytest.raises(DataError, match=rf"{re.escape(str(path))}.*more than the 100000 that are allowed"):
        load_npz(path, "train")


def test_mutated_archives_give_the_same_arrays_or_are_refused_by_name(tmp_path):
    buffer = io.BytesIO()
    np.savez_compressed(buffer, images=IMAGES, labels=LABELS)
    whole = buffer.getvalue()
    path = tmp_path / "a.npz"
    path.write_bytes(whole)
    expected = load_npz(path, "train")
    rng = np.random.default_rng(0)
    for _ in range(60):
        data = bytearray(whole)
        data[rng.integers(len(data))] ^= 1 << int(rng.integers(8))
        path.write_bytes(data if rng.random() < 0.7 else data[: rng.integers(len(data))])
        try:
            found = load_npz(path, "train")
        except DataError as error:
            assert str(path) in str(error)
        else:
            for one, other in zip(found, expected):
                np.testing.assert_array_equal(one, other)
