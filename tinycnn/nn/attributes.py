"""The attributes of a module: tables of parameters, buffers and modules, which are read and set as attributes."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from tinycnn.kernels.arrays import FLOAT_TYPES, as_array
from tinycnn.tensor import Tensor

if TYPE_CHECKING:
    from tinycnn.nn.module import Module

_TABLES = ("_parameters", "_buffers", "_modules", "_forward_hooks", "_forward_pre_hooks")


class Parameter(Tensor):
    """A tensor that a module learns: it requires gradients unless it is frozen, and ``parameters()`` lists it."""

    __slots__ = ()

    def __init__(self, data: Any, requires_grad: bool = True) -> None:
        super().__init__(data, requires_grad=requires_grad)


class Attributes:
    """The part of :class:`tinycnn.nn.Module` that stores attributes and lists the parameters, buffers and modules."""

    training: bool
    _parameters: dict[str, Parameter | None]
    _buffers: dict[str, np.ndarray | None]
    _modules: dict[str, Any]
    _forward_hooks: dict[int, Callable]
    _forward_pre_hooks: dict[int, Callable]

    def __init__(self) -> None:
        for name in _TABLES:
            object.__setattr__(self, name, {})
        self.training = True

    def __setattr__(self, name: str, value: Any) -> None:
        if "_modules" not in self.__dict__:
            raise RuntimeError(f"{type(self).__name__}: call super().__init__() before setting attributes")
        if isinstance(getattr(type(self), name, None), property):
            object.__setattr__(self, name, value)
        elif isinstance(value, Parameter):
            self._register(self._parameters, name, value)
        elif isinstance(value, Attributes):
            self._register(self._modules, name, value)
        elif name in self._parameters and value is not None:
            raise TypeError(f"{name} is a parameter of {type(self).__name__}: assign a Parameter, or to .data")
        elif name in self._modules and value is not None:
            raise TypeError(f"{name} is a layer of {type(self).__name__}: assign a Module, not {_kind(value)}")
        elif name in self._buffers:
            self._buffers[name] = _as_buffer(name, value)
        else:
            for table in (self._parameters, self._modules):
                table.pop(name, None)
            object.__setattr__(self, name, value)

    def __delattr__(self, name: str) -> None:
        table = next((entries for entries in self._tables() if name in entries), None)
        if table is None:
            object.__delattr__(self, name)
        else:
            del table[name]

    def __getattr__(self, name: str) -> Any:
        own = self.__dict__
        for table in _TABLES[:3]:
            if name in (entries := own.get(table, {})):
                return entries[name]
        descriptor = next((vars(kind)[name] for kind in type(self).__mro__ if name in vars(kind)), None)
        if descriptor is not None and hasattr(
            type(descriptor), "__get__"
        ):  # a property that raised an AttributeError: run it again to see which
            try:
                return descriptor.__get__(self, type(self))
            except AttributeError as error:
                raise AttributeError(f"{type(self).__name__}.{name} raised AttributeError: {error}") from error
        near = difflib.get_close_matches(name, [*own, *(known for entries in self._tables() for known in entries)])
        hint = f"; did you mean {near[0]}?" if near else ""
        if name in _TABLES:
            hint = ": call super().__init__() first"
        raise AttributeError(f"{type(self).__name__} has no attribute {name!r}{hint}")

    def __dir__(self) -> list[str]:
        names = (name for entries in self._tables() for name in entries if name.isidentifier())
        return sorted({*object.__dir__(self), *names})

    def __copy__(self) -> Self:
        """Return a module with the same parameters, buffers, layers and hooks, in tables of its own."""
        copy = type(self).__new__(type(self))
        _take_over(copy, object.__getstate__(self))  # type: ignore[attr-defined]
        copy.__dict__.update({table: dict(self.__dict__[table]) for table in _TABLES if table in self.__dict__})
        return copy

    def __setstate__(self, state: Any) -> None:
        """Take over the attributes of a module that is copied or unpickled.

        It is defined here because Python would look for it by ``__getattr__``, which in a subclass may read
        attributes that do not exist yet.
        """
        _take_over(self, state)

    def _tables(self) -> list[dict[str, Any]]:
        """Return the tables of parameters, buffers and modules; empty before ``__init__``, while unpickling for
        example.
        """
        return [self.__dict__.get(table, {}) for table in _TABLES[:3]]

    def _register(self, table: dict, name: str, value: Any) -> None:
        owner = type(self).__name__
        if not isinstance(name, str) or not name or "." in name:
            raise ValueError(f"{owner}: the name {name!r} cannot be used, expected text without a dot")
        if hasattr(type(self), name):
            raise ValueError(f"{owner}: {name!r} is a method or attribute of the class, take another name")
        if isinstance(value, Attributes) and _contains(value, self):
            raise ValueError(f"{owner}: {name!r} would contain the module that it is assigned to")
        self.__dict__.pop(name, None)
        for other in (self._parameters, self._buffers, self._modules):
            if other is not table:
                other.pop(name, None)
        table[name] = value

    def register_buffer(self, name: str, value: np.ndarray | None) -> None:
        """Add an array that is saved with the parameters but not learned."""
        self._register(self._buffers, name, _as_buffer(name, value))

    def register_parameter(self, name: str, value: Parameter | None) -> None:
        """Add a parameter under a name, or None where the layer has none (no bias, say)."""
        if value is not None and not isinstance(value, Parameter):
            raise TypeError(f"register_parameter: {name} is {_kind(value)}, expected a Parameter")
        self._register(self._parameters, name, value)

    def add_module(self, name: str, module: Any) -> None:
        """Add a module under a name; raise an error if anything else than a module has the name."""
        if not isinstance(module, Attributes):
            raise TypeError(f"add_module: {name} is {_kind(module)}, expected a Module")
        if isinstance(name, str) and name not in self._modules and name in {*self.__dict__, *dir(self)}:
            raise ValueError(f"{type(self).__name__}: the name {name!r} is taken")
        self._register(self._modules, name, module)

    register_module = add_module

    # -- contents ------------------------------------------------------------------------------------------------------

    def named_modules(self, prefix: str = "") -> Iterator[tuple[str, Module]]:
        """Return this module and all inside it, with their paths, outer before inner, each once."""
        seen: set[int] = set()
        stack: list[tuple[str, Any]] = [(prefix, self)]
        while stack:
            path, module = stack.pop()
            if id(module) in seen:
                continue
            seen.add(id(module))
            yield path, module
            stack.extend((_join(path, name), child) for name, child in reversed(module._modules.items()))

    def modules(self) -> Iterator[Module]:
        """Return this module and all inside it."""
        return (module for _, module in self.named_modules())

    def named_children(self) -> Iterator[tuple[str, Module]]:
        """Return the modules directly inside, with their names."""
        yield from self._modules.items()

    def children(self) -> Iterator[Module]:
        """Return the modules directly inside."""
        yield from self._modules.values()

    def named_parameters(self, recurse: bool = True) -> Iterator[tuple[str, Parameter]]:
        """Return all parameters with their paths, in the order of assignment; a shared one is listed once.

        With ``recurse=False`` only the module's own, not those of the modules inside it.
        """
        seen: set[int] = set()
        for path, module in self.named_modules() if recurse else [("", self)]:
            for name, parameter in module._parameters.items():
                if parameter is not None and id(parameter) not in seen:
                    seen.add(id(parameter))
                    yield _join(path, name), parameter

    def parameters(self, recurse: bool = True) -> Iterator[Parameter]:
        """Return all parameters, or with ``recurse=False`` the module's own."""
        return (parameter for _, parameter in self.named_parameters(recurse))

    def named_buffers(self, recurse: bool = True) -> Iterator[tuple[str, np.ndarray]]:
        """Return all buffers with their paths, or with ``recurse=False`` the module's own."""
        for path, module in self.named_modules() if recurse else [("", self)]:
            for name, array in module._buffers.items():
                if array is not None:
                    yield _join(path, name), array

    def state_arrays(self) -> dict[str, Any]:
        """Return the arrays of all parameters and buffers by path, on the device where they are, not copies."""
        state = {}
        for path, module in self._all_paths():
            for name, parameter in module._parameters.items():
                if parameter is not None:
                    state[_join(path, name)] = parameter.data
            for name, array in module._buffers.items():
                if array is not None:
                    state[_join(path, name)] = array
        return state

    def _change_arrays(self, change: Callable[[Any], Any]) -> None:
        """Replace the arrays of all parameters, which lose their gradients, and of all floating-point buffers."""
        for module in self.modules():
            for parameter in module._parameters.values():
                if parameter is not None:
                    parameter.data = change(parameter.data)
                    parameter.grad = None
            for name, array in module._buffers.items():
                if array is not None and array.dtype in FLOAT_TYPES:
                    module._buffers[name] = change(array)

    def _all_paths(self) -> Iterator[tuple[str, Module]]:
        """Return this module and all inside it; one that is used in several places is listed with each of its paths."""
        stack: list[tuple[str, Any]] = [("", self)]
        while stack:
            path, module = stack.pop()
            yield path, module
            stack.extend((_join(path, name), child) for name, child in reversed(module._modules.items()))


