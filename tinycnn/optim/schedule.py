"""Learning-rate schedules. Each is a formula for the rate at step t; call ``step()`` once an epoch (or once a batch).

A schedule holds the optimiser's starting rates (``base_lrs``) and sets ``lr`` of every group when it is made and at
each ``step()``.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from tinycnn.optim.optimizer import Optimizer


class Schedule:
    """Base class: a subclass defines ``factor(t)``, by which the starting rate is multiplied at step t = 0, 1, 2 ..."""

    _saved: tuple[str, ...] = ()

    def __init__(self, optimizer: Optimizer) -> None:
        if not isinstance(optimizer, Optimizer):
            raise TypeError(f"{type(self).__name__}: optimizer is {optimizer!r}, expected an Optimizer")
        self.optimizer = optimizer
        self.base_lrs = [float(group["lr"]) for group in optimizer.param_groups]
        self.last_step = 0
        self._apply()

    def factor(self, t: int) -> float:
        """The rate at step ``t`` divided by the starting rate."""
        raise NotImplementedError(f"{type(self).__name__}: factor is not defined")

    def step(self) -> None:
        """Go to the next step."""
        self.last_step += 1
        self._apply()

    def get_last_lr(self) -> list[float]:
        """The rate of each group."""
        return [group["lr"] for group in self.optimizer.param_groups]

    def _apply(self) -> None:
        for group, lr in zip(self.optimizer.param_groups, self.base_lrs):
            group["lr"] = lr * self.factor(self.last_step)

    def state_dict(self) -> dict[str, Any]:
        """Plain numbers."""
        names = ("base_lrs", "last_step", *self._saved)
        return {name: getattr(self, name) for name in names}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continue from what :meth:`state_dict` gave."""
        for name in ("base_lrs", "last_step", *self._saved):
            setattr(self, name, state[name])
        self._apply()


