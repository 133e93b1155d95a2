"""Each layer of a network, ours beside PyTorch's, forward and backward.

Layers of equal kind and shape are measured once and counted. Each gets random input of the shape that it has in the
network, channels last as there, and is measured alone, so a sum over layers is not the time of the network.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import torch
from torch.nn import functional as TF

import tinycnn as tc
from benchmarks import NETS, Net, write_csv
from tinycnn import nn
from tinycnn.kernels.cpu.machine.nhwc import as_nchw, to_nhwc

STEPS = 3
MEASURED = ("Conv2d", "BatchNorm2d", "ReLU", "MaxPool2d", "GlobalAvgPool2d", "Linear")


class Layer(NamedTuple):
    """A kind of layer with its input, and how often the network has it."""

    module: nn.Module
    shape: tuple[int, ...]
    count: int
    multiply_adds: int


class Row(NamedTuple):
    """Milliseconds of one layer, ours and PyTorch's."""

    net: str
    layer: str
    input: str
    count: int
    forward: float
    forward_pytorch: float
    backward: float
    backward_pytorch: float
    gflops_forward: float
    gflops_backward: float


def layers_of(net: Net) -> list[Layer]:
    """The distinct layers of a network, in order."""
    tc.manual_seed(0)
    model = getattr(tc.models, net.name)()
    found: dict[tuple, Layer] = {}
    hooks = []

    def see(module: nn.Module, inputs: tuple, output: Any) -> None:
        shape = (net.batch, *inputs[0].shape[1:])
        key = (repr(module), shape)
        count = found[key].count + 1 if key in found else 1
        weight = getattr(module, "weight", None)
        work = 0
        if isinstance(module, (nn.Conv2d, nn.Linear)):
            work = net.batch * int(np.prod(weight.shape[1:])) * output.size
        found[key] = Layer(module, shape, count, work)

    for module in model.modules():
        if not list(module.children()):
            hooks.append(module.register_forward_hook(see))
    model.eval()
    with tc.no_grad():
        model(tc.Tensor(np.zeros((1, 3, net.size, net.size), np.float32)))
    model.train()
    return [layer for layer in found.values() if type(layer.module).__name__ in MEASURED]


def in_pytorch(module: Any) -> Callable[[torch.Tensor], torch.Tensor]:
    """The same layer in PyTorch."""
    weights = [None if p is None else torch.tensor(p.data, requires_grad=True)
               for p in (getattr(module, "weight", None), getattr(module, "bias", None))]  # fmt: skip
    name = type(module).__name__
    if name == "Conv2d":
        options = module.stride, module.padding, module.dilation, module.groups
        return lambda x: TF.conv2d(x, *weights, *options)
    if name == "BatchNorm2d":
        running = torch.tensor(module.running_mean), torch.tensor(module.running_var)
        return lambda x: TF.batch_norm(x, *running, *weights, training=True)
    if name == "MaxPool2d":
        pool = module.kernel_size, module.stride, module.padding
        return lambda x: TF.max_pool2d(x, *pool, ceil_mode=module.ceil_mode)
    if name == "Linear":
        return lambda x: TF.linear(x, *weights)
    return torch.relu if name == "ReLU" else lambda x: x.mean((2, 3))


def measure(net: Net, layer: Layer, rounds: int) -> Row:
    """Medians over alternating rounds; the first layer's input needs no gradient."""
    rng = np.random.default_rng(0)
    array = rng.normal(size=layer.shape).astype(np.float32)
    first = layer.shape[1] == 3
    theirs = torch.tensor(array, requires_grad=not first)
    ours = tc.Tensor.wrap(array if first or array.ndim < 4 else as_nchw(to_nhwc(array)))
    ours.requires_grad = not first
    our_step, their_step = _steps(layer.module, ours), _torch_steps(in_pytorch(layer.module), theirs)
    times: dict[Callable, list[tuple[float, float]]] = {our_step: [], their_step: []}
    for _ in range(rounds):
        for step, taken in times.items():
            time.sleep(0.01)  # the other side's threads spin for a while before they sleep
            step()
            taken += [step() for _ in range(STEPS)]
    (forward, backward), (forward_pytorch, backward_pytorch) = (
        [statistics.median(t) * 1e3 for t in zip(*taken)] for taken in times.values()
    )
    work = 2 * layer.multiply_adds / 1e6
    name = repr(layer.module).replace("tinycnn.nn.", "")
    directions = 1 if first else 2
    return Row(net.name, name, "x".join(map(str, layer.shape)), layer.count, forward, forward_pytorch, backward,
               backward_pytorch, work / forward, directions * work / backward)  # fmt: skip


def _steps(module: nn.Module, x: tc.Tensor) -> Callable[[], tuple[float, float]]:
    def step() -> tuple[float, float]:
        x.grad = None
        module.zero_grad()
        start = time.perf_counter()
        out = module(x)
        middle = time.perf_counter()
        grad = out.data.copy(order="K")
        before = time.perf_counter()
        out.backward(grad)
        return middle - start, time.perf_counter() - before

    return step


def _torch_steps(
    function: Callable[[torch.Tensor], torch.Tensor], x: torch.Tensor
) -> Callable[[], tuple[float, float]]:
    def step() -> tuple[float, float]:
        x.grad = None
        start = time.perf_counter()
        out = function(x)
        middle = time.perf_counter()
        grad = out.detach().clone()
        before = time.perf_counter()
        out.backward(grad)
        return middle - start, time.perf_counter() - before

    return step


def run(options: argparse.Namespace) -> None:
    """Measure the layers of the chosen networks; print and write the table."""
    tc.set_num_threads(options.threads)
    torch.set_num_threads(options.threads)
    rows: list[Row] = []
    for net in NETS:
        if net.name in options.nets:
            print(f"\n{net.name}, batch {net.batch}: milliseconds forward and backward, ours and PyTorch's")
            print(f"{'layer':52}{'input':>16}{'times':>6}{'fwd':>9}{'PyTorch':>9}{'bwd':>9}{'PyTorch':>9}{'ratio':>7}"
                  f"{'GFLOP/s':>12}")  # fmt: skip
            for layer in layers_of(net):
                rows.append(measure(net, layer, options.rounds))
                _show(rows[-1])
    write_csv(options.out / "layers.csv", rows)


def _show(row: Row) -> None:
    ratio = (row.forward_pytorch + row.backward_pytorch) / (row.forward + row.backward)
    rate = f"{row.gflops_forward:5.0f} {row.gflops_backward:5.0f}" if row.gflops_forward else ""
    print(f"{row.layer[:51]:52}{row.input:>16}{row.count:6}{row.forward:9.2f}{row.forward_pytorch:9.2f}"
          f"{row.backward:9.2f}{row.backward_pytorch:9.2f}{ratio:7.2f}{rate:>12}", flush=True)  # fmt: skip
