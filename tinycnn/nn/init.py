"""Initialisation of weights. Each function fills a parameter in place and returns it.

The gain of a layer decides whether signals and gradients keep their size through many layers: Xavier (Glorot and Bengio
2010) keeps it for linear and tanh layers, He (He et al. 2015) compensates for the half that ReLU sets to 0.
"""

from __future__ import annotations

import math

import numpy as np

from tinycnn import arguments
from tinycnn.kernels.versions import changing
from tinycnn.random import Generator, default_generator
from tinycnn.tensor import Tensor

_LARGEST = 1e150  # its square is a float


def fan_in_and_out(tensor: Tensor) -> tuple[int, int]:
    """Return the inputs that feed one output and the outputs that one input feeds: (O, C, kH, kW) gives (C kH kW, O kH
    kW).
    """
    arguments.instance("init", "tensor", tensor, Tensor, "a Tensor")
    if tensor.ndim < 2:
        raise ValueError(f"init: shape {tensor.shape} has no fan-in and fan-out, expected two dimensions or more")
    field = math.prod(tensor.shape[2:])
    return tensor.shape[1] * field, tensor.shape[0] * field


def gain(nonlinearity: str, slope: float = 0.0) -> float:
    """Return the factor that keeps the signal's size through a nonlinearity."""
    gains = {
        "linear": 1.0,
        "sigmoid": 1.0,
        "tanh": 5 / 3,
        "relu": math.sqrt(2),
        "leaky_relu": math.sqrt(2 / (1 + arguments.number("init", "slope", slope, -_LARGEST, _LARGEST) ** 2)),
    }
    if not isinstance(nonlinearity, str) or nonlinearity not in gains:
        raise ValueError(f"init: nonlinearity is {nonlinearity!r}, expected one of {', '.join(gains)}")
    return gains[nonlinearity]


def uniform_(tensor: Tensor, a: float = 0.0, b: float = 1.0, generator: Generator | None = None) -> Tensor:
    """Fill uniformly from ``a`` to ``b``."""
    arguments.instance("init", "tensor", tensor, Tensor, "a Tensor")
    low, high = (arguments.number("init", name, value, -_LARGEST, _LARGEST) for name, value in (("a", a), ("b", b)))
    if low > high:
        raise ValueError(f"init: a is {a}, expected at most b, which is {b}")
    with changing(tensor.data), np.errstate(over="ignore"):
        tensor.data[...] = _rng(generator).uniform(low, high, tensor.shape)
    return tensor


def normal_(tensor: Tensor, mean: float = 0.0, std: float = 1.0, generator: Generator | None = None) -> Tensor:
    """Fill from a normal distribution with a mean and a standard deviation."""
    arguments.instance("init", "tensor", tensor, Tensor, "a Tensor")
    centre, spread = arguments.number("init", "mean", mean), arguments.number("init", "std", std, 0)
    with changing(tensor.data), np.errstate(over="ignore"):
        tensor.data[...] = _rng(generator).normal(centre, spread, tensor.shape)
    return tensor


def constant_(tensor: Tensor, value: float) -> Tensor:
    """Fill with one value."""
    arguments.instance("init", "tensor", tensor, Tensor, "a Tensor")
    if not isinstance(value, (int, float, np.integer, np.floating)):
        raise TypeError(f"init: value is {value!r}, expected a number")
    if isinstance(value, int) and abs(value) > _LARGEST:
        raise ValueError("init: value is too large for a float")
    with changing(tensor.data), np.errstate(all="ignore"):
        tensor.data[...] = value
    return tensor


def zeros_(tensor: Tensor) -> Tensor:
    """Fill with 0."""
    return constant_(tensor, 0.0)


def ones_(tensor: Tensor) -> Tensor:
    """Fill with 1."""
    return constant_(tensor, 1.0)


def xavier_uniform_(tensor: Tensor, gain: float = 1.0, generator: Generator | None = None) -> Tensor:
    """Fill uniformly, with variance gain**2 * 2 / (fan-in + fan-out)."""
    bound = arguments.number("init", "gain", gain, 0) * math.sqrt(6 / max(sum(fan_in_and_out(tensor)), 1))
    return uniform_(tensor, -bound, bound, generator)


def xavier_normal_(tensor: Tensor, gain: float = 1.0, generator: Generator | None = None) -> Tensor:
    """Fill from a normal distribution of variance gain**2 * 2 / (fan-in + fan-out)."""
    return normal_(
        tensor,
        0.0,
        arguments.number("init", "gain", gain, 0) * math.sqrt(2 / max(sum(fan_in_and_out(tensor)), 1)),
        generator,
    )


def kaiming_uniform_(
    tensor: Tensor,
    a: float = 0.0,
    mode: str = "fan_in",
    nonlinearity: str = "leaky_relu",
    generator: Generator | None = None,
) -> Tensor:
    """Fill uniformly, with variance gain**2 / fan; ``a`` is the slope of a leaky ReLU."""
    bound = math.sqrt(3) * _kaiming_std(tensor, a, mode, nonlinearity)
    return uniform_(tensor, -bound, bound, generator)


def kaiming_normal_(
    tensor: Tensor,
    a: float = 0.0,
    mode: str = "fan_in",
    nonlinearity: str = "leaky_relu",
    generator: Generator | None = None,
) -> Tensor:
    """Fill from a normal distribution of variance gain**2 / fan; for ReLU, 2 / fan."""
    return normal_(tensor, 0.0, _kaiming_std(tensor, a, mode, nonlinearity), generator)


def _kaiming_std(tensor: Tensor, a: float, mode: str, nonlinearity: str) -> float:
    arguments.choice("init", "mode", mode, ("fan_in", "fan_out"))
    fan = fan_in_and_out(tensor)[mode == "fan_out"]
    return gain(nonlinearity, a) / math.sqrt(max(fan, 1))


def _rng(generator: Generator | None) -> np.random.Generator:
    if generator is None:
        return default_generator().numpy
    return arguments.instance("init", "generator", generator, Generator, "a tinycnn.Generator").numpy
