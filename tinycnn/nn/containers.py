"""Modules that hold modules."""

from __future__ import annotations

import operator
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from tinycnn.nn.module import Module

__all__ = ["ModuleList", "Sequential"]


class ModuleList(Module):
    """A list of modules that are found by ``parameters()``; it has no forward of its own."""

    def __init__(self, modules: Iterable[Module] = ()) -> None:
        super().__init__()
        self.extend(modules)

    def append(self, module: Module) -> ModuleList:
        """Add a module at the end."""
        self._set(self._free_name(), module)
        return self

    def extend(self, modules: Iterable[Module]) -> ModuleList:
        """Add modules at the end."""
        if not isinstance(modules, Iterable):
            raise TypeError(f"{type(self).__name__}: {modules!r} came, expected an iterable of modules")
        for module in list(modules):
            self.append(module)
        return self

    def insert(self, index: int, module: Module) -> None:
        """Put a module before the one at ``index``, as in a list; numbered names after it move up."""
        items = list(self._modules.items())
        self._check(self._free_name(), module)
        try:
            items.insert(operator.index(index), ("0", module))
        except TypeError:
            raise TypeError(f"{type(self).__name__}: the index is {index!r}, expected an integer") from None
        self._renumber(items)

    def pop(self, index: int = -1) -> Module:
        """Take a module out and return it."""
        module = self[index]
        del self[index]
        return module

    def __len__(self) -> int:
        return len(self._modules)

    def __iter__(self) -> Iterator[Module]:
        return iter(self._modules.values())

    def __getitem__(self, index: int | slice) -> Any:
        items = list(self._modules.items())
        return self._of(items[index]) if isinstance(index, slice) else items[self._place(index)][1]

    def __setitem__(self, index: int, module: Module) -> None:
        self._set(list(self._modules)[self._place(index)], module)

    def __delitem__(self, index: int | slice) -> None:
        items = list(self._modules.items())
        del items[index if isinstance(index, slice) else self._place(index)]
        self._renumber(items)

    def _place(self, index: Any) -> int:
        """Return a position in the list, checked."""
        name = type(self).__name__
        try:
            place = operator.index(index)
        except TypeError:
            place = None
        if place is None or isinstance(index, bool):
            raise TypeError(f"{name}: the index is {index!r}, expected an integer")
        if not -len(self) <= place < len(self):
            raise IndexError(f"{name}: the index is {place}, there are {len(self)} modules")
        return place % len(self)

    def _set(self, name: str, module: Module) -> None:
        self._check(name, module)
        setattr(self, name, module)

    def _check(self, name: str, module: Any) -> None:
        if not isinstance(module, Module):
            hint = "; unpack a list of modules with *" if isinstance(module, (list, tuple)) else ""
            raise TypeError(f"{type(self).__name__}: entry {name} is {module!r}, expected a Module{hint}")

    def _free_name(self) -> str:
        """Return the next number that is not a name."""
        number = len(self)
        while str(number) in self._modules:
            number += 1
        return str(number)

    def _renumber(self, items: list[tuple[str, Module]]) -> None:
        """Replace the modules; modules whose names are numbers are renamed to their positions."""
        self._modules.clear()
        for place, (name, module) in enumerate(items):
            setattr(self, str(place) if name.isdigit() else name, module)

    def _of(self, items: list[tuple[str, Module]]) -> ModuleList:
        return ModuleList(module for _, module in items)


class Sequential(ModuleList):
    """Modules run one after another.

    Parameters
    ----------
    *modules : Module
        Or one dict of name to module.

    Examples
    --------
    >>> from tinycnn import nn
    >>> len(nn.Sequential(nn.Conv2d(3, 8, 3), nn.ReLU()))
    2
    """

    def __init__(self, *modules: Any) -> None:
        super().__init__()
        if len(modules) == 1 and isinstance(modules[0], Mapping):
            for name, module in modules[0].items():
                self._check(name, module)
                self.add_module(name, module)
        else:
            self.extend(modules)

    def _of(self, items: list[tuple[str, Module]]) -> Sequential:
        """Return a container of some of the modules, which keep their names as in PyTorch."""
        return Sequential(dict(items))

    def forward(self, x: Any) -> Any:
        """Return the last module's output."""
        for module in self:
            x = module(x)
        return x
