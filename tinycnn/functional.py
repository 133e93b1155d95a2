"""The functional face: PyTorch's names, arguments and defaults; arguments are checked here, before any kernel runs.

Images are (N, C, H, W). A size given as one int stands for both height and width.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from tinycnn import arguments, random
from tinycnn.kernels.arrays import FLOAT_TYPES
from tinycnn.ops import activation, convolution, loss, matmul, normalization, pooling
from tinycnn.tensor import Tensor
from tinycnn.tensor_functions import pad, where

__all__ = [
    "adaptive_avg_pool2d",
    "avg_pool2d",
    "batch_norm",
    "conv2d",
    "cross_entropy",
    "dropout",
    "global_avg_pool2d",
    "leaky_relu",
    "linear",
    "local_response_norm",
    "log_softmax",
    "max_pool2d",
    "mse_loss",
    "nll_loss",
    "pad",
    "relu",
    "sigmoid",
    "softmax",
    "tanh",
]

Pair = int | Sequence[int]
LARGEST_SIZE = 2**31 - 1


# -- layers with weights -----------------------------------------------------------------------------------------------


def linear(input: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """Y = x W^T + b over the last dimension.

    Parameters
    ----------
    input : Tensor, shape (..., in)
    weight : Tensor, shape (out, in)
    bias : Tensor, shape (out,), optional

    Returns
    -------
    Tensor, shape (..., out)
    """
    input, weight, bias = _layer_inputs("linear", input, weight, bias)
    if weight.ndim != 2 or not input.ndim or input.shape[-1] != weight.shape[1]:
        raise ValueError(
            f"linear: input has shape {input.shape} but weight {weight.shape} expects (..., {weight.shape[-1]})"
        )
    _check_bias("linear", bias, weight)
    _same_dtype("linear", input, weight)
    flat = input if input.ndim == 2 else input.reshape(math.prod(input.shape[:-1]), input.shape[-1])
    out = matmul.Linear.apply(flat, weight, bias)
    return out if input.ndim == 2 else out.reshape(*input.shape[:-1], weight.shape[0])


def conv2d(
    input: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: Pair = 1,
    padding: Pair | str = 0,
    dilation: Pair = 1,
    groups: int = 1,
    algorithm: str | None = None,
) -> Tensor:
    """Two-dimensional convolution (cross-correlation).

    The output size is ``floor((H + 2 padding - dilation (kernel - 1) - 1) / stride) + 1``, likewise for the width.

    Parameters
    ----------
    input : Tensor, shape (N, C, H, W)
    weight : Tensor, shape (O, C / groups, kernel height, kernel width)
    bias : Tensor, shape (O,), optional
    stride, padding, dilation : int or (int, int)
        ``padding`` may also be "valid" (0) or "same" (output as large as the input; stride 1, odd kernels).
    groups : int
        Input and output channels are cut into this many groups that see only each other.
    algorithm : {"auto", "im2col", "direct", "winograd"}, optional
        How to compute it; see :class:`tinycnn.convolution_algorithm`, which chooses for a whole ``with`` block.

    Returns
    -------
    Tensor, shape (N, O, H_out, W_out)

    Raises
    ------
    ValueError
        If shapes or arguments do not fit together.

    Examples
    --------
    >>> image, kernel = Tensor(np.ones((1, 3, 224, 224))), Tensor(np.ones((96, 3, 11, 11)))
    >>> conv2d(image, kernel, stride=4, padding=2).shape
    (1, 96, 55, 55)
    """
    input, weight, bias = _layer_inputs("conv2d", input, weight, bias)
    input = _images("conv2d", input)
    if weight.ndim != 4:
        raise ValueError(f"conv2d: weight has shape {weight.shape}, expected (O, C / groups, kH, kW)")
    if not _is_int(groups) or groups < 1 or weight.shape[0] % groups:
        raise ValueError(f"conv2d: groups is {groups}, expected a divisor of the {weight.shape[0]} output channels")
    if input.shape[1] != weight.shape[1] * groups:
        raise ValueError(
            f"conv2d: input has {input.shape[1]} channels but weight {weight.shape}"
            + (f" with groups={groups}" if groups > 1 else "")
            + f" expects {weight.shape[1] * groups}"
        )
    _check_bias("conv2d", bias, weight)
    _same_dtype("conv2d", input, weight)
    stride_, dilation_ = _pair("conv2d", "stride", stride, 1), _pair("conv2d", "dilation", dilation, 1)
    padding_ = _padding(padding, weight.shape[2:], stride_, dilation_)
    _check_window("conv2d", input, weight.shape[2:], padding_, dilation_)
    return convolution.Conv2d.apply(
        input,
        weight,
        bias,
        stride=stride_,
        padding=padding_,
        dilation=dilation_,
        groups=int(groups),
        algorithm=algorithm or convolution.convolution_algorithm.current(),
    )


# -- pooling -----------------------------------------------------------------------------------------------------------


def max_pool2d(
    input: Tensor,
    kernel_size: Pair,
    stride: Pair | None = None,
    padding: Pair = 0,
    dilation: Pair = 1,
    ceil_mode: bool = False,
) -> Tensor:
    """The largest element of each window; padding never wins, NaN always does.

    Parameters
    ----------
    input : Tensor, shape (N, C, H, W)
    kernel_size, stride, padding, dilation : int or (int, int)
        ``stride`` defaults to ``kernel_size``; smaller makes windows overlap, as in AlexNet (3, stride 2).
    ceil_mode : bool
        Round the output size up, with a last window that hangs over the edge.
    """
    input = _images("max_pool2d", input)
    kernel, stride_, padding_ = _window("max_pool2d", kernel_size, stride, padding)
    dilation_ = _pair("max_pool2d", "dilation", dilation, 1)
    _check_window("max_pool2d", input, kernel, padding_, dilation_, stride_ if ceil_mode else None)
    return pooling.MaxPool2d.apply(
        input,
        kernel_size=kernel,
        stride=stride_,
        padding=padding_,
        dilation=dilation_,
        ceil_mode=bool(ceil_mode),
    )


def avg_pool2d(
    input: Tensor,
    kernel_size: Pair,
    stride: Pair | None = None,
    padding: Pair = 0,
    ceil_mode: bool = False,
    count_include_pad: bool = True,
) -> Tensor:
    """The average of each window.

    Parameters
    ----------
    input : Tensor, shape (N, C, H, W)
    kernel_size, stride, padding : int or (int, int)
    ceil_mode : bool
        Round the output size up.
    count_include_pad : bool
        Whether zeros of the padding count in the average.
    """
    input = _images("avg_pool2d", input)
    kernel, stride_, padding_ = _window("avg_pool2d", kernel_size, stride, padding)
    _check_window("avg_pool2d", input, kernel, padding_, (1, 1), stride_ if ceil_mode else None)
    return pooling.AvgPool2d.apply(
        input,
        kernel_size=kernel,
        stride=stride_,
        padding=padding_,
        ceil_mode=bool(ceil_mode),
        count_include_pad=bool(count_include_pad),
    )


def adaptive_avg_pool2d(input: Tensor, output_size: Pair) -> Tensor:
    """The average of windows chosen so that the output is (N, C, *output_size).

    Window i of n over a size H runs from floor(i H / n) to ceil((i + 1) H / n).
    """
    input = _images("adaptive_avg_pool2d", input)
    if 0 in input.shape[2:]:
        raise ValueError(f"adaptive_avg_pool2d: input of shape {input.shape} has no pixels")
    return pooling.AdaptiveAvgPool2d.apply(
        input, output_size=_pair("adaptive_avg_pool2d", "output_size", output_size, 1)
    )


def global_avg_pool2d(input: Tensor) -> Tensor:
    """The average of each feature map: (N, C, H, W) to (N, C). SqueezeNet and ResNet end with it."""
    return adaptive_avg_pool2d(input, 1).flatten(1)


# -- activations -------------------------------------------------------------------------------------------------------


def relu(input: Tensor) -> Tensor:
    """max(x, 0); the gradient at 0 is 0, NaN passes.

    >>> relu(Tensor([-1.0, 0.0, 2.0])).data
    array([0., 0., 2.], dtype=float32)
    """
    return activation.ReLU.apply(_float_tensor("relu", input))


def leaky_relu(input: Tensor, negative_slope: float = 0.01) -> Tensor:
    """X where x > 0, else ``negative_slope`` x."""
    return activation.LeakyReLU.apply(_float_tensor("leaky_relu", input), negative_slope=float(negative_slope))


def sigmoid(input: Tensor) -> Tensor:
    """1 / (1 + e**-x), without overflow."""
    return activation.Sigmoid.apply(_float_tensor("sigmoid", input))


def tanh(input: Tensor) -> Tensor:
    """The hyperbolic tangent."""
    return activation.Tanh.apply(_float_tensor("tanh", input))


def softmax(input: Tensor, dim: int = -1) -> Tensor:
    """e**x / sum of e**x along ``dim``; the largest x is subtracted first, so nothing overflows."""
    input = _float_tensor("softmax", input)
    return activation.Softmax.apply(input, dim=_dim("softmax", input, dim))


def log_softmax(input: Tensor, dim: int = -1) -> Tensor:
    """log(softmax(x)) along ``dim``, computed without taking the logarithm of a rounded 0."""
    input = _float_tensor("log_softmax", input)
    return activation.LogSoftmax.apply(input, dim=_dim("log_softmax", input, dim))


def dropout(input: Tensor, p: float = 0.5, training: bool = True, generator: random.Generator | None = None) -> Tensor:
    """Set each element to 0 with probability ``p`` and scale the others by 1 / (1 - p); in evaluation do nothing.

    The mask is a function of the generator's seed, a running number and the element's index: the same for any number
    of threads, and computed again in backward rather than stored (Srivastava et al. 2014; Salmon et al. 2011).
    """
    input = _float_tensor("dropout", input)
    if not 0 <= p <= 1:
        raise ValueError(f"dropout: p is {p}, expected a probability from 0 to 1")
    if not training or p == 0:
        return input
    source = random.default_generator() if generator is None else generator
    arguments.instance("dropout", "generator", source, random.Generator, "a tinycnn.random.Generator")
    first = source.row * (input.size // max(len(input), 1)) if input.ndim else 0
    return activation.Dropout.apply(input, p=float(p), seed=source.seed, stream=source.next_stream(), first=first)


# -- normalisation -----------------------------------------------------------------------------------------------------


def batch_norm(
    input: Tensor,
    running_mean: np.ndarray | None,
    running_var: np.ndarray | None,
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    training: bool = False,
    momentum: float = 0.1,
    eps: float = 1e-5,
    communicator: Any = None,
) -> Tensor:
    """Normalise each channel: (x - mean) / sqrt(var + eps) * weight + bias (Ioffe and Szegedy 2015).

    Parameters
    ----------
    input : Tensor, shape (N, C, ...)
    running_mean, running_var : ndarray, shape (C,), or None
        Used in evaluation; in training updated in place: running += momentum * (batch - running), with the unbiased
        variance.
    weight, bias : Tensor, shape (C,), optional
    training : bool
        Normalise by the batch's own statistics. Without running statistics this is always so.
    momentum, eps : float
    communicator : Communicator, optional
        In training, take mean and variance over the inputs of all its ranks
        (:func:`tinycnn.distributed.synchronize_batch_norm`).

    Raises
    ------
    ValueError
        If shapes do not fit, or one value a channel is all there is to train on.
    TypeError
        If weight or bias has another dtype than the input.
    """
    input = _float_tensor("batch_norm", input)
    running_mean, running_var = _running("running_mean", running_mean), _running("running_var", running_var)
    if (running_mean is None) != (running_var is None):
        given, missing = ("running_var", "running_mean") if running_mean is None else ("running_mean", "running_var")
        raise ValueError(f"batch_norm: {given} came without {missing}, expected both or neither")
    if not _is_number(eps) or not eps >= 0:
        raise ValueError(f"batch_norm: eps is {eps!r}, expected a number of at least 0")
    if not _is_number(momentum):
        raise ValueError(
            f"batch_norm: momentum is {momentum!r}, expected a number; nn.BatchNorm2d takes None for a cumulative mean"
        )
    weight, bias = (
        None if value is None else _float_tensor("batch_norm", value, name)
        for name, value in (("weight", weight), ("bias", bias))
    )
    if input.ndim < 2:
        raise ValueError(f"batch_norm: input has shape {input.shape}, expected (N, C, ...)")
    channels = input.shape[1]
    arrays = {"running_mean": running_mean, "running_var": running_var, "weight": weight, "bias": bias}
    for name, array in arrays.items():
        if array is not None and array.shape != (channels,):
            raise ValueError(
                f"batch_norm: {name} has shape {array.shape} but input {input.shape} expects ({channels},)"
            )
    for name, tensor in (("weight", weight), ("bias", bias)):
        if tensor is not None and tensor.dtype != input.dtype:
            raise TypeError(
                f"batch_norm: input has dtype {input.dtype} but {name} has {tensor.dtype}; convert one of them"
            )
    training = training or running_mean is None
    if training and input.size == channels and communicator is None:
        raise ValueError(
            f"batch_norm: training needs more than one value for each channel, input has shape {input.shape}"
        )
    return normalization.BatchNorm.apply(
        input,
        weight,
        bias,
        running_mean=running_mean,
        running_var=running_var,
        training=training,
        momentum=momentum,
        eps=eps,
        communicator=communicator,
    )


def local_response_norm(input: Tensor, size: int, alpha: float = 1e-4, beta: float = 0.75, k: float = 1.0) -> Tensor:
    """Divide by (k + alpha / size * sum of x**2 over ``size`` neighbouring channels) ** beta.

    Krizhevsky et al. 2012, section 3.3, have alpha without the division by size: pass their alpha times size.
    """
    input = _float_tensor("local_response_norm", input)
    if input.ndim < 3:
        raise ValueError(f"local_response_norm: input has shape {input.shape}, expected (N, C, ...)")
    if not _is_int(size) or size < 1:
        raise ValueError(f"local_response_norm: size is {size}, expected at least 1")
    return normalization.LocalResponseNorm.apply(
        input, size=int(size), alpha=float(alpha), beta=float(beta), k=float(k)
    )


# -- losses ------------------------------------------------------------------------------------------------------------


def cross_entropy(
    input: Tensor,
    target: Any,
    weight: Any = None,
    ignore_index: int = -100,
    reduction: str = "mean",
    label_smoothing: float = 0.0,
) -> Tensor:
    """-log softmax(input)[target].

    Parameters
    ----------
    input : Tensor, shape (N, C), (C,) or (N, C, ...)
        Logits: scores before softmax.
    target : integers, shape (N,), () or (N, ...)
        Class indices, as an array, list or tensor.
    weight : array_like, shape (C,), optional
        Factor for each class; "mean" then divides by the sum of the targets' weights.
    ignore_index : int
        Samples with this target count for nothing.
    reduction : "mean", "sum" or "none"
    label_smoothing : float
        From 0 to 1: this share of the target is spread evenly over all classes.

    Raises
    ------
    ValueError
        If shapes do not fit or a target is outside the classes.
    """
    input = _float_tensor("cross_entropy", input)
    if not 0 <= label_smoothing <= 1:
        raise ValueError(f"cross_entropy: label_smoothing is {label_smoothing}, expected 0 to 1")
    labels, weights = _targets("cross_entropy", input, target, weight, ignore_index)
    single = input.ndim == 1
    batch, classes = (1, input.shape[0]) if single else input.shape[:2]
    inner = labels.reshape(batch, int(np.prod(input.shape[2:])))
    logits = input.reshape(batch, classes, inner.shape[1])
    losses = loss.CrossEntropy.apply(
        logits, inner, weight=weights, ignore_index=int(ignore_index), label_smoothing=float(label_smoothing)
    )
    return _reduce_weighted("cross_entropy", losses, labels, weights, ignore_index, reduction)


def nll_loss(
    input: Tensor, target: Any, weight: Any = None, ignore_index: int = -100, reduction: str = "mean"
) -> Tensor:
    """-input[target] for log-probabilities ``input`` (N, C), (C,) or (N, C, ...); see :func:`cross_entropy`."""
    input = _float_tensor("nll_loss", input)
    labels, weights = _targets("nll_loss", input, target, weight, ignore_index)
    taken = np.where(labels == ignore_index, 0, labels)
    if input.ndim == 1:
        chosen = input[int(taken)]
    else:
        places = np.ogrid[tuple(slice(n) for n in labels.shape)]
        chosen = input[(places[0], taken, *places[1:])]
    losses = -chosen * _sample_weights(labels, weights, ignore_index, input.dtype)
    losses = where(labels != ignore_index, losses, 0.0)  # also where an ignored log-probability is -inf
    return _reduce_weighted("nll_loss", losses, labels, weights, ignore_index, reduction)


def mse_loss(input: Tensor, target: Any, reduction: str = "mean") -> Tensor:
    """(input - target)**2, with shapes that must be equal."""
    input = _float_tensor("mse_loss", input)
    target = target if isinstance(target, Tensor) else _constant("mse_loss", "target", target, input)
    if target.dtype != input.dtype:
        raise TypeError(f"mse_loss: input has dtype {input.dtype} but target has {target.dtype}; convert one of them")
    if input.shape != target.shape:
        raise ValueError(f"mse_loss: input has shape {input.shape} but target has shape {target.shape}")
    difference = input - target
    return _reduce("mse_loss", difference * difference, reduction)


def _reduce(name: str, losses: Tensor, reduction: str) -> Tensor:
    if reduction == "none":
        return losses
    if reduction not in ("mean", "sum"):
        raise ValueError(f"{name}: reduction is {reduction!r}, expected 'mean', 'sum' or 'none'")
    return losses.mean() if reduction == "mean" else losses.sum()


def _reduce_weighted(
    name: str,
    losses: Tensor,
    labels: np.ndarray,
    weights: np.ndarray | None,
    ignore_index: int,
    reduction: str,
) -> Tensor:
    """Reduce; the mean divides by the weights of the targets that count."""
    if reduction != "mean":
        return _reduce(name, losses.reshape(labels.shape), reduction)
    total = _sample_weights(labels, weights, ignore_index, losses.dtype).sum(dtype=np.float64)
    return losses.sum() / float(total)


def _sample_weights(labels: np.ndarray, weights: np.ndarray | None, ignore_index: int, dtype: Any) -> np.ndarray:
    counts = labels != ignore_index
    if weights is None:
        return counts.astype(dtype)
    return np.where(counts, weights[np.where(counts, labels, 0)], 0).astype(dtype)


def _targets(
    name: str, input: Tensor, target: Any, weight: Any, ignore_index: int
) -> tuple[np.ndarray, np.ndarray | None]:
    """Targets as int64 and weights as an array of the input's dtype, or the error that says what is wrong."""
    if not _is_int(ignore_index):
        raise TypeError(f"{name}: ignore_index is {ignore_index!r}, expected an integer")
    labels = np.asarray(target.numpy() if isinstance(target, Tensor) else target)
    if labels.dtype.kind not in "iu" and labels.size:
        raise TypeError(f"{name}: target has dtype {labels.dtype}, expected integers (class indices)")
    if input.ndim < 1:
        raise ValueError(f"{name}: input has shape (), expected (N, C), (C,) or (N, C, ...)")
    expected = () if input.ndim == 1 else (input.shape[0], *input.shape[2:])
    if labels.shape != expected:
        raise ValueError(f"{name}: target has shape {labels.shape} but input {input.shape} expects {expected}")
    classes = input.shape[0 if input.ndim == 1 else 1]
    wrong = np.argwhere(((labels < 0) | (labels >= classes)) & (labels != ignore_index))
    if len(wrong):
        at = tuple(int(i) for i in wrong[0])
        raise ValueError(
            f"{name}: target is {labels[at]} at index {at[0] if len(at) == 1 else at}, expected 0 to {classes - 1} for "
            f"{classes} classes"
        )
    labels = labels.astype(np.int64)
    if weight is None:
        return labels, None
    weights = np.asarray(weight.numpy() if isinstance(weight, Tensor) else weight, dtype=input.dtype)
    if weights.shape != (classes,):
        raise ValueError(f"{name}: weight has shape {weights.shape}, expected ({classes},)")
    return labels, weights


