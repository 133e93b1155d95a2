"""Learning-rate schedules. Each is a formula for the rate at step t; call ``step()`` once an epoch (or once a batch).

A schedule holds the optimiser's starting rates (``base_lrs``) and sets ``lr`` of every group when it is made and at
each ``step()``. With several schedules on one optimiser each rate is the starting rate times the factors of all of
them, as with PyTorch's. A rate that is set by hand holds until the next ``step()`` (PyTorch would continue from it;
here a rate is a function of the step alone, which makes a resumed run equal).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from tinycnn import arguments
from tinycnn.errors import CheckpointError
from tinycnn.optim.checks import check_range
from tinycnn.optim.optimizer import Optimizer


class Schedule:
    """Base class of schedules: ``factor(t)`` of a subclass multiplies the starting rate at step t = 0, 1, 2 ..."""

    optimizer: Optimizer
    base_lrs: list[float]
    last_step: int
    key: int
    _saved: tuple[str, ...] = ()

    def __init__(self, optimizer: Optimizer) -> None:
        self.optimizer = check_optimizer(self, optimizer)
        self.last_step = 0
        optimizer.rates.join(self)
        self._apply()

    def factor(self, t: int) -> float:
        """Return the rate at step ``t`` divided by the starting rate."""
        raise NotImplementedError(f"{type(self).__name__}: factor is not defined")

    def step(self) -> None:
        """Go to the next step."""
        self.optimizer.rates.claim(self)
        self.last_step += 1
        self._apply()

    def get_last_lr(self) -> list[float]:
        """Return the rate of each group."""
        return [group["lr"] for group in self.optimizer.param_groups]

    def _apply(self) -> None:
        self.optimizer.rates.apply(self.optimizer)

    def rate(self, base: float, group: int) -> float:
        """Return the rate of a group at this step if this is the only schedule."""
        return base * self.factor(self.last_step)

    def ratio(self, base: float, group: int) -> float:
        """Return the factor by which this schedule multiplies the rate of a group."""
        return self.factor(self.last_step)

    def state_dict(self) -> dict[str, Any]:
        """Return plain numbers."""
        return {name: getattr(self, name) for name in ("base_lrs", "last_step", *self._saved)}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continue from what :meth:`state_dict` gave.

        Raises
        ------
        CheckpointError
            If it is not a state of such a schedule. Nothing is changed then.
        """
        values = self._checked(state)
        self.optimizer.rates.claim(self)
        for name, value in values.items():
            setattr(self, name, value)
        self._apply()

    def _checked(self, state: Any) -> dict[str, Any]:
        values = checked_entries(self, state, ("base_lrs", "last_step", *self._saved))
        values["base_lrs"] = checked_rates(self, "base_lrs", values["base_lrs"])
        values["last_step"] = checked_count(self, "last_step", values["last_step"])
        return values


