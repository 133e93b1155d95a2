"""Diagnosis of a training that diverged: the first image, parameter or layer output that is not finite."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from tinycnn.errors import TinyCNNError
from tinycnn.grad_mode import no_grad
from tinycnn.kernels import on_host
from tinycnn.nn import Module
from tinycnn.nn.module import device_of
from tinycnn.tensor import Tensor


class TrainingError(TinyCNNError, ArithmeticError):
    """The error of a training that cannot continue because its loss is not a finite number."""


def where_it_broke(model: Module, images: Any, loss: float) -> str:
    """Return a message that names the first place that is not finite: the images, a parameter, or a layer's output."""
    head = f"the loss is {loss}: training stopped"
    images = on_host(images)
    if not np.isfinite(images).all():
        return f"{head}. The batch of images holds values that are not finite"
    parameter = broken_parameter(model)
    if parameter:
        return f"{head}. {parameter}"
    broken: list[str] = []

    def look(name: str) -> Callable:
        def hook(module: Module, inputs: tuple, output: Any) -> None:
            if isinstance(output, Tensor) and not np.isfinite(output.numpy()).all():
                broken.append(f"{name} ({type(module).__name__})")

        return hook

    layers = [(name, module) for name, module in model.named_modules() if name and not list(module.children())]
    hooks = [layer.register_forward_hook(look(name)) for name, layer in layers]
    try:
        with no_grad():
            model(Tensor(images).to(device_of(model)))
    finally:
        for hook in hooks:
            hook.remove()
    place = (
        f"It began in the output of layer {broken[0]}" if broken else "All layers' outputs are finite, the loss is not"
    )
    return f"{head}. {place}; lower --lr, or normalise the input"


def broken_parameter(model: Module) -> str:
    """Return a sentence on where parameters stopped being finite, empty if all are finite.

    Backward runs from the last layer to the first and carries NaN along, so the last broken one is where it began.
    """
    broken = [name for name, parameter in model.named_parameters() if not np.isfinite(parameter.numpy()).all()]
    if not broken:
        return ""
    layer = broken[-1].rpartition(".")[0] or broken[-1]
    return (
        f"It began in the gradient of layer {layer}: its parameter {broken[-1]} is not finite since the last step; "
        "lower --lr, or clip gradients"
    )
