"""Stochastic gradient descent."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Any, ClassVar

import numpy as np

from tinycnn import arguments
from tinycnn.optim.optimizer import Optimizer
from tinycnn.tensor import Tensor


class SGD(Optimizer):
    """Gradient descent with momentum: v = momentum v + g; parameter -= lr v.

    Parameters
    ----------
    params : iterable of Parameter, of (name, Parameter) pairs, or of group dicts
    lr : float
    momentum : float
    dampening : float
        From the second step on, g enters v with the factor 1 - dampening.
    weight_decay : float
        Adds weight_decay * parameter to the gradient.
    nesterov : bool
        Step along g + momentum v (Sutskever et al. 2013).
    """

    ranges: ClassVar = {
        "lr": (0.0, math.inf),
        "momentum": (0.0, math.inf),
        "dampening": (-math.inf, math.inf),
        "weight_decay": (0.0, math.inf),
    }
    state_arrays = ("momentum_buffer",)

    def __init__(
        self,
        params: Iterable[Any],
        lr: float = 1e-3,
        momentum: float = 0.0,
        dampening: float = 0.0,
        weight_decay: float = 0.0,
        nesterov: bool = False,
    ) -> None:
        options = {"lr": lr, "momentum": momentum, "dampening": dampening}
        super().__init__(params, {**options, "weight_decay": weight_decay, "nesterov": nesterov})

    def check_options(self, options: Mapping[str, Any]) -> None:
        super().check_options(options)
        nesterov = arguments.flag(type(self).__name__, "nesterov", options["nesterov"])
        if nesterov and (options["momentum"] <= 0 or options["dampening"] != 0):
            raise ValueError(f"{type(self).__name__}: nesterov needs momentum above 0 and dampening 0")

    def _update(self, device: Any, parameter: Tensor, state: dict[str, Any], group: dict[str, Any]) -> None:
        first = "momentum_buffer" not in state
        if group["momentum"] and first:
            state["momentum_buffer"] = np.zeros_like(parameter.data)
        device.sgd_update(
            parameter.data,
            parameter.grad,
            state.get("momentum_buffer") if group["momentum"] else None,
            first,
            group["lr"],
            group["momentum"],
            group["dampening"],
            group["weight_decay"],
            group["nesterov"],
        )
