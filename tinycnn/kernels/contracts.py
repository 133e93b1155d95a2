"""Checks of a kernel's arguments, so that no call can make a compiled loop leave its arrays.

One function for each kernel of :mod:`.protocol`, with the same name and signature; activations share one, which reads
their signature. :class:`tinycnn.kernels.Kernels` calls it before the kernel, on every device. Each check looks at
types, shapes, dtypes and numbers, and at whether an array may be written to, never at elements: so arguments that agree
in these with earlier ones are not checked again.
Functions under ``tinycnn.kernels.cpu`` and ``.cuda`` that are imported by themselves do not check.

The operations and :mod:`tinycnn.functional` check earlier and in the user's words; only those see a message from here
who call a kernel, ``Function.apply`` or ``Function.backward`` themselves.
"""

from __future__ import annotations

import functools
import inspect
import math
from collections.abc import Callable, Iterable
from typing import Any

import numpy as np

from tinycnn.kernels import expect
from tinycnn.kernels.geometry import ConvShape, PoolShape
from tinycnn.kernels.protocol import ALGORITHMS, FILE_OF

MOST_FACTS = 1000  # remembered for each kernel; an image size or a batch size that is new adds one
LARGEST_SEED = 2**128  # seeds and numbers of streams are taken modulo 2**64
MOST_TAKEN = 2**15 - 1  # elements of a window: max pooling keeps the number of one of them in an int16


def checked(kernel: Callable) -> Callable:
    """Return the kernel, with its check before it if there is one.

    A kernel with the attribute ``checks_itself`` looks at its arguments first, and calls its check only if they are not
    the usual case.
    """
    is_activation = FILE_OF[kernel.__name__] == "activation"
    check = _activation(kernel) if is_activation else globals().get(kernel.__name__)
    if check is None or hasattr(kernel, "checks_itself"):
        return kernel

    passed: set[Any] = set()

    @functools.wraps(kernel)
    def checked_kernel(*arguments: Any, **options: Any) -> Any:
        facts = _facts((*arguments, *options.values()))
        if options and facts is not None:
            facts = (*facts, *options)
        if facts not in passed:
            check(*arguments, **options)
            if len(passed) > MOST_FACTS:
                passed.clear()
            if facts is not None:
                passed.add(facts)
        return kernel(*arguments, **options)

    return checked_kernel


def _facts(values: Iterable[Any]) -> tuple[Any, ...] | None:
    """Return what a check can see of its arguments; None if one of them may change or cannot be compared."""
    facts: list[Any] = []
    for value in values:
        kind = type(value)
        if kind is np.ndarray:
            facts += value.shape, value.dtype, value.flags.writeable
        elif kind in _IMMUTABLE:
            facts += kind, value
        elif kind is tuple:  # (1, 1) equals (1.0, True)
            if not _IMMUTABLE.issuperset(kinds := tuple(map(type, value))):
                return None
            facts += value, kinds
        else:
            return None
    return tuple(facts)


_IMMUTABLE = frozenset({int, float, bool, str, type(None), ConvShape, PoolShape})


# -- memory layout -----------------------------------------------------------------------------------------------------


def channels_last(images):
    expect.numbers("channels_last", images=images)
    expect.dimensions("channels_last", 4, images=images)


def join_channels(parts):
    if not isinstance(parts, (list, tuple)) or not parts:
        raise ValueError("join_channels: expected a list of at least one array")
    for part in parts:
        expect.numbers("join_channels", part=part)
        expect.dimensions("join_channels", 4, part=part)
        expect.shape("join_channels", "part", part, (parts[0].shape[0], part.shape[1], *parts[0].shape[2:]))
        expect.dtype("join_channels", "part", part, parts[0])


def assign(target, value):
    expect.numbers("assign", target=target)
    expect.writable("assign", target=target)


# -- arithmetic --------------------------------------------------------------------------------------------------------


def add(a, b, out=None):
    expect.numbers("add", a=a, b=b)
    expect.alike("add", a, b=b, out=out)
    if out is not None:
        expect.writable("add", out=out)


