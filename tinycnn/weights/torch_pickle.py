"""Reading PyTorch's .pth files without PyTorch, and without trusting them.

A .pth file is a pickle: a program for a small machine (see :mod:`tinycnn.weights.pickle_machine`). The names that
PyTorch writes for tensors stand for functions defined here, every other name is refused. Both layouts are read: the zip
archive (PyTorch 1.6 on) and the older plain stream, in which torchvision's early weights are.

A tensor is a strided view of a storage. All views of one storage are made when its bytes are read, so that each byte
of the file is read once, and equal views (tied layers) become one array.
"""

from __future__ import annotations

import io
import math
import os
from collections.abc import Callable, Collection, Iterator
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

import numpy as np

from tinycnn.files.dtypes import WIDENED, decode, itemsize
from tinycnn.files.limits import read_exactly, refusals, shorten
from tinycnn.weights.archive import Archive
from tinycnn.weights.pickle_machine import MOST_BYTES, Machine, Stream, set_item
from tinycnn.weights.state import find_state, without_wrappers

_STORAGES = {
    "DoubleStorage": "f8",
    "FloatStorage": "f4",
    "HalfStorage": "f2",
    "BFloat16Storage": "bfloat16",
    "LongStorage": "i8",
    "IntStorage": "i4",
    "ShortStorage": "i2",
    "CharStorage": "i1",
    "ByteStorage": "u1",
    "BoolStorage": "?",
    "ComplexFloatStorage": "c8",
    "ComplexDoubleStorage": "c16",
    "UntypedStorage": "u1",
}
_DTYPES = {
    **{name: np.dtype(name).str[1:] for name in ("float16", "float32", "float64", "complex64", "complex128")},
    **{f"{sign}int{bits}": f"{sign[:1] or 'i'}{bits // 8}" for sign in ("", "u") for bits in (8, 16, 32, 64)},
    **{name: name for name in WIDENED},
    "bool": "?",
}
_IGNORED = (
    ("torch", "device"),
    ("torch", "Generator"),
    ("argparse", "Namespace"),
    *(
        (module, kind)
        for module in ("builtins", "__builtin__")
        for kind in ("set", "frozenset", "bytearray", "complex")
    ),
    *(("pathlib", kind) for kind in ("Path", "PosixPath", "WindowsPath")),
    ("collections", "deque"),
    ("datetime", "datetime"),
    ("numpy", "dtype"),
    ("numpy", "ndarray"),
    *((f"numpy.{core}.multiarray", kind) for core in ("core", "_core") for kind in ("scalar", "_reconstruct")),
    *((f"numpy.{core}.numeric", "_frombuffer") for core in ("core", "_core")),
    ("_codecs", "encode"),
)
"""Types of what stands beside the weights in a checkpoint: the objects are not made."""
_LEGACY_MAGIC = 0x1950A86A20F9469CFC6C
_SPARE = 32 * 2**20
"""Bytes of tensors beyond those of the file: expanded tensors repeat elements, compressed members unpack."""


class Storage(NamedTuple):
    """A run of elements, by the key under which its bytes are stored."""

    key: str
    dtype: str
    size: int


class LazyTensor(NamedTuple):
    """A tensor as the pickle describes it: a strided view of a storage, or of none if it has no data."""

    storage: Storage | None
    dtype: str
    offset: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]


class _Type(NamedTuple):
    """The name of a storage class or of a dtype, in place of the object."""

    dtype: str
    storage: bool


def _size(shape: Any = ()) -> tuple[Any, ...]:
    if not isinstance(shape, tuple):
        raise ValueError("a tensor's shape is damaged")
    return shape


def _table(*arguments: Any) -> dict[Any, Any]:
    """Make a dict. Python 2 gives its items as a list of pairs, which is emptied: no program may fill two from it."""
    table: dict[Any, Any] = {}
    pairs = arguments[-1] if arguments else []
    if isinstance(pairs, dict):
        return pairs
    if isinstance(pairs, list):
        for pair in pairs:
            if not isinstance(pair, (list, tuple)) or len(pair) != 2:
                raise ValueError("a dict is not made of pairs")
            set_item(table, *pair)
        pairs.clear()
    return table


