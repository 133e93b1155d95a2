"""Module: parameters and buffers under stable names, in the order in which they were assigned."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from tinycnn import weights
from tinycnn.hooks import Hook
from tinycnn.kernels import DEVICES, for_device, on_host
from tinycnn.kernels.arrays import FLOAT_TYPES, converted
from tinycnn.nn.attributes import Attributes, Parameter
from tinycnn.nn.memory_error import LayerMemoryError
from tinycnn.nn.state import IncompatibleKeys, load_into
from tinycnn.tensor import Tensor

__all__ = ["Module", "Parameter", "device_of"]


class Module(Attributes):
    """Base class of layers and networks.

    Subclasses set parameters, buffers and other modules as attributes and define ``forward``. Calling the module runs
    ``forward`` and the hooks. Names in ``state_dict`` are the attributes' paths, such as ``layer1.0.conv1.weight``.

    Attributes
    ----------
    training : bool
        True while dropout drops and batch norm uses the batch's statistics; set by :meth:`train` and :meth:`eval`.

    Examples
    --------
    >>> from tinycnn import nn
    >>> nn.Sequential(nn.Linear(4, 3), nn.ReLU())
    Sequential(
      (0): Linear(4, 3)
      (1): ReLU()
    )
    """

    # -- running -------------------------------------------------------------------------------------------------------

    def forward(self, *inputs: Any, **options: Any) -> Any:
        """Compute the output."""
        raise NotImplementedError(f"{type(self).__name__}: forward is not defined")

    def __call__(self, *inputs: Any, **options: Any) -> Any:
        """Run the forward pre-hooks, ``forward`` with these arguments, then the forward hooks.

        Raises
        ------
        MemoryError
            If memory is exhausted, with the layer's path and the sizes of its inputs.
        """
        for hook in list(self._forward_pre_hooks.values()):
            replaced = hook(self, inputs)
            if replaced is not None:
                inputs = replaced if isinstance(replaced, tuple) else (replaced,)
        try:
            output = self.forward(*inputs, **options)
        except MemoryError as error:
            raise LayerMemoryError.of(error, self, inputs) from None
        for hook in list(self._forward_hooks.values()):
            replaced = hook(self, inputs, output)
            if replaced is not None:
                output = replaced
        return output

    def register_forward_pre_hook(self, hook: Callable[[Module, tuple], Any]) -> Hook:
        """Call ``hook(module, inputs)`` before each forward; a result other than None replaces the inputs."""
        return Hook(self._forward_pre_hooks, hook)

    def register_forward_hook(self, hook: Callable[[Module, tuple, Any], Any]) -> Hook:
        """Call ``hook(module, inputs, output)`` after each forward; a result other than None replaces the output."""
        return Hook(self._forward_hooks, hook)

    def register_full_backward_hook(self, hook: Callable[[Module, np.ndarray], np.ndarray | None]) -> Hook:
        """Call ``hook(module, grad)`` with the gradient of the loss with respect to the module's output.

        A result other than None replaces that gradient. (PyTorch's hook gets the gradients of the inputs too; here a
        hook on the input tensor gives them.)
        """
        return self.register_forward_hook(_BackwardHook(hook))

    # -- state ---------------------------------------------------------------------------------------------------------

    def state_dict(self) -> dict[str, np.ndarray]:
        """Return the arrays of all parameters and buffers by path (not copies: save or copy them before further
        training).

        As in PyTorch, an array that is used under several paths is listed under each. Arrays on a GPU are copied.
        """
        return {name: on_host(array) for name, array in self.state_arrays().items()}

    def load_state_dict(
        self,
        state: Mapping[str, Any] | Iterable[tuple[str, Any]],
        strict: bool = True,
        skip_mismatched: bool = False,
    ) -> IncompatibleKeys:
        """Copy arrays into parameters and buffers of the same path, each converted to its dtype.

        Nothing is changed if anything is refused.

        Parameters
        ----------
        state : mapping of path to array, or iterable of pairs
            Arrays, tensors of this package or of PyTorch, or numbers; ``named_parameters()`` too. A prefix ``module.``
            (DataParallel) that all paths have is dropped. Of the paths of a shared parameter one is enough.
        strict : bool
            Refuse missing and unexpected names too. ``num_batches_tracked``, which older files lack, is never missing.
        skip_mismatched : bool
            Leave parameters and buffers of another shape as they are, instead of refusing the state.

        Returns
        -------
        named tuple of lists ``missing_keys`` and ``unexpected_keys``
            Names that were skipped because of their shape are among the missing ones.

        Raises
        ------
        TypeError
            If the state is not a mapping or an iterable of pairs.
        WeightsError
            Listing missing, unexpected and mis-shaped names, and those whose values are out of range or not real
            numbers.
        """
        return load_into(self, state, strict, skip_mismatched)

    def save(self, path: str | Path) -> None:
        """Write ``state_dict`` to a .safetensors or .npz file, atomically."""
        weights.save(path, self.state_dict())

    def load(self, path: str | Path, strict: bool = True, skip_mismatched: bool = False) -> IncompatibleKeys:
        """Read a .safetensors, .npz, .tcz or PyTorch .pth file into this module; PyTorch is not needed.

        Options and result are those of :meth:`load_state_dict`.

        Raises
        ------
        WeightsError
            If the file is damaged or hostile, or its tensors do not fit.
        """
        return self.load_state_dict(weights.load(path, self.state_arrays()), strict, skip_mismatched)

    # -- changes to all modules inside ---------------------------------------------------------------------------------

    def apply(self, change: Callable[[Module], Any]) -> Module:
        """Call ``change`` on every module inside, then on this one."""
        if not callable(change):
            raise TypeError(f"apply: change is a {type(change).__name__}, expected a function of a module")
        for module in reversed(list(self.modules())):
            change(module)
        return self

    def train(self, mode: bool = True) -> Module:
        """Switch dropout and batch norm to training (or, with False, evaluation).

        Calls ``train`` of each module directly inside, so that a layer can override it, to stay frozen for example.
        """
        if not isinstance(mode, (bool, np.bool_)):
            raise ValueError(f"train: mode is {mode!r}, expected True or False")
        self.training = bool(mode)
        for module in list(self.children()):
            module.train(mode)
        return self

    def eval(self) -> Module:
        """Switch dropout and batch norm to evaluation."""
        return self.train(False)

    def requires_grad_(self, requires_grad: bool = True) -> Module:
        """Let all parameters require gradients or, with False, freeze them."""
        for parameter in self.parameters():
            parameter.requires_grad = requires_grad
        return self

    def zero_grad(self, set_to_none: bool = True) -> None:
        """Set the gradients of all parameters to None, or with ``set_to_none=False`` to zeros."""
        for parameter in self.parameters():
            if parameter.grad is not None:
                parameter.grad = None if set_to_none else np.zeros_like(parameter.grad)

    def to(self, target: Any) -> Module:
        """Convert floating-point parameters and buffers to a dtype, or move them to a device (a name).

        Raises
        ------
        DeviceError
            If the device is not available, with what to install.
        """
        self._change_arrays(self._change_to(target))
        return self

    @staticmethod
    def _change_to(target: Any) -> Callable[[Any], Any]:
        if isinstance(target, str) and target.removesuffix(":0") in DEVICES:
            return for_device(target.removesuffix(":0")).as_array
        try:
            dtype = np.dtype(target)
        except TypeError:
            raise TypeError(f"to: {target!r} is neither a device ({', '.join(DEVICES)}) nor a dtype") from None
        if target is None or dtype not in FLOAT_TYPES:
            raise TypeError(f"to: dtype is {target if target is None else dtype}, expected float32 or float64")
        return lambda array: array if array.dtype == dtype else converted(array, dtype)

    # -- text ----------------------------------------------------------------------------------------------------------

    def extra_repr(self) -> str:
        """Return the text in the parentheses of the printed form."""
        return ""

    def __repr__(self) -> str:
        if not self._modules:
            return f"{type(self).__name__}({self.extra_repr()})"
        inner = [f"  ({name}): {_indent(repr(child))}" for name, child in self._modules.items()]
        return "\n".join([f"{type(self).__name__}({self.extra_repr()}", *inner, ")"])


class _BackwardHook:
    """A forward hook that registers a hook on the gradient of the output."""

    def __init__(self, hook: Callable[[Module, np.ndarray], np.ndarray | None]) -> None:
        self._hook = hook

    def __call__(self, module: Module, _: tuple, output: Any) -> None:
        if isinstance(output, Tensor) and output.requires_grad:
            output.register_hook(lambda grad: self._hook(module, grad))


def _indent(text: str) -> str:
    return text.replace("\n", "\n  ")


def device_of(module: Module) -> str:
    """Return the device of a module's parameters; the CPU if it has none."""
    return next((parameter.device for parameter in module.parameters()), "cpu")