def matmul(a, b):
    expect.numbers("matmul", a=a, b=b)
    expect.dimensions("matmul", 2, a=a, b=b)
    if a.shape[1] != b.shape[0]:
        raise ValueError(f"matmul: shapes {a.shape} and {b.shape} do not fit: the inner sizes must be equal")


# -- convolution -------------------------------------------------------------------------------------------------------


def im2col(x, shape):
    _windows("im2col", ConvShape, shape, x=(x, "input"))


def col2im(columns, shape):
    _windows("col2im", ConvShape, shape)
    expect.floats("col2im", columns=columns)
    rows, pixels = shape.input[1] * math.prod(shape.kernel_size), math.prod(shape.output[2:])
    expect.shape("col2im", "columns", columns, (shape.input[0], rows, pixels))


def conv2d(x, weight, bias, shape, algorithm="auto"):
    expect.one_of("conv2d", "algorithm", algorithm, ALGORITHMS)
    _windows("conv2d", ConvShape, shape, x=(x, "input"), weight=(weight, "weight"))
    if bias is not None:
        expect.floats("conv2d", x=x, bias=bias)
        expect.shape("conv2d", "bias", bias, shape.weight[:1])


def conv2d_backward_input(grad, weight, shape, algorithm="auto"):
    expect.one_of("conv2d_backward_input", "algorithm", algorithm, ALGORITHMS)
    _windows("conv2d_backward_input", ConvShape, shape, grad=(grad, "output"), weight=(weight, "weight"))


def conv2d_backward_weight(grad, x, shape, algorithm="auto"):
    expect.one_of("conv2d_backward_weight", "algorithm", algorithm, ALGORITHMS)
    _windows("conv2d_backward_weight", ConvShape, shape, grad=(grad, "output"), x=(x, "input"))


def conv2d_backward_bias(grad):
    expect.floats("conv2d_backward_bias", grad=grad)
    expect.dimensions("conv2d_backward_bias", 4, grad=grad)


def _windows(name, kind, shape, **arrays):
    """Check the record of a convolution or a pooling, and arrays with the names of their shapes in it."""
    if type(shape) is not kind:
        raise TypeError(f"{name}: shape is a {type(shape).__name__}, expected a {kind.__name__}")
    expect.floats(name, **{argument: array for argument, (array, _) in arrays.items()})
    for argument, (array, expected) in arrays.items():
        expect.shape(name, argument, array, getattr(shape, expected))


# -- pooling -----------------------------------------------------------------------------------------------------------


def max_pool2d(x, shape):
    _windows("max_pool2d", PoolShape, shape, x=(x, "input"))
    if math.prod(shape.kernel_size) > MOST_TAKEN:
        kernel = shape.kernel_size
        raise ValueError(f"max_pool2d: kernel_size is {kernel}, expected a window of at most {MOST_TAKEN} elements")


def max_pool2d_backward(grad, taken, shape):
    _windows("max_pool2d_backward", PoolShape, shape, grad=(grad, "output"))
    expect.numbers("max_pool2d_backward", taken=taken)
    expect.shape("max_pool2d_backward", "taken", taken, shape.output)


def avg_pool2d(x, shape, count_include_pad):
    _windows("avg_pool2d", PoolShape, shape, x=(x, "input"))
    _not_dilated("avg_pool2d", shape)


def avg_pool2d_backward(grad, shape, count_include_pad):
    _windows("avg_pool2d_backward", PoolShape, shape, grad=(grad, "output"))
    _not_dilated("avg_pool2d_backward", shape)


def _not_dilated(name, shape):
    if shape.dilation != (1, 1):
        raise ValueError(f"{name}: dilation is {shape.dilation}, expected (1, 1)")


def adaptive_avg_pool2d(x, output_size):
    expect.floats("adaptive_avg_pool2d", x=x)
    expect.dimensions("adaptive_avg_pool2d", 4, x=x)
    expect.pair("adaptive_avg_pool2d", "output_size", output_size, 1)
    if 0 in x.shape[2:]:
        raise ValueError(f"adaptive_avg_pool2d: x has shape {x.shape}, expected at least one pixel")


