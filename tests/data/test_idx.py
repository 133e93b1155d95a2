"""IDX files: the folders that are searched, the arrays that are read, and the errors for damaged files."""

import gzip
import re
import struct

import numpy as np
import pytest

from tinycnn.data.idx import NAMES, load_idx, read_idx
from tinycnn.errors import DataError

RNG = np.random.default_rng(0)
IMAGES = RNG.integers(0, 256, (6, 28, 28), dtype=np.uint8)
LABELS = np.array([3, 0, 9, 9, 1, 2], np.uint8)


def idx_bytes(array, code=0x08):
    header = bytes([0, 0, code, array.ndim]) + struct.pack(f">{array.ndim}I", *array.shape)
    return header + array.astype(array.dtype.newbyteorder(">")).tobytes()


def write_set(folder, images=IMAGES, labels=LABELS, prefix="train", zipped=True):
    folder.mkdir(parents=True, exist_ok=True)
    for stem, array in ((f"{prefix}-images-idx3-ubyte", images), (f"{prefix}-labels-idx1-ubyte", labels)):
        data = idx_bytes(array)
        if zipped:
            (folder / f"{stem}.gz").write_bytes(gzip.compress(data))
        else:
            (folder / stem).write_bytes(data)


def raises(message):
    return pytest.raises(DataError, match=f"^{re.escape(message)}$")


@pytest.mark.parametrize("packed", [False, True])
def test_reads_by_content_not_by_name(tmp_path, packed):
    array = RNG.integers(0, 256, (2, 3, 5), dtype=np.uint8)
    path = tmp_path / ("a" if packed else "a.gz")  # the wrong suffix on purpose
    path.write_bytes(gzip.compress(idx_bytes(array)) if packed else idx_bytes(array))
    np.testing.assert_array_equal(read_idx(path), array)


@pytest.mark.parametrize(
    ("code", "dtype"),
    [(0x09, "int8"), (0x0B, "int16"), (0x0C, "int32"), (0x0D, "float32"), (0x0E, "float64")],
)
def test_every_type_is_read_in_native_order(tmp_path, code, dtype):
    array = np.array([[1, -2, 3], [100, 5, -6]], dtype)
    (tmp_path / "a").write_bytes(idx_bytes(array, code))
    found = read_idx(tmp_path / "a")
    np.testing.assert_array_equal(found, array)
    assert found.dtype == np.dtype(dtype) and found.dtype.isnative and found.flags.writeable


def test_wrong_magic(tmp_path):
    path = tmp_path / "a"
    path.write_bytes(b"<htm")
    with raises(
        f"{path}: not an IDX file: it starts with 3c 68 74 6d, expected 00 00, a type code "
        "(08, 09, 0b, 0c, 0d, 0e) and the number of dimensions"
    ):
        read_idx(path)


@pytest.mark.parametrize("data", [b"", b"\0\0", b"\0\0\x07\1", b"\0\0\x08\0"])
def test_not_idx(tmp_path, data):
    (tmp_path / "a").write_bytes(data)
    with pytest.raises(DataError, match="not an IDX file"):
        read_idx(tmp_path / "a")


def test_short_header(tmp_path):
    path = tmp_path / "a"
    path.write_bytes(b"\0\0\x08\3" + struct.pack(">I", 2))
    with raises(f"{path}: header expects 12 bytes for 3 dimensions, found 4"):
        read_idx(path)


@pytest.mark.parametrize(("change", "found"), [(lambda d: d[:-1], "29 bytes"), (lambda d: d + b"x", "more")])
def test_wrong_byte_count(tmp_path, change, found):
    path = tmp_path / "a"
    path.write_bytes(change(idx_bytes(np.zeros((2, 3, 5), np.uint8))))
    with raises(f"{path}: shape (2, 3, 5) of uint8 expects 30 data bytes, found {found}"):
        read_idx(path)


def test_header_that_claims_the_moon(tmp_path):
    (tmp_path / "a").write_bytes(b"\0\0\x08\3" + b"\xff" * 12 + b"few")
    with pytest.raises(DataError, match="found 3 bytes"):
        read_idx(tmp_path / "a")


@pytest.mark.parametrize("damage", [lambda d: d[:-12], lambda d: d[:-8] + b"\0" * 8, lambda d: d[:10] + b"\xff" * 20])
def test_damaged_gzip(tmp_path, damage):
    (tmp_path / "a.gz").write_bytes(damage(gzip.compress(idx_bytes(IMAGES))))
    with pytest.raises(DataError, match=r"a\.gz: damaged or truncated gzip file"):
        read_idx(tmp_path / "a.gz")


@pytest.mark.parametrize("zipped", [False, True])
@pytest.mark.parametrize("layout", [".", "mnist", "mnist/raw", "MNIST/raw"])
def test_layouts(tmp_path, layout, zipped):
    write_set(tmp_path / layout, zipped=zipped)
    images, labels, classes = load_idx("mnist", tmp_path, "train")
    np.testing.assert_array_equal(images, IMAGES[:, None])
    np.testing.assert_array_equal(labels, LABELS)
    assert (images.dtype, labels.dtype, classes) == (np.uint8, np.int64, tuple("0123456789"))


