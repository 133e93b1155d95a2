"""A machine that executes the pickles in .pth files but cannot run code or be made to take much time or memory.

A pickle is a program for a stack machine. Python's own machine may call any function that it can import, hash any key
and make its memo as large as the program asks for. This one imports and calls nothing: a name on the list of the caller
is a function that the caller wrote, every other name is refused, and

- only text, small whole numbers, truth values and None are hashed as keys of a dict; other keys stand for themselves;
- the memo is a dict, so an index takes no memory;
- the numbers of bytes and operations, and the lengths of text and whole numbers, are limited.

The operations are those of protocols 0 to 5 (the comments of Lib/pickletools.py describe them), without extension
codes, buffers outside the pickle, and persistent names in text.
"""

from __future__ import annotations

import codecs
import struct
from collections.abc import Callable, Mapping
from typing import Any, BinaryIO

from tinycnn.files.limits import shorten

MOST_BYTES = 32 * 2**20
MOST_OPERATIONS = 400_000  # less than a second; ResNet-152 with the state of Adam takes 60,000
_LONGEST_TEXT = 2**20
_LONGEST_LINE = 4096
_LONGEST_INTEGER = 128  # bytes
_LARGEST_KEY = 2**60  # larger numbers have equal hashes
_MOST_ARGUMENTS = 16


class Ignored:
    """An object of a listed type that holds no weights, such as a device or NumPy's numbers."""

    __slots__ = ()


class Opaque:
    """A key of a dict that is not hashed."""

    __slots__ = ("key",)

    def __init__(self, key: Any) -> None:
        self.key = key


class Name:
    """A name on the list, before it is called."""

    __slots__ = ("build", "text")

    def __init__(self, text: str, build: Callable[..., Any] | None) -> None:
        self.text, self.build = text, build


class Stream:
    """A file of which at most ``MOST_BYTES`` are read.

    Parameters
    ----------
    file : file opened for reading
    size : int
        Bytes from the present position to the end of the file.
    """

    def __init__(self, file: BinaryIO, size: int) -> None:
        self.file, self.left = file, min(size, MOST_BYTES)

    def read(self, count: int) -> bytes:
        """Read ``count`` bytes, all of them."""
        if count > self.left:
            raise ValueError("the pickle is truncated, or longer than 32 MiB")
        self.left -= count
        data = self.file.read(count)
        if len(data) < count:
            raise ValueError("the pickle is truncated")
        return data

    def line(self) -> bytes:
        """Read to the end of a line, without it."""
        data = self.file.readline(_LONGEST_LINE)
        self.left -= len(data)
        if self.left < 0 or not data.endswith(b"\n"):
            raise ValueError("a line of the pickle is truncated, or too long")
        return data[:-1]


class Machine:
    """One run of a pickle.

    Parameters
    ----------
    stream : Stream
    names : mapping of (module, name) to function or None
        The names that a pickle may use. None stands for a type whose objects are ignored.
    persistent : function, optional
        Makes a storage from a persistent id.
    """

    def __init__(
        self,
        stream: Stream,
        names: Mapping[tuple[str, str], Callable[..., Any] | None],
        persistent: Callable[[Any], Any] | None = None,
    ) -> None:
        self.stream, self.names, self.persistent = stream, names, persistent
        self.stack: list[Any] = []
        self.marked: list[list[Any]] = []
        self.memo: dict[int, Any] = {}

    def run(self) -> Any:
        """Return the object that the pickle describes.

        Raises
        ------
        ValueError
            If it names anything that is not on the list, or is damaged or too large.
        """
        read = self.stream.read
        for _ in range(MOST_OPERATIONS):
            code = read(1)[0]
            if code == 0x2E:  # STOP
                return self.stack.pop()
            operation = _OPERATIONS.get(code)
            if operation is None:
                raise ValueError(f"it has the operation 0x{code:02x}, which no file of weights has")
            operation(self)
        raise ValueError(f"its pickle has more than {MOST_OPERATIONS} operations")

    def items(self) -> list[Any]:
        """Return the objects above the last mark."""
        items, self.stack = self.stack, self.marked.pop()
        return items

    def find(self, module: str, name: str) -> Name:
        """Return a name on the list."""
        if (module, name) not in self.names:
            text = shorten(f"{module}.{name}", 100)
            raise ValueError(f"it asks for {text}, and only tensors are built from such a file")
        return Name(f"{module}.{name}", self.names[module, name])

    def call(self, name: Any, arguments: Any) -> Any:
        """Call a name on the list, and return the result."""
        if type(name) is not Name or type(arguments) is not tuple:
            raise ValueError("it calls something that is not on the list of names")
        if len(arguments) > _MOST_ARGUMENTS:
            raise ValueError(f"it calls {name.text} with {len(arguments)} arguments, more than {_MOST_ARGUMENTS}")
        return Ignored() if name.build is None else name.build(*arguments)


