"""The heart of tinycnn: tensors, the graph they grow, and the backward pass through it.

Every operation is a :class:`Function`. Applied to tensors it computes an array (``forward``) and leaves a node in the
graph, with one :class:`Edge` for each input. :meth:`Tensor.backward` walks those nodes from the loss to the leaves,
each node only after everything that used its output, and applies the chain rule one ``Function.backward`` at a time.

This file knows no operation and no layer: :mod:`tinycnn.ops` defines the operations and binds them to :class:`Tensor`.
"""

from __future__ import annotations

import weakref
from collections import defaultdict
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from tinycnn.kernels import DEVICES, Kernels, for_device, is_on_gpu, on_host
from tinycnn.kernels.choice import Choice

FLOAT_TYPES = (np.dtype(np.float32), np.dtype(np.float64))


def is_grad_enabled() -> bool:
    """Whether operations are being recorded in the graph."""
    return _GradMode.current()


class _GradMode(Choice, default=True):
    """A ``with`` block or decorator that switches recording, and back at its end."""

    _enabled: bool

    def __init__(self) -> None:
        super().__init__(self._enabled)


class no_grad(_GradMode):
    """Do not record operations: for evaluation and for changing parameters.

    >>> import tinycnn as tc
    >>> x = tc.Tensor([1.0], requires_grad=True)
    >>> with tc.no_grad():
    ...     (x * 2).requires_grad
    False
    """

    _enabled = False


class enable_grad(_GradMode):
    """Record operations again inside a :class:`no_grad` block."""

    _enabled = True


class Edge(NamedTuple):
    """Where the gradient of one input goes: the node that made it, or a leaf; with the shape and dtype it must have."""

    target: Function | Tensor
    shape: tuple[int, ...]
    dtype: np.dtype


class Function:
    """One differentiable operation: ``forward`` and ``backward`` side by side.

    Subclass it to add an operation::

        class Square(tc.Function):
            def forward(self, x):
                self.save(x)
                return x * x

            def backward(self, grad):
                (x,) = self.saved
                return 2 * x * grad

        y = Square.apply(tensor)

    ``forward`` gets arrays (one for each input) and keyword options, and returns one new array. ``backward`` gets the
    gradient of the loss with respect to that array, which it must not change (it may where ``owns_grad`` says that
    nobody else holds it), and returns the gradient with respect to each input, in order, ``None`` where there is none.
    It may return a gradient of the broadcast shape: the engine sums it back to the input's shape.
    """

    kernels: Kernels
    needs_input_grad: tuple[bool, ...] = ()
    owns_grad = False
    chooses_dtype = False  # whether float64 may come out where none went in

    def __init__(self) -> None:
        self.edges: tuple[Edge | None, ...] = ()
        self.hooks: dict[int, Callable] = {}
        self.retained: weakref.ref[Tensor] | None = None
        self._saved: tuple[np.ndarray, ...] | None = ()
        self._samples: tuple[bytes, ...] = ()

    def forward(self, *arrays: Any, **options: Any) -> np.ndarray:
        """Compute the output array."""
        raise NotImplementedError(f"{type(self).__name__}: forward is not defined")

    def backward(self, grad: np.ndarray) -> Any:
        """Gradient with respect to each input, given the gradient with respect to the output."""
        raise NotImplementedError(f"{type(self).__name__}: backward is not defined")

    def save(self, *arrays: np.ndarray) -> None:
        """Keep arrays for ``backward``, where ``self.saved`` gives them back."""
        self._saved = arrays
        if any(self.needs_input_grad):
            self._samples = tuple(_sample(array) for array in arrays)

    @property
    def saved(self) -> tuple[np.ndarray, ...]:
        """The saved arrays.

        Raises
        ------
        RuntimeError
            If the graph was freed, or a saved array was changed since ``forward``.
        """
        if self._saved is None:
            raise RuntimeError(_FREED.format(name=type(self).__name__))
        for array, sample in zip(self._saved, self._samples):
            if _sample(array) != sample:
                raise RuntimeError(
                    f"backward: an array of shape {array.shape} that {type(self).__name__} saved in its forward "
                    f"pass was "
                    "changed before backward; call backward first, or change a copy (x.data.copy())"
                )
        return self._saved

    def free(self) -> None:
        """Let go of saved arrays and of the graph behind this node."""
        self._saved = None
        self._samples = ()
        self.edges = ()

    @property
    def freed(self) -> bool:
        """Whether a backward pass has consumed this node."""
        return self._saved is None

    @classmethod
    def apply(cls, *inputs: Any, **options: Any) -> Tensor:
        """Run ``forward`` on the inputs' arrays and record the node.

        Inputs that are not tensors (numbers, arrays, None) are constants.
        """
        node = cls()
        device = _common_device(cls.__name__, inputs)
        node.kernels = for_device(device)
        recording = is_grad_enabled()
        node.needs_input_grad = tuple(recording and isinstance(x, Tensor) and x.requires_grad for x in inputs)
        arrays = _operands(device, inputs)
        name = cls.__name__.lower()
        try:
            output = _as_array(node.forward(*arrays, **options))
        except ValueError as error:
            shapes = ", ".join(str(np.shape(a)) for a in arrays if a is not None)
            raise ValueError(f"{name}: inputs of shape {shapes}: {error}") from error
        except TypeError as error:
            kinds = ", ".join(type(x).__name__ for x in inputs)
            raise TypeError(f"{name}: inputs are {kinds}: {error}") from error
        if output.dtype == object:
            raise TypeError(f"{cls.__name__}.forward returned {output.item(0)!r}, expected an array of numbers")
        result = Tensor._of(output if cls.chooses_dtype else _without_upcast(output, arrays))
        if any(node.needs_input_grad) and result.dtype in FLOAT_TYPES:
            node.edges = tuple(
                Edge(x._node or x, x.shape, x.dtype) if needed else None
                for x, needed in zip(inputs, node.needs_input_grad)
            )
            result._node = node
        return result


