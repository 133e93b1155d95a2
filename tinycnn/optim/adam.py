"""Adam and AdamW. Their step in NumPy: see :mod:`tinycnn.kernels.reference.optimizer`."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Any, ClassVar

import numpy as np

from tinycnn.optim.checks import check_range
from tinycnn.optim.optimizer import Optimizer
from tinycnn.tensor import Tensor


class Adam(Optimizer):
    """Adam: steps scaled by running means of the gradient and its square (Kingma and Ba 2015, algorithm 1).

    m = beta1 m + (1 - beta1) g; v = beta2 v + (1 - beta2) g**2;
    parameter -= lr * (m / (1 - beta1**t)) / (sqrt(v / (1 - beta2**t)) + eps).

    Parameters
    ----------
    params : iterable of Parameter, of (name, Parameter) pairs, or of group dicts
    lr : float
    betas : (float, float)
    eps : float
    weight_decay : float
        Added to the gradient, times the parameter.
    """

    _decoupled = False
    ranges: ClassVar = {"lr": (0.0, math.inf), "eps": (0.0, math.inf), "weight_decay": (0.0, math.inf)}
    state_arrays = required_state = ("exp_avg", "exp_avg_sq")

    def __init__(
        self,
        params: Iterable[Any],
        lr: float = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0.0,
    ) -> None:
        betas = tuple(betas) if isinstance(betas, list) else betas
        super().__init__(params, {"lr": lr, "betas": betas, "eps": eps, "weight_decay": weight_decay})

    def check_options(self, options: Mapping[str, Any]) -> None:
        super().check_options(options)
        self._check_betas(options["betas"])

    def check_changed_options(self, options: Mapping[str, Any]) -> None:
        super().check_changed_options(options)
        self._check_betas(options.get("betas"))

    def _check_betas(self, betas: Any) -> None:
        name = type(self).__name__
        if not isinstance(betas, (tuple, list)) or len(betas) != 2:
            raise ValueError(f"{name}: betas is {betas!r}, expected two numbers")
        for number, beta in enumerate(betas):
            check_range(name, f"betas[{number}]", beta, 0.0, 1.0)

    def _update(self, device: Any, parameter: Tensor, state: dict[str, Any], group: dict[str, Any]) -> None:
        for name in ("exp_avg", "exp_avg_sq"):
            if name not in state:
                state[name] = np.zeros_like(parameter.data)
        device.adam_update(
            parameter.data,
            parameter.grad,
            state["exp_avg"],
            state["exp_avg_sq"],
            state["step"],
            group["lr"],
            *group["betas"],
            group["eps"],
            group["weight_decay"],
            self._decoupled,
        )


class AdamW(Adam):
    """Adam with weight decay taken from the parameter rather than added to the gradient (Loshchilov and Hutter
    2019).
    """

    _decoupled = True

    def __init__(
        self,
        params: Iterable[Any],
        lr: float = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 1e-2,
    ) -> None:
        super().__init__(params, lr, betas, eps, weight_decay)
