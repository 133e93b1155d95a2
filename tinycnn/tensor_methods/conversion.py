"""Conversion to other dtypes and devices, and to NumPy and Python."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from tinycnn.grad_mode import is_grad_enabled
from tinycnn.kernels import DEVICES, on_host
from tinycnn.kernels.arrays import FLOAT_TYPES
from tinycnn.ops.elementwise import AsType
from tinycnn.ops.shape import Move
from tinycnn.tensor_methods.facts import Facts

if TYPE_CHECKING:
    from tinycnn.tensor import Tensor


class Conversion(Facts):
    """Methods that keep the values, as far as the target can hold them."""

    __slots__ = ()

    def astype(self, dtype: Any) -> Tensor:
        """Convert to another dtype; gradients flow back in the old one.

        Raises
        ------
        TypeError
            If a tensor cannot have that dtype, or a tensor of the graph would become one of integers or booleans:
            gradients could not flow through it.
        """
        wanted = np.dtype(dtype)
        if wanted not in FLOAT_TYPES and wanted.kind not in "iub":
            raise TypeError(f"astype: dtype is {wanted}, expected float32, float64, an integer type or bool")
        if wanted not in FLOAT_TYPES and self.requires_grad and is_grad_enabled():
            raise TypeError(
                f"astype: a tensor that requires gradients cannot become {wanted}, the graph would end there; use "
                "x.detach().astype(...)"
            )
        return AsType.apply(self, dtype=wanted)

    def to(self, target: Any) -> Tensor:
        """Move to a device (a name) or convert to a dtype. A tensor in a graph is converted inside the graph.

        Raises
        ------
        DeviceError
            If the device is missing, with what to install.
        """
        if isinstance(target, str) and target in DEVICES:
            return self if self.device == target else Move.apply(self, device=target)  # type: ignore[return-value]
        try:
            dtype = np.dtype(target)
        except TypeError as error:
            raise TypeError(f"to: {target!r} is neither a device ({', '.join(DEVICES)}) nor a dtype") from error
        return self if self.dtype == dtype else self.astype(dtype)  # type: ignore[return-value]

    def item(self) -> Any:
        """Return the only element as a Python number."""
        if self.size != 1:
            raise ValueError(f"item: the tensor has {self.size} elements, shape {self.shape}; expected one")
        return self.data.item()

    def numpy(self) -> np.ndarray:
        """Return the values as an array that shares memory with the tensor; from a GPU, a copy."""
        return on_host(self.data)

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        if self.requires_grad:
            raise TypeError(
                "a tensor that requires gradients does not turn into an array by itself: the graph would end there; "
                "use tensor.numpy()"
            )
        return np.array(self.numpy(), dtype=dtype, copy=copy)

    def __bool__(self) -> bool:
        return bool(self.item())

    def __float__(self) -> float:
        return float(self.item())

    def __int__(self) -> int:
        return int(self.item())

    def __format__(self, spec: str) -> str:
        return format(self.item() if spec and self.size == 1 else str(self), spec)
