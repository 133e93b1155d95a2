"""Time and memory of each operation, forward and backward: ``with tc.profile():``, or ``TINYCNN_DEBUG=1``."""

from __future__ import annotations

import atexit
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

from tinycnn import autograd
from tinycnn.hooks import Hook, UncopiedCallback

if TYPE_CHECKING:
    from tinycnn.nn import Module

MIB = 2**20


@dataclass
class Row:
    """The total time and memory of one operation's calls, or of those in one layer.

    Attributes
    ----------
    name : str
        The operation; with a model, the layer's path before it.
    calls : int
        Forward passes.
    forward, backward : float
        Seconds.
    output, saved : int
        Bytes of the outputs, and of the arrays that were kept for the backward pass.
    """

    name: str
    calls: int = 0
    forward: float = 0.0
    backward: float = 0.0
    output: int = 0
    saved: int = 0


class profile:
    """A ``with`` block that measures time and memory of every operation inside it.

    An operation inside another one is counted separately, not in the outer one. On a GPU the times are those of
    launching the kernels. Only the thread that opened the block is measured.

    Parameters
    ----------
    model : Module, optional
        Separate its layers.

    Attributes
    ----------
    rows : list of Row
        In the order of the operations' first calls.
    seconds : float
        The time of the block, Python between the operations included.

    Examples
    --------
    >>> import tinycnn as tc
    >>> model = tc.nn.Sequential(tc.nn.Linear(4, 3), tc.nn.ReLU())
    >>> with tc.profile(model) as measured:
    ...     model(tc.Tensor([[1.0, 2.0, 3.0, 4.0]])).sum().backward()
    >>> [(row.name, row.calls) for row in measured.rows]
    [('0: Linear', 1), ('1: ReLU', 1), ('Sum', 1)]
    >>> print(measured)  # doctest: +ELLIPSIS
    operation ...
    """

    def __init__(self, model: Module | None = None) -> None:
        if model is not None and (isinstance(model, type) or not hasattr(model, "named_modules")):
            raise TypeError(f"profile: model is {model!r}, expected a Module or None")
        self._model = model
        self._rows: dict[str, Row] = {}
        self._names: WeakKeyDictionary[autograd.Function, str] = WeakKeyDictionary()
        self._layers = [""]
        self._hooks: list[Hook] = []
        self._inner = [0.0]  # seconds of the operations inside the one that runs
        self.seconds = 0.0

    @property
    def rows(self) -> list[Row]:
        """The rows in the order of the operations' first calls."""
        return list(self._rows.values())

    def __enter__(self) -> profile:
        for path, module in self._model.named_modules() if self._model is not None else ():
            enter = UncopiedCallback(lambda *_, path=path: self._layers.append(path))
            self._hooks.append(module.register_forward_pre_hook(enter))
            self._hooks.append(module.register_forward_hook(UncopiedCallback(self._leave)))
        self._token = autograd.observer.set(self._observe)
        self._start = time.perf_counter()
        return self

    def __exit__(self, *_: object) -> None:
        self.seconds += time.perf_counter() - self._start
        autograd.observer.reset(self._token)
        for hook in self._hooks:
            hook.remove()
        self._hooks, self._layers = [], [""]

    def _leave(self, *_: Any) -> None:
        self._layers.pop()

    def _observe(self, node: autograd.Function, call: Callable, *arguments: Any, **options: Any) -> Any:
        """Run one pass of an operation and record its time and memory."""
        forward = call.__name__ == "forward"
        if forward:
            layer = self._layers[-1]
            self._names[node] = f"{layer}: {type(node).__name__}" if layer else type(node).__name__
        name = self._names.get(node, type(node).__name__)
        row = self._rows.setdefault(name, Row(name))
        self._inner.append(0.0)
        start = time.perf_counter()
        try:
            result = call(*arguments, **options)
        finally:
            whole = time.perf_counter() - start
            own = whole - self._inner.pop()
            self._inner[-1] += whole
        if forward:
            row.calls += 1
            row.forward += own
            row.output += getattr(result, "nbytes", 0)
            row.saved += sum(getattr(array, "nbytes", 0) for array in node.saved)
        else:
            row.backward += own
        return result

    def __str__(self) -> str:
        """Return the table, the most expensive operations first."""
        total = sum(row.forward + row.backward for row in self.rows)
        width = max([len(row.name) for row in self.rows] + [len("operation")])
        columns = ("forward", "ms"), ("backward", "ms"), ("share", "%"), ("output", "MiB"), ("saved", "MiB")
        lines = [f"{'operation':{width}} {'calls':>6}" + "".join(f" {name:>9}" for name, _ in columns)]
        lines.append(" " * (width + 7) + "".join(f" {unit:>9}" for _, unit in columns))
        for row in sorted(self.rows, key=lambda row: -row.forward - row.backward):
            share = 100 * (row.forward + row.backward) / (total or 1)
            lines.append(
                f"{row.name:{width}} {row.calls:6} {1e3 * row.forward:9.2f} {1e3 * row.backward:9.2f} {share:9.1f} "
                f"{row.output / MIB:9.2f} {row.saved / MIB:9.2f}"
            )
        rest = self.seconds - total
        lines.append(f"operations {1e3 * total:.1f} ms, everything else {1e3 * max(rest, 0):.1f} ms")
        return "\n".join(lines)


def profile_process() -> None:
    """Measure all operations of the main thread from now on; write the table to standard error at the end."""
    measured = profile().__enter__()

    def report() -> None:
        measured.seconds += time.perf_counter() - measured._start
        print(measured, file=sys.stderr)

    atexit.register(report)
