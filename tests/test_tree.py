"""Trees as JSON and arrays: each comes back exactly, or the entry that would not is named."""

import collections
import enum
import json
import math
from pathlib import Path

import numpy as np
import pytest

import tinycnn as tc
from tinycnn.tree import put_back, take_out


def same(one, other):
    """True if equal in value, type, order of keys and every bit."""
    if type(one) is not type(other):
        return False
    if isinstance(one, dict):
        return [(type(k), k) for k in one] == [(type(k), k) for k in other] and all(same(one[k], other[k]) for k in one)
    if isinstance(one, (list, tuple)):
        return len(one) == len(other) and all(map(same, one, other))
    if isinstance(one, (np.ndarray, np.generic)):
        return (one.dtype, one.shape, one.tobytes()) == (other.dtype, other.shape, other.tobytes())
    if isinstance(one, float):
        return math.copysign(1, one) == math.copysign(1, other) and (one == other or (one != one and other != other))
    return one == other


def through_json(tree):
    arrays = {}
    text = json.dumps(take_out(tree, arrays))
    return put_back(json.loads(text), arrays)


A, B = np.arange(3.0), np.arange(4, dtype=np.float32)
TREES = {
    "a key called array": {"array": 3, "other": {"array": "x"}, "third": {"array": A}},
    "keys of the format": [{"items": [1, 2]}, {"tuple": [1]}, {"scalar": 1}, {"bytes": "00"}, {"int": "5"}],
    "names that meet": {"a": {"b/c": A}, "a/b": {"c": B}, "a/b/c": A, "a/b/c#2": B},
    "the reserved name": {"__metadata__": A},
    "an empty key": {"": A, "/": B},
    "whole numbers as keys": {0: 1, "0": 2, -1: {10: A}},
    "truth values as keys": {True: 1, "True": 2, False: None},
    "None as a key": {None: 1, "None": 2},
    "floats as keys": {0.5: 1, math.inf: 2, -0.0: 3},
    "whole numbers of many digits as keys": {10**5000: A, -(2**1024): 2},
    "halves of a character": ["\ud83d\ude42", {"\ud83d\ude42": A, "\U0001f642": B}, {"\udc00\ud800": 1}],
    "NumPy's text": [np.str_("a\0"), np.str_(""), np.bytes_(b"a\0"), np.bytes_(b""), np.str_("\ud83d\ude42")],
    "tuples and lists": (1, [2, (3, ()), []], {"a": (A, [B])}),
    "empty": [{}, [], (), "", b"", {"a": {}}],
    "floats": [0.1 + 0.2, -0.0, 1e-310, math.inf, -math.inf, math.nan, 1e22],
    "integers": [2**63, -(2**127), 2**1024, -(2**20000), 0, True, False],
    "text": ["ü 漢字 🙂", "\0", "\ud800", '"\\', "a\nb", "\u2028"],
    "text as keys": {"\ud800": A, "\0": B, '"': 1},
    "bytes": [b"\0\xff", {"a": b"x"}],
    "NumPy's scalars": [
        np.float64(0.3),
        np.float32(0.1),
        np.int8(-3),
        np.bool_(True),
        np.uint64(2**64 - 1),
        np.str_("ü"),
    ],
    "NumPy's NaN": [np.float32("nan"), np.complex128(1 + 2j), np.datetime64("2020-01-01", "s")],
    "every dtype": [np.array([0, 1]).astype(code) for code in "? i1 u1 i2 u2 i4 u4 i8 u8 f2 f4 f8 c8".split()],
    "other byte orders": [A.astype(">f8"), {"a": np.arange(3, dtype=">i2")}],
    "shapes": [np.array(7), np.zeros((0, 3)), np.zeros((1, 0), bool)],
    "strides": [np.arange(12.0).reshape(3, 4)[::-1, ::2].copy()],
    "one array twice": {"a": A, "b": A},
}