def _tensor(storage: Any, offset: Any, shape: Any, strides: Any, *_: Any) -> LazyTensor:
    if not isinstance(storage, Storage):
        raise ValueError("a tensor's storage is damaged")
    return _view(storage, storage.dtype, offset, shape, strides)


def _typed_tensor(
    storage: Any, offset: Any, shape: Any, strides: Any, grad: Any, hooks: Any, dtype: Any, *_: Any
) -> LazyTensor:
    """Return a tensor of an untyped storage (in bytes), with its own dtype."""
    if not isinstance(storage, Storage) or not isinstance(dtype, _Type) or storage.dtype != "u1":
        raise ValueError("a tensor's storage or dtype is damaged")
    return _view(storage, dtype.dtype, offset, shape, strides)


def _tensor_without_data(dtype: Any, shape: Any, strides: Any, *_: Any) -> LazyTensor:
    return _view(None, dtype.dtype if isinstance(dtype, _Type) else "u1", 0, shape, strides)


def _view(storage: Storage | None, dtype: str, offset: Any, shape: Any, strides: Any) -> LazyTensor:
    if not isinstance(shape, (tuple, list)) or not isinstance(strides, (tuple, list)):
        raise ValueError("a tensor's shape or strides are damaged")
    if len(shape) != len(strides) or len(shape) > 64:
        raise ValueError(
            f"a tensor's shape has {len(shape)} numbers and its strides {len(strides)}, expected 64 at most"
        )
    if any(type(n) is not int or not 0 <= n < 2**62 for n in (offset, *shape, *strides)):
        raise ValueError("a tensor's offset, shape or strides are not whole numbers from 0 to below 2^62")
    return LazyTensor(storage, dtype, offset, tuple(shape), tuple(strides))


def _parameter(tensor: Any, *_: Any) -> Any:
    if not isinstance(tensor, LazyTensor):
        raise ValueError("a parameter is not made of a tensor")
    return tensor


def _with_attributes(build: Any, kind: Any, arguments: Any, *_: Any) -> Any:
    """Return a tensor without its Python attributes."""
    made = getattr(build, "build", None)
    if made not in (_tensor, _typed_tensor, _parameter) or not isinstance(arguments, tuple):
        raise ValueError("a tensor with attributes is damaged")
    return made(*arguments)


_NAMES: dict[tuple[str, str], Callable[..., Any] | None] = {
    ("collections", "OrderedDict"): _table,
    ("collections", "Counter"): _table,
    ("collections", "defaultdict"): _table,
    ("builtins", "dict"): _table,
    ("builtins", "list"): None,
    ("torch._utils", "_rebuild_tensor"): _tensor,
    ("torch._utils", "_rebuild_tensor_v2"): _tensor,
    ("torch._utils", "_rebuild_tensor_v3"): _typed_tensor,
    ("torch._utils", "_rebuild_meta_tensor_no_storage"): _tensor_without_data,
    ("torch._utils", "_rebuild_parameter"): _parameter,
    ("torch._utils", "_rebuild_parameter_with_state"): _parameter,
    ("torch._tensor", "_rebuild_from_type_v2"): _with_attributes,
    ("torch", "Tensor"): None,
    ("torch.nn.parameter", "Parameter"): None,
    ("torch", "Size"): _size,
    **dict.fromkeys(_IGNORED),
}
_TYPES = {
    **{("torch", name): _Type(dtype, True) for name, dtype in _STORAGES.items()},
    **{("torch.storage", name): _Type(dtype, True) for name, dtype in _STORAGES.items()},
    **{("torch", name): _Type(dtype, False) for name, dtype in _DTYPES.items()},
}
"""Names that are used as they are, and never called."""


class _Machine(Machine):
    """The machine with the names of PyTorch."""

    def __init__(self, stream: Stream, persistent: Callable[[Any], Storage] | None = None) -> None:
        super().__init__(stream, _NAMES, persistent)

    def find(self, module: str, name: str) -> Any:
        return _TYPES.get((module, name)) or super().find(module, name)


