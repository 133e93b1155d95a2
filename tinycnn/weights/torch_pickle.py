"""Reading PyTorch's .pth files without PyTorch, and without trusting them.

A .pth file is a pickle: a program for a small machine that may call any function it can name. This reader's machine
knows no function but its own: the names that PyTorch writes for tensors stand for functions defined here, every other
name is refused. Both layouts are read: the zip archive (PyTorch 1.6 on) and the older plain stream, in which
torchvision's early weights are.
"""

from __future__ import annotations

import io
import math
import pickle
import zipfile
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from tinycnn.errors import WeightsError

_DTYPES = {
    "DoubleStorage": "<f8",
    "FloatStorage": "<f4",
    "HalfStorage": "<f2",
    "BFloat16Storage": "bf16",
    "LongStorage": "<i8",
    "IntStorage": "<i4",
    "ShortStorage": "<i2",
    "CharStorage": "i1",
    "ByteStorage": "u1",
    "BoolStorage": "?",
}
_LEGACY_MAGIC = 0x1950A86A20F9469CFC6C
_LARGEST = 16 * 2**30


class _StorageType(NamedTuple):
    """The name of a storage class, in place of the class."""

    dtype: str


class _Storage(NamedTuple):
    """A flat run of elements, by the key under which its bytes are stored."""

    key: str
    dtype: str
    size: int


class _LazyTensor(NamedTuple):
    """A tensor as the pickle describes it: a strided view of a storage."""

    storage: _Storage
    offset: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]


class _Table(OrderedDict):
    """The only container the pickle may build by name; attributes set on it (``_metadata``) are dropped."""

    def __setstate__(self, state: Any) -> None:
        """Drop it."""


def _rebuild_tensor(storage: Any, offset: Any, shape: Any, strides: Any, *_: Any) -> _LazyTensor:
    numbers = (offset, *shape, *strides)
    if not isinstance(storage, _Storage) or any(type(n) is not int or n < 0 for n in numbers):
        raise pickle.UnpicklingError("a tensor's description is damaged")
    if len(shape) != len(strides) or len(shape) > 64:
        raise pickle.UnpicklingError("a tensor's shape and strides do not fit")
    return _LazyTensor(storage, offset, tuple(shape), tuple(strides))


def _rebuild_parameter(tensor: Any, *_: Any) -> Any:
    return tensor


_BUILDERS: dict[tuple[str, str], Any] = {
    ("collections", "OrderedDict"): _Table,
    ("torch._utils", "_rebuild_tensor_v2"): _rebuild_tensor,
    ("torch._utils", "_rebuild_parameter"): _rebuild_parameter,
    **{("torch", name): _StorageType(dtype) for name, dtype in _DTYPES.items()},
}


class _Unpickler(pickle.Unpickler):
    """An unpickler whose every name is on the list."""

    def __init__(self, file: Any, persistent: Callable[[Any], _Storage] | None = None) -> None:
        super().__init__(file, encoding="utf-8")
        self._persistent = persistent

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) not in _BUILDERS:
            raise pickle.UnpicklingError(f"it asks for {module}.{name}, and only tensors are built from such a file")
        return _BUILDERS[module, name]

    def persistent_load(self, pid: Any) -> Any:
        if self._persistent is None:
            raise pickle.UnpicklingError("it refers to a storage where none can be")
        return self._persistent(pid)


def load_pth(path: str | Path) -> dict[str, np.ndarray]:
    """The arrays of a state dict, or of one inside a checkpoint under "state_dict" or "model".

    Raises
    ------
    WeightsError
        If the file is truncated or damaged, is no state dict, or asks for anything but tensors.
    """
    try:
        with open(path, "rb") as file:
            zipped = zipfile.is_zipfile(file)
            file.seek(0)
            tree, read = _read_zip(file) if zipped else _read_legacy(file)
            return {name: _materialise(name, tensor, read) for name, tensor in _state(tree).items()}
    except (pickle.UnpicklingError, zipfile.BadZipFile, EOFError, KeyError, ValueError, TypeError) as error:
        raise WeightsError(f"{path} is refused: {error}") from error
    except (
        AttributeError,
        IndexError,
        OverflowError,
        MemoryError,
        RecursionError,
        NotImplementedError,
    ) as error:
        raise WeightsError(f"{path} is refused: damaged ({type(error).__name__}: {error})") from error