# -- checks ------------------------------------------------------------------------------------------------------------


def _float_tensor(name: str, value: Any, argument: str = "input") -> Tensor:
    """Return a tensor of floats; arrays, lists and numbers are constants."""
    tensor = _as_tensor(name, value, argument)
    if tensor.dtype not in FLOAT_TYPES:
        raise TypeError(f"{name}: {argument} has dtype {tensor.dtype}, expected float32 or float64")
    return tensor


def _as_tensor(name: str, value: Any, argument: str) -> Tensor:
    if isinstance(value, Tensor):
        return value
    try:
        return Tensor(value)
    except TypeError as error:
        raise TypeError(
            f"{name}: {argument} is a {type(value).__name__}, expected a Tensor or an array of floats"
        ) from error


def _layer_inputs(name: str, input: Any, weight: Any, bias: Any) -> tuple[Tensor, Tensor, Tensor | None]:
    return (
        _float_tensor(name, input),
        _float_tensor(name, weight, "weight"),
        None if bias is None else _float_tensor(name, bias, "bias"),
    )


def _constant(name: str, argument: str, value: Any, input: Tensor) -> Tensor:
    """Return numbers as a tensor of the input's dtype and device."""
    try:
        return Tensor(value, dtype=input.dtype).to(input.device)
    except TypeError as error:
        raise TypeError(f"{name}: {argument} is a {type(value).__name__}, expected numbers") from error


