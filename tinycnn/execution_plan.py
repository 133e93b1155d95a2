"""The plan of a network: which algorithms and loops compute each layer, forward and backward.

Nothing is predicted. A blank batch runs through the network and back once, while the machine records its loops and
workspaces, and the algorithm of a convolution is read from the plan that the convolution itself follows
(:func:`tinycnn.kernels.cpu.conv.plan`).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from importlib import import_module
from typing import Any, NamedTuple

import numpy as np

from tinycnn import arguments, autograd, nn
from tinycnn.grad_mode import enable_grad
from tinycnn.kernels.cpu.machine.record import Record, recorded
from tinycnn.kernels.cpu.machine.settings import get_num_threads
from tinycnn.ops.convolution import Conv2d
from tinycnn.random import default_generator
from tinycnn.tensor import Tensor

_SETS = {"cpu": "fast", "reference": "reference, in NumPy: one algorithm, no loops of ours, no tasks", "cuda": "cuda"}


class Loop(NamedTuple):
    """One kernel of a pass.

    Attributes
    ----------
    name : str
        File and function below ``tinycnn/kernels/cpu``.
    calls, tasks : int
        How often it was launched, and the tasks of all launches.
    """

    name: str
    calls: int
    tasks: int


class Pass(NamedTuple):
    """One direction of an operation: its loops in running order, and the bytes of its workspaces."""

    loops: tuple[Loop, ...] = ()
    workspace: int = 0


class Row:
    """One operation of a layer.

    Attributes
    ----------
    layer, operation : str
        The layer's path in the model, and the operation's class.
    input, output : tuple of int
        Shapes.
    algorithm, reason : str
        Of a convolution on the fast kernels; else empty.
    forward, backward : Pass
        ``backward`` is empty where no gradient passes.
    """

    def __init__(self, layer: str, node: autograd.Function, input_shape: tuple[int, ...]) -> None:
        self.layer, self.operation = layer, type(node).__name__
        self.input, self.output = input_shape, ()
        self.algorithm = self.reason = ""
        self.forward, self.backward = Pass(), Pass()
        if isinstance(node, Conv2d) and _set_of(node) == "cpu":
            chosen = import_module("tinycnn.kernels.cpu.conv").plan(node.shape, node.algorithm)
            self.algorithm, self.reason = chosen.algorithm, chosen.reason

    def lines(self) -> Iterator[tuple[str, str]]:
        """Yield the cells of the row's lines: a heading, or a loop."""
        heading = f"{self.layer or '(model)'}: {self.operation}, {_size(self.input)} to {_size(self.output)}"
        yield heading + (f", {self.algorithm}: {self.reason}" if self.algorithm else ""), ""
        for name in ("forward", "backward"):
            loops, workspace = getattr(self, name)
            for number, loop in enumerate(loops):
                yield f"    {'' if number else name:10}{loop.name}", _numbers(loop, 0 if number else workspace)


class Plan:
    """The table of a model; ``print`` it.

    Attributes
    ----------
    model : str
        Its class.
    input_shape : tuple of int
    kernels : str
        The set of kernels: "fast", "reference" or "cuda".
    threads : int
    rows : list of Row
        The operations, in running order.
    """

    def __init__(self, model: str, input_shape: tuple[int, ...], kernels: str, rows: list[Row]) -> None:
        self.model, self.input_shape, self.rows = model, input_shape, rows
        self.kernels, self.threads = kernels, get_num_threads()

    def __repr__(self) -> str:
        threads = f"{self.threads} threads" if self.threads > 1 else "1 thread"
        title = f"{self.model}, input {_size(self.input_shape)}, {threads}, kernels: {_SETS[self.kernels]}"
        lines = [line for row in self.rows for line in row.lines()]
        width = max((len(text) for text, numbers in lines if numbers), default=0)
        return "\n".join([title, "", *(f"{text:{width}}{numbers}" if numbers else text for text, numbers in lines)])


