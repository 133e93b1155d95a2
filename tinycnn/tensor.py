"""Tensor: an array that remembers how it was made. The engine is in :mod:`tinycnn.autograd`."""

from __future__ import annotations

import operator
import weakref
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from tinycnn import autograd
from tinycnn.autograd import Function
from tinycnn.grad_mode import is_grad_enabled
from tinycnn.gradients import accumulated, adding, given_gradient, run_hooks
from tinycnn.hooks import Hook
from tinycnn.kernels import for_device, is_on_gpu, on_host
from tinycnn.kernels.arrays import FLOAT_TYPES, as_array, converted, describe, quiet_for
from tinycnn.kernels.versions import changing
from tinycnn.tensor_methods import Arithmetic, Comparison, Conversion, Products, Reduction
from tinycnn.tensor_methods.shape import plain_index


class Tensor(Arithmetic, Products, Comparison, Reduction, Conversion):
    """An array that remembers how it was made, so that gradients can flow back through it.

    Parameters
    ----------
    data : array_like
        Copied. Python floats become float32; float64 arrays stay float64; integers and booleans are allowed (labels,
        masks) but cannot require gradients.
    requires_grad : bool
        If True, ``backward`` fills ``grad``.
    dtype : data type, optional
        Convert to it.

    Attributes
    ----------
    data : ndarray
        The values; on a GPU an array of that device.
    grad : ndarray or None
        Gradient of the last loss with respect to this tensor: the shape, dtype and device of ``data``. It accumulates
        over backward passes until it is set to None.

    Examples
    --------
    >>> x = Tensor([1.0, 2.0, 3.0], requires_grad=True)
    >>> (x * x).sum().backward()
    >>> x.grad
    array([2., 4., 6.], dtype=float32)
    """

    __slots__ = ("__weakref__", "_after", "_data", "_grad", "_hooks", "_node", "_requires_grad")
    __array_ufunc__ = None  # so that array * tensor calls Tensor.__rmul__

    _data: np.ndarray
    _grad: np.ndarray | None

    def __init__(self, data: Any, requires_grad: bool = False, dtype: Any = None) -> None:
        if isinstance(data, Tensor):
            data = data.data
        if isinstance(data, np.ndarray):
            data = as_array(data)
        if dtype is not None and np.iscomplexobj(data):
            raise TypeError("Tensor: data is complex, expected real numbers (take data.real or np.abs(data))")
        try:
            plain = dtype is None and not is_on_gpu(data)
            array = np.array(data) if plain else converted(data, data.dtype if dtype is None else dtype)
        except (TypeError, OverflowError) as error:
            raise TypeError(f"Tensor: data is a {type(data).__name__} that is not made of numbers: {error}") from error
        except ValueError as error:
            raise ValueError(
                f"Tensor: data is not an array of one shape, are its rows of different lengths? {error}"
            ) from error
        if dtype is None and array.dtype == np.float64 and not hasattr(data, "dtype"):
            array = converted(array, np.float32)
        if array.dtype not in FLOAT_TYPES and array.dtype.kind not in "iub":
            raise TypeError(f"Tensor: data has dtype {array.dtype}, expected float32, float64, an integer type or bool")
        self._data = array
        self._grad = None
        self._node: Function | None = None
        self._hooks: dict[int, Callable] = {}
        self._after: dict[int, Callable] = {}
        self._requires_grad = False
        if requires_grad:
            self.requires_grad = True

    @classmethod
    def wrap(cls, array: np.ndarray, node: Function | None = None) -> Tensor:
        """Return a tensor of an array itself, without a copy and without checks: no other code may write to it.

        Parameters
        ----------
        array : ndarray
            An array of a dtype that tensors have, such as the result of a kernel.
        node : Function, optional
            The operation that made it.
        """
        tensor = Tensor.__new__(Tensor)
        tensor._data, tensor._grad = array, None
        tensor._node, tensor._hooks, tensor._after, tensor._requires_grad = node, {}, {}, False
        return tensor

    @staticmethod
    def _constant(data: Any, dtype: Any) -> Tensor:
        """Return a tensor for an operand that is not a tensor."""
        return Tensor(data, dtype=dtype)

    def _set_data(self, value: Any) -> None:
        """Replace the array by another, also of another shape, or by a tensor's.

        Raises
        ------
        TypeError
            If it is not an array, or not of a dtype that this tensor can have.
        """
        array = value.data if isinstance(value, Tensor) else value
        if isinstance(array, (np.ndarray, np.generic)):
            array = as_array(array)
        elif not is_on_gpu(array):
            raise TypeError(f"data: the value is a {type(value).__name__}, expected an array")
        if array.dtype not in FLOAT_TYPES and (array.dtype.kind not in "iub" or self.requires_grad):
            wanted = "float32 or float64" if self.requires_grad else "float32, float64, an integer type or bool"
            raise TypeError(f"data: the array has dtype {array.dtype}, expected {wanted}")
        self._data = array

    data: Any = property(operator.attrgetter("_data"), _set_data, doc="The values, an array of the tensor's device.")

    # -- facts ---------------------------------------------------------------------------------------------------------

    @property
    def is_leaf(self) -> bool:
        """True if the user made it, rather than a recorded operation."""
        return self._node is None

    grad_fn: Function | None = property(  # type: ignore[assignment]
        operator.attrgetter("_node"), doc="The node of the operation that made it, None for a leaf."
    )

    @property
    def requires_grad(self) -> bool:
        """True if gradients flow to or through this tensor."""
        return self._requires_grad or self._node is not None

    @requires_grad.setter
    def requires_grad(self, value: bool) -> None:
        if self._node is not None:
            raise RuntimeError("requires_grad: only a leaf can change it; use detach() to leave the graph")
        if value and self.dtype not in FLOAT_TYPES:
            raise TypeError(
                f"requires_grad: a tensor of dtype {self.dtype} cannot require gradients; convert it to float first, "
                "Tensor(x, dtype=np.float32, requires_grad=True)"
            )
        self._requires_grad = bool(value)

    @property
    def grad(self) -> np.ndarray | None:
        """The gradient, or None.

        Setting it takes an array, a tensor or None.

        Raises
        ------
        TypeError, ValueError
            If the value does not have the shape, dtype and device of ``data``.
        """
        return self._grad

    @grad.setter
    def grad(self, value: Any) -> None:
        if value is not None:
            array = given_gradient(value, self.data, "grad: the value")
            given = getattr(value, "dtype", self.dtype)
            if given != self.dtype and not isinstance(value, np.generic):
                raise ValueError(f"grad: the value has dtype {given}, expected {self.dtype}")
            value = array
        self._grad = value

    def __len__(self) -> int:
        if self.ndim == 0:
            raise TypeError("len: the tensor has no dimensions")
        return self.shape[0]

    def __iter__(self) -> Iterator[Tensor]:
        return (self[i] for i in range(len(self)))

    def __reduce_ex__(self, protocol: Any) -> tuple:
        if self._node is not None:
            raise RuntimeError(
                f"a tensor inside a graph ({type(self._node).__name__}, shape {self.shape}) cannot be copied or "
                "pickled, only leaves can; copy x.detach() for its values"
            )
        facts = on_host(self.data), on_host(self._grad), self.device, self._requires_grad
        return _rebuild, (type(self), *facts), _added_by_subclass(self)

    def __repr__(self) -> str:
        facts = [f"shape={self.shape}", f"dtype={self.dtype}"]
        if self._node is not None:
            facts.append(f"grad_fn={type(self._node).__name__}")
        elif self._requires_grad:
            facts.append("requires_grad=True")
        if self.device != "cpu":
            facts.append(f"device={self.device}")
        return f"{type(self).__name__}({describe(self.numpy())}, {', '.join(facts)})"

    # -- out of the graph ----------------------------------------------------------------------------------------------

    def detach(self) -> Tensor:
        """Return the same values outside the graph, sharing memory."""
        return Tensor.wrap(self.data)

    def __setitem__(self, index: Any, value: Any) -> None:
        if self._node is not None or (self._requires_grad and is_grad_enabled()):
            raise RuntimeError(
                "item assignment would change a tensor of the graph behind its back; build a new one with tc.where, "
                "tc.concatenate or tc.stack, or change a leaf inside `with tc.no_grad():`"
            )
        with changing(self.data), quiet_for(value, self.dtype):
            try:
                self.data[plain_index(index)] = value.data if isinstance(value, Tensor) else value
            except (TypeError, OverflowError) as error:
                kinds = f"a {type(value).__name__} for a tensor of {self.dtype}"
                raise TypeError(f"item assignment: {kinds}: {error}") from error

    # -- the backward pass ---------------------------------------------------------------------------------------------

    def register_hook(self, hook: Callable[[np.ndarray], np.ndarray | None]) -> Hook:
        """Call ``hook(grad)`` when this tensor's gradient is complete; a result other than None replaces the gradient.

        Returns
        -------
        Hook
            Its ``remove()`` ends the calls.
        """
        if not self.requires_grad:
            raise RuntimeError("register_hook: this tensor does not require gradients")
        return Hook(self._node.hooks if self._node is not None else self._hooks, hook)

    def register_post_accumulate_grad_hook(self, hook: Callable[[Tensor], None]) -> Hook:
        """Call ``hook(tensor)`` whenever a backward pass has added to this leaf's ``grad``, which is then complete."""
        if not self.requires_grad or not self.is_leaf:
            raise RuntimeError("register_post_accumulate_grad_hook: this tensor is not a leaf that requires gradients")
        return Hook(self._after, hook)

    def retain_grad(self) -> None:
        """Keep ``grad`` of this tensor though it is not a leaf."""
        if not self.requires_grad:
            raise RuntimeError("retain_grad: this tensor does not require gradients")
        if self._node is not None:
            self._node.retained = weakref.ref(self)

    def backward(self, gradient: Any = None, retain_graph: bool = False) -> None:
        """Add d(self)/d(leaf) to ``leaf.grad`` for each leaf that requires gradients.

        Parameters
        ----------
        gradient : array_like, optional
            Gradient of the final loss with respect to this tensor, of its shape. A scalar needs none: it is 1.
        retain_graph : bool
            Keep the graph for another backward pass; otherwise it is freed as it is consumed.

        Raises
        ------
        RuntimeError
            If nothing here requires gradients, the graph was freed already, or a saved array was changed.
        ValueError
            If ``gradient`` is missing or has another shape.
        """
        if not self.requires_grad:
            raise RuntimeError(
                "backward: this tensor does not require gradients: no input of its graph has requires_grad=True "
                "(or it was made under no_grad)"
            )
        autograd.backward(
            self if self._node is None else self._node, self._seed_gradient(gradient), gradient is None, retain_graph
        )

    def accumulate_grad(self, grad: np.ndarray, owned: bool = False) -> None:
        """Add the complete gradient of one backward pass to ``grad``, as the engine does.

        Hooks see it first. If ``owned``, nothing else refers to the array, which may become ``grad`` itself.

        Raises
        ------
        ValueError
            If it is not an array of this tensor's shape and dtype.
        """
        if isinstance(grad, Tensor) or getattr(grad, "shape", None) != self.shape or grad.dtype != self.dtype:
            kind = f"{type(grad).__name__} of shape {np.shape(grad)}"
            raise ValueError(f"accumulate_grad: a {kind} came, expected an array of shape {self.shape}, {self.dtype}")
        owned = owned and not self._hooks  # a hook may keep the array, even one that removes itself
        grad = run_hooks("a leaf", self._hooks, grad)
        with adding.held:
            self._grad = accumulated(self._grad, grad, owned)
        for hook in list(self._after.values()):
            hook(self)

    def _seed_gradient(self, gradient: Any) -> np.ndarray:
        if gradient is None:
            if self.size != 1:
                raise ValueError(
                    f"backward: a tensor of shape {self.shape} needs backward(gradient) of that shape; only a scalar "
                    "loss needs none (reduce with .sum() or .mean())"
                )
            return for_device(self.device).as_array(np.ones(self.shape, self.dtype))
        try:
            given = gradient if isinstance(gradient, Tensor) else Tensor(gradient, dtype=self.dtype)
        except (TypeError, ValueError) as error:
            raise type(error)(
                f"backward: gradient is a {type(gradient).__name__}, expected an array of shape {self.shape}: {error}"
            ) from None
        return given_gradient(given.to(self.device).data, self.data, "backward: gradient")


autograd.register_tensor_type(Tensor)


def _added_by_subclass(tensor: Tensor) -> tuple[dict[str, Any] | None, dict[str, Any]]:
    """Return the attributes of a tensor, and those in slots other than :class:`Tensor`'s own."""
    state = object.__getstate__(tensor)  # type: ignore[attr-defined]
    attributes, slots = state if isinstance(state, tuple) else (state, {})
    return attributes, {name: value for name, value in slots.items() if name not in Tensor.__slots__}


def _rebuild(kind: type[Tensor], data: Any, grad: Any, device: str, requires_grad: bool) -> Tensor:
    """Make a leaf from the result of :meth:`Tensor.__reduce_ex__`. Hooks belong to the original and are not copied."""
    to_device = for_device(device).as_array
    tensor = kind.__new__(kind)
    tensor._data, tensor._grad = to_device(data), None if grad is None else to_device(grad)
    tensor._node, tensor._hooks, tensor._after, tensor._requires_grad = None, {}, {}, requires_grad
    return tensor