def adaptive_avg_pool2d_backward(grad, input_shape):
    name = "adaptive_avg_pool2d_backward"
    expect.floats(name, grad=grad)
    expect.dimensions(name, 4, grad=grad)
    expect.sizes(name, "input_shape", input_shape, 4)
    expect.shape(name, "grad", grad, (*input_shape[:2], *grad.shape[2:]))


# -- activations and softmax -------------------------------------------------------------------------------------------


def _activation(kernel: Callable) -> Callable:
    """Return the check of a function of one element: arrays of one float type and shape, then numbers."""
    name, signature = kernel.__name__, inspect.signature(kernel)

    def check(*arguments: Any, **options: Any) -> None:
        given = signature.bind(*arguments, **options).arguments
        arrays = {argument: given.pop(argument) for argument in ("x", "out", "grad") if argument in given}
        expect.floats(name, **arrays)
        expect.alike(name, next(iter(arrays.values())), **arrays)
        for argument, value in given.items():
            expect.real(name, argument, value)

    return check


def softmax(x, axis):
    expect.floats("softmax", x=x)
    expect.axis("softmax", x, axis)


def softmax_backward(grad, out, axis):
    expect.floats("softmax_backward", grad=grad, out=out)
    expect.alike("softmax_backward", out, grad=grad)
    expect.axis("softmax_backward", out, axis)


def log_softmax(x, axis):
    expect.floats("log_softmax", x=x)
    expect.axis("log_softmax", x, axis)


def log_softmax_backward(grad, out, axis):
    expect.floats("log_softmax_backward", grad=grad, out=out)
    expect.alike("log_softmax_backward", out, grad=grad)
    expect.axis("log_softmax_backward", out, axis)


def cross_entropy(logits, target, weight, ignore_index, label_smoothing):
    expect.floats("cross_entropy", logits=logits)
    _classes("cross_entropy", logits, target, weight, ignore_index, label_smoothing)


def cross_entropy_backward(grad, log_probabilities, target, weight, ignore_index, label_smoothing):
    name = "cross_entropy_backward"
    expect.floats(name, grad=grad, log_probabilities=log_probabilities)
    _classes(name, log_probabilities, target, weight, ignore_index, label_smoothing)
    expect.shape(name, "grad", grad, target.shape)


def _classes(name, scores, target, weight, ignore_index, label_smoothing):
    """Check targets and class weights. The loops themselves skip targets outside the classes."""
    expect.dimensions(name, 3, scores=scores)
    expect.numbers(name, target=target)
    if target.dtype.kind not in "iu":
        raise TypeError(f"{name}: target has dtype {target.dtype}, expected integers")
    expect.shape(name, "target", target, (scores.shape[0], scores.shape[2]))
    if weight is not None:
        expect.floats(name, weight=weight)
        expect.shape(name, "weight", weight, (scores.shape[1],))
    expect.integer(name, "ignore_index", ignore_index, -(2**63), 2**63 - 1)
    expect.real(name, "label_smoothing", label_smoothing)


def dropout(x, p, seed, stream, first=0):
    expect.floats("dropout", x=x)
    expect.real("dropout", "p", p)
    if not 0 <= p <= 1:
        raise ValueError(f"dropout: p is {p}, expected a probability from 0 to 1")
    expect.integer("dropout", "first", first, 0, 2**62)
    expect.integer("dropout", "seed", seed, -LARGEST_SEED, LARGEST_SEED)
    expect.integer("dropout", "stream", stream, -LARGEST_SEED, LARGEST_SEED)


# -- normalisation -----------------------------------------------------------------------------------------------------


def batch_norm_statistics(x):
    expect.floats("batch_norm_statistics", x=x)
    expect.dimensions("batch_norm_statistics", 3, x=x)


