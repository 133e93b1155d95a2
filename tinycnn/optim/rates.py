"""The learning rates of an optimiser under one or several schedules."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from tinycnn.optim.optimizer import Optimizer


class Factor(Protocol):
    """A schedule as :class:`Rates` sees it."""

    optimizer: Optimizer
    base_lrs: list[float]
    key: int

    def rate(self, base: float, group: int) -> float: ...
    def ratio(self, base: float, group: int) -> float: ...


class Rates:
    """The schedules of one optimiser: each rate is the starting rate times the factors of all of them.

    A schedule has a number, by which it is found here, so that copies of it are the same schedule.

    Attributes
    ----------
    schedules : dict of int to schedule
        In the order of their creation.
    last : list of float
        The rates that were set last; if the optimiser has others, the user set them.
    """

    def __init__(self) -> None:
        self.schedules: dict[int, Any] = {}
        self.last: list[float] = []
        self._made = 0

    def join(self, schedule: Factor, beside: Any = None) -> None:
        """Add a schedule and give it its number and starting rates.

        If rates were set by hand since the last schedule's step, they are new starting rates, and the schedules that
        were made before no longer count (except for ``beside``, the one that is built upon).
        """
        current = rates_of(schedule.optimizer)
        if current != self.last and beside is None:
            self.schedules.clear()
        first = next(iter(self.schedules.values()), None)
        schedule.base_lrs = list(first.base_lrs) if first is not None else current
        schedule.key = self._made
        self.schedules[schedule.key] = schedule
        self._made += 1

    def claim(self, schedule: Factor) -> None:
        """Make this schedule, rather than a copy of it, the one that counts.

        Raises
        ------
        RuntimeError
            If it no longer counts.
        """
        if schedule.key not in self.schedules:
            raise RuntimeError(
                f"{type(schedule).__name__}: rates were set by hand and another schedule was made since, so this one "
                "no longer counts; make it anew"
            )
        self.schedules[schedule.key] = schedule

    def apply(self, optimizer: Optimizer) -> None:
        """Set the rate of every group."""
        first, *others = self.schedules.values()
        for i, (group, base) in enumerate(zip(optimizer.param_groups, first.base_lrs)):
            rate = first.rate(base, i)
            for schedule in others:
                rate *= schedule.ratio(base, i)
            group["lr"] = rate
        self.loaded(optimizer)

    def loaded(self, optimizer: Optimizer) -> None:
        """Record rates that a checkpoint set, not the user."""
        self.last = rates_of(optimizer)


def rates_of(optimizer: Optimizer) -> list[float]:
    """Return the rate of each group."""
    return [float(group["lr"]) for group in optimizer.param_groups]
