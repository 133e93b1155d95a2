"""Pickles of CIFAR's Python version: they are read, and no code in them runs."""

import pickle
import re
import struct

import numpy as np
import pytest

from tinycnn.data.cifar_pickle import read_batch
from tinycnn.errors import DataError

PIXELS = np.random.default_rng(0).integers(0, 256, (3, 3072), dtype=np.uint8)
LABELS = [3, 0, 255]


def python2_pickle():
    """Return the bytes that Python 2 wrote for the published files: text is bytes, arrays are rebuilt."""
    state = b"(K\x03U\x01|q\x12NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tq\x13b"
    dtype = b"cnumpy\ndtype\nq\x0eU\x02u1q\x0fK\x00K\x01\x87q\x10Rq\x11" + state
    array = b"cnumpy.core.multiarray\n_reconstruct\nq\x07cnumpy\nndarray\nq\x08K\x00\x85q\x09U\x01bq\x0a\x87q\x0bRq\x0c"
    data = b"T" + struct.pack("<i", PIXELS.size) + PIXELS.tobytes() + b"q\x14"
    array += b"(K\x01K\x03M\x00\x0c\x86q\x0d" + dtype + b"\x89" + data + b"tq\x15b"
    head = b"\x80\x02}q\x01(U\x0bbatch_labelq\x02U\x15training batch 1 of 5q\x03"
    return head + b"U\x06labelsq\x04]q\x05(K\x03K\x00K\xffeU\x04dataq\x06" + array + b"u."


def test_a_pickle_of_python_2(tmp_path):
    (tmp_path / "a").write_bytes(python2_pickle())
    assert pickle.loads(python2_pickle(), encoding="latin1")["labels"] == LABELS  # the bytes above are a pickle
    pixels, labels = read_batch(tmp_path / "a", "labels")
    np.testing.assert_array_equal(pixels, PIXELS)
    assert (labels.tolist(), labels.dtype, pixels.dtype) == (LABELS, np.int64, np.uint8)


@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
@pytest.mark.parametrize("order", ["C", "F"])
def test_pickles_of_python_3(tmp_path, protocol, order):
    batch = {"data": np.array(PIXELS, order=order), "fine_labels": LABELS, b"other": None}
    (tmp_path / "a").write_bytes(pickle.dumps(batch, protocol=protocol))
    pixels, labels = read_batch(tmp_path / "a", "fine_labels")
    np.testing.assert_array_equal(pixels, PIXELS)
    assert labels.tolist() == LABELS


class Evil:
    def __reduce__(self):
        return print, ("run",)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "refused"),
        (b"not a pickle", "refused"),
        (pickle.dumps(Evil()), "it wants 'builtins print'"),
        (b"cposix\nsystem\n(S'touch x'\ntR.", "it wants 'posix system'"),
        (b"cnumpy\ndtype\n(S'O8'\ntR.", "the instruction STRING"),
        (pickle.dumps({"data": np.array([None]), "labels": [0]}), "other arguments"),
        (pickle.dumps({"data": np.zeros(3072), "labels": [0]}), "other arguments"),
        (pickle.dumps([1]), "it holds list"),
        (pickle.dumps({"labels": [1]}), "it holds 'labels', expected 'data' and 'labels'"),
        (pickle.dumps({"data": PIXELS, "labels": [0, 1]}), r"shape \(3, 3072\) for 2 labels"),
        (pickle.dumps({"data": PIXELS[:, :9], "labels": LABELS}), r"shape \(3, 9\) for 3 labels"),
        (pickle.dumps({"data": PIXELS[:0], "labels": []}), r"for 0 labels"),
        (pickle.dumps({"data": PIXELS, "labels": [0, 1, 1.5]}), "BINFLOAT"),
        (pickle.dumps({"data": PIXELS, "labels": "abc"}), "not a list of integers"),
        (pickle.dumps({"data": PIXELS, "labels": [True, False, True]}), "not a list of integers"),
        (b"\x80\x02}r\xff\xff\xff\x07.", "it holds nothing"),  # LONG_BINPUT 2^27: pickle takes 2 GB for it
        (b"\x80\x02}()q\x00" + b"\x85" * 1000 + b"K\x00u.", "a key that is a tuple"),
        (b"\x80\x02}(K\x01K\x02u.", "a key that is a int"),
        (b"\x80\x02]}b.", "it sets attributes"),
        (b"\x80\x02K\x01K\x01.", "refused"),
        (b"\x80\x02h\x05.", "refused"),
        (b"\x80\x02\x86.", "refused"),
    ],
)
def test_other_pickles_are_refused_by_name(tmp_path, capsys, data, message):
    (tmp_path / "a").write_bytes(data)
    with pytest.raises(DataError, match=f"^{re.escape(str(tmp_path / 'a'))}.*{message}"):
        read_batch(tmp_path / "a", "labels")
    assert capsys.readouterr().out == ""


def test_a_file_larger_than_any_of_cifar_is_refused_unread(tmp_path):
    with (tmp_path / "a").open("wb") as file:
        file.truncate(600 << 20)
    with pytest.raises(DataError, match="more than any file of CIFAR"):
        read_batch(tmp_path / "a", "labels")


def test_every_truncation_is_refused(tmp_path):
    whole = python2_pickle()
    for length in (*range(0, 300, 7), len(whole) // 2, len(whole) - 1):
        (tmp_path / "a").write_bytes(whole[:length])
        with pytest.raises(DataError, match=re.escape(str(tmp_path / "a"))):
            read_batch(tmp_path / "a", "labels")