def _running(argument: str, value: Any) -> Any:
    """Return running statistics as the array that training changes in place."""
    array = value.data if isinstance(value, Tensor) else value
    if array is not None and not hasattr(array, "dtype"):
        raise TypeError(f"batch_norm: {argument} is a {type(value).__name__}, expected an array")
    return array


def _is_int(value: Any) -> bool:
    return isinstance(value, (int, np.integer)) and not isinstance(value, (bool, np.bool_))


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float, np.integer, np.floating)) and not isinstance(value, bool)


def _images(name: str, value: Any) -> Tensor:
    tensor = _float_tensor(name, value)
    if tensor.ndim != 4:
        raise ValueError(f"{name}: input has shape {tensor.shape}, expected (N, C, H, W)")
    return tensor


def _same_dtype(name: str, input: Tensor, weight: Tensor) -> None:
    if input.dtype != weight.dtype:
        raise TypeError(f"{name}: input has dtype {input.dtype} but weight has {weight.dtype}; convert one of them")


def _check_bias(name: str, bias: Tensor | None, weight: Tensor) -> None:
    if bias is not None and bias.shape != weight.shape[:1]:
        raise ValueError(f"{name}: bias has shape {bias.shape} but weight {weight.shape} expects ({weight.shape[0]},)")
    if bias is not None and bias.dtype != weight.dtype:
        raise TypeError(f"{name}: bias has dtype {bias.dtype} but weight has {weight.dtype}; convert one of them")