@pytest.mark.parametrize("name", TREES)
def test_trees_come_back_exactly(name):
    assert same(through_json(TREES[name]), TREES[name])


def test_no_array_gets_the_name_that_safetensors_reserves():
    arrays = {}
    take_out(TREES["the reserved name"], arrays)
    assert list(arrays) == ["__metadata__#2"]


def test_each_nan_is_a_key_of_its_own():
    back = through_json([{math.nan: 1, float("nan"): 2, -0.0: 3}])[0]
    assert list(back.values()) == [1, 2, 3] and str(list(back)) == "[nan, nan, -0.0]"


def test_arrays_of_any_layout_keep_their_values():
    for array in (np.asfortranarray(np.arange(6.0).reshape(2, 3)), A[::-1], np.broadcast_to(A, (2, 3))):
        np.testing.assert_array_equal(through_json([array])[0], array)


class Kind(enum.IntEnum):
    """A whole number that is more than one."""

    ONE = 1


class Metres(np.float64):
    """A number of NumPy's that is more than one."""


@pytest.mark.parametrize(
    ("value", "what"),
    [
        (Path("x"), "PosixPath|WindowsPath"),
        ({1}, "set"),
        (frozenset(), "frozenset"),
        (1j, "complex"),
        (print, "builtin_function"),
        (object(), "object"),
        (bytearray(b"x"), "bytearray"),
        (range(3), "range"),
        (collections.OrderedDict(a=1), "OrderedDict"),
        (collections.namedtuple("Pair", "a b")(1, 2), "Pair"),
        (Kind.ONE, "Kind"),
        (Metres(1.0), "Metres"),
        ({(10**5000,): 3}, "a tuple"),
        (np.array([None]), "array of object"),
        (np.array(["a"]), "array of <U1"),
        (np.zeros(2, [("a", "f4")]), "array of"),
        (np.zeros(2, complex), "array of complex128"),
        (np.zeros(2, np.longdouble), "array of"),
        (np.ma.array([1, 2], mask=[True, False]), "MaskedArray"),
        (np.zeros(1, "M8[s]"), "array of datetime64"),
        (tc.Tensor(np.zeros(2, np.float32)), "Tensor"),
        ({(1, 2): 3}, r"has the key \(1, 2\), a tuple"),
        ({b"k": 3}, "has the key b'k', a bytes"),
        ({np.int64(1): 3}, "a int64"),
    ],
)
def test_what_would_not_come_back_is_refused_by_name(value, what):
    with pytest.raises(TypeError, match=rf"the entry 'outer/0/in ner' .*({what})"):
        take_out({"outer": [{"in ner": value}]}, {})


def test_cycles_and_deep_trees_are_refused():
    cycle = {"a": []}
    cycle["a"].append(cycle)
    deep = []
    for _ in range(100_000):
        deep = [deep]
    for tree in (cycle, deep):
        with pytest.raises(TypeError, match="nested more than 100 levels deep, or holds itself"):
            take_out(tree, {})
    fine = []
    for _ in range(99):
        fine = [fine]
    assert same(through_json(fine), fine)


@pytest.mark.parametrize(
    "tree",
    [
        {"array": "missing"},
        {"array": 3},
        {"array": ["a", "O8"]},
        {"array": ["a", [["x", "f4"]]]},
        {"items": 3},
        {"items": [[1]]},
        {"items": [[[1], 2]]},
        {"items": [[1, 2], [1, 3]]},
        {"tuple": 3},
        {"bytes": "xyz"},
        {"bytes": 3},
        {"int": "zz"},
        {"int": 3},
        {"scalar": ["<f8", "00"]},
        {"scalar": ["O8", "00" * 8]},
        {"scalar": ["V8", "00" * 8]},
        {"scalar": []},
    ],
)
def test_wrong_trees_are_errors(tree):
    with pytest.raises((KeyError, TypeError, ValueError)):
        put_back([tree], {"a": A})