_FREED = (
    "backward: {name} was already freed by an earlier backward pass; run the forward pass again, or pass "
    "retain_graph=True to the first backward"
)
_EXACT, _SPARSE = 4096, 256


def _sample(array: Any) -> bytes:
    """Bytes that change when the array does: all of a small one, evenly spaced elements of a large one.

    None of a number or of an array on the GPU, which would have to be waited for.
    """
    if not isinstance(array, np.ndarray):
        return b""
    if array.size <= _EXACT:
        return array.tobytes()
    step = array.size // _SPARSE
    return (array.reshape(-1)[::step] if array.flags.c_contiguous else array.flat[::step]).tobytes()


def _common_device(name: str, inputs: tuple[Any, ...]) -> str:
    devices = {x.device for x in inputs if isinstance(x, Tensor)}
    if len(devices) > 1:
        raise ValueError(f"{name.lower()}: inputs are on different devices: {', '.join(sorted(devices))}")
    return devices.pop() if devices else "cpu"


def _as_array(value: Any) -> Any:
    """The array itself, wherever it is; of a number, an array of no dimensions."""
    return value if type(value) is np.ndarray or is_on_gpu(value) else np.asanyarray(value)


def _as_operand(value: Any) -> Any:
    if isinstance(value, Tensor):
        return value.data
    return value.item() if isinstance(value, np.generic) else value  # a NumPy scalar would upcast float32


def _operands(device: str, inputs: tuple[Any, ...]) -> list:
    """The inputs' arrays and numbers; arrays that are constants move to the device."""
    operands = [_as_operand(x) for x in inputs]
    if device != "cpu":
        as_array = for_device(device).as_array
        operands = [as_array(x) if isinstance(x, np.ndarray) else x for x in operands]
    return operands


def _without_upcast(output: np.ndarray, inputs: list) -> np.ndarray:
    """Float64 comes out only where float64 went in (integers divide and average to float32)."""
    if output.dtype == np.float64 and not any(getattr(x, "dtype", None) == np.float64 for x in inputs):
        return output.astype(np.float32)
    return output


