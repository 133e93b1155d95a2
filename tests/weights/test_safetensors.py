"""The safetensors format: every dtype, both ways, and headers that lie."""

import json
import tracemalloc

import numpy as np
import pytest

from tinycnn import weights
from tinycnn.errors import WeightsError
from tinycnn.weights.safetensors import read_safetensors, save_safetensors

ARRAYS = {
    **{code: np.array([0, 1, 100]).astype(code) for code in ("?", "i1", "u1", "i2", "u2", "i4", "u4", "i8", "u8")},
    **{code: np.array([0.5, -0.0, np.nan, np.inf], code) for code in ("f2", "f4", "f8")},
    "complex": np.array([1 + 2j, -3j], np.complex64),
    "scalar": np.array(7, np.int64),
    "empty": np.zeros((0, 2), np.float32),
    "fortran": np.asfortranarray(np.arange(6.0).reshape(2, 3)),
    "strided": np.arange(12.0)[::-3],
    "ü 漢字 🙂 \0": np.ones(1),
    "": np.ones(2),
}


def file(path, header, body=b"", pad=0):
    text = (header if isinstance(header, bytes) else json.dumps(header).encode()) + b" " * pad
    path.write_bytes(len(text).to_bytes(8, "little") + text + body)
    return path


def test_round_trip_is_exact(tmp_path):
    weights.save(tmp_path / "w.safetensors", ARRAYS)
    back = weights.load(tmp_path / "w.safetensors")
    assert set(back) == set(ARRAYS)
    for name, array in ARRAYS.items():
        assert back[name].dtype == array.dtype and back[name].flags.writeable
        assert back[name].shape == array.shape and back[name].tobytes() == array.tobytes()


def test_files_are_the_published_format_both_ways(tmp_path):
    published = pytest.importorskip("safetensors.numpy")
    weights.save(tmp_path / "ours.safetensors", ARRAYS)
    theirs = published.load_file(tmp_path / "ours.safetensors")
    published.save_file({n: np.ascontiguousarray(a) for n, a in ARRAYS.items()}, tmp_path / "theirs.safetensors")
    ours = weights.load(tmp_path / "theirs.safetensors")
    for name, array in ARRAYS.items():
        np.testing.assert_array_equal(theirs[name], array)
        np.testing.assert_array_equal(ours[name].reshape(array.shape), array)


@pytest.mark.parametrize("code", ["i2", "i4", "u8", "f2", "f4", "f8", "c8"])
def test_bytes_are_little_endian_whatever_the_array_is(tmp_path, code):
    values = np.arange(1, 4).astype(code)
    for order in "<>":
        weights.save(tmp_path / "w.safetensors", {"w": values.astype(values.dtype.newbyteorder(order))})
        data = (tmp_path / "w.safetensors").read_bytes()
        assert data.endswith(values.astype(values.dtype.newbyteorder("<")).tobytes())
        back = weights.load(tmp_path / "w.safetensors")["w"]
        assert back.dtype.isnative and (back == values).all()


@pytest.mark.parametrize(
    ("dtype", "data", "expected"),
    [
        ("F64", b"\0" * 6 + b"\xf0\x3f", np.array([1.0])),
        ("F32", b"\0\0\x80\x3f", np.array([1], np.float32)),
        ("F16", b"\0\x3c", np.array([1], np.float16)),
        ("BF16", b"\x80\x3f\x80\xff", np.array([1, -np.inf], np.float32)),
        ("F8_E4M3", b"\x38\x7e\x81\xff", np.array([1, 448, -(2**-9), np.nan], np.float32)),
        ("F8_E5M2", b"\x3c\x7c\x02", np.array([1, np.inf, 2**-15], np.float32)),
        ("F8_E4M3FNUZ", b"\x40\x80", np.array([1, np.nan], np.float32)),
        ("F8_E5M2FNUZ", b"\x40\x80", np.array([1, np.nan], np.float32)),
        ("F8_E8M0", b"\x80", np.array([2], np.float32)),
        ("U64", b"\xff" * 8, np.array([2**64 - 1], np.uint64)),
        ("I64", b"\xff" * 8, np.array([-1], np.int64)),
        ("U32", b"\1\2\0\0", np.array([513], np.uint32)),
        ("I32", b"\xfe\xff\xff\xff", np.array([-2], np.int32)),
        ("U16", b"\1\2", np.array([513], np.uint16)),
        ("I16", b"\xfe\xff", np.array([-2], np.int16)),
        ("U8", b"\xff", np.array([255], np.uint8)),
        ("I8", b"\xff", np.array([-1], np.int8)),
        ("BOOL", b"\1\0", np.array([True, False])),
        ("C64", b"\0\0\x80\x3f\0\0\0\x40", np.array([1 + 2j], np.complex64)),
    ],
)
def test_every_dtype_of_the_format(tmp_path, dtype, data, expected):
    entry = {"dtype": dtype, "shape": [len(expected)], "data_offsets": [0, len(data)]}
    found = weights.load(file(tmp_path / "w", {"w": entry}, data))["w"]
    assert found.dtype == expected.dtype and found.dtype.isnative
    np.testing.assert_array_equal(found, expected)


