"""A schedule that lowers the rate when a watched number no longer improves."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from tinycnn import arguments
from tinycnn.optim.checks import check_range
from tinycnn.optim.optimizer import Optimizer
from tinycnn.optim.rates import rates_of
from tinycnn.optim.schedule import check_optimizer, checked_count, checked_entries, checked_number, checked_rates
from tinycnn.tensor import Tensor


class ReduceLROnPlateau:
    """A schedule that multiplies the rate by ``factor`` when a number has not improved for more than ``patience``
    steps.

    Parameters
    ----------
    optimizer : Optimizer
    mode : "min" or "max"
        "min" if lower is better, "max" if higher is.
    factor : float
    patience : int
    threshold : float
        Change that counts as an improvement.
    threshold_mode : "rel" or "abs"
        "rel" if ``threshold`` is a part of the best number's size, "abs" if it is a difference.
    cooldown : int
        Steps after a reduction that are not counted.
    min_lr : float, or one for each group
    eps : float
        Reductions by at most this are left out.

    Notes
    -----
    A relative threshold is taken of the best number's absolute value. PyTorch takes it of the number itself, so that
    with negative numbers it counts no change, and even a change for the worse, as an improvement.

    With another schedule on the same optimiser the rate is the starting rate times both factors.
    """

    base_lrs: list[float]
    key: int

    def __init__(
        self,
        optimizer: Optimizer,
        mode: str = "min",
        factor: float = 0.1,
        patience: int = 10,
        threshold: float = 1e-4,
        threshold_mode: str = "rel",
        cooldown: int = 0,
        min_lr: float | Sequence[float] = 0.0,
        eps: float = 1e-8,
    ) -> None:
        self.optimizer = check_optimizer(self, optimizer)
        arguments.choice("ReduceLROnPlateau", "mode", mode, ("min", "max"))
        arguments.choice("ReduceLROnPlateau", "threshold_mode", threshold_mode, ("rel", "abs"))
        check_range("ReduceLROnPlateau", "factor", factor, 0.0, 1.0)
        if factor == 0:
            raise ValueError("ReduceLROnPlateau: factor is 0, expected above 0")
        for name, value in (("patience", patience), ("threshold", threshold), ("cooldown", cooldown), ("eps", eps)):
            check_range("ReduceLROnPlateau", name, value)
        groups = len(optimizer.param_groups)
        self.min_lrs: list[Any] = list(min_lr) if isinstance(min_lr, (list, tuple)) else [min_lr] * groups
        if len(self.min_lrs) != groups:
            raise ValueError(f"ReduceLROnPlateau: min_lr has {len(self.min_lrs)} numbers, expected {groups}")
        for number in self.min_lrs:
            check_range("ReduceLROnPlateau", "min_lr", number)
        self.mode, self.factor, self.patience, self.cooldown = mode, factor, patience, cooldown
        self.threshold, self.threshold_mode, self.min_lr, self.eps = threshold, threshold_mode, min_lr, eps
        self.best = math.inf if mode == "min" else -math.inf
        self.bad_steps = self.cooling = 0
        self.factors = [1.0] * groups
        optimizer.rates.join(self)
        optimizer.rates.loaded(optimizer)

    def step(self, metrics: Any) -> None:
        """Record the watched number: a float, or a tensor or array of one element."""
        self.optimizer.rates.claim(self)
        metric = _as_float(metrics)
        if self._improved(metric):
            self.best, self.bad_steps = metric, 0
        else:
            self.bad_steps += 1
        if self.cooling:
            self.cooling -= 1
            self.bad_steps = 0
        if self.bad_steps > self.patience:
            self._reduce()
            self.cooling, self.bad_steps = self.cooldown, 0

    def _improved(self, metric: float) -> bool:
        margin = self.threshold
        if self.threshold_mode == "rel" and math.isfinite(self.best):
            margin = abs(self.best) * self.threshold
        return metric < self.best - margin if self.mode == "min" else metric > self.best + margin

    def _reduce(self) -> None:
        current, rates = rates_of(self.optimizer), self.optimizer.rates
        alone = len(rates.schedules) == 1
        if alone and current != rates.last:  # set by the user: the next schedule begins from it
            self.base_lrs, self.factors = list(current), [1.0] * len(current)
        for i, (group, lr, least) in enumerate(zip(self.optimizer.param_groups, current, self.min_lrs)):
            reduced = max(lr * self.factor, least)
            if lr - reduced > self.eps:
                group["lr"] = reduced
                self.factors[i] *= reduced / lr if reduced == least else self.factor
        if alone:
            rates.loaded(self.optimizer)
        else:
            rates.apply(self.optimizer)

    def rate(self, base: float, group: int) -> float:
        """Return the rate of a group if this is the only schedule."""
        return base * self.factors[group]

    def ratio(self, base: float, group: int) -> float:
        """Return the factor by which this schedule multiplies the rate of a group."""
        return self.factors[group]

    def get_last_lr(self) -> list[float]:
        """Return the rate of each group."""
        return [group["lr"] for group in self.optimizer.param_groups]

    def state_dict(self) -> dict[str, Any]:
        """Return plain numbers (rates are in the optimiser's state)."""
        return {
            "best": self.best,
            "bad_steps": self.bad_steps,
            "cooling": self.cooling,
            "base_lrs": self.base_lrs,
            "factors": self.factors,
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continue from what :meth:`state_dict` gave.

        Raises
        ------
        CheckpointError
            If it is not a state of this kind of schedule. Nothing is changed then.
        """
        values = checked_entries(self, state, ("best", "bad_steps", "cooling"))
        best = float(checked_number(self, "best", values["best"]))
        bad_steps, cooling = (checked_count(self, name, values[name]) for name in ("bad_steps", "cooling"))
        base_lrs = checked_rates(self, "base_lrs", state.get("base_lrs", self.base_lrs))
        factors = checked_rates(self, "factors", state.get("factors", self.factors))
        rates = self.optimizer.rates
        rates.claim(self)
        self.best, self.bad_steps, self.cooling, self.base_lrs, self.factors = (
            best,
            bad_steps,
            cooling,
            base_lrs,
            factors,
        )
        if len(rates.schedules) > 1:
            rates.apply(self.optimizer)


def _as_float(value: Any) -> float:
    """Return the number in a tensor or array of one element."""
    try:
        if isinstance(value, (Tensor, np.ndarray)) and value.size == 1:
            return float(value.item())
        if not isinstance(value, (str, bytes)):
            return float(value)
    except (TypeError, ValueError, RuntimeError):
        pass
    facts = f"has shape {value.shape}" if hasattr(value, "shape") else f"is {value!r}"
    raise TypeError(f"ReduceLROnPlateau: the watched number {facts}, expected one number")
