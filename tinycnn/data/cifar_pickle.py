"""The Python version of CIFAR, read without the `pickle` module: by the few instructions that its files need."""

from __future__ import annotations

import math
import pickletools
from pathlib import Path
from typing import Any

import numpy as np

from tinycnn.errors import DataError
from tinycnn.files.limits import refusals

_MAX_FILE = 1 << 29  # bytes; the largest file of CIFAR has 155 MB
_IGNORED = {"PROTO", "FRAME"}
_LITERALS = {"BININT", "BININT1", "BININT2", "LONG1", "SHORT_BINSTRING", "BINSTRING", "SHORT_BINUNICODE", "BINUNICODE"}
_LITERALS |= {"SHORT_BINBYTES", "BINBYTES", "BINBYTES8", "BYTEARRAY8", "BINUNICODE8"}
_EMPTY = {"EMPTY_DICT": dict, "EMPTY_LIST": list, "EMPTY_TUPLE": tuple}
_CONSTANTS = {"NONE": None, "NEWTRUE": True, "NEWFALSE": False}
_PUT, _GET = {"BINPUT", "LONG_BINPUT"}, {"BINGET", "LONG_BINGET"}
_TUPLES = {"TUPLE1": 1, "TUPLE2": 2, "TUPLE3": 3}
_MARK = object()
_GLOBALS = {
    "numpy.core.multiarray _reconstruct": "new array",
    "numpy._core.multiarray _reconstruct": "new array",
    "numpy.core.numeric _frombuffer": "whole array",
    "numpy._core.numeric _frombuffer": "whole array",
    "numpy ndarray": "ndarray",
    "numpy dtype": "dtype",
    "_codecs encode": "encode",
}


def read_batch(path: str | Path, label: str) -> tuple[np.ndarray, np.ndarray]:
    """Return the images and labels of one file, such as ``data_batch_1`` or ``train``.

    Parameters
    ----------
    path
        The file.
    label
        The key of the labels: ``"labels"`` or ``"fine_labels"``.

    Returns
    -------
    pixels, labels
        uint8 (N, 3072) and int64 (N,).

    Raises
    ------
    DataError
        If it is not such a file, or damaged. No code of the file is ever run.
    """
    path = Path(path)
    if path.stat().st_size > _MAX_FILE:
        raise DataError(f"{path}: has {path.stat().st_size} bytes, more than any file of CIFAR")
    with refusals(path, DataError):
        batch = _Machine().run(path.read_bytes())
        if not isinstance(batch, dict) or not isinstance(batch.get("data"), _Array) or label not in batch:
            found = ", ".join(map(repr, batch)) if isinstance(batch, dict) else type(batch).__name__
            raise ValueError(f"it holds {found or 'nothing'}, expected 'data' and {label!r}")
        pixels, labels = batch["data"].numpy(), batch[label]
        if not isinstance(labels, list) or not all(type(number) is int for number in labels):
            raise ValueError(f"{label!r} is not a list of integers")
        if pixels.ndim != 2 or pixels.shape[1] != 3072 or len(pixels) != len(labels) or not labels:
            raise ValueError(f"'data' has shape {pixels.shape} for {len(labels)} labels, expected (N, 3072)")
        return pixels, np.array(labels, np.int64)


class _Array:
    """An array under construction: shape, order and bytes."""

    def __init__(self) -> None:
        self.shape: Any = None
        self.order, self.data = "C", b""

    def set(self, shape: Any, dtype: Any, order: str, data: Any) -> None:
        if not isinstance(dtype, _Bytes):
            raise ValueError("an array is not of bytes")
        self.shape, self.order = shape, order
        self.data = data.encode("latin-1") if isinstance(data, str) else bytes(data)

    def numpy(self) -> np.ndarray:
        if not isinstance(self.shape, tuple) or not all(type(n) is int and n >= 0 for n in self.shape):
            raise ValueError(f"an array has shape {self.shape}")
        if math.prod(self.shape) != len(self.data):
            raise ValueError(f"an array of shape {self.shape} has {len(self.data)} bytes")
        return np.frombuffer(self.data, np.uint8).reshape(self.shape, order="F" if self.order == "F" else "C")


