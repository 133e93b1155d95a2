"""The layer table: shape, parameters, multiply-adds, activation memory and receptive field of each layer.

A blank image runs through the network once, recorded in the graph. Multiply-adds count convolutions and
linear layers: each output element takes C / groups * kH * kW (or in_features) of them.

The receptive field of an output is the size of the input patch that can change it; it may be larger than the
image, and then reaches into the padding. Through a window of k taps, dilation d and stride s it grows by
``d (k - 1) * jump``, where ``jump`` is the distance in input pixels between neighbouring elements; then jump
grows s-fold. Where branches meet, the largest counts. A layer after flattening sees the whole map.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from tinycnn import arguments, nn
from tinycnn.autograd import Function
from tinycnn.grad_mode import enable_grad
from tinycnn.ops.convolution import Conv2d
from tinycnn.ops.pooling import AdaptiveAvgPool2d, AvgPool2d, MaxPool2d
from tinycnn.tensor import Tensor


class Row(NamedTuple):
    """One layer, each time it ran.

    Attributes
    ----------
    name, kind : str
        Its path in the model, and its class.
    output_shape : tuple of int
        Without the batch: (C, H, W) or (features,).
    parameters : int
        Its own; 0 where they were counted in an earlier row.
    multiply_adds : int
    memory : int
        Bytes of the output.
    receptive_field : int or (int, int)
        In input pixels; height and width where they differ.
    """

    name: str
    kind: str
    output_shape: tuple[int, ...]
    parameters: int
    multiply_adds: int
    memory: int
    receptive_field: int | tuple[int, int]


@dataclass(repr=False)
class Summary:
    """The table of a model; ``print`` it.

    Attributes
    ----------
    model : str
        Its class.
    input_shape : (C, H, W)
    rows : list of Row
        The layers, in running order.
    parameters : int
        All of the model's.
    """

    model: str
    input_shape: tuple[int, ...]
    rows: list[Row]
    parameters: int

    @property
    def multiply_adds(self) -> int:
        """Total for one image."""
        return sum(row.multiply_adds for row in self.rows)

    @property
    def memory(self) -> int:
        """Bytes of all layers' outputs for one image: about those that a training step must keep."""
        return sum(row.memory for row in self.rows)

    def __repr__(self) -> str:
        head = ("layer", "kind", "output", "parameters", "multiply-adds", "memory", "receptive field")
        lines = [head, *(_cells(row) for row in self.rows)]
        widths = [max(map(len, column)) for column in zip(*lines)]
        lines.insert(1, tuple("-" * width for width in widths))
        table = ["  ".join(_align(*cell) for cell in zip(line, widths, range(len(line)))) for line in lines]
        return "\n".join([*(line.rstrip() for line in table), "", self._totals()])

    def _totals(self) -> str:
        size = "x".join(map(str, self.input_shape))
        return (
            f"{self.model}, one image of {size}\n"
            f"parameters     {self.parameters:,} ({_memory(4 * self.parameters)} in float32)\n"
            f"multiply-adds  {self.multiply_adds:,}\n"
            f"activations    {_memory(self.memory)}"
        )


def summary(model: nn.Module, input_shape: tuple[int, ...] = (3, 224, 224)) -> Summary:
    """Return the layer table of a model for one image.

    Layers are the modules that have no modules inside, and those with parameters of their own. An operation of
    ``forward`` between them (an addition, say) has no row, but counts for the receptive field.

    Parameters
    ----------
    model : Module
        Its parameters, running statistics and mode stay as they are.
    input_shape : (C, H, W)

    Raises
    ------
    ValueError
        If a size is below 1, or the layers do not fit such an image.

    Examples
    --------
    >>> model = nn.Sequential(nn.Conv2d(3, 8, 3, padding=1), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(96, 10))
    >>> summary(model, (3, 8, 6))
    layer  kind       output  parameters  multiply-adds   memory  receptive field
    -----  ---------  ------  ----------  -------------  -------  ---------------
    0      Conv2d     8x8x6          224         10,368  1.54 kB                3
    1      MaxPool2d  8x4x3                              0.38 kB                4
    2      Flatten    96                                 0.38 kB                4
    3      Linear     10             970            960  0.04 kB             10x8
    <BLANKLINE>
    Sequential, one image of 3x8x6
    parameters     1,194 (4.78 kB in float32)
    multiply-adds  11,328
    activations    2.34 kB
    """
    arguments.instance("summary", "model", model, nn.Module, "a Module")
    shaped = isinstance(input_shape, (tuple, list)) and all(isinstance(n, (int, np.integer)) for n in input_shape)
    if not shaped or not input_shape or min(input_shape) < 1:
        raise ValueError(f"summary: input_shape is {input_shape!r}, expected (C, H, W) of at least 1 each")
    dtype, device = next(((p.dtype, p.device) for p in model.parameters()), (np.dtype(np.float32), "cpu"))
    image = Tensor(Tensor(np.zeros((1, *input_shape), dtype)).to(device), requires_grad=True)
    rows: list[Row] = []
    hooks = _add_rows(model, rows, _Fields(image))
    modes = [(module, module.training) for module in model.modules()]
    try:
        with enable_grad():
            model.eval()(image)
    finally:
        for hook in hooks:
            hook.remove()
        for module, mode in modes:
            module.training = mode
    return Summary(type(model).__name__, tuple(input_shape), rows, sum(p.size for p in model.parameters()))


