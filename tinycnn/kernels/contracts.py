"""Checks of a kernel's arguments, so that no call can make a compiled loop leave its arrays.

One function for each kernel of :mod:`.protocol`, with the same name and signature. :class:`tinycnn.kernels.Kernels`
calls it before the kernel, on every device. Each check looks at types, shapes, dtypes and numbers, and at whether an
array may be written to, never at elements: so arguments that agree in these with earlier ones are not checked again.
Functions under ``tinycnn.kernels.cpu`` and ``.cuda`` that are imported by themselves do not check.

The operations and :mod:`tinycnn.functional` check earlier and in the user's words; only those see a message from here
who call a kernel, ``Function.apply`` or ``Function.backward`` themselves.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Iterable
from typing import Any

import numpy as np

from tinycnn.kernels import expect
from tinycnn.kernels.geometry import output_size, pooled_size

MOST_FACTS = 1000  # remembered for each kernel; an image size or a batch size that is new adds one
ALGORITHMS = ("auto", "im2col", "direct", "winograd")  # of a convolution


def checked(kernel: Callable) -> Callable:
    """Return the kernel, with its check before it if there is one.

    A kernel with the attribute ``checks_itself`` looks at its arguments first, and calls its check only if they are not
    the usual case.
    """
    check = globals().get(kernel.__name__)
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


_IMMUTABLE = frozenset({int, float, bool, str, type(None)})


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


def im2col(x, kernel_size, stride, padding, dilation):
    expect.numbers("im2col", x=x)
    expect.dimensions("im2col", 4, x=x)
    _grid("im2col", x.shape, kernel_size, stride, padding, dilation)


def col2im(columns, input_shape, kernel_size, stride, padding, dilation):
    expect.floats("col2im", columns=columns)
    expect.sizes("col2im", "input_shape", input_shape, 4)
    grid = _grid("col2im", input_shape, kernel_size, stride, padding, dilation)
    expect.shape(
        "col2im", "columns", columns, (input_shape[0], input_shape[1] * math.prod(kernel_size), math.prod(grid))
    )


def conv2d(x, weight, bias, stride, padding, dilation, groups, algorithm="auto"):
    expect.floats("conv2d", x=x, weight=weight)
    expect.dimensions("conv2d", 4, x=x, weight=weight)
    _convolution("conv2d", x.shape, weight.shape, stride, padding, dilation, groups, algorithm)
    if bias is not None:
        expect.floats("conv2d", bias=bias)
        expect.shape("conv2d", "bias", bias, (weight.shape[0],))


def conv2d_backward_input(grad, weight, input_shape, stride, padding, dilation, groups, algorithm="auto"):
    name = "conv2d_backward_input"
    expect.floats(name, grad=grad, weight=weight)
    expect.dimensions(name, 4, weight=weight)
    expect.sizes(name, "input_shape", input_shape, 4)
    out_shape = _convolution(name, input_shape, weight.shape, stride, padding, dilation, groups, algorithm)
    expect.shape(name, "grad", grad, out_shape)


def conv2d_backward_weight(grad, x, weight_shape, stride, padding, dilation, groups, algorithm="auto"):
    name = "conv2d_backward_weight"
    expect.floats(name, grad=grad, x=x)
    expect.dimensions(name, 4, x=x)
    expect.sizes(name, "weight_shape", weight_shape, 4)
    out_shape = _convolution(name, x.shape, weight_shape, stride, padding, dilation, groups, algorithm)
    expect.shape(name, "grad", grad, out_shape)


def conv2d_backward_bias(grad):
    expect.floats("conv2d_backward_bias", grad=grad)
    expect.dimensions("conv2d_backward_bias", 4, grad=grad)


def _convolution(name, input_shape, weight_shape, stride, padding, dilation, groups, algorithm):
    """Return the shape of a convolution's output if everything fits."""
    expect.one_of(name, "algorithm", algorithm, ALGORITHMS)
    expect.integer(name, "groups", groups, 1)
    if weight_shape[0] % groups or input_shape[1] != weight_shape[1] * groups:
        raise ValueError(f"{name}: input {input_shape}, weight {weight_shape} and groups {groups} do not fit")
    grid = _grid(name, input_shape, weight_shape[2:], stride, padding, dilation)
    return (input_shape[0], weight_shape[0], *grid)