def _pair(name: str, argument: str, value: Any, least: int) -> tuple[int, int]:
    values = (value, value) if isinstance(value, (int, np.integer)) else value
    good = isinstance(values, (tuple, list)) and len(values) == 2
    if not good or not all(_is_int(v) and v >= least for v in values):
        raise ValueError(f"{name}: {argument} is {value!r}, expected an int of at least {least} or a pair of them")
    if max(values) > LARGEST_SIZE:
        raise ValueError(f"{name}: {argument} is {value!r}, expected at most {LARGEST_SIZE}")
    return int(values[0]), int(values[1])


def _padding(
    padding: Any, kernel: tuple[int, ...], stride: tuple[int, int], dilation: tuple[int, int]
) -> tuple[int, int]:
    if not isinstance(padding, str):
        return _pair("conv2d", "padding", padding, 0)
    if padding == "valid":
        return 0, 0
    spans = [d * (k - 1) for d, k in zip(dilation, kernel)]
    if padding != "same" or stride != (1, 1) or any(span % 2 for span in spans):
        raise ValueError(
            f"conv2d: padding is {padding!r}, expected a number, 'valid', or 'same' with stride 1 and odd kernels"
        )
    return spans[0] // 2, spans[1] // 2


def _window(name: str, kernel_size: Any, stride: Any, padding: Any) -> tuple[tuple[int, int], ...]:
    kernel = _pair(name, "kernel_size", kernel_size, 1)
    step = kernel if stride is None else _pair(name, "stride", stride, 1)
    border = _pair(name, "padding", padding, 0)
    if border[0] > kernel[0] // 2 or border[1] > kernel[1] // 2:
        raise ValueError(f"{name}: padding is {border}, expected at most half of kernel_size {kernel}")
    return kernel, step, border


