"""Windows that slide over images: the shapes of a convolution and of a pooling, and the number of their windows."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np

Shape = tuple[int, ...]
Pair = tuple[int, int]
Padding = tuple[int, int, int, int]  # top, bottom, left, right
Pairlike = int | Sequence[int]
LARGEST = 2**31 - 1  # the product of two sizes fits into 64 bits


class Axis(NamedTuple):
    """One axis of a padded image and the windows on it: element j of window i is pixel i stride - before + j dilation.

    Attributes
    ----------
    size, kernel, stride, dilation : int
    before, after : int
        Padding at the beginning and at the end.
    """

    size: int
    kernel: int
    stride: int
    before: int
    after: int
    dilation: int

    @property
    def span(self) -> int:
        """Pixels from the first to the last element of a window."""
        return self.dilation * (self.kernel - 1) + 1

    def windows(self, ceil_mode: bool = False) -> int:
        """Return the number of windows, floor((size + before + after - span) / stride) + 1.

        In ceil mode the quotient is rounded up, but the last window must start inside the input or the padding before
        it.

        >>> Axis(size=227, kernel=11, stride=4, before=0, after=0, dilation=1).windows()
        55
        >>> [Axis(size=6, kernel=3, stride=2, before=0, after=0, dilation=1).windows(mode) for mode in (False, True)]
        [2, 3]
        """
        room = self.size + self.before + self.after - self.span
        if not ceil_mode:
            return room // self.stride + 1
        count = -(-room // self.stride) + 1
        return count - 1 if (count - 1) * self.stride >= self.size + self.before else count


@dataclass(frozen=True, slots=True)
class ConvShape:
    """The shapes of a convolution. A ConvShape that exists fits together: the constructor raises ValueError otherwise.

    Attributes
    ----------
    input : (N, C, H, W)
    weight : (C_out, C / groups, kH, kW)
    stride, dilation : (vertical, horizontal)
    padding : (top, bottom, left, right)
    groups : int
    output : (N, C_out, H_out, W_out)
    axes : the vertical and the horizontal :class:`Axis`
    """

    input: Shape
    weight: Shape
    stride: Pair = (1, 1)
    padding: Padding = (0, 0, 0, 0)
    dilation: Pair = (1, 1)
    groups: int = 1
    output: Shape = field(init=False, compare=False)
    axes: tuple[Axis, Axis] = field(init=False, compare=False, repr=False)

    def __post_init__(self) -> None:
        _check_sizes("weight", self.weight, "(O, C / groups, kH, kW)")
        _check_sizes("input", self.input, "(N, C, H, W)")
        if not math.prod(self.weight):
            raise ValueError(f"weight has shape {self.weight}, expected at least one channel and a kernel")
        if not is_int(self.groups) or self.groups < 1 or self.weight[0] % self.groups:
            raise ValueError(f"groups is {self.groups}, expected a divisor of the {self.weight[0]} output channels")
        channels = self.weight[1] * self.groups
        if self.input[1] != channels:
            grouped = f" with groups={self.groups}" if self.groups > 1 else ""
            raise ValueError(f"input has {self.input[1]} channels but weight {self.weight}{grouped} expects {channels}")
        axes = _axes(self.input, self.kernel_size, self.stride, self.padding, self.dilation, False)
        object.__setattr__(self, "axes", axes)
        object.__setattr__(self, "output", (self.input[0], self.weight[0], *(axis.windows() for axis in axes)))

    @classmethod
    def of(
        cls,
        x_shape: Shape,
        weight: Shape,
        stride: Pairlike = 1,
        padding: Pairlike | str = 0,
        dilation: Pairlike = 1,
        groups: int = 1,
    ) -> ConvShape:
        """Return the shapes of a convolution with the arguments of :func:`tinycnn.functional.conv2d`.

        ``padding`` "valid" is 0. "same" makes the output as large as the input; if it needs an odd number of pixels,
        one more is at the bottom and at the right, as in PyTorch.

        Raises
        ------
        ValueError
            If the arguments do not fit together.

        Examples
        --------
        >>> ConvShape.of((1, 3, 224, 224), (96, 3, 11, 11), stride=4, padding=2).output
        (1, 96, 55, 55)
        >>> ConvShape.of((1, 1, 8, 8), (1, 1, 2, 3), padding="same").padding
        (0, 1, 1, 1)
        """
        stride, dilation = pair("conv2d", "stride", stride, 1), pair("conv2d", "dilation", dilation, 1)
        if not isinstance(padding, str):
            padding = pair("conv2d", "padding", padding, 0)
        if not is_int(groups):
            raise ValueError(f"conv2d: groups is {groups!r}, expected an integer of at least 1")
        return _conv_shape(x_shape, weight, stride, padding, dilation, int(groups))

    @property
    def kernel_size(self) -> Pair:
        """(kH, kW)."""
        return self.weight[2], self.weight[3]

    def of_one_group(self) -> ConvShape:
        """Return the shapes of one group's part of the convolution of one image."""
        _, channels, height, width = self.input
        weight = self.weight[0] // self.groups, *self.weight[1:]
        x_shape = 1, channels // self.groups, height, width
        return ConvShape(x_shape, weight, self.stride, self.padding, self.dilation)


