"""Adam and AdamW."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np

from tinycnn.optim.optimizer import Optimizer, check_range
from tinycnn.tensor import Tensor


class Adam(Optimizer):
    """Steps scaled by running means of the gradient and its square (Kingma and Ba 2015, algorithm 1).

    m = beta1 m + (1 - beta1) g; v = beta2 v + (1 - beta2) g**2;
    parameter -= lr * (m / (1 - beta1**t)) / (sqrt(v / (1 - beta2**t)) + eps).

    Parameters
    ----------
    params : iterable of Parameter, or of group dicts
    lr : float
    betas : (float, float)
    eps : float
    weight_decay : float
        Added to the gradient, times the parameter.
    """

    _decoupled = False

    def __init__(
        self,
        params: Iterable[Any],
        lr: float = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0.0,
    ) -> None:
        name = type(self).__name__
        for option, value in (("lr", lr), ("eps", eps), ("weight_decay", weight_decay)):
            check_range(name, option, value)
        for number, beta in enumerate(betas):
            check_range(name, f"betas[{number}]", beta, 0.0, 1.0)
        super().__init__(params, {"lr": lr, "betas": tuple(betas), "eps": eps, "weight_decay": weight_decay})

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