def _integer(data: bytes) -> int:
    if len(data) > _LONGEST_INTEGER:
        raise ValueError(f"a whole number has {len(data)} bytes, more than {_LONGEST_INTEGER}")
    return int.from_bytes(data, "little", signed=True)


def _text_integer(line: bytes) -> int | bool:
    if line in (b"00", b"01"):
        return line == b"01"
    if len(line) > 2 * _LONGEST_INTEGER:
        raise ValueError("a whole number has too many digits")
    return int(line.removesuffix(b"L"))


def _sized(machine: Machine, width: int) -> bytes:
    length = int.from_bytes(machine.stream.read(width), "little")
    if length > _LONGEST_TEXT:
        raise ValueError(f"a text has {length} bytes, more than {_LONGEST_TEXT}")
    return machine.stream.read(length)


def _decode(data: bytes) -> str:
    return data.decode("utf-8", "surrogateescape")


def _put(machine: Machine, index: int) -> None:
    machine.memo[index] = machine.stack[-1]


def set_item(target: dict[Any, Any], key: Any, value: Any) -> None:
    """Put a value into a dict, hashing its key only if that takes little time."""
    plain = key is None or type(key) in (str, bool) or (type(key) is int and abs(key) < _LARGEST_KEY)
    target[key if plain else Opaque(key)] = value


def _set_items(machine: Machine, items: list[Any]) -> None:
    target = machine.stack[-1]
    if len(items) % 2:
        raise ValueError("a dict has a key without a value")
    if type(target) is Ignored:
        return
    if type(target) is not dict:
        raise ValueError(f"items are set on a {type(target).__name__}")
    for key, value in zip(items[::2], items[1::2]):
        set_item(target, key, value)


def _extend(machine: Machine, items: list[Any]) -> None:
    target = machine.stack[-1]
    if type(target) is list:
        target.extend(items)
    elif type(target) is not Ignored:
        raise ValueError(f"a {type(target).__name__} is extended as a list")


def _dict_of(machine: Machine) -> dict[Any, Any]:
    items = machine.items()
    machine.stack.append({})
    _set_items(machine, items)
    return machine.stack.pop()


def _build(machine: Machine) -> None:
    """Drop the attributes of an object: no object here has any."""
    machine.stack.pop()
    if type(machine.stack[-1]) not in (dict, Ignored):
        raise ValueError(f"attributes are set on a {type(machine.stack[-1]).__name__}")


def _reduce(machine: Machine) -> Any:
    arguments, name = machine.stack.pop(), machine.stack.pop()
    return machine.call(name, arguments)


def _new_with_keywords(machine: Machine) -> Any:
    machine.stack.pop()
    return _reduce(machine)


def _instance(machine: Machine) -> Any:
    name = machine.find(_decode(machine.stream.line()), _decode(machine.stream.line()))
    return machine.call(name, tuple(machine.items()))


def _object(machine: Machine) -> Any:
    name, *arguments = machine.items()
    return machine.call(name, tuple(arguments))


def _global(machine: Machine) -> Name:
    return machine.find(_decode(machine.stream.line()), _decode(machine.stream.line()))


def _stack_global(machine: Machine) -> Name:
    name, module = machine.stack.pop(), machine.stack.pop()
    if type(name) is not str or type(module) is not str:
        raise ValueError("it asks for a name that is not text")
    return machine.find(module, name)


def _persistent(machine: Machine) -> Any:
    if machine.persistent is None:
        raise ValueError("it refers to a storage where none can be")
    return machine.persistent(machine.stack.pop())


def _tuple_of(machine: Machine, count: int) -> tuple[Any, ...]:
    items = tuple(machine.stack[-count:])
    if len(items) < count:
        raise ValueError("its stack is empty")
    del machine.stack[-count:]
    return items


def _mark(machine: Machine) -> None:
    machine.marked.append(machine.stack)
    machine.stack = []


def _pop(machine: Machine) -> None:
    if machine.stack:
        machine.stack.pop()
    else:
        machine.items()