@dataclass(frozen=True, slots=True)
class PoolShape:
    """The shapes of a pooling. A PoolShape that exists fits together: the constructor raises ValueError otherwise.

    Attributes
    ----------
    input : (N, C, H, W)
    kernel_size, stride, dilation : (vertical, horizontal)
    padding : (top, bottom, left, right)
    ceil_mode : bool
        See :meth:`Axis.windows`.
    output : (N, C, H_out, W_out)
    axes : the vertical and the horizontal :class:`Axis`
    """

    input: Shape
    kernel_size: Pair
    stride: Pair
    padding: Padding = (0, 0, 0, 0)
    dilation: Pair = (1, 1)
    ceil_mode: bool = False
    output: Shape = field(init=False, compare=False)
    axes: tuple[Axis, Axis] = field(init=False, compare=False, repr=False)

    def __post_init__(self) -> None:
        _check_sizes("input", self.input, "(N, C, H, W)")
        axes = _axes(self.input, self.kernel_size, self.stride, self.padding, self.dilation, self.ceil_mode)
        if any(max(axis.before, axis.after) > axis.kernel // 2 for axis in axes):
            padding = _short(self.padding)
            raise ValueError(f"padding is {padding}, expected at most half of kernel_size {self.kernel_size}")
        object.__setattr__(self, "axes", axes)
        object.__setattr__(self, "output", (*self.input[:2], *(axis.windows(self.ceil_mode) for axis in axes)))

    @classmethod
    def of(
        cls,
        x_shape: Shape,
        kernel_size: Pairlike,
        stride: Pairlike | None = None,
        padding: Pairlike = 0,
        dilation: Pairlike = 1,
        ceil_mode: bool = False,
        name: str = "pool2d",
    ) -> PoolShape:
        """Return the shapes of a pooling with the arguments of :func:`tinycnn.functional.max_pool2d`.

        Raises
        ------
        ValueError
            If the arguments do not fit together; ``name`` is the function that the message names.

        Examples
        --------
        >>> PoolShape.of((1, 96, 55, 55), 3, stride=2).output
        (1, 96, 27, 27)
        """
        kernel_size = pair(name, "kernel_size", kernel_size, 1)
        stride = kernel_size if stride is None else pair(name, "stride", stride, 1)
        padding, dilation = pair(name, "padding", padding, 0), pair(name, "dilation", dilation, 1)
        return _pool_shape(name, x_shape, kernel_size, stride, padding, dilation, bool(ceil_mode))


@lru_cache(maxsize=1024)
def _conv_shape(x_shape: Shape, weight: Shape, stride: Pair, padding: Any, dilation: Pair, groups: int) -> ConvShape:
    try:
        return ConvShape(x_shape, weight, stride, _padding(padding, weight[2:], stride, dilation), dilation, groups)
    except ValueError as error:
        raise ValueError(f"conv2d: {error}") from None


@lru_cache(maxsize=1024)
def _pool_shape(
    name: str, x_shape: Shape, kernel_size: Pair, stride: Pair, padding: Pair, dilation: Pair, ceil_mode: bool
) -> PoolShape:
    try:
        return PoolShape(x_shape, kernel_size, stride, _on_both_sides(padding), dilation, ceil_mode)
    except ValueError as error:
        raise ValueError(f"{name}: {error}") from None


def _padding(padding: Any, kernel: Shape, stride: Pair, dilation: Pair) -> Padding:
    if not isinstance(padding, str):
        return _on_both_sides(padding)
    if padding == "valid":
        return 0, 0, 0, 0
    if padding != "same" or stride != (1, 1):
        raise ValueError(f"padding is {padding!r}, expected a number, a pair of them, 'valid', or 'same' with stride 1")
    vertical, horizontal = (d * (k - 1) for d, k in zip(dilation, kernel))
    return vertical // 2, vertical - vertical // 2, horizontal // 2, horizontal - horizontal // 2


def _on_both_sides(padding: Pair) -> Padding:
    return padding[0], padding[0], padding[1], padding[1]


def _short(padding: Padding) -> tuple[int, ...]:
    top, bottom, left, right = padding
    return (top, left) if (top, left) == (bottom, right) else padding


def _axes(
    x_shape: Shape, kernel_size: Pair, stride: Pair, padding: Padding, dilation: Pair, ceil_mode: bool
) -> tuple[Axis, Axis]:
    """Return both axes if a window fits into each; in ceil mode it may reach less than a stride beyond the padding."""
    numbers = (("kernel_size", kernel_size, 2, 1), ("stride", stride, 2, 1), ("padding", padding, 4, 0))
    for name, values, count, least in (*numbers, ("dilation", dilation, 2, 1)):
        if type(values) is not tuple or len(values) != count or not all(_is_size(v, least) for v in values):
            raise ValueError(f"{name} is {values!r}, expected {count} integers of at least {least}")
    top, bottom, left, right = padding
    axes = (
        Axis(x_shape[2], kernel_size[0], stride[0], top, bottom, dilation[0]),
        Axis(x_shape[3], kernel_size[1], stride[1], left, right, dilation[1]),
    )
    for axis, direction in zip(axes, ("height", "width")):
        overhang = axis.stride - 1 if ceil_mode else 0
        if axis.size + axis.before + axis.after + overhang < axis.span or not axis.size + axis.before:
            pad = axis.before if axis.before == axis.after else (axis.before, axis.after)
            raise ValueError(
                f"a window of {axis.span} does not fit into {direction} {axis.size} with padding {pad} "
                f"(input {x_shape}, kernel {kernel_size}, dilation {dilation})"
            )
    return axes


def _check_sizes(name: str, shape: Shape, expected: str) -> None:
    if type(shape) is not tuple or len(shape) != 4 or not all(_is_size(size, 0) for size in shape):
        raise ValueError(f"{name} has shape {shape}, expected {expected}")


def _is_size(value: Any, least: int) -> bool:
    return is_int(value) and least <= value <= LARGEST


def is_int(value: Any) -> bool:
    """Return True for Python's and NumPy's integers, but not for bool."""
    return isinstance(value, (int, np.integer)) and not isinstance(value, bool)


def pair(name: str, argument: str, value: Any, least: int) -> Pair:
    """Return two integers: a pair, or one number twice. ``name`` and ``argument`` are those that an error names.

    Raises
    ------
    ValueError
        If it is neither, or not in the range from ``least`` to :data:`LARGEST`.
    """
    first, second = value if type(value) is tuple and len(value) == 2 else (value, value)
    if type(first) is type(second) is int and least <= first <= LARGEST and least <= second <= LARGEST:
        return first, second
    values = value if isinstance(value, (tuple, list)) else (value, value)
    if len(values) != 2 or not all(is_int(v) and v >= least for v in values):
        raise ValueError(f"{name}: {argument} is {value!r}, expected an int of at least {least} or a pair of them")
    if max(values) > LARGEST:
        raise ValueError(f"{name}: {argument} is {value!r}, expected at most {LARGEST}")
    return int(values[0]), int(values[1])