def test_8_bit_floats_are_pytorchs(tmp_path):
    torch = pytest.importorskip("torch")
    bits = np.arange(256, dtype=np.uint8)
    for code, name in (("F8_E4M3", "float8_e4m3fn"), ("F8_E5M2", "float8_e5m2"), ("F8_E4M3FNUZ", "float8_e4m3fnuz")):
        entry = {"dtype": code, "shape": [256], "data_offsets": [0, 256]}
        found = weights.load(file(tmp_path / "w", {"w": entry}, bits.tobytes()))["w"]
        expected = torch.from_numpy(bits.copy()).view(getattr(torch, name)).float().numpy()
        np.testing.assert_array_equal(found, expected)
        assert (np.signbit(found) == np.signbit(expected))[~np.isnan(expected)].all()


def test_packed_dtypes_are_called_unsupported(tmp_path):
    for dtype in ("F4", "F6_E2M3", "F6_E3M2"):
        entry = {"dtype": dtype, "shape": [4], "data_offsets": [0, 2]}
        with pytest.raises(WeightsError, match=f"tensor 'w' has dtype {dtype}, which is not supported"):
            weights.load(file(tmp_path / "w", {"w": entry}, b"\0\0"))


def test_any_order_padding_and_metadata(tmp_path):
    header = {
        "b": {"dtype": "U8", "shape": [2], "data_offsets": [1, 3]},
        "e": {"dtype": "F32", "shape": [0, 5], "data_offsets": [1, 1]},
        "__metadata__": {"format": "pt", "checksum": "theirs"},
        "a": {"dtype": "U8", "shape": [], "data_offsets": [0, 1]},
        "f": {"dtype": "F32", "shape": [0], "data_offsets": [3, 3]},
    }
    arrays, metadata = read_safetensors(file(tmp_path / "w", header, b"\1\2\3", pad=13))
    assert list(arrays) == ["b", "e", "a", "f"] and metadata == {"format": "pt", "checksum": "theirs"}
    assert arrays["a"] == 1 and arrays["b"].tolist() == [2, 3] and arrays["e"].shape == (0, 5)


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("__metadata__", np.ones(1), "a name that the safetensors format reserves"),
        (7, np.ones(1), "the name 7 is a int, expected text"),
        (b"w", np.ones(1), "expected text"),
        ("\ud800", np.ones(1), "not valid Unicode text"),
        ("w", np.ones(1, complex), "'w' has dtype complex128"),
        ("w", np.ones(1, np.longdouble), "'w' has dtype"),
        ("w", np.array(["a"]), "'w' has dtype <U1"),
        ("w", np.array([None]), "'w' has dtype object"),
        ("w", None, "'w' has dtype object"),
        ("w", [[1], [1, 2]], "'w' is a list, expected an array"),
        ("w", np.zeros(1, "M8[s]"), "'w' has dtype datetime64"),
    ],
)
def test_what_cannot_be_stored_is_refused_by_name(tmp_path, name, value, message):
    with pytest.raises(WeightsError, match=message):
        weights.save(tmp_path / "w.safetensors", {"good": np.ones(1), name: value})
    assert not list(tmp_path.iterdir())


def entry(**changes):
    return {"w": {"dtype": "F32", "shape": [2], "data_offsets": [0, 8], **changes}}


def two(first, second):
    return {
        name: {"dtype": "U8", "shape": [end - begin], "data_offsets": [begin, end]}
        for name, (begin, end) in (("a", first), ("b", second))
    }