def _take_over(module: Attributes, state: Any) -> None:
    """Set what ``object.__getstate__`` returned: a dict of attributes, with a second one for a class with slots."""
    attributes, slots = state if isinstance(state, tuple) else (state, None)
    module.__dict__.update(attributes or {})
    for name, value in (slots or {}).items():
        object.__setattr__(module, name, value)


def _as_buffer(name: str, value: Any) -> Any:
    """Return a buffer's array."""
    if value is None:
        return None
    array = as_array(value.data if isinstance(value, Tensor) else value)
    if array.dtype.kind not in "fiub":
        raise TypeError(f"buffer {name} is {_kind(value)} of dtype {array.dtype}, expected numbers")
    return array


def _join(path: str, name: str) -> str:
    return f"{path}.{name}" if path else name


def _kind(value: Any) -> str:
    """Return the words that messages use for a value of a wrong kind."""
    if isinstance(value, (list, tuple)) and any(isinstance(entry, Attributes) for entry in value):
        return f"a {type(value).__name__} of modules (put them into nn.ModuleList)"
    name = type(value).__name__
    return f"{'an' if name[:1].lower() in 'aeiou' else 'a'} {name}"


def _contains(module: Any, other: Any) -> bool:
    """True if ``other`` is ``module`` or a module inside it."""
    return module is other or any(_contains(child, other) for child in module._modules.values())
