"""The layer table: output shape, parameters, multiply-adds, activation memory and receptive field of each layer.

A blank image runs through the network once, recorded in the graph. Multiply-adds count convolutions and linear layers:
each output element takes C / groups * kH * kW (or in_features) of them.

The receptive field of an output is the size of the input patch that can change it. Through a window of k taps, dilation d
and stride s it grows by ``d (k - 1) * jump``, where ``jump`` is the distance in input pixels between neighbouring
elements; then jump grows s-fold. Where branches meet, the largest counts.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from tinycnn import nn
from tinycnn.ops.convolution import Conv2d
from tinycnn.ops.pooling import AdaptiveAvgPool2d, AvgPool2d, MaxPool2d
from tinycnn.tensor import Function, Tensor, enable_grad


class Row(NamedTuple):
    """One layer. ``memory`` is the output's size in bytes; ``receptive_field`` is the height in input pixels."""

    name: str
    kind: str
    output_shape: tuple[int, ...]
    parameters: int
    multiply_adds: int
    memory: int
    receptive_field: int


@dataclass
class Summary:
    """The table of a model; ``print`` it.

    Attributes
    ----------
    rows : list of Row
        Layers in the order in which they ran.
    input_shape : (C, H, W)
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
        """Bytes of all layers' outputs for one image: what a training step must keep."""
        return sum(row.memory for row in self.rows)

    def __str__(self) -> str:
        head = ("layer", "kind", "output", "parameters", "multiply-adds", "memory", "field")
        cells = [head, *(_cells(row) for row in self.rows)]
        widths = [max(len(line[i]) for line in cells) for i in range(len(head))]
        lines = ["  ".join(_align(cell, w, i) for i, (cell, w) in enumerate(zip(line, widths))) for line in cells]
        size = "x".join(map(str, self.input_shape))
        total = (
            f"{self.model}, input {size}: {self.parameters:,} parameters ({4 * self.parameters / 1e6:.2f} MB in float32), "
            f"{self.multiply_adds:,} multiply-adds, {self.memory / 1e6:.2f} MB of activations for one image"
        )
        return "\n".join([*(line.rstrip() for line in lines), "", total])


def summary(model: nn.Module, input_shape: tuple[int, ...] = (3, 224, 224)) -> Summary:
    """The layer table of a model for one image.

    Parameters
    ----------
    model : Module
        Its parameters and running statistics stay as they are.
    input_shape : (C, H, W)

    Examples
    --------
    >>> table = summary(nn.Sequential(nn.Conv2d(3, 8, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2)), (3, 8, 6))
    >>> [(row.output_shape, row.parameters, row.multiply_adds, row.receptive_field) for row in table.rows]
    [((8, 8, 6), 224, 10368, 3), ((8, 8, 6), 0, 0, 3), ((8, 4, 3), 0, 0, 4)]
    """
    dtype = next((p.dtype for p in model.parameters()), np.dtype(np.float32))
    image = Tensor(np.zeros((1, *input_shape), dtype), requires_grad=True)
    rows: list[Row] = []
    field = _fields()
    hooks = [
        module.register_forward_hook(lambda m, _, out, name=name: rows.append(_row(name, m, out, field)))
        for name, module in model.named_modules()
        if not any(True for _ in module.children())
    ]
    training = [(module, module.training) for module in model.modules()]
    try:
        with enable_grad():
            model.eval()(image)
    finally:
        for hook in hooks:
            hook.remove()
        for module, mode in training:
            module.training = mode
    return Summary(type(model).__name__, tuple(input_shape), rows, sum(p.size for p in model.parameters()))


def _row(name: str, module: nn.Module, output: Tensor, field: Callable[[Tensor], int]) -> Row:
    parameters = sum(p.size for p in module.parameters())
    shape = output.shape[1:]
    return Row(
        name, type(module).__name__, shape, parameters, _multiply_adds(module, shape), output.data.nbytes, field(output)
    )


def _multiply_adds(module: nn.Module, shape: tuple[int, ...]) -> int:
    if isinstance(module, nn.Conv2d):
        return math.prod(shape) * math.prod(module.weight.shape[1:])
    return math.prod(shape) * module.in_features if isinstance(module, nn.Linear) else 0


class _Field(NamedTuple):
    """Receptive field, and the distance in input pixels between neighbouring elements."""

    size: int
    jump: int


def _fields() -> Callable[[Tensor], int]:
    """A function that gives a tensor's receptive field, remembering what it knows of the graph behind it."""
    known: dict[Any, _Field] = {}

    def field(tensor: Tensor) -> int:
        stack: list[Any] = [tensor.grad_fn]
        while stack:
            node = stack[-1]
            sources = [edge.target for edge in node.edges if edge is not None]
            missing = [s for s in sources if isinstance(s, Function) and s not in known]
            if missing:
                stack.extend(missing)
                continue
            behind = [known.get(source, _Field(1, 1)) for source in sources]
            known[node] = _through(node, _Field(max(f.size for f in behind), max(f.jump for f in behind)))
            stack.pop()
        return known[tensor.grad_fn].size

    return field


def _through(node: Function, before: _Field) -> _Field:
    """The receptive field after one operation."""
    if isinstance(node, Conv2d):
        stride, _, dilation, _ = node.geometry
        return _window(before, node.saved[1].shape[2], stride[0], dilation[0])
    if isinstance(node, MaxPool2d):
        kernel, stride, _, dilation = node.geometry
        return _window(before, kernel[0], stride[0], dilation[0])
    if isinstance(node, AvgPool2d):
        return _window(before, node.geometry[0][0], node.geometry[1][0], 1)
    if isinstance(node, AdaptiveAvgPool2d):
        height, wanted = node.shape[2], node.output_size[0]
        return _window(before, -(-height // wanted), max(height // wanted, 1), 1)
    return before


def _window(before: _Field, kernel: int, stride: int, dilation: int) -> _Field:
    return _Field(before.size + dilation * (kernel - 1) * before.jump, before.jump * stride)


def _cells(row: Row) -> tuple[str, ...]:
    numbers = (row.parameters, row.multiply_adds)
    texts = (f"{n:,}" if n else "" for n in numbers)
    return (
        row.name,
        row.kind,
        "x".join(map(str, row.output_shape)),
        *texts,
        f"{row.memory / 1e3:,.1f} kB",
        str(row.receptive_field),
    )


def _align(cell: str, width: int, column: int) -> str:
    return cell.ljust(width) if column < 2 else cell.rjust(width)