def track_statistics(running_mean, running_var, mean, var, momentum, unbiased):
    expect.floats("track_statistics", mean=mean)
    expect.floats("track_statistics", running_mean=running_mean)
    expect.writable("track_statistics", running_mean=running_mean, running_var=running_var)
    for name, array in (("running_var", running_var), ("mean", mean), ("var", var)):
        expect.shape("track_statistics", name, array, running_mean.shape)
    expect.real("track_statistics", "momentum", momentum)
    expect.real("track_statistics", "unbiased", unbiased)


def inverse_std(var, eps):
    expect.floats("inverse_std", var=var)
    expect.real("inverse_std", "eps", eps)


def batch_norm(x, mean, inv_std, weight, bias):
    expect.floats("batch_norm", x=x)
    _channels("batch_norm", x, mean=mean, inv_std=inv_std, weight=weight, bias=bias)


def batch_norm_backward(grad, x, mean, inv_std, weight, reuse=False):
    expect.floats("batch_norm_backward", grad=grad, x=x)
    expect.alike("batch_norm_backward", x, grad=grad)
    _channels("batch_norm_backward", x, mean=mean, inv_std=inv_std, weight=weight)


def batch_norm_gradient_sums(grad, x, mean):
    expect.floats("batch_norm_gradient_sums", grad=grad, x=x)
    expect.alike("batch_norm_gradient_sums", x, grad=grad)
    _channels("batch_norm_gradient_sums", x, mean=mean)


def batch_norm_backward_input(grad, x, mean, inv_std, weight, grad_mean, product_mean, reuse=False):
    name = "batch_norm_backward_input"
    expect.floats(name, grad=grad, x=x)
    expect.alike(name, x, grad=grad)
    _channels(name, x, mean=mean, inv_std=inv_std, weight=weight, grad_mean=grad_mean, product_mean=product_mean)


def batch_norm_eval_backward(grad, x, mean, inv_std, weight):
    expect.floats("batch_norm_eval_backward", grad=grad, x=x)
    expect.alike("batch_norm_eval_backward", x, grad=grad)
    _channels("batch_norm_eval_backward", x, mean=mean, inv_std=inv_std, weight=weight)


def _channels(name, x, **arrays):
    """Check x (N, C, inner), and numbers (C,) of its channels."""
    expect.dimensions(name, 3, x=x)
    for argument, array in arrays.items():
        expect.numbers(name, **{argument: array})
        expect.shape(name, argument, array, x.shape[1:2])


def local_response_norm(x, size, alpha, beta, k):
    expect.floats("local_response_norm", x=x)
    expect.dimensions("local_response_norm", 3, x=x)
    expect.integer("local_response_norm", "size", size, 1)
    for name, value in (("alpha", alpha), ("beta", beta), ("k", k)):
        expect.real("local_response_norm", name, value)


def local_response_norm_backward(grad, x, out, scale, size, alpha, beta):
    name = "local_response_norm_backward"
    expect.floats(name, grad=grad, x=x, out=out, scale=scale)
    expect.dimensions(name, 3, x=x)
    expect.alike(name, x, grad=grad, out=out, scale=scale)
    expect.integer(name, "size", size, 1)
    expect.real(name, "alpha", alpha)
    expect.real(name, "beta", beta)


# -- optimisers --------------------------------------------------------------------------------------------------------


def sgd_update(parameter, grad, momentum_buffer, first_step, lr, momentum, dampening, weight_decay, nesterov):
    expect.floats("sgd_update", parameter=parameter)
    expect.alike("sgd_update", parameter, grad=grad, momentum_buffer=momentum_buffer)
    expect.writable("sgd_update", parameter=parameter, momentum_buffer=momentum_buffer)


def adam_update(parameter, grad, exp_avg, exp_avg_sq, step, lr, beta1, beta2, eps, weight_decay, decoupled):
    expect.floats("adam_update", parameter=parameter)
    expect.alike("adam_update", parameter, grad=grad, exp_avg=exp_avg, exp_avg_sq=exp_avg_sq)
    expect.writable("adam_update", parameter=parameter, exp_avg=exp_avg, exp_avg_sq=exp_avg_sq)
    expect.integer("adam_update", "step", step, 1, 2**62)