class Tensor:
    """An array that remembers how it was made, so that gradients can flow back through it.

    Parameters
    ----------
    data : array_like
        Copied. Python floats become float32; float64 arrays stay float64; integers and booleans are allowed (labels,
        masks) but cannot require gradients.
    requires_grad : bool
        Whether ``backward`` shall fill ``grad``.
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

    __slots__ = ("__weakref__", "_after", "_hooks", "_node", "_requires_grad", "data", "grad")
    __array_ufunc__ = None  # so that array * tensor asks the tensor

    data: np.ndarray
    grad: np.ndarray | None

    if TYPE_CHECKING:  # tinycnn.ops binds operators and methods

        def __add__(self, other: Any) -> Tensor: ...
        def __radd__(self, other: Any) -> Tensor: ...
        def __sub__(self, other: Any) -> Tensor: ...
        def __rsub__(self, other: Any) -> Tensor: ...
        def __mul__(self, other: Any) -> Tensor: ...
        def __rmul__(self, other: Any) -> Tensor: ...
        def __truediv__(self, other: Any) -> Tensor: ...
        def __rtruediv__(self, other: Any) -> Tensor: ...
        def __pow__(self, other: Any) -> Tensor: ...
        def __rpow__(self, other: Any) -> Tensor: ...
        def __matmul__(self, other: Any) -> Tensor: ...
        def __lt__(self, other: Any) -> Tensor: ...
        def __le__(self, other: Any) -> Tensor: ...
        def __gt__(self, other: Any) -> Tensor: ...
        def __ge__(self, other: Any) -> Tensor: ...
        def __getitem__(self, index: Any) -> Tensor: ...
        def __neg__(self) -> Tensor: ...
        def _move(self, device: str) -> Tensor: ...
        def __getattr__(self, name: str) -> Any: ...

    def __init__(self, data: Any, requires_grad: bool = False, dtype: Any = None) -> None:
        if isinstance(data, Tensor):
            data = data.data
        try:
            array = data.astype(dtype or data.dtype) if is_on_gpu(data) else np.array(data, dtype=dtype)
        except ValueError as error:
            raise ValueError(
                f"Tensor: data is no array of one shape, are its rows of different lengths? {error}"
            ) from error
        if dtype is None and array.dtype == np.float64 and not hasattr(data, "dtype"):
            array = array.astype(np.float32)
        if array.dtype not in FLOAT_TYPES and array.dtype.kind not in "iub":
            raise TypeError(f"Tensor: data has dtype {array.dtype}, expected float32, float64, an integer type or bool")
        self.data = array
        self.grad = None
        self._node: Function | None = None
        self._hooks: dict[int, Callable] = {}
        self._after: dict[int, Callable] = {}
        self._requires_grad = False
        if requires_grad:
            self.requires_grad = True

    @classmethod
    def _of(cls, array: np.ndarray) -> Tensor:
        """Wrap an array that nobody else writes to, without a copy."""
        tensor = Tensor.__new__(Tensor)
        tensor.data, tensor.grad = array, None
        tensor._node, tensor._hooks, tensor._after, tensor._requires_grad = None, {}, {}, False
        return tensor

    # -- what it is ----------------------------------------------------------------------------------------------------

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
        """Where the values are: "cpu" or "cuda"."""
        return self.data.device

    @property
    def is_leaf(self) -> bool:
        """Whether it was made by hand rather than by a recorded operation."""
        return self._node is None

    @property
    def grad_fn(self) -> Function | None:
        """The node of the operation that made it, None for a leaf."""
        return self._node

    @property
    def requires_grad(self) -> bool:
        """Whether gradients flow to or through this tensor."""
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

    def __len__(self) -> int:
        if self.ndim == 0:
            raise TypeError("len: the tensor has no dimensions")
        return self.shape[0]

    def __iter__(self) -> Iterator[Tensor]:
        return (self[i] for i in range(len(self)))

    def __bool__(self) -> bool:
        return bool(self.item())

    def __float__(self) -> float:
        return float(self.item())

    def __int__(self) -> int:
        return int(self.item())

    def __repr__(self) -> str:
        facts = [f"shape={self.shape}", f"dtype={self.dtype}"]
        if self._node is not None:
            facts.append(f"grad_fn={type(self._node).__name__}")
        elif self._requires_grad:
            facts.append("requires_grad=True")
        if self.device != "cpu":
            facts.append(f"device={self.device}")
        return f"{type(self).__name__}({_describe(self.numpy())}, {', '.join(facts)})"

    # -- out of the graph ----------------------------------------------------------------------------------------------

    def item(self) -> Any:
        """The only element, as a Python number."""
        if self.size != 1:
            raise ValueError(f"item: the tensor has {self.size} elements, shape {self.shape}; expected one")
        return self.data.item()

    def numpy(self) -> np.ndarray:
        """The values as an array, which shares memory with the tensor; from a GPU a copy of them."""
        return on_host(self.data)

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        if self.requires_grad:
            raise TypeError(
                "a tensor that requires gradients does not turn into an array by itself: the graph would end there; "
                "use tensor.numpy()"
            )
        return np.array(self.numpy(), dtype=dtype, copy=copy)

    def detach(self) -> Tensor:
        """The same values outside the graph, sharing memory."""
        return Tensor._of(self.data)

    def to(self, target: Any) -> Tensor:
        """Move to a device (a name) or convert to a dtype. A tensor of the graph is converted inside the graph.

        Raises
        ------
        DeviceError
            If the device is not there, with what to install.
        """
        if isinstance(target, str) and target in DEVICES:
            return self if self.device == target else self._move(target)
        try:
            dtype = np.dtype(target)
        except TypeError as error:
            raise TypeError(f"to: {target!r} is neither a device ({', '.join(DEVICES)}) nor a dtype") from error
        return self if self.dtype == dtype else self.astype(dtype)

    def __setitem__(self, index: Any, value: Any) -> None:
        if self._node is not None or (self._requires_grad and is_grad_enabled()):
            raise RuntimeError(
                "item assignment would change a tensor of the graph behind its back; build a new one with tc.where, "
                "tc.concatenate or tc.stack, or change a leaf inside `with tc.no_grad():`"
            )
        self.data[_plain_index(index)] = _as_operand(value)

    # -- the backward pass ---------------------------------------------------------------------------------------------

    def register_hook(self, hook: Callable[[np.ndarray], np.ndarray | None]) -> Hook:
        """Call ``hook(grad)`` when this tensor's gradient is known; what it returns, unless None, replaces it.

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
        _run_backward(self._node or self, self._seed_gradient(gradient), gradient is None, retain_graph)

    def _seed_gradient(self, gradient: Any) -> np.ndarray:
        if gradient is None:
            if self.size != 1:
                raise ValueError(
                    f"backward: a tensor of shape {self.shape} needs backward(gradient) of that shape; only a scalar "
                    "loss needs none (reduce with .sum() or .mean())"
                )
            return for_device(self.device).as_array(np.ones(self.shape, self.dtype))
        given = gradient if isinstance(gradient, Tensor) else Tensor(gradient, dtype=self.dtype)
        array = given.to(self.device).data.astype(self.dtype, copy=False)
        if array.shape != self.shape:
            raise ValueError(f"backward: gradient has shape {array.shape}, expected {self.shape}")
        return array