class _Bytes:
    """The dtype uint8."""


class _Machine:
    """The stack and the memo of a pickle (https://docs.python.org/3/library/pickletools.html)."""

    def __init__(self) -> None:
        self.stack: list[Any] = []
        self.memo: dict[int, Any] = {}

    def run(self, data: bytes) -> Any:
        for instruction, argument, _ in pickletools.genops(data):
            if instruction.name == "STOP":
                break
            self._step(instruction.name, argument)
        (result,) = self.stack
        return result

    def _step(self, name: str, argument: Any) -> None:
        if name in _LITERALS:
            self.stack.append(argument)
        elif name in _EMPTY:
            self.stack.append(_EMPTY[name]())
        elif name in _CONSTANTS:
            self.stack.append(_CONSTANTS[name])
        elif name == "MARK":
            self.stack.append(_MARK)
        elif name in _PUT:
            self.memo[argument] = self.stack[-1]
        elif name == "MEMOIZE":
            self.memo[len(self.memo)] = self.stack[-1]
        elif name in _GET:
            self.stack.append(self.memo[argument])
        elif name not in _IGNORED:
            self._combine(name, argument)

    def _combine(self, name: str, argument: Any) -> None:
        if name in _TUPLES:
            items = [self.stack.pop() for _ in range(_TUPLES[name])]
            self.stack.append(tuple(reversed(items)))
        elif name == "TUPLE":
            self.stack.append(tuple(self._since_mark()))
        elif name in ("APPEND", "APPENDS"):
            items = self._since_mark() if name == "APPENDS" else [self.stack.pop()]
            self._top(list).extend(items)
        elif name in ("SETITEM", "SETITEMS"):
            items = self._since_mark() if name == "SETITEMS" else [self.stack.pop(-2), self.stack.pop()]
            self._set_items(items)
        elif name in ("GLOBAL", "STACK_GLOBAL"):
            if name == "STACK_GLOBAL":
                attribute, module = self.stack.pop(), self.stack.pop()
                argument = f"{module} {attribute}"
            if argument not in _GLOBALS:
                raise ValueError(f"it wants {argument[:100]!r}, which the files of CIFAR do not need")
            self.stack.append(_GLOBALS[argument])
        elif name == "REDUCE":
            arguments, function = self.stack.pop(), self.stack.pop()
            self.stack.append(_call(function, arguments))
        elif name == "BUILD":
            state = self.stack.pop()
            if isinstance(self.stack[-1], _Array):
                _, shape, dtype, fortran, data = state
                self.stack[-1].set(shape, dtype, "F" if fortran else "C", data)
            elif not isinstance(self.stack[-1], _Bytes):
                raise ValueError("it sets attributes, which the files of CIFAR do not need")
        else:
            raise ValueError(f"it has the instruction {name}, which the files of CIFAR do not need")

    def _since_mark(self) -> list[Any]:
        items = []
        while (item := self.stack.pop()) is not _MARK:
            items.append(item)
        return items[::-1]

    def _top(self, kind: type) -> Any:
        if type(self.stack[-1]) is not kind:
            raise ValueError(f"it has a {type(self.stack[-1]).__name__} in place of a {kind.__name__}")
        return self.stack[-1]

    def _set_items(self, items: list[Any]) -> None:
        target = self._top(dict)
        for key, value in zip(items[::2], items[1::2], strict=True):
            key = key.decode("latin-1") if isinstance(key, bytes) else key
            if not isinstance(key, str):  # the hash of nested tuples may take for ever
                raise ValueError(f"it has a key that is a {type(key).__name__}, expected text")
            target[key] = value


def _call(function: Any, arguments: Any) -> Any:
    if function == "new array":
        return _Array()
    if function == "whole array":
        data, dtype, shape, order = arguments
        array = _Array()
        array.set(shape, dtype, order, data)
        return array
    if function == "dtype" and arguments[0] in ("u1", "|u1"):
        return _Bytes()
    if function == "encode" and arguments[1] in ("latin1", "latin-1"):
        return arguments[0].encode("latin-1")
    raise ValueError(f"it calls {str(function)[:100]} with other arguments than the files of CIFAR")