class StepLR(Schedule):
    """gamma ** floor(t / step_size)."""

    def __init__(self, optimizer: Optimizer, step_size: int, gamma: float = 0.1) -> None:
        _check_integer("StepLR: step_size", step_size, 1)
        check_range("StepLR", "gamma", gamma)
        self.step_size, self.gamma = step_size, gamma
        super().__init__(optimizer)

    def factor(self, t: int) -> float:
        """Return the factor."""
        return self.gamma ** (t // self.step_size)


class MultiStepLR(Schedule):
    """gamma ** (number of milestones that t has reached)."""

    def __init__(self, optimizer: Optimizer, milestones: Sequence[int], gamma: float = 0.1) -> None:
        check_range("MultiStepLR", "gamma", gamma)
        arguments.instance("MultiStepLR", "milestones", milestones, (list, tuple, range), "a list of integers")
        for number, milestone in enumerate(milestones):
            _check_integer(f"MultiStepLR: milestones[{number}]", milestone, 0)
        self.milestones, self.gamma = sorted(milestones), gamma
        super().__init__(optimizer)

    def factor(self, t: int) -> float:
        """Return the factor."""
        return self.gamma ** sum(t >= milestone for milestone in self.milestones)


class ExponentialLR(Schedule):
    """gamma ** t."""

    def __init__(self, optimizer: Optimizer, gamma: float) -> None:
        check_range("ExponentialLR", "gamma", gamma)
        self.gamma = gamma
        super().__init__(optimizer)

    def factor(self, t: int) -> float:
        """Return the factor."""
        return self.gamma**t


class CosineAnnealingLR(Schedule):
    """Half a cosine from the starting rate to ``eta_min`` over ``T_max`` steps (Loshchilov and Hutter 2017).

    lr = eta_min + (base - eta_min) (1 + cos(pi t / T_max)) / 2.
    """

    def __init__(self, optimizer: Optimizer, T_max: int, eta_min: float = 0.0) -> None:
        _check_integer("CosineAnnealingLR: T_max", T_max, 1)
        check_range("CosineAnnealingLR", "eta_min", eta_min)
        self.T_max, self.eta_min = T_max, eta_min
        super().__init__(optimizer)

    def factor(self, t: int) -> float:
        """Return the factor, which falls from 1 to ``eta_min`` / base."""
        return (1 + math.cos(math.pi * t / self.T_max)) / 2

    def rate(self, base: float, group: int) -> float:
        return self.eta_min + (base - self.eta_min) * self.factor(self.last_step)

    def ratio(self, base: float, group: int) -> float:
        return self.rate(base, group) / base if base else self.factor(self.last_step)


class WarmUp(Schedule):
    """The rates of another schedule, multiplied in the first ``steps`` steps by (t + 1) / (steps + 1).

    A large rate can diverge on untrained weights; He et al. 2015 (section 4.2) warm up to train ResNet-110.
    """

    def __init__(self, schedule: Schedule, steps: int) -> None:
        if not isinstance(schedule, Schedule):
            raise TypeError(f"WarmUp: schedule is {schedule!r}, expected a Schedule")
        _check_integer("WarmUp: steps", steps, 0)
        schedule.optimizer.rates.claim(schedule)
        self.schedule, self.steps = schedule, steps
        self.optimizer, self.last_step = schedule.optimizer, schedule.last_step
        self.optimizer.rates.join(self, beside=schedule)
        self._apply()

    def factor(self, t: int) -> float:
        """Return the factor: the ramp."""
        return min(1.0, (t + 1) / (self.steps + 1))

    def step(self) -> None:
        """Go to the next step of both."""
        self.optimizer.rates.claim(self)
        self.last_step += 1
        self.schedule.step()

    def state_dict(self) -> dict[str, Any]:
        """Return plain numbers."""
        return {"last_step": self.last_step, "schedule": self.schedule.state_dict()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continue from what :meth:`state_dict` gave.

        Raises
        ------
        CheckpointError
            If it is not a state of such a schedule. Nothing is changed then.
        """
        values = checked_entries(self, state, ("last_step", "schedule"))
        last_step = checked_count(self, "last_step", values["last_step"])
        self.schedule._checked(values["schedule"])
        self.optimizer.rates.claim(self)
        self.last_step = last_step
        self.schedule.load_state_dict(values["schedule"])
        self.base_lrs = list(self.schedule.base_lrs)

    def _checked(self, state: Any) -> dict[str, Any]:
        values = checked_entries(self, state, ("last_step", "schedule"))
        checked_count(self, "last_step", values["last_step"])
        self.schedule._checked(values["schedule"])
        return values


def check_optimizer(schedule: Any, optimizer: Any) -> Optimizer:
    """Return the optimiser, or raise TypeError if it is something else."""
    if not isinstance(optimizer, Optimizer):
        raise TypeError(f"{type(schedule).__name__}: optimizer is {optimizer!r}, expected an Optimizer")
    return optimizer


def checked_entries(schedule: Any, state: Any, names: tuple[str, ...]) -> dict[str, Any]:
    """Return the named entries of a saved state, or raise CheckpointError."""
    kind = type(schedule).__name__
    if not isinstance(state, Mapping):
        raise CheckpointError(f"{kind}: the state is a {type(state).__name__}, expected what state_dict() returned")
    if missing := [name for name in names if name not in state]:
        raise CheckpointError(f"{kind}: the state has no {missing[0]!r}, its keys are {sorted(map(str, state))}")
    return {name: state[name] for name in names}


def checked_number(schedule: Any, name: str, value: Any) -> float:
    """Return a number of a saved state, or raise CheckpointError."""
    if not isinstance(value, (int, float, np.integer, np.floating)) or isinstance(value, bool):
        raise CheckpointError(f"{type(schedule).__name__}: {name} of the state is {value!r}, expected a number")
    return value  # type: ignore[return-value]


def checked_count(schedule: Any, name: str, value: Any) -> int:
    """Return an integer of at least 0 of a saved state, or raise CheckpointError."""
    if checked_number(schedule, name, value) != value or not isinstance(value, (int, np.integer)) or value < 0:
        raise CheckpointError(f"{type(schedule).__name__}: {name} of the state is {value!r}, expected a step number")
    return int(value)


def checked_rates(schedule: Any, name: str, value: Any) -> list[float]:
    """Return one number for each group of a saved state, or raise CheckpointError."""
    groups = len(schedule.optimizer.param_groups)
    if not isinstance(value, (list, tuple)) or len(value) != groups:
        raise CheckpointError(f"{type(schedule).__name__}: {name} of the state is {value!r}, expected {groups} numbers")
    return [float(checked_number(schedule, name, number)) for number in value]


def _check_integer(what: str, value: Any, low: int) -> None:
    if not isinstance(value, (int, np.integer)) or isinstance(value, bool) or not low <= value < 2**62:
        raise ValueError(f"{what} is {value!r}, expected an integer of at least {low}")