class Hook:
    """A registered hook. ``remove()`` takes it away."""

    _next_key = 0

    def __init__(self, registry: dict[int, Callable], hook: Callable) -> None:
        self._registry = registry
        self._key = Hook._next_key
        Hook._next_key += 1
        registry[self._key] = hook

    def remove(self) -> None:
        """Stop calling the hook."""
        self._registry.pop(self._key, None)


def _run_backward(root: Function | Tensor, gradient: np.ndarray, unshared: bool, retain_graph: bool) -> None:
    """Visit each node once, after everything that used its output (Kahn's topological order, no recursion).

    A tensor used many times gets the sum of what its uses send back; only then is its own gradient known and passed on.
    That is why the order matters: in ``b = a + a; c = b + b`` both paths into ``b`` must arrive before ``b`` is
    visited.
    """
    uses = _count_uses(root)
    sums: dict[Function | Tensor, _Sum] = {root: _Sum()}
    sums[root].value, sums[root].unshared = gradient, unshared
    ready: list[Function | Tensor] = [root]
    while ready:
        target = ready.pop()
        grad, unshared = sums.pop(target)
        if isinstance(target, Tensor):
            _accumulate(target, grad, unshared)
            continue
        grad = _run_hooks(target.hooks, grad)
        _keep_retained(target, grad)
        target.owns_grad = unshared and not target.hooks
        for edge, part, unshared in _input_gradients(target, grad):
            sums.setdefault(edge.target, _Sum()).add(part, unshared, target.kernels)
            uses[edge.target] -= 1
            if not uses[edge.target]:
                ready.append(edge.target)
        if not retain_graph:
            target.free()


def _count_uses(root: Function | Tensor) -> dict[Function | Tensor, int]:
    """How many edges of the graph behind ``root`` lead into each node and leaf."""
    uses: dict[Function | Tensor, int] = defaultdict(int)
    stack, seen = [root], {root}
    while stack:
        node = stack.pop()
        if isinstance(node, Tensor):
            continue
        if node.freed:
            raise RuntimeError(_FREED.format(name=type(node).__name__))
        for edge in node.edges:
            if edge is not None:
                uses[edge.target] += 1
                if edge.target not in seen:
                    seen.add(edge.target)
                    stack.append(edge.target)
    return uses


