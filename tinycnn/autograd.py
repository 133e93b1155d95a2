"""Reverse-mode automatic differentiation: the graph, and the backward pass through it.

Every operation is a :class:`Function`. Applied to tensors it computes an array (``forward``) and becomes a node of the
graph, with one :class:`Edge` for each input. :func:`backward` visits those nodes from the loss to the leaves, each
node after everything that used its output, and applies the chain rule one ``Function.backward`` at a time.

The engine knows no operation (:mod:`tinycnn.ops`) and no loop (:mod:`tinycnn.kernels`). It writes only to arrays that
it made itself, and to those that a ``Function`` declares to be new.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable, Iterator
from contextvars import ContextVar
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from tinycnn.grad_mode import GradMode
from tinycnn.gradients import computed_gradient, run_hooks
from tinycnn.kernels import Kernels, for_device
from tinycnn.kernels.arrays import FLOAT_TYPES, as_array, operands, raise_with_operands, without_upcast
from tinycnn.mutation import Snapshot

if TYPE_CHECKING:
    from tinycnn.tensor import Tensor

_tensor_type: type[Tensor]  # the one late binding: tensor.py registers the type that Function.apply returns
_owns_grad: ContextVar[bool] = ContextVar("owns_grad", default=False)
observer: ContextVar[Callable | None] = ContextVar("observer", default=None)  # runs the passes for tc.profile


def register_tensor_type(tensor_type: type[Tensor]) -> None:
    """Make ``tensor_type`` the type of the results of :meth:`Function.apply`."""
    global _tensor_type
    _tensor_type = tensor_type


class Edge(NamedTuple):
    """The destination of one input's gradient (a node, or a leaf tensor), and the shape and dtype that it must have."""

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

    ``forward`` gets one array for each input and keyword options, and returns one new array. ``backward`` gets the
    gradient of the loss with respect to that array, which it must not change, and returns the gradient with respect
    to each input, in order, ``None`` where there is none. It may return a gradient of the broadcast shape: the engine
    sums it back to the input's shape.

    Attributes
    ----------
    returns_new : bool
        Promise that ``backward`` returns arrays that nothing else refers to, so that the engine may write to them.
        The class that defines ``backward`` declares it; a subclass does not inherit the promise.
    returns_grad : bool
        Promise that ``backward`` returns ``grad`` itself or a view of it, for one input: as new as ``grad`` was.
    chooses_dtype : bool
        True for a cast: float64 may come out where none went in.
    """

    returns_new = False
    returns_grad = False
    chooses_dtype = False
    kernels: Kernels
    needs_input_grad: tuple[bool, ...] = ()
    _declared_backward: Callable | None = None

    def __init_subclass__(cls) -> None:
        own = vars(cls)
        for promise in ("returns_new", "returns_grad"):
            setattr(cls, promise, bool(own.get(promise)) and "backward" in own)
        cls._declared_backward = own.get("backward")

    def __init__(self) -> None:
        self.edges: tuple[Edge | None, ...] = ()
        self.hooks: dict[int, Callable] = {}
        self.retained: weakref.ref[Tensor] | None = None
        self._saved: tuple[Any, ...] | None = ()
        self._snapshot: Snapshot | None = None

    def forward(self, *arrays: Any, **options: Any) -> Any:
        """Compute the output array."""
        raise NotImplementedError(f"{type(self).__name__}: forward is not defined")

    def backward(self, grad: Any) -> Any:
        """Return the gradient with respect to each input, given the gradient with respect to the output."""
        raise NotImplementedError(f"{type(self).__name__}: backward is not defined")

    @property
    def owns_grad(self) -> bool:
        """True while ``backward`` runs if nothing else refers to ``grad``: it may then write to it, and return it."""
        return _owns_grad.get()

    def save(self, *arrays: Any) -> None:
        """Keep arrays for ``backward``, where ``self.saved`` returns them."""
        self._saved = arrays
        if True in self.needs_input_grad:
            self._snapshot = Snapshot.of(arrays)

    @property
    def saved(self) -> tuple[Any, ...]:
        """The saved arrays.

        Raises
        ------
        RuntimeError
            If the graph was freed, or a saved array was changed since ``forward`` (:mod:`tinycnn.mutation`).
        """
        self.check_not_freed()
        saved = self._saved or ()
        changed = None if self._snapshot is None else self._snapshot.changed(saved)
        if changed is not None:
            raise RuntimeError(
                f"backward: an array of shape {changed.shape} that {type(self).__name__} saved in its forward pass "
                "was changed before backward; call backward first, or change a copy (x.data.copy())"
            )
        return saved

    @property
    def freed(self) -> bool:
        """True if a backward pass has consumed this node."""
        return self._saved is None

    def check_not_freed(self) -> None:
        """Raise RuntimeError if a backward pass has consumed this node."""
        if self.freed:
            raise RuntimeError(
                f"backward: {type(self).__name__} was already freed by an earlier backward pass; run the forward pass "
                "again, or pass retain_graph=True to the first backward"
            )

    def free(self) -> None:
        """Drop the saved arrays and the graph behind this node."""
        self._saved, self._snapshot, self.edges = None, None, ()

    @classmethod
    def apply(cls, *inputs: Any, **options: Any) -> Tensor:
        """Run ``forward`` on the inputs' arrays and record the node.

        Inputs that are not tensors (numbers, arrays, None) are constants.
        """
        node, name = cls(), cls.__name__.lower()
        device, arrays = operands(name, inputs, _tensor_type)
        node.kernels = for_device(device)
        recording = GradMode.current()
        needs = [recording and isinstance(x, _tensor_type) and x.requires_grad for x in inputs]
        node.needs_input_grad = tuple(needs)
        try:
            with np.errstate(all="ignore"):  # NaN and inf are results, as in PyTorch
                output = as_array(_observed(node, node.forward)(*arrays, **options))
        except (ValueError, TypeError, AttributeError, OverflowError) as error:
            raise_with_operands(name, inputs, arrays, error)
        if output.dtype not in FLOAT_TYPES and output.dtype.kind not in "iub":
            what = repr(output.item(0)) if output.dtype == object and output.size else f"dtype {output.dtype}"
            raise TypeError(f"{cls.__name__}.forward returned {what}, expected an array of numbers")
        if not cls.chooses_dtype:
            output = without_upcast(output, arrays)
        if True not in needs or output.dtype not in FLOAT_TYPES:
            return _tensor_type.wrap(output)
        node.edges = tuple(
            Edge(x if (source := x.grad_fn) is None else source, array.shape, array.dtype) if needed else None
            for x, array, needed in zip(inputs, arrays, needs)
        )
        return _tensor_type.wrap(output, node)


def _observed(node: Function, call: Callable) -> Callable:
    observe = observer.get()
    return call if observe is None else partial(observe, node, call)


# -- the chain rule, in topological order ------------------------------------------------------------------------------


def backward(root: Function | Tensor, gradient: Any, owned: bool = False, retain_graph: bool = False) -> None:
    """Add d(root)/d(leaf) to ``leaf.grad`` of every leaf behind ``root``.

    Visit each node once, after everything that used its output (Kahn's algorithm, without recursion): in
    ``b = a + a; c = b + b`` both paths into ``b`` must arrive before ``b`` passes its gradient on.
    """
    uses = _count_uses(root)
    sums: dict[Function | Tensor, _Sum] = {root: _Sum(gradient, owned)}
    ready: list[Function | Tensor] = [root]
    with np.errstate(all="ignore"):  # NaN and inf are results, as in PyTorch
        while ready:
            target = ready.pop()
            total = sums.pop(target)
            if not isinstance(target, Function):
                if total.value is not None:
                    target.accumulate_grad(total.value, total.owned)
                continue
            for edge, part, new in _input_gradients(target, total):
                sums.setdefault(edge.target, _Sum()).add(part, new, target.kernels)
                uses[edge.target] -= 1
                if not uses[edge.target]:
                    ready.append(edge.target)
            if not retain_graph:
                target.free()


def _count_uses(root: Function | Tensor) -> dict[Function | Tensor, int]:
    """Count the edges of the graph behind ``root`` that lead into each node and leaf."""
    uses: dict[Function | Tensor, int] = {}
    stack = [root]
    while stack:
        node = stack.pop()
        if isinstance(node, Function):
            node.check_not_freed()
            for edge in node.edges:
                if edge is not None:
                    if edge.target not in uses:
                        uses[edge.target] = 0
                        stack.append(edge.target)
                    uses[edge.target] += 1
    return uses


class _Sum:
    """A running sum of gradients; if ``owned``, only the engine refers to the array and may add to it in place."""

    __slots__ = ("owned", "value")

    def __init__(self, value: Any = None, owned: bool = False) -> None:
        self.value, self.owned = value, owned

    def add(self, part: Any, owned: bool, kernels: Kernels) -> None:
        if part is None:
            return
        if self.value is None:
            self.value, self.owned = part, owned
        elif self.owned:
            kernels.add(self.value, part, out=self.value)
        else:
            self.value, self.owned = kernels.add(self.value, part), True


def _input_gradients(node: Function, total: _Sum) -> Iterator[tuple[Edge, Any, bool]]:
    """Return the gradient for each edge of a node, of its input's shape and dtype, and whether the array is new."""
    name = type(node).__name__
    parts: Any = (None,) * len(node.edges)
    new = False
    if total.value is not None:
        owned = total.owned and not node.hooks  # a hook may keep the array, even one that removes itself
        grad = run_hooks(name, node.hooks, total.value)
        retained = None if node.retained is None else node.retained()
        if retained is not None:
            retained.accumulate_grad(grad, owned=False)
        new = _promises_new(node, owned)
        parts = _run_backward(node, grad, owned)
    if len(parts) != len(node.edges):
        raise RuntimeError(f"{name}.backward returned {len(parts)} gradients for {len(node.edges)} inputs")
    for edge, part in zip(node.edges, parts):
        if edge is not None:
            array = None if part is None else as_array(part)  # of a tensor or a buffer it shares the memory
            fitted = None if array is None else computed_gradient(array, edge, name)
            yield edge, fitted, new or fitted is not array


def _promises_new(node: Function, owned: bool) -> bool:
    """True if ``node.backward`` is the method whose class declared that it returns new arrays."""
    declared = getattr(node.backward, "__func__", None) is type(node)._declared_backward
    return declared and (node.returns_new or (node.returns_grad and owned))


def _run_backward(node: Function, grad: Any, owned: bool) -> tuple[Any, ...]:
    token = _owns_grad.set(owned)
    try:
        parts = _observed(node, node.backward)(grad)
    except MemoryError as error:
        place = f"backward of {type(node).__name__} on a gradient of shape {grad.shape}"
        raise MemoryError(f"{error}, in {place}") from error
    finally:
        _owns_grad.reset(token)
    return parts if isinstance(parts, tuple) else (parts,)
