"""Time operations on tensors of a few elements; a program of its own, so that any tree of tinycnn can be measured.

It prints a line ``operation:pass microseconds`` for each. The arithmetic on so few elements takes less than a
microsecond: what remains is Python, the engine and the launch of the kernels.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import numpy as np

import tinycnn as tc
from tinycnn import functional as F

CALLS, REPEATS = 200, 7


def operations() -> dict[str, tuple[Callable[..., Any], tuple[tc.Tensor, ...]]]:
    """Return each operation and its inputs."""
    rng = np.random.default_rng(0)

    def tensor(*shape: int) -> tc.Tensor:
        return tc.Tensor(rng.normal(size=shape).astype(np.float32), requires_grad=True)

    image, kernel, bias, matrix, vector = tensor(2, 4, 6, 6), tensor(4, 4, 3, 3), tensor(4), tensor(4, 4), tensor(4)
    mean, variance, labels = np.zeros(4, np.float32), np.ones(4, np.float32), np.arange(4)
    return {
        "add": (lambda a, b: a + b, (matrix, matrix)),
        "multiply": (lambda a, b: a * b, (matrix, vector)),
        "exp": (lambda a: a.exp(), (matrix,)),
        "sum": (lambda a: a.sum(), (matrix,)),
        "reshape": (lambda a: a.reshape(2, 8), (matrix,)),
        "matmul": (lambda a, b: a @ b, (matrix, matrix)),
        "linear": (F.linear, (matrix, matrix, vector)),
        "relu": (F.relu, (image,)),
        "softmax": (F.softmax, (matrix,)),
        "dropout": (F.dropout, (matrix,)),
        "cross_entropy": (lambda a: F.cross_entropy(a, labels), (matrix,)),
        "conv2d": (lambda x, w, b: F.conv2d(x, w, b, padding=1), (image, kernel, bias)),
        "max_pool2d": (lambda x: F.max_pool2d(x, 2), (image,)),
        "batch_norm": (lambda x, w, b: F.batch_norm(x, mean, variance, w, b, True), (image, vector, bias)),
    }


def microseconds(call: Callable[[], Any]) -> float:
    """Return the time of a call, the best of several rounds."""
    call()
    rounds = []
    for _ in range(REPEATS):
        start = time.perf_counter()
        for _ in range(CALLS):
            call()
        rounds.append((time.perf_counter() - start) / CALLS * 1e6)
    return min(rounds)


def measure(name: str, function: Callable[..., Any], inputs: tuple[tc.Tensor, ...]) -> None:
    """Print the time of an operation without a graph, with one, and of its backward pass."""
    seed = np.ones(function(*inputs).shape, np.float32)

    def forward() -> None:
        function(*inputs)

    def both() -> None:
        for x in inputs:
            x.grad = None
        function(*inputs).backward(seed)

    with tc.no_grad():
        print(f"{name}:forward {microseconds(forward):.3f}")
    recorded = microseconds(forward)
    print(f"{name}:recorded {recorded:.3f}")
    print(f"{name}:backward {max(microseconds(both) - recorded, 0):.3f}")


def measure_steps() -> None:
    """Print the time of an optimiser's step for each parameter."""
    for kind, options in (("SGD", {"momentum": 0.9}), ("Adam", {})):
        parameters = [tc.Tensor(np.ones(4, np.float32), requires_grad=True) for _ in range(10)]
        for parameter in parameters:
            parameter.grad = np.ones(4, np.float32)
        optimizer = getattr(tc.optim, kind)(parameters, lr=1e-3, **options)
        print(f"{kind}.step:parameter {microseconds(optimizer.step) / len(parameters):.3f}")


if __name__ == "__main__":
    tc.set_num_threads(1)
    for name, (function, inputs) in operations().items():
        measure(name, function, inputs)
    measure_steps()