def load_pth(path: str | Path, expected: Collection[str] | None = None) -> dict[str, np.ndarray]:
    """Read the arrays of a state dict, or of one inside a checkpoint (see :func:`tinycnn.weights.state.find_state`).

    Formats that NumPy lacks (bfloat16, 8-bit floats) are widened to float32. Prefixes of wrappers (``module.`` of
    DataParallel, ``_orig_mod.`` of ``torch.compile``) are dropped, unless more of the ``expected`` names have them.

    Raises
    ------
    WeightsError
        If the file is truncated or damaged, is not a state dict, or asks for anything but tensors.
    """
    with open(path, "rb") as file, refusals(path):
        size = os.fstat(file.fileno()).st_size
        zipped = file.read(4) == b"PK\x03\x04"
        file.seek(0)
        tree, read = _read_zip(file, size) if zipped else _read_legacy(file, size)
        state = find_state(tree, LazyTensor)
        _check_sizes(state, size)
        return without_wrappers(_materialise(state, read), expected)


Storages = Callable[[dict[str, Storage]], Iterator[tuple[str, np.ndarray, bool]]]
"""Gives the bytes of storages, each once: key, bytes, True if they are big-endian."""


def _read_zip(file: BinaryIO, size: int) -> tuple[Any, Storages]:
    archive = Archive(file, size + _SPARE)
    pickles = [name for name in archive.members if name.endswith("/data.pkl") or name == "data.pkl"]
    if len(pickles) != 1:
        raise ValueError("the archive has no data.pkl, or several: not written by torch.save?")
    folder = pickles[0].removesuffix("data.pkl")
    if ".." in folder.split("/") or folder.startswith("/"):
        raise ValueError(f"the archive's folder is called {shorten(folder)!r}: not written by torch.save")
    if f"{folder}constants.pkl" in archive.members:
        raise ValueError("it is a TorchScript program, not a state dict: save model.state_dict() with torch.save")
    order = "little"
    if f"{folder}byteorder" in archive.members:
        order = archive.read(f"{folder}byteorder", 16).tobytes().decode("ascii", "replace").strip()
    if order not in ("little", "big"):
        raise ValueError(f"its byte order is {shorten(order)!r}, expected little or big")
    program = archive.read(pickles[0], MOST_BYTES).tobytes()
    tree = _Machine(Stream(io.BytesIO(program), len(program)), _storage).run()

    def read(storages: dict[str, Storage]) -> Iterator[tuple[str, np.ndarray, bool]]:
        for key in storages:
            member = f"{folder}data/{key}"
            if member not in archive.members:
                raise ValueError(f"the archive has no member {shorten(member)!r}")
            yield key, archive.read(member), order == "big"

    return tree, read


def _storage(pid: Any) -> Storage:
    """Return a storage from ("storage", type, key, location, number of elements, view)."""
    if not isinstance(pid, tuple) or len(pid) < 5 or pid[0] != "storage":
        raise ValueError("a storage's description is damaged")
    kind, key, size = pid[1], pid[2], pid[4]
    if not isinstance(kind, _Type) or not kind.storage or type(key) not in (str, int):
        raise ValueError("a storage's type or key is damaged")
    if type(size) is not int or not 0 <= size < 2**62:
        raise ValueError("a storage's size is damaged")
    if len(pid) > 5 and pid[5] is not None:
        raise ValueError("a storage is a view of another one, as PyTorch wrote before 0.4: save it again")
    return Storage(str(key), kind.dtype, size)