def test_split_and_name_choose_the_files(tmp_path):
    write_set(tmp_path, labels=np.full(6, 1, np.uint8))
    write_set(tmp_path, labels=np.full(6, 2, np.uint8), prefix="t10k")
    write_set(tmp_path / "FashionMNIST" / "raw", labels=np.full(6, 3, np.uint8))
    assert load_idx("mnist", tmp_path, "train")[1][0] == 1
    assert load_idx("mnist", tmp_path, "test")[1][0] == 2
    assert load_idx("fashion_mnist", tmp_path, "train")[1][0] == 3  # not MNIST's files in the root


def test_images_and_labels_come_from_one_folder(tmp_path):
    write_set(tmp_path)
    write_set(tmp_path / "mnist", images=IMAGES[:2], labels=LABELS[:2])
    (tmp_path / "mnist" / "train-labels-idx1-ubyte.gz").unlink()
    assert len(load_idx("mnist", tmp_path, "train")[0]) == 6


def test_missing_files_golden(tmp_path):
    stems = ("t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte")
    folders = (tmp_path / "kmnist", tmp_path / "kmnist" / "raw", tmp_path / "KMNIST" / "raw", tmp_path)
    looked = [f"  {folder / stem}{end}" for folder in folders for stem in stems for end in (".gz", "")]
    with raises(
        "\n".join(
            [
                f"kmnist: files not found under {tmp_path}. Looked for images and labels in one folder:",
                *looked,
                "(names with a dot, as t10k-images.idx3-ubyte, and Keras's kmnist.npz are found too)",
                f"To place them by hand, put these into {tmp_path / 'kmnist'}:",
                "  t10k-images-idx3-ubyte.gz  md5 5c965bf0a639b31b8f53240b1b52f4d7",
                "  t10k-labels-idx1-ubyte.gz  md5 7320c461ea6c1c855c0b718fb2a4b134",
                "To use a folder elsewhere: --root FOLDER",
                "To download them: tinycnn data fetch kmnist",
                "To work without any download: --data glyphs",
            ]
        )
    ):
        load_idx("kmnist", tmp_path, "test")


@pytest.mark.parametrize(
    ("images", "labels", "message"),
    [
        (IMAGES, LABELS[:5], "holds 5 labels for 6 images"),
        (IMAGES, np.array([0, 1, 10, 3, 4, 5], np.uint8), "label 2 is 10, expected 0 to 9"),
        (IMAGES[:, :20], LABELS, r"holds uint8 of shape \(6, 20, 28\), expected uint8 images \(N, 28, 28\)"),
        (IMAGES, LABELS[:, None], r"holds uint8 of shape \(6, 1\), expected uint8 labels \(N,\)"),
    ],
)
def test_files_that_do_not_fit(tmp_path, images, labels, message):
    write_set(tmp_path, images, labels)
    with pytest.raises(DataError, match=message):
        load_idx("mnist", tmp_path, "train")


@pytest.mark.parametrize(
    ("form", "zipped"),
    [("{dotted}", False), ("{dotted}", True), ("{stem}/{stem}", False), ("{dotted}/{dotted}", False)],
)
def test_names_of_kaggle_and_7_zip(tmp_path, form, zipped):
    write_set(tmp_path / "published", zipped=zipped)
    for path in (tmp_path / "published").iterdir():
        stem = path.name.removesuffix(".gz")
        target = tmp_path / "mnist" / (form.format(stem=stem, dotted=stem.replace("-idx", ".idx")) + ".gz" * zipped)
        target.parent.mkdir(parents=True, exist_ok=True)
        path.rename(target)
    images, labels, _ = load_idx("mnist", tmp_path, "train")
    np.testing.assert_array_equal(images[:, 0], IMAGES)
    np.testing.assert_array_equal(labels, LABELS)


@pytest.mark.parametrize("place", ["mnist.npz", "mnist/mnist.npz", "other.npz"])
def test_the_archive_of_keras(tmp_path, place):
    (tmp_path / place).parent.mkdir(exist_ok=True)
    np.savez_compressed(tmp_path / place, x_train=IMAGES, y_train=LABELS, x_test=IMAGES[:2], y_test=LABELS[:2])
    root = tmp_path / place if place == "other.npz" else tmp_path
    images, labels, classes = load_idx("mnist", root, "train")
    np.testing.assert_array_equal(images[:, 0], IMAGES)
    assert (labels.tolist(), labels.dtype, classes) == (LABELS.tolist(), np.int64, tuple("0123456789"))
    assert len(load_idx("mnist", root, "test")[0]) == 2


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"y_train": LABELS.astype(float)}, r"holds labels float64 of shape \(6,\), expected integers \(N,\)"),
        ({"y_train": LABELS.astype(np.int64) - 1}, "label 1 is -1, expected 0 to 9"),
        ({"x_train": IMAGES / 255}, "holds float64 of shape"),
        ({"x_train": IMAGES[:2]}, "holds 6 labels for 2 images"),
        ({"x_train": None}, "is refused"),
    ],
)
def test_an_archive_of_keras_that_does_not_fit(tmp_path, changed, message):
    path = tmp_path / "mnist.npz"
    np.savez(path, **({"x_train": IMAGES, "y_train": LABELS} | changed))
    with pytest.raises(DataError, match=f"{re.escape(str(path))}.*{message}"):
        load_idx("mnist", tmp_path, "train")
    with pytest.raises(DataError, match=re.escape(str(path))):
        load_idx("mnist", tmp_path, "test")


