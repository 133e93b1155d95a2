"""The .npz archives: odd names, every dtype, and files that would fill the memory."""

import io
import tracemalloc
import zipfile
import zlib

import numpy as np
import pytest

from tinycnn import weights
from tinycnn.errors import WeightsError
from tinycnn.weights.npz import load_npz

NAMES = [
    "file",
    "allow_pickle",
    "a/b/c",
    "a\\b",
    "",
    ".npy",
    "w.npy",
    "ü 漢字 🙂",
    "..",
    "../x",
    "/abs",
    "self",
    " ",
    "a\nb",
]


def test_odd_names_come_back(tmp_path):
    arrays = {name: np.full(2, i) for i, name in enumerate(NAMES)}
    weights.save(tmp_path / "w.npz", arrays)
    back = weights.load(tmp_path / "w.npz")
    assert list(back) == NAMES
    assert all((back[name] == i).all() for i, name in enumerate(NAMES))
    with np.load(tmp_path / "w.npz") as archive:  # it is NumPy's format
        assert (archive["a/b/c"] == 2).all()


@pytest.mark.parametrize(("name", "value"), [("a\0b", 1.0), (3, 1.0), ("n" * 70_000, 1.0), ("\ud800", 1.0)])
def test_names_that_cannot_be_stored_are_refused(tmp_path, name, value):
    with pytest.raises(WeightsError, match="name"):
        weights.save(tmp_path / "w.npz", {name: np.array(value)})
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("value", [None, [None], np.array([print]), {"a": 1}])
def test_values_that_are_not_numbers_are_refused_by_name(tmp_path, value):
    with pytest.raises(WeightsError, match="'bad'"):
        weights.save(tmp_path / "w.npz", {"good": np.zeros(1), "bad": value})


ARRAYS = {
    **{code: np.arange(6).astype(code) for code in ("?", "i1", "u1", "i2", "u2", "i4", "u4", "i8", "u8", "f2", "f4")},
    "f8": np.array([np.nan, np.inf, -0.0, 1e-310]),
    "complex": np.array([1 + 2j]),
    "big-endian": np.arange(3.0).astype(">f8"),
    "fortran": np.asfortranarray(np.arange(6.0).reshape(2, 3)),
    "strided": np.arange(12.0).reshape(3, 4)[:, ::2],
    "scalar": np.array(2.5),
    "empty": np.zeros((0, 3), np.float32),
    "text": np.array(["a", "漢"]),
}


@pytest.mark.parametrize("packed", [None, np.savez, np.savez_compressed])
def test_arrays_come_back_in_native_order(tmp_path, packed):
    path = tmp_path / "w.npz"
    packed(path, **ARRAYS) if packed else weights.save(path, ARRAYS)
    back = weights.load(path)
    assert list(back) == list(ARRAYS)
    for name, array in ARRAYS.items():
        assert back[name].dtype == array.dtype.newbyteorder("=") and back[name].dtype.isnative, name
        np.testing.assert_array_equal(back[name], array)
        assert back[name].flags.writeable


def npy(array=None, shape=None, descr="<f4", body=b"", header=None):
    stream = io.BytesIO()
    if array is not None:
        np.lib.format.write_array(stream, array)
        return stream.getvalue()
    text = (
        f"{{'descr': {descr!r}, 'fortran_order': False, 'shape': {shape!r}}}\n".encode() if header is None else header
    )
    return b"\x93NUMPY\x02\x00" + len(text).to_bytes(4, "little") + text + body


def archive_of(*members, compression=zipfile.ZIP_STORED):
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", compression) as archive:
        for name, data in members:
            archive.writestr(name, data)
    return stream.getvalue()


def changed(data, old, new):
    assert old in data
    return data.replace(old, new)


GOOD = archive_of(("w.npy", npy(np.arange(50.0))), compression=zipfile.ZIP_DEFLATED)
LOCAL = GOOD.index(b"PK\x03\x04")
CENTRAL = GOOD.index(b"PK\x01\x02")


def patched(offset, *values, base=GOOD):
    return base[:offset] + bytes(values) + base[offset + len(values) :]


