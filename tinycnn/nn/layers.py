"""The layers: each keeps its parameters and settings, and calls the function of the same name."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from tinycnn import arguments
from tinycnn import functional as F
from tinycnn.functional import checks
from tinycnn.kernels.geometry import Pairlike, is_int, pair
from tinycnn.kernels.versions import changing
from tinycnn.nn import init
from tinycnn.nn.module import Module, Parameter
from tinycnn.random import Generator
from tinycnn.tensor import Tensor

__all__ = [
    "AdaptiveAvgPool2d",
    "AvgPool2d",
    "BatchNorm2d",
    "Conv2d",
    "Dropout",
    "Flatten",
    "GlobalAvgPool2d",
    "Identity",
    "Linear",
    "LocalResponseNorm",
    "MaxPool2d",
]


class Identity(Module):
    """The identity: its output is its input."""

    def forward(self, x: Tensor) -> Tensor:
        """Return x."""
        return x


class Flatten(Module):
    """A view (N, C, H, W) to (N, C H W), for the first fully connected layer."""

    def __init__(self, start_dim: int = 1, end_dim: int = -1) -> None:
        super().__init__()
        self.start_dim, self.end_dim = start_dim, end_dim

    def forward(self, x: Tensor) -> Tensor:
        """Return the flattened tensor."""
        return checks.as_tensor("Flatten", x, "input").flatten(self.start_dim, self.end_dim)


class Linear(Module):
    """A fully connected layer: y = x W^T + b.

    Parameters
    ----------
    in_features, out_features : int
    bias : bool

    Attributes
    ----------
    weight : Parameter, shape (out_features, in_features)
    bias : Parameter, shape (out_features,), or None
        Both are initialised uniformly in +-1 / sqrt(in_features), PyTorch's default.
    """

    def __init__(self, in_features: int, out_features: int, bias: bool = True) -> None:
        super().__init__()
        _check_sizes("Linear", in_features=in_features, out_features=out_features)
        arguments.flag("Linear", "bias", bias)
        self.in_features, self.out_features = in_features, out_features
        self.weight = Parameter(np.empty((out_features, in_features), np.float32))
        self.register_parameter("bias", Parameter(np.empty(out_features, np.float32)) if bias else None)
        _reset(self.weight, self.bias)

    def forward(self, x: Tensor) -> Tensor:
        """Return a tensor of shape (..., out_features)."""
        return F.linear(x, self.weight, self.bias)

    def extra_repr(self) -> str:
        """Return the sizes."""
        return f"{self.in_features}, {self.out_features}" + ("" if self.bias is not None else ", bias=False")


class Conv2d(Module):
    """A two-dimensional convolution; see :func:`tinycnn.functional.conv2d`.

    Parameters
    ----------
    in_channels, out_channels : int
    kernel_size, stride, padding, dilation : int or (int, int)
    groups : int
    bias : bool

    Attributes
    ----------
    weight : Parameter, shape (out_channels, in_channels / groups, kernel height, kernel width)
    bias : Parameter, shape (out_channels,), or None
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: Pairlike,
        stride: Pairlike = 1,
        padding: Pairlike | str = 0,
        dilation: Pairlike = 1,
        groups: int = 1,
        bias: bool = True,
    ) -> None:
        super().__init__()
        _check_sizes("Conv2d", in_channels=in_channels, out_channels=out_channels, groups=groups)
        arguments.flag("Conv2d", "bias", bias)
        if in_channels % groups or out_channels % groups:
            raise ValueError(
                f"Conv2d: groups is {groups}, expected a divisor of in_channels {in_channels} and out_channels "
                f"{out_channels}"
            )
        self.in_channels, self.out_channels = in_channels, out_channels
        self.kernel_size = pair("Conv2d", "kernel_size", kernel_size, 1)
        self.stride = pair("Conv2d", "stride", stride, 1)
        if isinstance(padding, str) and padding not in ("same", "valid"):
            raise ValueError(f"Conv2d: padding is {padding!r}, expected a number, a pair of them, 'same' or 'valid'")
        if isinstance(padding, str) and padding == "same" and self.stride != (1, 1):
            raise ValueError(f"Conv2d: padding is 'same' and stride {self.stride}, expected stride 1")
        self.padding = padding if isinstance(padding, str) else pair("Conv2d", "padding", padding, 0)
        self.dilation = pair("Conv2d", "dilation", dilation, 1)
        self.groups = groups
        self.weight = Parameter(np.empty((out_channels, in_channels // groups, *self.kernel_size), np.float32))
        self.register_parameter("bias", Parameter(np.empty(out_channels, np.float32)) if bias else None)
        _reset(self.weight, self.bias)

    def forward(self, x: Tensor) -> Tensor:
        """Return a tensor of shape (N, out_channels, H_out, W_out)."""
        return F.conv2d(x, self.weight, self.bias, self.stride, self.padding, self.dilation, self.groups)

    def extra_repr(self) -> str:
        """Return channels, kernel size, and the options that differ from the defaults."""
        text = f"{self.in_channels}, {self.out_channels}, kernel_size={_short(self.kernel_size)}"
        defaults = {"stride": (1, 1), "padding": (0, 0), "dilation": (1, 1), "groups": 1}
        for name, default in defaults.items():
            value = getattr(self, name)
            text += f", {name}={_short(value)}" if value != default else ""
        return text + ("" if self.bias is not None else ", bias=False")


class BatchNorm2d(Module):
    """Batch normalisation of (N, C, H, W) by channel; see :func:`tinycnn.functional.batch_norm`.

    Parameters
    ----------
    num_features : int
        C.
    eps : float
    momentum : float or None
        The share of each batch in the running statistics; None averages over all batches.
    affine : bool
        Learn a scale (``weight``, 1 at first) and a shift (``bias``, 0 at first).
    track_running_stats : bool
        Keep running statistics for evaluation.
    """

    def __init__(
        self,
        num_features: int,
        eps: float = 1e-5,
        momentum: float | None = 0.1,
        affine: bool = True,
        track_running_stats: bool = True,
    ) -> None:
        super().__init__()
        _check_sizes("BatchNorm2d", num_features=num_features)
        if momentum is not None and not checks.is_number(momentum):
            raise ValueError(f"BatchNorm2d: momentum is {momentum!r}, expected a number or None")
        arguments.number("BatchNorm2d", "eps", eps, 0)
        arguments.flag("BatchNorm2d", "affine", affine)
        arguments.flag("BatchNorm2d", "track_running_stats", track_running_stats)
        self.num_features, self.eps, self.momentum = num_features, eps, momentum
        self.communicator: Any = None  # see tinycnn.distributed.synchronize_batch_norm
        shape, tracked = (num_features,), track_running_stats
        self.register_parameter("weight", Parameter(np.ones(shape, np.float32)) if affine else None)
        self.register_parameter("bias", Parameter(np.zeros(shape, np.float32)) if affine else None)
        self.register_buffer("running_mean", np.zeros(shape, np.float32) if tracked else None)
        self.register_buffer("running_var", np.ones(shape, np.float32) if tracked else None)
        self.register_buffer("num_batches_tracked", np.array(0, np.int64) if tracked else None)

    def forward(self, x: Tensor) -> Tensor:
        """Return the normalised tensor, of x's shape."""
        x = checks.float_tensor("BatchNorm2d", x)
        if x.ndim != 4:
            raise ValueError(f"BatchNorm2d: input has shape {x.shape}, expected (N, C, H, W)")
        momentum = self.momentum
        count = self.num_batches_tracked
        if self.training and count is not None:
            with changing(count):
                count[...] = count + 1
            if momentum is None:
                momentum = 1 / int(count)
        return F.batch_norm(
            x,
            self.running_mean,
            self.running_var,
            self.weight,
            self.bias,
            training=self.training,
            momentum=0.0 if momentum is None else momentum,
            eps=self.eps,
            communicator=self.communicator,
        )

    def extra_repr(self) -> str:
        """Return the number of channels."""
        return str(self.num_features)


class LocalResponseNorm(Module):
    """Normalisation across neighbouring channels; see :func:`tinycnn.functional.local_response_norm`."""

    def __init__(self, size: int, alpha: float = 1e-4, beta: float = 0.75, k: float = 1.0) -> None:
        super().__init__()
        self.size, self.alpha, self.beta, self.k = size, alpha, beta, k

    def forward(self, x: Tensor) -> Tensor:
        """Return the normalised tensor, of x's shape."""
        return F.local_response_norm(x, self.size, self.alpha, self.beta, self.k)

    def extra_repr(self) -> str:
        """Return the constants."""
        return f"{self.size}, alpha={self.alpha}, beta={self.beta}, k={self.k}"


class MaxPool2d(Module):
    """The largest element of each window; see :func:`tinycnn.functional.max_pool2d`."""

    def __init__(
        self,
        kernel_size: Pairlike,
        stride: Pairlike | None = None,
        padding: Pairlike = 0,
        dilation: Pairlike = 1,
        ceil_mode: bool = False,
    ) -> None:
        super().__init__()
        self.kernel_size, self.stride = kernel_size, kernel_size if stride is None else stride
        self.padding, self.dilation, self.ceil_mode = padding, dilation, ceil_mode

    def forward(self, x: Tensor) -> Tensor:
        """Return a tensor of shape (N, C, H_out, W_out)."""
        return F.max_pool2d(x, self.kernel_size, self.stride, self.padding, self.dilation, self.ceil_mode)

    def extra_repr(self) -> str:
        """Return the window."""
        return f"kernel_size={self.kernel_size}, stride={self.stride}" + _options(self, padding=0, ceil_mode=False)


class AvgPool2d(Module):
    """The average of each window; see :func:`tinycnn.functional.avg_pool2d`."""

    def __init__(
        self,
        kernel_size: Pairlike,
        stride: Pairlike | None = None,
        padding: Pairlike = 0,
        ceil_mode: bool = False,
        count_include_pad: bool = True,
    ) -> None:
        super().__init__()
        self.kernel_size, self.stride = kernel_size, kernel_size if stride is None else stride
        self.padding, self.ceil_mode, self.count_include_pad = padding, ceil_mode, count_include_pad

    def forward(self, x: Tensor) -> Tensor:
        """Return a tensor of shape (N, C, H_out, W_out)."""
        return F.avg_pool2d(x, self.kernel_size, self.stride, self.padding, self.ceil_mode, self.count_include_pad)

    def extra_repr(self) -> str:
        """Return the window."""
        return f"kernel_size={self.kernel_size}, stride={self.stride}" + _options(self, padding=0, ceil_mode=False)


class AdaptiveAvgPool2d(Module):
    """Averages to a given output size; see :func:`tinycnn.functional.adaptive_avg_pool2d`."""

    def __init__(self, output_size: Pairlike) -> None:
        super().__init__()
        self.output_size = output_size

    def forward(self, x: Tensor) -> Tensor:
        """Return a tensor of shape (N, C, *output_size)."""
        return F.adaptive_avg_pool2d(x, self.output_size)

    def extra_repr(self) -> str:
        """Return the output size."""
        return str(self.output_size)


class GlobalAvgPool2d(Module):
    """The average of each feature map: (N, C, H, W) to (N, C), in place of fully connected layers (Lin et al. 2014)."""

    def forward(self, x: Tensor) -> Tensor:
        """Return a tensor of shape (N, C)."""
        return F.global_avg_pool2d(x)


class Dropout(Module):
    """Dropout: in training each element is 0 with probability ``p``; see :func:`tinycnn.functional.dropout`.

    ``generator`` (None: the default one) may be set to any :class:`tinycnn.random.Generator`.
    """

    def __init__(self, p: float = 0.5, generator: Generator | None = None) -> None:
        super().__init__()
        p = checks.probability("Dropout", p)
        if generator is not None:
            arguments.instance("Dropout", "generator", generator, Generator, "a tinycnn.random.Generator")
        self.p, self.generator = p, generator

    def forward(self, x: Tensor) -> Tensor:
        """Return x with elements dropped, or x itself in evaluation."""
        return F.dropout(x, self.p, self.training, self.generator)

    def extra_repr(self) -> str:
        """Return the probability."""
        return f"p={self.p}"


def _reset(weight: Parameter, bias: Parameter | None) -> None:
    """Initialise as PyTorch does by default: uniform in +-1 / sqrt(fan-in), for weight and bias."""
    init.kaiming_uniform_(weight, a=math.sqrt(5))
    if bias is not None:
        bound = 1 / math.sqrt(max(init.fan_in_and_out(weight)[0], 1))
        init.uniform_(bias, -bound, bound)


def _check_sizes(layer: str, **sizes: Any) -> None:
    for name, value in sizes.items():
        if not is_int(value) or value < 1:
            raise ValueError(f"{layer}: {name} is {value!r}, expected an integer of at least 1")


def _short(value: Any) -> Any:
    """Return a pair of equal numbers as one number."""
    return value[0] if isinstance(value, tuple) and value[0] == value[1] else value


def _options(module: Module, **defaults: Any) -> str:
    return "".join(f", {name}={getattr(module, name)}" for name in defaults if getattr(module, name) != defaults[name])