def test_missing_files_name_what_is_there(tmp_path):
    (tmp_path / "mnist_train.csv").touch()
    with pytest.raises(DataError, match=f"\nIn {re.escape(str(tmp_path))} there is: 'mnist_train.csv'\n"):
        load_idx("mnist", tmp_path, "train")


def header(*shape, code=8):
    return bytes([0, 0, code, len(shape)]) + struct.pack(f">{len(shape)}I", *shape)


def test_a_gzip_file_is_not_unpacked_if_the_header_is_wrong(tmp_path, monkeypatch):
    monkeypatch.setattr("tinycnn.data.idx._read_up_to", refuse_data)
    for images in (header(4_000_000, 28, 28), header(100, 280, 280), header(100, 28, 28, code=0x0C), header(100)):
        write_set(tmp_path)
        (tmp_path / "train-images-idx3-ubyte.gz").write_bytes(gzip.compress(images + bytes(2000)))
        with pytest.raises(DataError, match=r"expected uint8 images \(N, 28, 28\), at most 70000"):
            load_idx("mnist", tmp_path, "train")


def refuse_data(stream, count):
    assert count <= 1024, "data was unpacked"
    return stream.read(count)


def test_a_gzip_file_unpacks_to_no_more_than_it_can_hold_nor_than_the_limit(tmp_path, monkeypatch):
    monkeypatch.setattr("tinycnn.data.idx._read_up_to", refuse_data)
    path = tmp_path / "a.gz"
    path.write_bytes(gzip.compress(header(3_000_000_000) + bytes(1000)))
    with pytest.raises(DataError, match=r"a\.gz: shape \(3000000000,\) of uint8 declares 3000000000 bytes, which its"):
        read_idx(path)
    monkeypatch.setenv("TINYCNN_UNPACK_LIMIT", "1999")
    path.write_bytes(gzip.compress(header(2000) + bytes(2000)))
    with pytest.raises(DataError, match=r"a\.gz: .* more than the 1999 that are allowed .*TINYCNN_UNPACK_LIMIT"):
        read_idx(path)


def test_no_more_is_unpacked_than_one_byte_beyond_what_is_declared(tmp_path, monkeypatch):
    path, asked = tmp_path / "a.gz", []
    path.write_bytes(gzip.compress(header(1000) + bytes(1 << 20)))
    read = gzip.GzipFile.read
    monkeypatch.setattr(gzip.GzipFile, "read", lambda self, size=-1: asked.append(size) or read(self, size))
    with pytest.raises(DataError, match="expects 1000 data bytes, found more"):
        read_idx(path)
    assert min(asked) > 0 and max(asked) == 1001


def test_a_folder_is_not_a_file(tmp_path):
    with raises(f"{tmp_path}: not a file, expected an IDX file"):
        read_idx(tmp_path)
    with pytest.raises(FileNotFoundError):
        read_idx(tmp_path / "missing")


def test_zeros_behind_a_gzip_stream_are_padding_and_anything_else_is_not(tmp_path):
    array = np.arange(5, dtype=np.uint8)
    (tmp_path / "a").write_bytes(gzip.compress(idx_bytes(array)) + bytes(512))
    np.testing.assert_array_equal(read_idx(tmp_path / "a"), array)
    (tmp_path / "a").write_bytes(gzip.compress(idx_bytes(array)) + b"garbage")
    with pytest.raises(DataError, match="damaged or truncated gzip file"):
        read_idx(tmp_path / "a")


def test_bad_arguments(tmp_path):
    with raises("mnist: split is 'valid', expected 'train' or 'test'"):
        load_idx("mnist", tmp_path, "valid")
    with raises("load_idx: unknown data set 'emnist', expected one of mnist, fashion_mnist, kmnist"):
        load_idx("emnist", tmp_path, "train")


def test_tables():
    for entry in NAMES.values():
        assert len(entry.classes) == 10 and len({file.md5 for file in entry.files}) == 4
    assert NAMES["fashion_mnist"].classes[0] == "T-shirt/top" and NAMES["fashion_mnist"].classes[9] == "Ankle boot"