HOSTILE = {
    "a shape of 2^40": archive_of(("w.npy", npy(shape=(2**40,)))),
    "a shape of 2^62 twice": archive_of(("w.npy", npy(shape=(2**62, 2**62)))),
    "an empty shape of 2^70": archive_of(("w.npy", npy(shape=(0, 2**70)))),
    "a negative shape": archive_of(("w.npy", npy(shape=(-1,)))),
    "a shape of 70 dims": archive_of(("w.npy", npy(shape=(1,) * 70, body=bytes(4)))),
    "a shape that is a truth value": archive_of(("w.npy", npy(shape=(True,), body=bytes(4)))),
    "an object": archive_of(("w.npy", npy(shape=(1,), descr="|O", body=bytes(8)))),
    "records": archive_of(("w.npy", npy(shape=(1,), descr=[("a", "<f4")], body=bytes(4)))),
    "text of no length": archive_of(("w.npy", npy(shape=(2**40,), descr="<U0"))),
    "more bytes than the shape": archive_of(("w.npy", npy(shape=(1,), body=bytes(8)))),
    "a header that ends in the middle": archive_of(("w.npy", npy(header=b"{'descr': ("))),
    "a header that is a call": archive_of(("w.npy", npy(header=b"__import__('os').abort()"))),
    "a header of brackets": archive_of(("w.npy", npy(header=b"(" * 9000))),
    "a long header": archive_of(("w.npy", npy(header=b" " * 2**22)), compression=zipfile.ZIP_DEFLATED),
    "no .npy": archive_of(("w.npy", b"hello")),
    "a member that is not an array": archive_of(("w.npy", npy(np.zeros(1))), ("readme.txt", b"hi")),
    "a bzip2 member": archive_of(("w.npy", npy(np.zeros(9))), compression=zipfile.ZIP_BZIP2),
    "an lzma member": archive_of(("w.npy", npy(np.zeros(9))), compression=zipfile.ZIP_LZMA),
    "an encrypted member": patched(CENTRAL + 8, 1, base=patched(LOCAL + 6, 1)),
    "a broken deflate stream": patched(LOCAL + 30 + 5, 0xFF, 0xFF, 0xFF, 0xFF),
    "a wrong checksum": patched(CENTRAL + 16, 1, 2, 3, 4),
    "a declared size of 4 GB": patched(CENTRAL + 24, 0, 0, 0, 0xF0),
    "a table of contents of 4 GB": patched(GOOD.rindex(b"PK\x05\x06") + 12, 0, 0, 0, 0xF0),
}


@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_a_name_twice_is_refused(tmp_path):
    (tmp_path / "w.npz").write_bytes(archive_of(("w.npy", npy(np.zeros(1))), ("w.npy", npy(np.ones(1)))))
    with pytest.raises(WeightsError, match=r"two members are called 'w\.npy'"):
        weights.load(tmp_path / "w.npz")


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_archives_are_refused_with_little_memory(tmp_path, name):
    path = tmp_path / "evil.npz"
    path.write_bytes(HOSTILE[name])
    tracemalloc.start()
    try:
        with pytest.raises(WeightsError, match=r"evil\.npz"):
            weights.load(path)
        assert tracemalloc.get_traced_memory()[1] < 30e6
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("an encrypted member", "the member 'w.npy' is encrypted"),
        ("a declared size of 4 GB", "which its [0-9]+ compressed bytes cannot hold"),
        ("a long header", "the header of the array 'w' has 4194304 bytes, more than 10000"),
        ("a bzip2 member", "compression method 12"),
        ("an object", "dtype object"),
    ],
)
def test_each_refusal_has_its_own_reason(tmp_path, name, message):
    (tmp_path / "w.npz").write_bytes(HOSTILE[name])
    with pytest.raises(WeightsError, match=message):
        weights.load(tmp_path / "w.npz")


def bomb(size):
    data = npy(shape=(size,), descr="|u1")
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as archive, archive.open("w.npy", "w") as member:
        member.write(data)
        for start in range(0, size, 2**20):
            member.write(bytes(min(2**20, size - start)))
    return stream.getvalue()