def _read_legacy(file: BinaryIO, size: int) -> tuple[Any, Storages]:
    """Read magic number, protocol, system facts, the tree, and the keys of the storages.

    Each storage's size and bytes follow. The bytes are little-endian whatever the system, as PyTorch writes them.
    """

    def run(persistent: Callable[[Any], Storage] | None = None) -> Any:
        return _Machine(Stream(file, size - file.tell()), persistent).run()

    if run() != _LEGACY_MAGIC:
        raise ValueError("it does not begin as torch.save begins a file")
    for _ in range(2):
        run()
    known: dict[str, Storage] = {}

    def remember(pid: Any) -> Storage:
        storage = _storage(pid)
        if known.setdefault(storage.key, storage) != storage:
            raise ValueError(f"two storages have the key {shorten(storage.key)!r}")
        return storage

    tree = run(remember)
    keys = run()
    if not isinstance(keys, list) or not all(type(key) in (str, int) for key in keys):
        raise ValueError("its list of storages is damaged")
    start = file.tell()

    def read(wanted: dict[str, Storage]) -> Iterator[tuple[str, np.ndarray, bool]]:
        file.seek(start)
        for key in map(str, keys):
            count = int.from_bytes(read_exactly(file, 8, "the size of a storage").tobytes(), "little")
            storage = known.get(key)
            if storage is None or count != storage.size:
                raise ValueError(f"storage {shorten(key)!r} has {count} elements, expected {storage and storage.size}")
            length = count * itemsize(storage.dtype)
            if length > size - file.tell():
                raise ValueError(f"storage {shorten(key)!r} ends beyond the end of the file: truncated?")
            if key in wanted:
                yield key, read_exactly(file, length, f"storage {shorten(key)!r}"), False
            else:
                file.seek(length, os.SEEK_CUR)

    return tree, read


def _check_sizes(state: dict[str, LazyTensor], size: int) -> None:
    """Raise ValueError for tensors that reach outside their storage, or are far larger than the file."""
    for name, tensor in state.items():
        if tensor.storage is None:
            raise ValueError(f"tensor {name} has no data (it was on the device meta)")
        if tensor.dtype.startswith("c"):
            raise ValueError(f"tensor {name} is complex, expected real numbers")
        elements = tensor.storage.size * itemsize(tensor.storage.dtype) // itemsize(tensor.dtype)
        last = tensor.offset + sum((n - 1) * s for n, s in zip(tensor.shape, tensor.strides))
        if 0 not in tensor.shape and last >= elements:
            raise ValueError(f"tensor {name} reaches beyond its storage of {elements} elements")
    total = sum(math.prod(t.shape) * itemsize(t.dtype) for t in set(state.values()))
    if total > size + _SPARE:
        raise ValueError(f"its tensors have {total} bytes and the file {size}: they repeat their storages too often")


def _materialise(state: dict[str, LazyTensor], read: Storages) -> dict[str, np.ndarray]:
    """Copy each tensor out of its storage; equal views give one array."""
    storages = {tensor.storage.key: tensor.storage for tensor in state.values() if tensor.storage}
    views: dict[str, list[LazyTensor]] = {key: [] for key in storages}
    for tensor in dict.fromkeys(state.values()):
        if tensor.storage:
            if tensor.storage != storages[tensor.storage.key]:
                raise ValueError(f"two storages have the key {shorten(tensor.storage.key)!r}")
            views[tensor.storage.key].append(tensor)
    made: dict[LazyTensor, np.ndarray] = {}
    for key, data, big_endian in read(storages):
        expected = storages[key].size * itemsize(storages[key].dtype)
        if len(data) != expected:
            raise ValueError(f"storage {shorten(key)!r} has {len(data)} bytes, expected {expected}: truncated?")
        for tensor in views[key]:
            made[tensor] = _view_of(data, tensor, big_endian, len(views[key]) == 1)
    missing = [name for name, tensor in state.items() if tensor not in made]
    if missing:
        raise ValueError(f"the storage of tensor {missing[0]} is not in the file")
    return {name: made[tensor] for name, tensor in state.items()}


def _view_of(data: np.ndarray, tensor: LazyTensor, big_endian: bool, alone: bool) -> np.ndarray:
    """Return a tensor of a storage; a copy, unless the tensor is the only one and fills the storage."""
    width = itemsize(tensor.dtype)
    if 0 in tensor.shape:
        return np.empty(tensor.shape, decode(data[:0], tensor.dtype).dtype)
    count = 1 + sum((n - 1) * s for n, s in zip(tensor.shape, tensor.strides))
    part = data[tensor.offset * width : (tensor.offset + count) * width]
    flat = decode(part, tensor.dtype, big_endian)
    view = np.lib.stride_tricks.as_strided(flat, tensor.shape, [s * flat.itemsize for s in tensor.strides])
    whole = view.flags.c_contiguous and view.size == flat.size
    owned = not np.may_share_memory(flat, data) or (alone and len(part) == len(data))
    return view if whole and owned else view.copy()