def _add_rows(model: nn.Module, rows: list[Row], fields: _Fields) -> list[Any]:
    """Register hooks that add a row whenever a layer has run."""
    counted: set[int] = set()

    def hook(name: str) -> Callable[[nn.Module, tuple, Any], None]:
        def add(module: nn.Module, _: tuple, output: Tensor) -> None:
            own = {id(p): p.size for p in module.parameters(recurse=False) if id(p) not in counted}
            counted.update(own)
            shape = output.shape[1:]
            cost, memory = _multiply_adds(module, shape), output.data.nbytes
            field = fields.of(output)
            rows.append(Row(name, type(module).__name__, shape, sum(own.values()), cost, memory, field))

        return add

    return [
        module.register_forward_hook(hook(name))
        for name, module in model.named_modules()
        if list(module.parameters(recurse=False)) or not list(module.children())
    ]


def _multiply_adds(module: nn.Module, shape: tuple[int, ...]) -> int:
    if isinstance(module, nn.Conv2d):
        return math.prod(shape) * math.prod(module.weight.shape[1:])
    return math.prod(shape) * module.in_features if isinstance(module, nn.Linear) else 0


class _Field(NamedTuple):
    """Height and width of the receptive field, of the jump, and of the map that an operation read."""

    size: tuple[int, ...] = (1, 1)
    jump: tuple[int, ...] = (1, 1)
    read: tuple[int, ...] = (1, 1)


class _Fields:
    """Receptive fields of the tensors made from an image, computed from the graph behind them."""

    def __init__(self, image: Tensor) -> None:
        self.image = image
        self.known: dict[Function | Tensor, _Field] = {image: _Field()}

    def of(self, tensor: Tensor) -> int | tuple[int, int]:
        """Return the receptive field of a tensor: one number if height and width agree."""
        stack: list[Any] = [tensor.grad_fn or self.image]
        while stack:
            node = stack[-1]
            behind = [] if node in self.known else self._edges(node)
            missing = [edge.target for edge in behind if edge.target not in self.known]
            if missing:
                stack.extend(missing)
                continue
            if node not in self.known:
                self.known[node] = self._after(node, behind)
            stack.pop()
        height, width = self.known[tensor.grad_fn or self.image].size
        return height if height == width else (height, width)

    def _edges(self, node: Function) -> list[Any]:
        """Return the inputs of a node that come from the image rather than from parameters."""
        edges = (edge for edge in node.edges if edge is not None)
        return [edge for edge in edges if edge.target is self.image or isinstance(edge.target, Function)]

    def _after(self, node: Function, edges: list[Any]) -> _Field:
        """Return the field of a node's output: the largest of its inputs', grown by its window."""
        inputs = [_of_edge(self.known[edge.target], edge.shape) for edge in edges] or [_Field()]
        size, jump, read = (tuple(max(values) for values in zip(*(f[i] for f in inputs))) for i in range(3))
        windows = [_window(node, axis) for axis in (0, 1)]
        grown = tuple(n + extra * j for n, j, (extra, _) in zip(size, jump, windows))
        return _Field(grown, tuple(j * stride for j, (_, stride) in zip(jump, windows)), read)


def _of_edge(field: _Field, shape: tuple[int, ...]) -> _Field:
    """Return the field of an input: a vector made from a map sees all of the map."""
    if len(shape) == 4:
        return field._replace(read=shape[2:])
    seen = tuple(n + (count - 1) * j for n, j, count in zip(field.size, field.jump, field.read))
    return _Field(seen, field.jump)


def _window(node: Function, axis: int) -> tuple[int, int]:
    """Return how many elements beyond the first an output of the node sees along an axis, and its stride."""
    if isinstance(node, (Conv2d, MaxPool2d, AvgPool2d)):
        windows = node.shape.axes[axis]
        return windows.span - 1, windows.stride
    if isinstance(node, AdaptiveAvgPool2d):
        size, count = node.shape[2 + axis], node.output_size[axis]
        largest = max(-(-(i + 1) * size // count) - i * size // count for i in range(count))
        return largest - 1, max(size // count, 1)
    return 0, 1


def _cells(row: Row) -> tuple[str, ...]:
    field = row.receptive_field
    return (
        row.name,
        row.kind,
        "x".join(map(str, row.output_shape)),
        *(f"{n:,}" if n else "" for n in (row.parameters, row.multiply_adds)),
        _memory(row.memory),
        str(field) if isinstance(field, int) else "x".join(map(str, field)),
    )


def _memory(count: int) -> str:
    """Return bytes in thousands or millions."""
    return f"{count / 1e6:,.2f} MB" if count >= 1e6 else f"{count / 1e3:,.2f} kB"


def _align(cell: str, width: int, column: int) -> str:
    return cell.ljust(width) if column < 3 else cell.rjust(width)