def _check_window(
    name: str,
    input: Tensor,
    kernel: tuple[int, ...],
    padding: tuple[int, int],
    dilation: tuple[int, int],
    ceil_stride: tuple[int, int] | None = None,
) -> None:
    """Refuse a window that does not fit into the padded image; with ceil_mode it may overhang by less than a stride."""
    overhangs = (0, 0) if ceil_stride is None else (ceil_stride[0] - 1, ceil_stride[1] - 1)
    axes = zip(input.shape[2:], kernel, padding, dilation, overhangs, ("height", "width"))
    for size, k, p, d, overhang, axis in axes:
        if size + 2 * p + overhang < d * (k - 1) + 1 or not size + p:
            raise ValueError(
                f"{name}: a window of {d * (k - 1) + 1} does not fit into {axis} {size} with padding {p} "
                f"(input {input.shape}, kernel {tuple(kernel)}, dilation {dilation})"
            )


def _dim(name: str, input: Tensor, dim: int) -> int:
    if not _is_int(dim):
        raise TypeError(f"{name}: dim is {dim!r}, expected an integer")
    count = max(input.ndim, 1)
    if not -count <= dim < count:
        raise ValueError(f"{name}: dim is {dim}, expected {-count} to {count - 1} for shape {input.shape}")
    return int(dim) % count