class StepLR(Schedule):
    """gamma ** floor(t / step_size)."""

    def __init__(self, optimizer: Optimizer, step_size: int, gamma: float = 0.1) -> None:
        if step_size < 1:
            raise ValueError(f"StepLR: step_size is {step_size}, expected at least 1")
        self.step_size, self.gamma = step_size, gamma
        super().__init__(optimizer)

    def factor(self, t: int) -> float:
        """The formula."""
        return self.gamma ** (t // self.step_size)


class MultiStepLR(Schedule):
    """gamma ** (number of milestones that t has reached)."""

    def __init__(self, optimizer: Optimizer, milestones: Sequence[int], gamma: float = 0.1) -> None:
        self.milestones, self.gamma = sorted(milestones), gamma
        super().__init__(optimizer)

    def factor(self, t: int) -> float:
        """The formula."""
        return self.gamma ** sum(t >= milestone for milestone in self.milestones)


class ExponentialLR(Schedule):
    """gamma ** t."""

    def __init__(self, optimizer: Optimizer, gamma: float) -> None:
        self.gamma = gamma
        super().__init__(optimizer)

    def factor(self, t: int) -> float:
        """The formula."""
        return self.gamma**t


class CosineAnnealingLR(Schedule):
    """From the starting rate to ``eta_min`` along half a cosine over ``T_max`` steps (Loshchilov and Hutter 2017).

    lr = eta_min + (base - eta_min) (1 + cos(pi t / T_max)) / 2.
    """

    def __init__(self, optimizer: Optimizer, T_max: int, eta_min: float = 0.0) -> None:
        if T_max < 1:
            raise ValueError(f"CosineAnnealingLR: T_max is {T_max}, expected at least 1")
        self.T_max, self.eta_min = T_max, eta_min
        super().__init__(optimizer)

    def factor(self, t: int) -> float:
        """The part of the way from ``eta_min`` to the starting rate."""
        return (1 + math.cos(math.pi * t / self.T_max)) / 2

    def _apply(self) -> None:
        for group, lr in zip(self.optimizer.param_groups, self.base_lrs):
            group["lr"] = self.eta_min + (lr - self.eta_min) * self.factor(self.last_step)


class WarmUp(Schedule):
    """The rates of another schedule, multiplied in the first ``steps`` steps by (t + 1) / (steps + 1).

    A large rate on fresh weights can diverge; He et al. 2015 (section 4.2) warm up to train ResNet-110.
    """

    def __init__(self, schedule: Schedule, steps: int) -> None:
        if steps < 0:
            raise ValueError(f"WarmUp: steps is {steps}, expected at least 0")
        self.schedule, self.steps = schedule, steps
        self.optimizer, self.last_step = schedule.optimizer, schedule.last_step
        self._apply()

    def factor(self, t: int) -> float:
        """The ramp."""
        return min(1.0, (t + 1) / (self.steps + 1))

    def step(self) -> None:
        """Go to the next step of both."""
        self.last_step += 1
        self.schedule.step()
        self._apply()

    def _apply(self) -> None:
        for group in self.optimizer.param_groups:
            group["lr"] *= self.factor(self.last_step)

    def state_dict(self) -> dict[str, Any]:
        """Plain numbers."""
        return {"last_step": self.last_step, "schedule": self.schedule.state_dict()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continue from what :meth:`state_dict` gave."""
        self.last_step = state["last_step"]
        self.schedule.load_state_dict(state["schedule"])
        self._apply()


class ReduceLROnPlateau:
    """Multiply the rate by ``factor`` when a watched number has not improved for more than ``patience`` steps.

    Parameters
    ----------
    optimizer : Optimizer
    mode : "min" or "max"
        Whether lower or higher is better.
    factor : float
    patience : int
    threshold : float
        Relative change that counts as an improvement.
    cooldown : int
        Steps after a reduction in which nothing is counted.
    min_lr : float
    """

    def __init__(
        self,
        optimizer: Optimizer,
        mode: str = "min",
        factor: float = 0.1,
        patience: int = 10,
        threshold: float = 1e-4,
        cooldown: int = 0,
        min_lr: float = 0.0,
    ) -> None:
        if mode not in ("min", "max"):
            raise ValueError(f"ReduceLROnPlateau: mode is {mode!r}, expected 'min' or 'max'")
        if not 0 < factor < 1:
            raise ValueError(f"ReduceLROnPlateau: factor is {factor}, expected between 0 and 1")
        self.optimizer, self.mode, self.factor = optimizer, mode, factor
        self.patience, self.threshold, self.cooldown, self.min_lr = patience, threshold, cooldown, min_lr
        self.best = math.inf if mode == "min" else -math.inf
        self.bad_steps = self.cooling = 0

    def step(self, metric: float) -> None:
        """Take note of the watched number."""
        if self._improved(metric):
            self.best, self.bad_steps = metric, 0
        else:
            self.bad_steps += 1
        if self.cooling:
            self.cooling -= 1
            self.bad_steps = 0
        if self.bad_steps > self.patience:
            for group in self.optimizer.param_groups:
                group["lr"] = max(group["lr"] * self.factor, self.min_lr)
            self.cooling, self.bad_steps = self.cooldown, 0

    def _improved(self, metric: float) -> bool:
        if self.mode == "min":
            return metric < self.best * (1 - self.threshold)
        return metric > self.best * (1 + self.threshold)

    def get_last_lr(self) -> list[float]:
        """The rate of each group."""
        return [group["lr"] for group in self.optimizer.param_groups]

    def state_dict(self) -> dict[str, Any]:
        """Plain numbers (rates are in the optimiser's state)."""
        return {"best": self.best, "bad_steps": self.bad_steps, "cooling": self.cooling}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continue from what :meth:`state_dict` gave."""
        self.best, self.bad_steps, self.cooling = state["best"], state["bad_steps"], state["cooling"]
