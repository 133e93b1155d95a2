"""Module: parameters and buffers under stable names, in the order in which they were assigned."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from tinycnn import weights
from tinycnn.errors import WeightsError
from tinycnn.hooks import Hook
from tinycnn.kernels import DEVICES, for_device, on_host
from tinycnn.kernels.arrays import FLOAT_TYPES, as_array
from tinycnn.tensor import Tensor


class Parameter(Tensor):
    """A tensor that a module learns: it requires gradients and is listed by ``parameters()``."""

    __slots__ = ()

    def __init__(self, data: Any) -> None:
        super().__init__(data, requires_grad=True)


class Module:
    """Base class of layers and networks.

    Subclasses set parameters, buffers and other modules as attributes and define ``forward``. Calling the module runs
    ``forward`` and the hooks. Names in ``state_dict`` are the attributes' paths, such as ``layer1.0.conv1.weight``.

    Attributes
    ----------
    training : bool
        Whether dropout drops and batch norm uses the batch's statistics; set by :meth:`train` and :meth:`eval`.

    Examples
    --------
    >>> from tinycnn import nn
    >>> nn.Sequential(nn.Linear(4, 3), nn.ReLU())
    Sequential(
      (0): Linear(4, 3)
      (1): ReLU()
    )
    """

    training: bool
    _parameters: dict[str, Parameter | None]
    _buffers: dict[str, np.ndarray | None]
    _modules: dict[str, Module]

    def __init__(self) -> None:
        for name in ("_parameters", "_buffers", "_modules", "_forward_hooks"):
            object.__setattr__(self, name, {})
        self.training = True

    # -- attributes ----------------------------------------------------------------------------------------------------

    def __setattr__(self, name: str, value: Any) -> None:
        if "_modules" not in self.__dict__:
            raise RuntimeError(f"{type(self).__name__}: call super().__init__() before setting attributes")
        if isinstance(value, Parameter):
            self._register(self._parameters, name, value)
        elif isinstance(value, Module):
            self._register(self._modules, name, value)
        elif name in self._parameters and value is not None:
            raise TypeError(f"{name} is a parameter of {type(self).__name__}: assign a Parameter, or to .data")
        elif name in self._buffers:
            self._buffers[name] = None if value is None else as_array(value)
        else:
            for table in (self._parameters, self._modules):
                table.pop(name, None)
            object.__setattr__(self, name, value)

    def _register(self, table: dict, name: str, value: Any) -> None:
        self.__dict__.pop(name, None)
        for other in (self._parameters, self._buffers, self._modules):
            if other is not table:
                other.pop(name, None)
        table[name] = value

    def __getattr__(self, name: str) -> Any:
        tables = [self.__dict__.get(table, {}) for table in ("_parameters", "_buffers", "_modules")]
        for entries in tables:
            if name in entries:
                return entries[name]
        near = difflib.get_close_matches(name, [*self.__dict__, *(known for entries in tables for known in entries)])
        hint = f"; did you mean {near[0]}?" if near else ""
        raise AttributeError(f"{type(self).__name__} has no attribute {name!r}{hint}")

    def register_buffer(self, name: str, value: np.ndarray | None) -> None:
        """Add an array that is saved with the parameters but not learned."""
        self._register(self._buffers, name, None if value is None else as_array(value))

    def register_parameter(self, name: str, value: Parameter | None) -> None:
        """Add a parameter under a name, or None where the layer has none (no bias, say)."""
        self._register(self._parameters, name, value)

    # -- running -------------------------------------------------------------------------------------------------------

    def forward(self, *inputs: Any) -> Any:
        """Compute the output."""
        raise NotImplementedError(f"{type(self).__name__}: forward is not defined")

    def __call__(self, *inputs: Any) -> Any:
        """Run ``forward``, then the forward hooks.

        Raises
        ------
        MemoryError
            If there is no room for what it computes, with the layer's path and the sizes of its inputs.
        """
        try:
            output = self.forward(*inputs)
        except MemoryError as error:
            raise _NoRoom.of(error, self, inputs) from None
        for hook in list(self._forward_hooks.values()):
            replaced = hook(self, inputs, output)
            if replaced is not None:
                output = replaced
        return output

    def register_forward_hook(self, hook: Callable[[Module, tuple, Any], Any]) -> Hook:
        """Call ``hook(module, inputs, output)`` after each forward; what it returns, unless None, replaces the
        output.
        """
        return Hook(self._forward_hooks, hook)

    def register_full_backward_hook(self, hook: Callable[[Module, np.ndarray], np.ndarray | None]) -> Hook:
        """Call ``hook(module, grad)`` with the gradient of the loss with respect to the module's output.

        What it returns, unless None, replaces that gradient. (PyTorch's hook gets the gradients of the inputs too; here
        a hook on the input tensor gives them.)
        """

        def attach(module: Module, _: tuple, output: Any) -> None:
            if isinstance(output, Tensor) and output.requires_grad:
                output.register_hook(lambda grad: hook(module, grad))

        return self.register_forward_hook(attach)

    # -- what is inside ------------------------------------------------------------------------------------------------

    def named_modules(self, prefix: str = "") -> Iterator[tuple[str, Module]]:
        """This module and all inside it, with their paths, outer before inner, each once."""
        seen: set[int] = set()
        stack: list[tuple[str, Module]] = [(prefix, self)]
        while stack:
            path, module = stack.pop()
            if id(module) in seen:
                continue
            seen.add(id(module))
            yield path, module
            stack.extend((_join(path, name), child) for name, child in reversed(module._modules.items()))

    def modules(self) -> Iterator[Module]:
        """This module and all inside it."""
        return (module for _, module in self.named_modules())

    def named_children(self) -> Iterator[tuple[str, Module]]:
        """The modules directly inside, with their names."""
        yield from self._modules.items()

    def children(self) -> Iterator[Module]:
        """The modules directly inside."""
        yield from self._modules.values()

    def named_parameters(self) -> Iterator[tuple[str, Parameter]]:
        """All parameters with their paths, in the order of assignment; one that is shared comes once."""
        seen: set[int] = set()
        for path, module in self.named_modules():
            for name, parameter in module._parameters.items():
                if parameter is not None and id(parameter) not in seen:
                    seen.add(id(parameter))
                    yield _join(path, name), parameter

    def parameters(self) -> Iterator[Parameter]:
        """All parameters."""
        return (parameter for _, parameter in self.named_parameters())

    def named_buffers(self) -> Iterator[tuple[str, np.ndarray]]:
        """All buffers with their paths."""
        for path, module in self.named_modules():
            for name, array in module._buffers.items():
                if array is not None:
                    yield _join(path, name), array

    # -- state ---------------------------------------------------------------------------------------------------------

    def state_dict(self) -> dict[str, np.ndarray]:
        """All parameters' and buffers' arrays by path (not copies: save or copy them before training on).

        Those on a GPU are copied from there.
        """
        return {name: on_host(array) for name, array in self._arrays().items()}

    def _arrays(self) -> dict[str, Any]:
        """All parameters' and buffers' arrays by path, where they are."""
        state = {}
        for path, module in self.named_modules():
            for name, parameter in module._parameters.items():
                if parameter is not None:
                    state[_join(path, name)] = parameter.data
            for name, array in module._buffers.items():
                if array is not None:
                    state[_join(path, name)] = array
        return state

    def load_state_dict(self, state: Mapping[str, Any], strict: bool = True) -> None:
        """Copy arrays into parameters and buffers of the same path, each converted to its dtype.

        Parameters
        ----------
        state : mapping of path to array
        strict : bool
            Refuse missing and unexpected names too; shapes must always agree. Nothing is changed if anything is
            refused.

        Raises
        ------
        WeightsError
            Listing missing, unexpected and mis-shaped names.
        """
        if not isinstance(state, Mapping):
            raise TypeError(f"load_state_dict: the state is a {type(state).__name__}, expected a dict of name to array")
        own = self._arrays()
        counters = {name for name in own if name.endswith("num_batches_tracked")}  # older files lack them
        wrong = {
            "missing": [name for name in own if name not in state and name not in counters] if strict else [],
            "unexpected": [name for name in state if name not in own] if strict else [],
            "mis-shaped": [
                f"{name} has shape {np.shape(state[name])}, expected {array.shape}"
                for name, array in own.items()
                if name in state and np.shape(state[name]) != array.shape
            ],
        }
        lines = [f"  {kind}: {', '.join(names)}" for kind, names in wrong.items() if names]
        if lines:
            raise WeightsError("\n".join([f"load_state_dict: the state does not fit {type(self).__name__}:", *lines]))
        for name, array in own.items():
            if name in state:
                array[...] = for_device(array.device).as_array(np.asarray(state[name]))

    def save(self, path: str | Path) -> None:
        """Write ``state_dict`` to a .safetensors or .npz file, atomically."""
        weights.save(path, self.state_dict())

    def load(self, path: str | Path, strict: bool = True) -> None:
        """Read a .safetensors, .npz, .tcz or PyTorch .pth file into this module; PyTorch is not needed.

        Raises
        ------
        WeightsError
            If the file is damaged or hostile, or its tensors do not fit.
        """
        self.load_state_dict(weights.load(path, self._arrays()), strict)

    # -- changing all of it --------------------------------------------------------------------------------------------

    def apply(self, change: Callable[[Module], Any]) -> Module:
        """Call ``change`` on every module inside, then on this one."""
        for module in reversed(list(self.modules())):
            change(module)
        return self

    def train(self, mode: bool = True) -> Module:
        """Switch dropout and batch norm to training (or, with False, evaluation)."""
        for module in self.modules():
            module.training = mode
        return self

    def eval(self) -> Module:
        """Switch dropout and batch norm to evaluation."""
        return self.train(False)

    def zero_grad(self) -> None:
        """Forget all parameters' gradients."""
        for parameter in self.parameters():
            parameter.grad = None

    def to(self, target: Any) -> Module:
        """Convert floating-point parameters and buffers to a dtype, or move them to a device (a name).

        Raises
        ------
        DeviceError
            If the device is not there, with what to install.
        """
        change = self._change_to(target)
        for module in self.modules():
            for parameter in module._parameters.values():
                if parameter is not None:
                    parameter.data = change(parameter.data)
                    parameter.grad = None
            for name, array in module._buffers.items():
                if array is not None and array.dtype in FLOAT_TYPES:
                    module._buffers[name] = change(array)
        return self

    @staticmethod
    def _change_to(target: Any) -> Callable[[Any], Any]:
        if isinstance(target, str) and target in DEVICES:
            return for_device(target).as_array
        dtype = np.dtype(target)
        if dtype not in FLOAT_TYPES:
            raise TypeError(f"to: dtype is {dtype}, expected float32 or float64")
        return lambda array: array.astype(dtype, copy=False)

    # -- text ----------------------------------------------------------------------------------------------------------

    def extra_repr(self) -> str:
        """What stands in the parentheses of the printed form."""
        return ""

    def __repr__(self) -> str:
        if not self._modules:
            return f"{type(self).__name__}({self.extra_repr()})"
        inner = [f"  ({name}): {_indent(repr(child))}" for name, child in self._modules.items()]
        return "\n".join([f"{type(self).__name__}({self.extra_repr()}", *inner, ")"])


class _NoRoom(MemoryError):
    """A MemoryError that knows in which layer; on its way out each module around it makes the path longer."""

    def __init__(self, said: str, layer: Module, inputs: tuple) -> None:
        self.said, self.layer, self.path = said, layer, ""
        self.sizes = ", ".join(str(x.shape) for x in inputs if isinstance(x, Tensor))

    @classmethod
    def of(cls, error: MemoryError, module: Module, inputs: tuple) -> _NoRoom:
        """The error as the caller of ``module`` shall see it."""
        located = error if isinstance(error, cls) else cls(str(error), module, inputs)
        located.path = next((path for path, inner in module.named_modules() if inner is located.layer), "")
        return located

    def __str__(self) -> str:
        place = f"layer {self.path} ({self.layer})" if self.path else str(self.layer)
        return f"{self.said}, in {place} on input {self.sizes}"


def _join(path: str, name: str) -> str:
    return f"{path}.{name}" if path else name


def _indent(text: str) -> str:
    return text.replace("\n", "\n  ")


def device_of(module: Module) -> str:
    """Where a module's parameters are; the CPU if it has none."""
    return next((parameter.device for parameter in module.parameters()), "cpu")