def _read_zip(file: Any) -> tuple[Any, Callable[[_Storage], bytes]]:
    archive = zipfile.ZipFile(file)
    pickles = [name for name in archive.namelist() if name.endswith("/data.pkl") or name == "data.pkl"]
    if len(pickles) != 1:
        raise ValueError("the archive has no data.pkl: not written by torch.save?")
    folder = pickles[0].removesuffix("data.pkl")
    order = f"{folder}byteorder"
    if order in archive.namelist() and archive.read(order).strip() != b"little":
        raise ValueError("its numbers are big-endian, which is not supported")
    tree = _Unpickler(io.BytesIO(_member(archive, pickles[0])), _storage).load()
    return tree, lambda storage: _member(archive, f"{folder}data/{storage.key}")


def _member(archive: zipfile.ZipFile, name: str) -> bytes:
    info = archive.getinfo(name)
    if info.file_size > _LARGEST or info.file_size > 1000 * max(info.compress_size, 1):
        raise ValueError(f"{name} would unpack to {info.file_size} bytes")
    return archive.read(info)


def _storage(pid: Any) -> _Storage:
    """A storage from ("storage", type, key, location, number of elements, ...)."""
    if not isinstance(pid, tuple) or len(pid) < 5 or pid[0] != "storage" or not isinstance(pid[1], _StorageType):
        raise pickle.UnpicklingError("a storage's description is damaged")
    if type(pid[4]) is not int or pid[4] < 0:
        raise pickle.UnpicklingError("a storage's size is damaged")
    return _Storage(str(pid[2]), pid[1].dtype, pid[4])


def _read_legacy(file: Any) -> tuple[Any, Callable[[_Storage], bytes]]:
    """Magic number, protocol, system facts, the tree, the list of storage keys, then each storage's size and bytes."""
    if _Unpickler(file).load() != _LEGACY_MAGIC:
        raise ValueError("it does not begin as torch.save begins a file")
    for _ in range(2):
        _Unpickler(file).load()
    storages: dict[str, _Storage] = {}

    def remember(pid: Any) -> _Storage:
        storage = _storage(pid)
        storages[storage.key] = storage
        return storage

    tree = _Unpickler(file, remember).load()
    data = {}
    for key in _Unpickler(file).load():
        storage = storages[str(key)]
        count = int.from_bytes(file.read(8), "little")
        if count != storage.size:
            raise ValueError(f"storage {key} has {count} elements, expected {storage.size}")
        data[storage.key] = file.read(count * _itemsize(storage.dtype))
    return tree, lambda storage: data[storage.key]


def _state(tree: Any) -> dict[str, _LazyTensor]:
    for key in ("state_dict", "model"):
        if isinstance(tree, dict) and isinstance(tree.get(key), dict):
            tree = tree[key]
    if not isinstance(tree, dict) or not all(isinstance(v, _LazyTensor) for v in tree.values()) or not tree:
        raise ValueError("it holds no state dict of tensors")
    return {str(name): tensor for name, tensor in tree.items()}


def _itemsize(dtype: str) -> int:
    return 2 if dtype == "bf16" else np.dtype(dtype).itemsize


def _materialise(name: str, tensor: _LazyTensor, read: Callable[[_Storage], bytes]) -> np.ndarray:
    """Copy a tensor out of its storage, after checking that it lies inside."""
    storage = tensor.storage
    data = read(storage)
    if len(data) != storage.size * _itemsize(storage.dtype):
        raise ValueError(f"storage of {name} has {len(data)} bytes, expected {storage.size} elements: truncated?")
    last = tensor.offset + sum((n - 1) * s for n, s in zip(tensor.shape, tensor.strides))
    if 0 not in tensor.shape and last >= storage.size:
        raise ValueError(f"tensor {name} reaches beyond its storage")
    if math.prod(tensor.shape) > max(storage.size, 1):
        raise ValueError(f"tensor {name} repeats its storage")
    flat = _decode(data, storage.dtype)
    if 0 in tensor.shape:
        return np.empty(tensor.shape, flat.dtype)
    strides = [s * flat.itemsize for s in tensor.strides]
    return np.lib.stride_tricks.as_strided(flat[tensor.offset :], tensor.shape, strides).copy()


def _decode(data: bytes, dtype: str) -> np.ndarray:
    if dtype == "bf16":
        return (np.frombuffer(data, "<u2").astype(np.uint32) << 16).view(np.float32)
    return np.frombuffer(data, dtype).astype(np.dtype(dtype).newbyteorder("="), copy=False)
