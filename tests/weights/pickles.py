"""Pickles and .pth files put together by hand, so that tests need no PyTorch and may say what PyTorch never does."""

import io
import zipfile

import numpy as np


def text(value):
    data = value.encode("utf-8", "surrogatepass")
    return b"X" + len(data).to_bytes(4, "little") + data


def number(value):
    data = value.to_bytes(value.bit_length() // 8 + 1, "little", signed=True)
    return b"\x8a" + bytes([len(data)]) + data


def name(module, attribute):
    return f"c{module}\n{attribute}\n".encode()


def tuple_of(*items):
    return b"(" + b"".join(items) + b"t"


def numbers(values):
    return tuple_of(*map(number, values))


def call(function, *arguments):
    return function + tuple_of(*arguments) + b"R"


def dict_of(**items):
    return table(*((text(key), value) for key, value in items.items()))


def table(*items):
    return b"}(" + b"".join(key + value for key, value in items) + b"u"


EMPTY = call(name("collections", "OrderedDict"))


def storage(key="0", size=6, kind="FloatStorage", module="torch", *more):
    return tuple_of(text("storage"), name(module, kind), text(key), text("cpu"), number(size), *more) + b"Q"


def tensor(store=None, offset=0, shape=(6,), strides=(1,)):
    rest = b"\x89", EMPTY
    arguments = store or storage(), number(offset), numbers(shape), numbers(strides), *rest
    return call(name("torch._utils", "_rebuild_tensor_v2"), *arguments)


VALUES = np.arange(6, dtype="<f4")
DATA = {"0": VALUES.tobytes()}


def zipped(pickle, data=None, folder="archive/", compression=zipfile.ZIP_STORED, **members):
    """Return the bytes of a .pth file in the zip layout; ``members`` are added by their names."""
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", compression) as archive:
        archive.writestr(f"{folder}data.pkl", b"\x80\x02" + pickle + b".")
        for key, value in members.items():
            archive.writestr(f"{folder}{key}", value)
        for key, value in (DATA if data is None else data).items():
            archive.writestr(f"{folder}data/{key}", value)
    return stream.getvalue()


def legacy(pickle, data=None, itemsize=4, keys=None):
    """Return the bytes of a .pth file in the layout before PyTorch 1.6."""
    data = DATA if data is None else data
    keys = list(data) if keys is None else keys
    head = number(0x1950A86A20F9469CFC6C), number(1001), dict_of(little_endian=b"\x88")
    parts = *head, pickle, b"](" + b"".join(map(text, keys)) + b"e"
    body = b"".join((len(value) // itemsize).to_bytes(8, "little") + value for value in data.values())
    return b"".join(b"\x80\x02" + part + b"." for part in parts) + body