class _Sum:
    """A running sum of gradients that reuses an array only when nobody else holds it."""

    __slots__ = ("unshared", "value")

    def __init__(self) -> None:
        self.value: np.ndarray | None = None
        self.unshared = False

    def __iter__(self) -> Iterator[Any]:
        return iter((self.value, self.unshared))

    def add(self, part: np.ndarray | None, unshared: bool, kernels: Kernels) -> None:
        if part is None:
            return
        if self.value is None:
            self.value, self.unshared = part, unshared
        elif self.unshared:
            kernels.add(self.value, part, out=self.value)
        else:
            self.value, self.unshared = kernels.add(self.value, part), True


def _input_gradients(node: Function, grad: np.ndarray | None) -> Iterator[tuple[Edge, np.ndarray | None, bool]]:
    """The gradient for each edge of a node, of the shape and dtype of its input, and whether the array is unshared."""
    try:
        parts: Any = (None,) * len(node.edges) if grad is None else node.backward(grad)
    except MemoryError as error:
        place = f"backward of {type(node).__name__} on a gradient of shape {getattr(grad, 'shape', ())}"
        raise MemoryError(f"{error}, in {place}") from error
    if not isinstance(parts, tuple):
        parts = (parts,)
    if len(parts) != len(node.edges):
        raise RuntimeError(
            f"{type(node).__name__}.backward returned {len(parts)} gradients for {len(node.edges)} inputs"
        )
    fitted = [
        None if edge is None or part is None else _fit(_as_array(part), edge, type(node).__name__)
        for edge, part in zip(node.edges, parts)
    ]
    memory_of, is_array = node.kernels.memory_of, node.kernels.is_array
    held = [*fitted, *(node._saved or ()), *vars(node).values(), *(() if node.owns_grad else (grad,))]
    memories = [memory_of(array) for array in held if is_array(array)]
    for edge, part in zip(node.edges, fitted):
        if edge is not None:
            alone = part is not None and node.kernels.is_alone(part)
            memory = memory_of(part) if alone else None
            yield edge, part, alone and sum(memory is other for other in memories) == 1


def _fit(grad: np.ndarray, edge: Edge, name: str) -> np.ndarray:
    """Undo broadcasting: sum over the dimensions along which the input was repeated; keep the input's dtype."""
    if grad.shape != edge.shape:
        extra = grad.ndim - len(edge.shape)
        repeated = tuple(
            i for i in range(grad.ndim) if i < extra or (edge.shape[i - extra] == 1 and grad.shape[i] != 1)
        )
        summed = grad.sum(axis=repeated, keepdims=True) if extra >= 0 else grad
        if extra < 0 or summed.shape[extra:] != edge.shape:
            raise RuntimeError(
                f"{name}.backward returned a gradient of shape {grad.shape} for an input of shape {edge.shape}"
            )
        grad = summed.reshape(edge.shape)
    return grad if grad.dtype == edge.dtype else grad.astype(edge.dtype)


def _run_hooks(hooks: dict[int, Callable], grad: np.ndarray | None) -> np.ndarray | None:
    for hook in list(hooks.values()) if grad is not None else ():
        replaced = hook(grad)
        if replaced is not None:
            grad = _as_array(replaced.data if isinstance(replaced, Tensor) else replaced)
    return grad


def _keep_retained(node: Function, grad: np.ndarray | None) -> None:
    tensor = node.retained() if node.retained is not None else None
    if tensor is not None and grad is not None:
        tensor.grad = grad.copy() if tensor.grad is None else _as_array(tensor.grad + grad)


def _accumulate(leaf: Tensor, grad: np.ndarray | None, unshared: bool) -> None:
    seen = _run_hooks(leaf._hooks, grad)
    if seen is None:
        return
    if leaf.grad is not None:
        leaf.grad = _as_array(leaf.grad + seen)
    else:
        leaf.grad = seen if unshared and not leaf._hooks else seen.copy(order="K")
    for hook in list(leaf._after.values()):
        hook(leaf)


def _describe(array: np.ndarray) -> str:
    """All values of a small array; the range and mean of a large one, and how many are not finite."""
    if array.size <= 64:
        return np.array2string(array, separator=", ", precision=4, prefix="Tensor(")
    if array.dtype not in FLOAT_TYPES:
        return f"{array.min()} to {array.max()}"
    finite = array[np.isfinite(array)]
    spread = f"{finite.min():.4g} to {finite.max():.4g}, mean {finite.mean():.4g}" if finite.size else "no finite value"
    broken = array.size - finite.size
    return spread + (f", {broken} not finite" if broken else "")


def _plain_index(index: Any) -> Any:
    """An index with arrays in place of tensors."""
    if isinstance(index, tuple):
        return tuple(_plain_index(part) for part in index)
    return index.data if isinstance(index, Tensor) else index