def _grid(name, input_shape, kernel, stride, padding, dilation):
    """Return how many windows fit along height and width, at least one each."""
    expect.pair(name, "kernel size", kernel, 1)
    expect.pair(name, "stride", stride, 1)
    expect.pair(name, "padding", padding, 0)
    expect.pair(name, "dilation", dilation, 1)
    rooms = [n + 2 * p - d * (k - 1) - 1 for n, k, p, d in zip(input_shape[2:], kernel, padding, dilation)]
    if min(rooms) < 0:
        raise ValueError(
            f"{name}: a kernel of {tuple(kernel)} with dilation {dilation} does not fit into an input of "
            f"{tuple(input_shape)} with padding {padding}"
        )
    return tuple(map(output_size, input_shape[2:], kernel, stride, padding, dilation))


# -- pooling -----------------------------------------------------------------------------------------------------------


def max_pool2d(x, kernel_size, stride, padding, dilation, ceil_mode):
    expect.floats("max_pool2d", x=x)
    expect.dimensions("max_pool2d", 4, x=x)
    _windows("max_pool2d", x.shape, kernel_size, stride, padding, dilation, ceil_mode)


def max_pool2d_backward(grad, taken, input_shape, kernel_size, stride, padding, dilation):
    name = "max_pool2d_backward"
    expect.floats(name, grad=grad)
    expect.dimensions(name, 4, grad=grad)
    expect.numbers(name, taken=taken)
    expect.sizes(name, "input_shape", input_shape, 4)
    _windows(name, input_shape, kernel_size, stride, padding, dilation, True)
    expect.shape(name, "grad", grad, (*input_shape[:2], *grad.shape[2:]))
    expect.shape(name, "taken", taken, grad.shape)


def avg_pool2d(x, kernel_size, stride, padding, ceil_mode, count_include_pad):
    expect.floats("avg_pool2d", x=x)
    expect.dimensions("avg_pool2d", 4, x=x)
    _windows("avg_pool2d", x.shape, kernel_size, stride, padding, (1, 1), ceil_mode)


def avg_pool2d_backward(grad, input_shape, kernel_size, stride, padding, ceil_mode, count_include_pad):
    name = "avg_pool2d_backward"
    expect.floats(name, grad=grad)
    expect.sizes(name, "input_shape", input_shape, 4)
    grid = _windows(name, input_shape, kernel_size, stride, padding, (1, 1), ceil_mode)
    expect.shape(name, "grad", grad, (*input_shape[:2], *grid))


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


def _windows(name, input_shape, kernel, stride, padding, dilation, ceil_mode):
    expect.pair(name, "kernel_size", kernel, 1)
    expect.pair(name, "stride", stride, 1)
    expect.pair(name, "padding", padding, 0)
    expect.pair(name, "dilation", dilation, 1)
    axes = zip(input_shape[2:], kernel, stride, padding, dilation)
    grid = tuple(pooled_size(*axis, ceil_mode) for axis in axes)
    if min(grid) < 0:
        raise ValueError(
            f"{name}: a window of {tuple(kernel)} with dilation {dilation} does not fit into an input of "
            f"{tuple(input_shape)} with padding {padding}"
        )
    return grid


# -- activations and softmax -------------------------------------------------------------------------------------------


def relu(x):
    expect.floats("relu", x=x)


def relu_backward(grad, out, reuse=False):
    expect.floats("relu_backward", grad=grad, out=out)
    expect.alike("relu_backward", out, grad=grad)


def leaky_relu(x, negative_slope):
    expect.floats("leaky_relu", x=x)
    expect.real("leaky_relu", "negative_slope", negative_slope)


def leaky_relu_backward(grad, x, negative_slope):
    expect.floats("leaky_relu_backward", grad=grad, x=x)
    expect.alike("leaky_relu_backward", x, grad=grad)
    expect.real("leaky_relu_backward", "negative_slope", negative_slope)


def sigmoid(x):
    expect.floats("sigmoid", x=x)


def sigmoid_backward(grad, out):
    expect.floats("sigmoid_backward", grad=grad, out=out)
    expect.alike("sigmoid_backward", out, grad=grad)


def tanh(x):
    expect.floats("tanh", x=x)


def tanh_backward(grad, out):
    expect.floats("tanh_backward", grad=grad, out=out)
    expect.alike("tanh_backward", out, grad=grad)


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


def local_response_norm_backward(grad, x, out, scale, size, alpha, beta):
    name = "local_response_norm_backward"
    expect.floats(name, grad=grad, x=x, out=out, scale=scale)
    expect.dimensions(name, 3, x=x)
    expect.alike(name, x, grad=grad, out=out, scale=scale)
    expect.integer(name, "size", size, 1)


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