def _set_item(machine: Machine) -> None:
    _set_items(machine, list(_tuple_of(machine, 2)))


def _ignored_items(machine: Machine) -> Ignored:
    machine.items()
    return Ignored()


def _number(code: str) -> Callable[[Machine], Any]:
    return lambda m: struct.unpack(code, m.stream.read(struct.calcsize(code)))[0]


_PUSHED: dict[int, Callable[[Machine], Any]] = {
    ord("N"): lambda m: None,
    0x88: lambda m: True,
    0x89: lambda m: False,
    ord("I"): lambda m: _text_integer(m.stream.line()),
    ord("L"): lambda m: _text_integer(m.stream.line()),
    ord("J"): _number("<i"),
    ord("K"): _number("<B"),
    ord("M"): _number("<H"),
    0x8A: lambda m: _integer(m.stream.read(m.stream.read(1)[0])),  # LONG1
    0x8B: lambda m: _integer(_sized(m, 4)),  # LONG4
    ord("F"): lambda m: float(m.stream.line()),
    ord("G"): _number(">d"),
    ord("S"): lambda m: _decode(codecs.escape_decode(m.stream.line()[1:-1])[0]),  # type: ignore[attr-defined]
    ord("T"): lambda m: _decode(_sized(m, 4)),
    ord("U"): lambda m: _decode(_sized(m, 1)),
    ord("V"): lambda m: m.stream.line().decode("raw-unicode-escape"),
    ord("X"): lambda m: _decode(_sized(m, 4)),
    0x8C: lambda m: _decode(_sized(m, 1)),  # SHORT_BINUNICODE
    0x8D: lambda m: _decode(_sized(m, 8)),  # BINUNICODE8
    ord("B"): lambda m: _sized(m, 4),
    ord("C"): lambda m: _sized(m, 1),
    0x8E: lambda m: _sized(m, 8),  # BINBYTES8
    0x96: lambda m: _sized(m, 8),  # BYTEARRAY8
    ord("}"): lambda m: {},
    ord("]"): lambda m: [],
    ord(")"): lambda m: (),
    0x8F: lambda m: Ignored(),  # EMPTY_SET
    0x91: _ignored_items,  # FROZENSET
    ord("d"): _dict_of,
    ord("l"): lambda m: m.items(),
    ord("t"): lambda m: tuple(m.items()),
    0x85: lambda m: _tuple_of(m, 1),
    0x86: lambda m: _tuple_of(m, 2),
    0x87: lambda m: _tuple_of(m, 3),
    ord("2"): lambda m: m.stack[-1],  # DUP
    ord("g"): lambda m: m.memo[int(m.stream.line())],
    ord("h"): lambda m: m.memo[m.stream.read(1)[0]],
    ord("j"): lambda m: m.memo[int.from_bytes(m.stream.read(4), "little")],
    ord("c"): _global,
    0x93: _stack_global,
    ord("R"): _reduce,
    0x81: _reduce,  # NEWOBJ
    0x92: _new_with_keywords,  # NEWOBJ_EX
    ord("i"): _instance,
    ord("o"): _object,
    ord("Q"): _persistent,
}
"""The operations that push one object."""


def _pushing(make: Callable[[Machine], Any]) -> Callable[[Machine], None]:
    def operation(machine: Machine) -> None:
        made = make(machine)  # it may exchange the stack
        machine.stack.append(made)

    return operation


_OPERATIONS: dict[int, Callable[[Machine], Any]] = {
    **{code: _pushing(make) for code, make in _PUSHED.items()},
    0x80: lambda m: m.stream.read(1),  # PROTO
    0x95: lambda m: m.stream.read(8),  # FRAME: its length is not needed
    ord("("): _mark,
    ord("0"): _pop,
    ord("1"): lambda m: m.items(),  # POP_MARK
    ord("p"): lambda m: _put(m, int(m.stream.line())),
    ord("q"): lambda m: _put(m, m.stream.read(1)[0]),
    ord("r"): lambda m: _put(m, int.from_bytes(m.stream.read(4), "little")),
    0x94: lambda m: _put(m, len(m.memo)),  # MEMOIZE
    ord("s"): _set_item,
    ord("u"): lambda m: _set_items(m, m.items()),
    ord("a"): lambda m: _extend(m, list(_tuple_of(m, 1))),
    ord("e"): lambda m: _extend(m, m.items()),
    0x90: lambda m: _extend(m, m.items()),  # ADDITEMS
    ord("b"): _build,
}
