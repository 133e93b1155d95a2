"""Trees of dicts, lists, plain values and arrays as JSON text and a table of arrays, and back exactly as they were.

JSON has fewer types than Python. A dict with keys that are all text, a list, text, a number, a truth value and None are
themselves. Everything else becomes a dict of one entry, whose key names the type; a dict of the user's that looks like
one is written as ``{"items": [[key, value], ...]}``, as is a dict with other keys than text.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

DEEPEST = 100
"""Levels of dicts and lists in each other; JSON readers have a limit of their own."""
_PLAIN = (str, int, float, bool, type(None))
_LARGEST_INTEGER = 2**1024  # Python refuses to write more than 4,300 decimal digits
_SURROGATE_PAIR = re.compile("[\ud800-\udbff][\udc00-\udfff]")  # JSON makes one character of two
_EXPECTED = "expected dicts, lists, tuples, text, bytes, numbers, None and arrays of numbers"


def take_out(value: Any, arrays: dict[str, np.ndarray], path: tuple[str, ...] = ()) -> Any:
    """Return a tree for JSON, with each array moved to ``arrays`` and replaced by a reference to its name there.

    Raises
    ------
    TypeError
        Naming the entry that could not be read back as it is.
    """
    if len(path) > DEEPEST:
        raise TypeError(f"{_where(path[:5])}/... is nested more than {DEEPEST} levels deep, or holds itself")
    if type(value) in _PLAIN:
        return _take_plain(value)
    if type(value) is dict:
        return _take_dict(value, arrays, path)
    if type(value) in (list, tuple):
        items = [take_out(item, arrays, (*path, str(i))) for i, item in enumerate(value)]
        return items if type(value) is list else {"tuple": items}
    if type(value) is bytes:
        return {"bytes": value.hex()}
    if isinstance(value, np.generic) and type(value) is value.dtype.type and value.dtype.kind in "biufcSUmM":
        if isinstance(value, (str, bytes)):  # their bytes in an array would lack zeros at the end
            return {"scalar": [value.dtype.kind, _bytes_of(value).hex()]}
        return {"scalar": [value.dtype.str, value.tobytes().hex()]}
    if isinstance(value, np.ndarray) and not isinstance(value, (np.ma.MaskedArray, np.matrix, np.recarray)):
        return _take_array(value, arrays, path)
    raise TypeError(f"{_where(path)} is a {type(value).__name__}, {_EXPECTED}")


def _take_plain(value: Any) -> Any:
    if type(value) is int and abs(value) >= _LARGEST_INTEGER:
        return {"int": hex(value)}
    if type(value) is str and not value.isascii() and _SURROGATE_PAIR.search(value):
        return {"scalar": ["str", _bytes_of(value).hex()]}
    return value


def _take_dict(value: dict[Any, Any], arrays: dict[str, np.ndarray], path: tuple[str, ...]) -> Any:
    for key in value:
        if type(key) not in _PLAIN:
            raise TypeError(f"{_where(path)} has the key {_shown(key)}, expected text or a number")
    inner = {key: (*path, _label(key)) for key in value}
    if all(type(key) is str and _take_plain(key) is key for key in value) and not (
        len(value) == 1 and next(iter(value)) in _DECODERS
    ):
        return {key: take_out(item, arrays, inner[key]) for key, item in value.items()}
    return {"items": [[take_out(key, arrays), take_out(item, arrays, inner[key])] for key, item in value.items()]}


def _take_array(value: np.ndarray, arrays: dict[str, np.ndarray], path: tuple[str, ...]) -> Any:
    native = value.dtype.newbyteorder("=")
    if value.dtype.kind not in "biufc" or native.itemsize > 8:
        raise TypeError(f"{_where(path)} is an array of {value.dtype}, expected numbers of 1 to 8 bytes")
    name, number = base, _ = "/".join(path), 1
    while name in arrays or name == "__metadata__":
        number += 1
        name = f"{base}#{number}"
    arrays[name] = np.asarray(value)
    return {"array": name if value.dtype.isnative else [name, value.dtype.str]}


def _label(key: Any) -> str:
    text = hex(key) if type(key) is int and abs(key) >= _LARGEST_INTEGER else str(key)
    return text.encode("utf-8", "backslashreplace").decode()


def _shown(key: Any) -> str:
    kind = f"a {type(key).__name__}"
    try:
        return f"{key!r}, {kind}"
    except Exception:  # its numbers have too many digits, for example
        return kind


def _bytes_of(text: str | bytes) -> bytes:
    return text.encode("utf-8", "surrogatepass") if isinstance(text, str) else text


def _where(path: tuple[str, ...]) -> str:
    return f"the entry {'/'.join(path)[:200]!r}" if path else "the whole"


def put_back(tree: Any, arrays: Mapping[str, np.ndarray]) -> Any:
    """Return the tree from which :func:`take_out` took the arrays.

    Raises
    ------
    KeyError, TypeError, ValueError
        If it is not one.
    """
    if isinstance(tree, list):
        return [put_back(item, arrays) for item in tree]
    if not isinstance(tree, dict):
        return tree
    if len(tree) == 1:
        ((key, item),) = tree.items()
        if key in _DECODERS:
            return _DECODERS[key](item, arrays)
    return {key: put_back(item, arrays) for key, item in tree.items()}


def put_back_first_format(tree: Any, arrays: Mapping[str, np.ndarray]) -> Any:
    """Return the tree of a checkpoint of format 1, which stored arrays only: tuples are lists there, keys are text."""
    if isinstance(tree, dict):
        if list(tree) == ["array"]:
            return arrays[tree["array"]]
        return {key: put_back_first_format(item, arrays) for key, item in tree.items()}
    return [put_back_first_format(item, arrays) for item in tree] if isinstance(tree, list) else tree


def _array(item: Any, arrays: Mapping[str, np.ndarray]) -> np.ndarray:
    if isinstance(item, str):
        return arrays[item]
    name, dtype = item
    return arrays[name].astype(_dtype(dtype))


def _scalar(item: Any, arrays: Mapping[str, np.ndarray]) -> Any:
    dtype, data = item
    if dtype in _TEXT:
        return _TEXT[dtype](bytes.fromhex(data))
    (value,) = np.frombuffer(bytes.fromhex(data), _dtype(dtype))
    return value


def _dtype(text: Any) -> np.dtype:
    if not isinstance(text, str) or not re.fullmatch(r"[<>|=][biufcSUmM]\d{1,9}(\[\d*[a-zA-Zμ]+\])?", text):
        raise ValueError(f"{text!r} is not a dtype")
    return np.dtype(text)


def _items(item: Any, arrays: Mapping[str, np.ndarray]) -> dict[Any, Any]:
    table = {_key(put_back(key, arrays)): put_back(value, arrays) for key, value in item}
    if len(table) != len(item):
        raise ValueError("a key stands twice")
    return table


def _key(key: Any) -> Any:
    """Return a key; each NaN is a key of its own, though JSON's reader gives the same object for all."""
    return float("nan") if type(key) is float and math.isnan(key) else key


_TEXT: dict[str, Callable[[bytes], Any]] = {
    "str": lambda data: data.decode("utf-8", "surrogatepass"),
    "U": lambda data: np.str_(data.decode("utf-8", "surrogatepass")),
    "S": np.bytes_,
}
_DECODERS: dict[str, Callable[[Any, Mapping[str, np.ndarray]], Any]] = {
    "array": _array,
    "scalar": _scalar,
    "items": _items,
    "tuple": lambda item, arrays: tuple([put_back(value, arrays) for value in item]),
    "bytes": lambda item, arrays: bytes.fromhex(item),
    "int": lambda item, arrays: int(item, 16),
}
