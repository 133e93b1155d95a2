"""The facts of a tensor, such as its shape: the base of all families of methods."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from tinycnn.tensor import Tensor


class Facts:
    """Shape, dtype and device of a tensor, which are those of its array."""

    __slots__ = ()

    if TYPE_CHECKING:  # Tensor defines them
        data: Any

        @property
        def requires_grad(self) -> bool: ...
        @classmethod
        def wrap(cls, array: Any) -> Tensor: ...
        @staticmethod
        def _constant(data: Any, dtype: Any) -> Tensor: ...

    @property
    def shape(self) -> tuple[int, ...]:
        """The size along each dimension."""
        return self.data.shape

    @property
    def dtype(self) -> np.dtype:
        """The data type of the elements."""
        return self.data.dtype

    @property
    def ndim(self) -> int:
        """The number of dimensions."""
        return self.data.ndim

    @property
    def size(self) -> int:
        """The number of elements."""
        return self.data.size

    @property
    def device(self) -> str:
        """The place of the values: "cpu" or "cuda"."""
        return self.data.device
