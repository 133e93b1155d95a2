"""Values as bytes: exact round trips, and no harm from forged bytes."""

import io
import json
import struct

import numpy as np
import pytest

from tinycnn.assign import wire


@pytest.mark.parametrize(
    "value",
    [None, True, -3, 2.5, float("inf"), "äöü", [1, [2.0, "x"]], (1, (2, [3])), {"a": (1, None), "b": {}}, 10**30],
    ids=str,
)
def test_plain_values_come_back_as_they_were(value):
    back = wire.decode(wire.encode(value))
    assert back == value and type(back) is type(value)


@pytest.mark.parametrize("dtype", wire.DTYPES)
@pytest.mark.parametrize("shape", [(), (0,), (3,), (2, 0, 3), (2, 3, 4)])
def test_arrays_come_back_with_shape_dtype_and_values(dtype, shape):
    array = np.arange(np.prod(shape, dtype=int)).reshape(shape).astype(dtype)
    back = wire.decode(wire.encode([array, "between", array]))
    for one in (back[0], back[2]):
        assert one.dtype == array.dtype and one.shape == shape and np.array_equal(one, array) and one.flags.writeable


def test_nan_other_byte_orders_and_views_arrive():
    strange = np.array([[1.0, np.nan], [np.inf, 4.0]]).astype(">f8")[::-1, ::-1]
    assert np.array_equal(wire.decode(wire.encode(strange)), strange, equal_nan=True)


def test_a_subclass_becomes_a_plain_array():
    class Liar(np.ndarray):
        def __eq__(self, other):
            return True

    back = wire.decode(wire.encode(np.zeros(3).view(Liar)))
    assert type(back) is np.ndarray and not (back == 1).any()


@pytest.mark.parametrize(
    ("value", "words"),
    [
        (object(), "type object"),
        ({1: 2}, "type dict"),
        (np.array([None]), "dtype object"),
        (np.array(["x"]), "dtype <U1"),
        (1j, "type complex"),
        (b"bytes", "type bytes"),
    ],
)
def test_what_is_not_plain_is_refused_by_its_type(value, words):
    with pytest.raises(wire.WireError, match=words):
        wire.encode([value])


def test_a_list_that_contains_itself_is_refused():
    endless: list = []
    endless.append(endless)
    with pytest.raises(wire.WireError, match="without an end"):
        wire.encode(endless)


def message(header, body=b""):
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + body


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\0" * 5,
        struct.pack("<Q", 2**60),
        message(b"no json"),
        message({"array": ["float64", [2]]}, b"\0" * 8),
        message({"array": ["float64", [2**40, 2**40]]}),
        message({"array": ["float64", [-1]]}),
        message({"array": ["float64", [True]]}),
        message({"array": ["float64", [-1, 0]]}),
        message([{"array": ["int8", [2]]}, {"array": ["int8", [-1]]}], b"\0"),
        message([{"array": ["int8", [-1]]}, {"array": ["int8", [2]]}], b"\0"),
        message({"array": ["float64", "ab"]}),
        message({"array": ["O", [1]]}, b"\0" * 8),
        message({"array": [["float64"], [1]]}, b"\0" * 8),
        message({"array": ["float64", [0] * 99]}),
        message({"array": ["int8", []], "tuple": []}, b"\0"),
        message({"pickle": "x"}),
        message({"dict": [1]}),
        message({}),
        message(1, b"more"),
        message(b"[" * 100_000),
        message(b"1" * 10_000),
    ],
    ids=range(22),
)
def test_bytes_that_are_no_message_are_an_error_and_nothing_else(data):
    with pytest.raises(wire.WireError):
        wire.decode(data)


def test_random_bytes_never_do_more_than_raise():
    rng, read, refused = np.random.default_rng(0), 0, 0
    good = wire.encode({"a": np.arange(4.0), "b": (1, "x")})
    for _ in range(500):
        data = bytearray(good)
        for place in rng.integers(len(data), size=3):
            data[place] = rng.integers(256)
        try:
            again = wire.encode(wire.decode(bytes(data)))
        except wire.WireError:
            refused += 1
        else:
            read += 1
            assert len(again) <= 2 * len(good)
    assert read > 5 and refused > 20


def test_a_stream_is_read_message_by_message_up_to_its_end_and_no_larger_than_allowed():
    stream = io.BytesIO()
    wire.write(stream, b"one")
    wire.write(stream, b"three" * 10)
    stream.seek(0)
    assert wire.read(stream, 20) == b"one"
    with pytest.raises(wire.WireError, match="more than"):
        wire.read(stream, 20)
    assert wire.read(io.BytesIO(b""), 20) is None
    assert wire.read(io.BytesIO(struct.pack("<Q", 9) + b"short"), 20) is None