BOMB = bomb(30 * 2**20)


def test_the_limit_is_a_parameter_and_a_setting(tmp_path, monkeypatch):
    path = tmp_path / "w.npz"
    path.write_bytes(BOMB)
    assert load_npz(path)["w"].size == 30 * 2**20
    with pytest.raises(WeightsError, match=r"unpack to 3\d+ bytes, more than the 1000000 that are allowed"):
        load_npz(path, limit=10**6)
    monkeypatch.setenv("TINYCNN_UNPACK_LIMIT", "1000000")
    with pytest.raises(WeightsError, match="TINYCNN_UNPACK_LIMIT"):
        load_npz(path)
    with pytest.raises(WeightsError, match="more than the 1000 that"):
        load_npz(path, limit=1000)
    monkeypatch.setenv("TINYCNN_UNPACK_LIMIT", "much")
    with pytest.raises(ValueError, match="TINYCNN_UNPACK_LIMIT is 'much', expected a whole number of bytes"):
        load_npz(path)


def test_the_sum_of_the_members_is_limited(tmp_path):
    path = tmp_path / "w.npz"
    np.savez(path, a=np.zeros(100), b=np.zeros(100))
    assert len(load_npz(path, limit=3000)) == 2
    with pytest.raises(WeightsError, match="the archive would unpack to"):
        load_npz(path, limit=1500)


def test_what_the_caller_expects_limits_what_is_unpacked(tmp_path):
    path = tmp_path / "w.npz"
    path.write_bytes(BOMB)
    tracemalloc.start()
    try:
        with pytest.raises(WeightsError, match=r"'w' has shape \(31457280,\), expected \(3, 4\)"):
            load_npz(path, expected={"w": np.zeros((3, 4))})
        assert tracemalloc.get_traced_memory()[1] < 10e6
    finally:
        tracemalloc.stop()


def test_a_member_gives_no_more_than_it_declares(tmp_path):
    """Both sizes in the table of contents are small; the stream behind them unpacks to 30 MB."""
    end = BOMB.index(b"PK\x01\x02")
    small = 300
    data = bytearray(BOMB)
    data[end + 24 : end + 28] = small.to_bytes(4, "little")
    (tmp_path / "w.npz").write_bytes(data)
    tracemalloc.start()
    try:
        with pytest.raises(WeightsError, match=r"w\.npz"):
            load_npz(tmp_path / "w.npz")
        assert tracemalloc.get_traced_memory()[1] < 10e6
    finally:
        tracemalloc.stop()


def table_of(times, declared=None):
    """Return an archive whose table of contents names its one member ``count`` times."""
    data = archive_of(("a.npy", npy(np.zeros(1))))
    start, end = data.index(b"PK\x01\x02"), data.index(b"PK\x05\x06")
    tail = bytearray(data[end:])
    tail[10:12] = (times % 65536 if declared is None else declared).to_bytes(2, "little")
    tail[12:16] = (times * (end - start)).to_bytes(4, "little")
    return data[:start] + data[start:end] * times + tail


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (table_of(60_000), "more than 50000 members"),
        (table_of(1, 2), "has 1 members, expected 2"),
        (table_of(0), "table of contents is not where it should be|expected 0"),
        (GOOD + b"\0", "no table of contents"),
        (b"PK\x03\x04" + GOOD, "not where it should be"),
    ],
)
def test_tables_of_contents_that_lie_are_refused(tmp_path, data, message):
    (tmp_path / "w.npz").write_bytes(data)
    with pytest.raises(WeightsError, match=message):
        load_npz(tmp_path / "w.npz")


def test_zlib_errors_have_the_files_name(tmp_path, monkeypatch):
    (tmp_path / "w.npz").write_bytes(GOOD)

    def fail(*_):
        raise zlib.error("Error -3 while decompressing data")

    monkeypatch.setattr("tinycnn.weights.npz.read_exactly", fail)
    with pytest.raises(WeightsError, match=r"w\.npz is refused: it is damaged \(error: Error -3"):
        load_npz(tmp_path / "w.npz")