def plan(model: nn.Module, input_shape: tuple[int, ...]) -> Plan:
    """Return what computes each layer of a model: algorithm and the reason for it, loops, tasks and workspaces.

    Parameters
    ----------
    model : Module
        It runs once, forward and backward, in the mode it is in; parameters, gradients, running statistics and random
        numbers stay as they are.
    input_shape : (N, C, H, W)
        Or another shape that the model takes, the batch included.

    Raises
    ------
    ValueError
        If a size is below 1, or the layers do not fit such a batch.

    Examples
    --------
    >>> import tinycnn as tc
    >>> model = tc.nn.Sequential(tc.nn.Conv2d(3, 16, 5), tc.nn.ReLU(), tc.nn.Conv2d(16, 16, 3))
    >>> [(row.layer, row.operation, row.algorithm) for row in tc.plan(model, (2, 3, 12, 12)).rows]
    [('0', 'Conv2d', 'direct'), ('1', 'ReLU', ''), ('2', 'Conv2d', 'winograd')]
    """
    arguments.instance("plan", "model", model, nn.Module, "a Module")
    shaped = isinstance(input_shape, (tuple, list)) and all(isinstance(n, (int, np.integer)) for n in input_shape)
    if not shaped or not input_shape or min(input_shape) < 1:
        raise ValueError(f"plan: input_shape is {input_shape!r}, expected (N, C, H, W) of at least 1 each")
    dtype, device = next(((p.dtype, p.device) for p in model.parameters()), (np.dtype(np.float32), "cpu"))
    image = Tensor(np.zeros(input_shape, dtype)).to(device)
    observer = _Observer()
    with enable_grad(), _unchanged(model), observer.watching(model):
        output = model(image)
        if isinstance(output, Tensor) and output.requires_grad:
            output.sum().backward()
    rows = list(observer.rows.values())
    return Plan(type(model).__name__, tuple(map(int, input_shape)), observer.kernels, rows)


class _Observer:
    """A row for each operation that runs inside the model, filled while its passes run."""

    def __init__(self) -> None:
        self.rows: dict[autograd.Function, Row] = {}
        self.kernels = "cpu"
        self.layers: list[str] = []

    @contextmanager
    def watching(self, model: nn.Module) -> Iterator[None]:
        """Observe the operations of this thread, and the layer that runs."""
        with ExitStack() as stack:
            for path, module in model.named_modules():
                enter = module.register_forward_pre_hook(lambda *_, path=path: self.layers.append(path))
                stack.callback(enter.remove)
                stack.callback(module.register_forward_hook(lambda *_: self._leave()).remove)
            stack.callback(autograd.observer.reset, autograd.observer.set(self._observe))
            yield

    def _leave(self) -> None:
        self.layers.pop()

    def _observe(self, node: autograd.Function, call: Callable, *values: Any, **options: Any) -> Any:
        """Run one pass of an operation and record it."""
        with recorded() as record:
            result = call(*values, **options)
        if call.__name__ != "forward":
            if node in self.rows:
                self.rows[node].backward = _pass(record)
        elif self.layers:
            row = self.rows[node] = Row(self.layers[-1], node, np.shape(values[0]))
            row.output, row.forward = result.shape, _pass(record)
            self.kernels = _set_of(node)
        return result


@contextmanager
def _unchanged(model: nn.Module) -> Iterator[None]:
    """Put gradients, buffers and the state of the random generator back at the end."""
    generator = default_generator()
    state = generator.get_state()
    gradients = [(parameter, parameter.grad) for parameter in model.parameters()]
    buffers = [(array, array.copy()) for _, array in model.named_buffers()]
    try:
        for parameter, _ in gradients:
            parameter.grad = None
        yield
    finally:
        generator.set_state(state)
        for parameter, gradient in gradients:
            parameter.grad = gradient
        for array, old in buffers:
            array[...] = old


def _set_of(node: autograd.Function) -> str:
    return getattr(node.kernels, "package", "")


def _pass(record: Record) -> Pass:
    calls, tasks = Counter(name for name, _ in record.loops), Counter[str]()
    for name, count in record.loops:
        tasks[name] += count
    return Pass(tuple(Loop(name, calls[name], tasks[name]) for name in calls), sum(record.workspaces.values()))


def _size(shape: tuple[int, ...]) -> str:
    return "x".join(map(str, shape)) or "a number"


def _numbers(loop: Loop, workspace: int) -> str:
    calls = f"{loop.calls:,} call" + ("s" if loop.calls > 1 else "")
    tasks = f"{loop.tasks:,} task" + ("s" if loop.tasks != 1 else "")
    return f"{calls:>12} {tasks:>17}" + (f"   workspace {workspace / 1e3:,.1f} kB" if workspace else "")