@pytest.mark.parametrize(
    ("header", "message"),
    [
        (entry(shape=[3]), "does not take 8 bytes"),
        (entry(data_offsets=[4, 12]), "truncated|overlap"),
        (entry(data_offsets=[8, 0]), "does not take -8 bytes"),
        (entry(data_offsets=[0, 4], shape=[1]), "overlap, leave holes, or do not fill"),
        (entry(data_offsets=[4, 8], shape=[1]), "overlap, leave holes, or do not fill"),
        (two((0, 5), (3, 8)), "overlap, leave holes, or do not fill"),
        (two((0, 8), (0, 8)), "overlap, leave holes, or do not fill"),
        (two((0, 8), (2, 4)), "overlap, leave holes, or do not fill"),
        (two((0, 3), (4, 8)), "overlap, leave holes, or do not fill"),
        ({**entry(), "e": {"dtype": "F32", "shape": [0], "data_offsets": [4, 4]}}, "overlap, leave holes"),
        (entry(shape=[-2]), "whole numbers of at least 0"),
        (entry(shape=[2.0]), "whole numbers of at least 0"),
        (entry(shape=[True, 2]), "whole numbers of at least 0"),
        (entry(shape="2"), "shape a list"),
        (entry(shape=[0, 2**62]), "evil"),
        (entry(shape=[0, 2**62], data_offsets=[0, 0]), "evil"),
        (entry(shape=[0, 2**70], data_offsets=[0, 0]), "whole numbers of at least 0"),
        (entry(shape=[2**62, 4]), "does not take 8 bytes"),
        (entry(shape=[1] * 70, data_offsets=[0, 4]), "at most 64 numbers"),
        (entry(shape=[10**400] * 3000), "at most 64 numbers"),
        (entry(shape={"a": 1}), "shape a list"),
        (entry(data_offsets=[0, 8, 9]), "entry of tensor 'w' is damaged"),
        (entry(data_offsets=None), "entry of tensor 'w' is damaged"),
        (entry(dtype="F99"), "entry of tensor 'w' is damaged: its dtype is 'F99', expected one of F64"),
        (entry(dtype=["F32"]), "entry of tensor 'w' is damaged"),
        ({"w": 3}, "entry of tensor 'w' is damaged"),
        ({"w": {}}, "entry of tensor 'w' is damaged"),
        ({**entry(), "__metadata__": {"a": 1}}, "metadata is not a table of text"),
        ({**entry(), "__metadata__": "a"}, "metadata is not a table of text"),
        ({**entry(), "__metadata__": {"tinycnn_sha256": "0" * 64}}, "its checksum is wrong"),
        ([1], "not a table of tensors"),
        (b"{", "header is damaged"),
        (b" {}", "does not begin with {"),
        (b'{"w": NaN}', "entry of tensor 'w' is damaged"),
        (b"{\xff}", "header is damaged"),
        (b'{"w": ' + b"9" * 5000 + b"}", "header is damaged"),
        (b'{"a":' * 5000 + b"1" + b"}" * 5000, "damaged|deeply"),
        (b'{"a":' + b"[" * 200_000, "damaged|deeply"),
        (b'{"w": {}, "w": {}}', "a name stands twice"),
        (b'{"a":[' + b"[]," * 1_100_000 + b"1]}", "about 2200002 values"),
    ],
)
def test_headers_that_lie_are_refused_with_little_memory(tmp_path, header, message):
    path = file(tmp_path / "evil.safetensors", header, bytes(8))
    tracemalloc.start()
    try:
        with pytest.raises(WeightsError, match=message) as caught:
            weights.load(path)
        assert tracemalloc.get_traced_memory()[1] < 20e6
    finally:
        tracemalloc.stop()
    assert str(path) in str(caught.value)


def test_a_header_longer_than_the_file_or_the_limit_is_refused(tmp_path):
    path = tmp_path / "long.safetensors"
    path.write_bytes((2**62).to_bytes(8, "little") + b"{}")
    with pytest.raises(WeightsError, match="not a safetensors file, or truncated"):
        weights.load(path)
    with open(path, "wb") as stream:
        stream.write((2**26).to_bytes(8, "little") + b"{")
        stream.truncate(2**27)
    with pytest.raises(WeightsError, match="its header has 67108864 bytes, more than 16777216"):
        weights.load(path)
    with pytest.raises(WeightsError, match="expected at most 16777216"):
        save_safetensors(path, {}, {"text": "a" * 2**24})


def test_with_a_checksum_every_changed_byte_is_noticed(tmp_path):
    path = tmp_path / "w.safetensors"
    save_safetensors(path, {"w": np.arange(3.0), "v": np.ones(2, bool)}, {"tinycnn": '"tinycnn_sha256":"0"'}, True)
    arrays, metadata = read_safetensors(path)
    assert arrays["w"].tolist() == [0, 1, 2] and len(metadata["tinycnn_sha256"]) == 64
    whole = path.read_bytes()
    for at in range(len(whole)):
        path.write_bytes(whole[:at] + bytes([whole[at] ^ 1 << at % 8]) + whole[at + 1 :])
        if b'"tinycnn_sha256":"' in path.read_bytes():
            with pytest.raises(WeightsError, match=r"w\.safetensors is refused"):
                read_safetensors(path)
    for other in (whole + b"\0", whole[:-1], whole[:-1] + b"\x07"):
        path.write_bytes(other)
        with pytest.raises(WeightsError):
            read_safetensors(path)
