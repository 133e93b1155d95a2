"""Arithmetic on each element, with NumPy's broadcasting and dtypes: a kernel for each function of :data:`FUNCTIONS`.

The function itself is one line for one element; the loops around it are the same for all.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from tinycnn.kernels.cuda.layout import RANK, assign, merged, padded, place, placed
from tinycnn.kernels.cuda.machine.device_array import DeviceArray, contiguous, empty, operation
from tinycnn.kernels.cuda.machine.launch import device_function, kernel, launch
from tinycnn.kernels.cuda.machine.target import cuda, math
from tinycnn.kernels.cuda.machine.views import repeated


def add(a: DeviceArray, b: DeviceArray, out: DeviceArray | None = None) -> DeviceArray:
    return evaluate(np.add, a, b, out=out)


@operation
def evaluate(function: np.ufunc, *operands: Any, out: DeviceArray | None = None) -> DeviceArray:
    """A function of NumPy's, of device arrays and numbers.

    Raises
    ------
    TypeError
        If there is no kernel for it.
    """
    if function is np.sign:
        (x,) = operands
        return choose(x > 0, 1, choose(x < 0, -1, x))
    if function not in FUNCTIONS:
        raise TypeError(f"numpy.{function.__name__} is not for device arrays")
    kinds = tuple(x.dtype if isinstance(x, (DeviceArray, np.generic)) else type(x) for x in map(_boolean, operands))
    *dtypes, dtype = function.resolve_dtypes((*kinds, None))
    operands = tuple(
        x.astype(t, copy=False) if isinstance(x, DeviceArray) else t.type(x) for x, t in zip(operands, dtypes)
    )
    shape = np.broadcast_shapes(*(x.shape for x in operands if isinstance(x, DeviceArray)))
    if out is not None and out.shape == shape and out.dtype == dtype and out.flags.c_contiguous:
        _run(FUNCTIONS[function], operands, out)
        return out
    result = empty(shape, dtype)
    _run(FUNCTIONS[function], operands, result)
    if out is None:
        return result
    assign(out, result)
    return out


def _boolean(value: Any) -> Any:
    """NumPy knows the kinds of Python's int and float, not of its bool."""
    return np.bool_(value) if isinstance(value, bool) else value


def choose(condition: DeviceArray, a: Any, b: Any) -> DeviceArray:
    """``a`` where the condition holds, else b; both broadcast."""
    dtype = np.result_type(*(x.dtype if isinstance(x, DeviceArray) else x for x in (a, b)))
    a, b = (x.astype(dtype, copy=False) if isinstance(x, DeviceArray) else _of(x, dtype) for x in (a, b))
    out = empty(np.broadcast_shapes(condition.shape, a.shape, b.shape), dtype)
    flat = [contiguous(repeated(x, out.shape)).reshape(-1) for x in (condition, a, b)]
    launch(choose_kernel, out.size, *flat, out.reshape(-1))
    return out


def _of(number: Any, dtype: Any) -> DeviceArray:
    out = empty((1,), dtype)
    out.fill(number)
    return out


def _run(loops: _Loops, operands: tuple[Any, ...], out: DeviceArray) -> None:
    flat = out.reshape(-1)
    if len(operands) == 1:
        launch(loops.one, out.size, contiguous(operands[0]).reshape(-1), flat)
        return
    a, b = operands
    if not isinstance(a, DeviceArray):
        launch(loops.number_first, out.size, a, contiguous(b).reshape(-1), flat)
    elif not isinstance(b, DeviceArray):
        launch(loops.number_second, out.size, contiguous(a).reshape(-1), b, flat)
    elif a.shape == b.shape and a.flags.c_contiguous and b.flags.c_contiguous:
        launch(loops.both, out.size, a.reshape(-1), b.reshape(-1), flat)
    else:
        a, b = repeated(a, out.shape), repeated(b, out.shape)
        shape, steps = merged(out.shape, a, b)
        if len(shape) > RANK:
            launch(loops.both, out.size, a.copy().reshape(-1), b.copy().reshape(-1), flat)
        else:
            launch(loops.spread, out.size, *placed(a, steps[0]), *placed(b, steps[1]), *padded(shape, 1)[1:], flat)


# -- kernels -----------------------------------------------------------------------------------------------------------


@kernel
def choose_kernel(condition, a, b, out):
    """Thread = element."""
    for i in range(cuda.grid(1), out.size, cuda.gridsize(1)):
        out[i] = a[i] if condition[i] else b[i]


class _Loops(NamedTuple):
    """The kernels of one function. In all of them thread = element of the output."""

    one: Any = None
    both: Any = None
    number_first: Any = None
    number_second: Any = None
    spread: Any = None


def _of_one(function: Callable) -> _Loops:
    """The loop around a function of one element."""
    function = device_function(function)

    @kernel
    def one(x, out):
        for i in range(cuda.grid(1), out.size, cuda.gridsize(1)):
            out[i] = function(x[i])

    return _Loops(one=one)


def _of_two(function: Callable) -> _Loops:
    """The loops around a function of two elements: of two arrays, of an array and a number, with broadcasting."""
    function = device_function(function)

    @kernel
    def both(a, b, out):
        for i in range(cuda.grid(1), out.size, cuda.gridsize(1)):
            out[i] = function(a[i], b[i])

    @kernel
    def number_first(a, b, out):
        for i in range(cuda.grid(1), out.size, cuda.gridsize(1)):
            out[i] = function(a, b[i])

    @kernel
    def number_second(a, b, out):
        for i in range(cuda.grid(1), out.size, cuda.gridsize(1)):
            out[i] = function(a[i], b)

    @kernel
    def spread(a, a_at, a0, a1, a2, a3, b, b_at, b0, b1, b2, b3, n1, n2, n3, out):
        for i in range(cuda.grid(1), out.size, cuda.gridsize(1)):
            first = a[place(i, a_at, a0, a1, a2, a3, n1, n2, n3)]
            out[i] = function(first, b[place(i, b_at, b0, b1, b2, b3, n1, n2, n3)])

    return _Loops(None, both, number_first, number_second, spread)


# NaN is greater and less than nothing, so a comparison decides where it goes.
FUNCTIONS: dict[np.ufunc, _Loops] = {
    np.negative: _of_one(lambda x: -x),
    np.absolute: _of_one(lambda x: abs(x)),
    np.exp: _of_one(lambda x: math.exp(x)),
    np.log: _of_one(lambda x: math.log(x)),
    np.sqrt: _of_one(lambda x: math.sqrt(x)),
    np.isnan: _of_one(lambda x: x != x),
    np.isfinite: _of_one(lambda x: x - x == x - x),
    np.add: _of_two(lambda a, b: a + b),
    np.subtract: _of_two(lambda a, b: a - b),
    np.multiply: _of_two(lambda a, b: a * b),
    np.true_divide: _of_two(lambda a, b: a / b),
    np.power: _of_two(lambda a, b: math.pow(a, b)),
    np.maximum: _of_two(lambda a, b: a if a >= b or a != a else b),
    np.minimum: _of_two(lambda a, b: a if a <= b or a != a else b),
    np.equal: _of_two(lambda a, b: a == b),
    np.not_equal: _of_two(lambda a, b: a != b),
    np.less: _of_two(lambda a, b: a < b),
    np.less_equal: _of_two(lambda a, b: a <= b),
    np.greater: _of_two(lambda a, b: a > b),
    np.greater_equal: _of_two(lambda a, b: a >= b),
    np.bitwise_and: _of_two(lambda a, b: a & b),
    np.bitwise_or: _of_two(lambda a, b: a | b),
}
