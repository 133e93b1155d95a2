"""The comparison of derivatives with finite differences: agreement, kinks, and the report of it.

A kink (ReLU at 0, equal elements in a max) has no derivative. It is told apart from an error by the slopes to the
left and to the right, ``(f(x + h) - f(x)) / h`` and ``(f(x) - f(x - h)) / h``: where f is smooth their difference
shrinks with h, at a kink it stays.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np

STEPS = (1e-4, 1e-5, 1e-6, 1e-7, 1e-8)
STEPS_ALONG_DIRECTIONS = (*STEPS, 1e-9)  # moving all parameters of a deep net by 1e-8 still meets many ReLUs' kinks


class Slope(NamedTuple):
    """A finite difference: the slope, right slope minus left slope, and how much of the slope may be rounding."""

    slope: float
    bend: float
    rounding: float


@dataclass
class Mismatch:
    """One derivative that disagrees."""

    where: str
    backward: float
    numeric: float
    error: float

    def __str__(self) -> str:
        text = f"{self.where}: backward {self.backward:.8g}, finite difference {self.numeric:.8g}"
        return f"{text}, relative error {self.error:.2g}"


@dataclass
class Report:
    """The result of a gradient check.

    Attributes
    ----------
    checked : int
        Derivatives compared.
    max_error : float
        The largest relative error among them.
    worst : str
        The place of that error.
    kinks : int
        Derivatives that are left out because the function has a kink there.
    mismatches : list of Mismatch
    problem : str
        Why the function cannot be checked at all; empty where it can.
    """

    tolerance: float
    checked: int = 0
    max_error: float = 0.0
    worst: str = ""
    kinks: int = 0
    mismatches: list[Mismatch] = field(default_factory=list)
    problem: str = ""

    @property
    def passed(self) -> bool:
        """True if something was checked and all of it agreed."""
        return not self.mismatches and not self.problem and self.checked > 0

    @property
    def failed(self) -> bool:
        """True if a derivative disagrees or the function cannot be checked; False if all derivatives are at kinks."""
        return bool(self.mismatches or self.problem)

    def __str__(self) -> str:
        if self.problem:
            return f"gradcheck failed: {self.problem}"
        if not self.mismatches and not self.checked:
            return f"gradcheck compared nothing: all {self.kinks} derivatives are at kinks; move the inputs off them"
        head = f"{self.checked} derivatives checked, largest relative error {self.max_error:.2g} ({self.worst})"
        kinks = f", {self.kinks} at kinks left out" if self.kinks else ""
        if self.passed:
            return f"gradcheck passed: {head}{kinks}"
        lines = [f"gradcheck failed: {len(self.mismatches)} of {head}{kinks}; tolerance {self.tolerance:g}"]
        lines += [f"  {mismatch}" for mismatch in self.mismatches[:8]]
        hint = _hint(self.mismatches)
        return "\n".join([*lines, f"  hint: {hint}"] if hint else lines)

    def compare(
        self,
        where: str,
        backward: float,
        estimate: Callable[[float], Slope],
        scale: float,
        steps: Sequence[float] = STEPS,
    ) -> None:
        """Compare one derivative at smaller and smaller steps, until one agrees."""
        tried: list[Slope] = []
        errors: list[float] = []
        for step in steps:
            tried.append(estimate(step))
            slope, _, rounding = tried[-1]
            size = max(abs(backward), abs(slope), scale, rounding / self.tolerance)
            errors.append(abs(backward - slope) / size)
            if errors[-1] <= self.tolerance:
                break
        else:
            kink = _is_kink(backward, *tried[-2:]) or _is_kink(backward, *tried[-3:-1])
            if kink and np.isfinite(backward):
                self.kinks += 1
                return
            best = tried[errors.index(min(errors))]
            self.mismatches.append(Mismatch(where, backward, best.slope, min(errors)))
        self.checked += 1
        if min(errors) >= self.max_error:
            self.max_error, self.worst = min(errors), where


def _is_kink(backward: float, larger: Slope, smaller: Slope) -> bool:
    """True if the slopes on both sides differ by as much as backward does, and by no less over a smaller step.

    Where kinks are many the larger step meets more of them; then it counts that backward is the slope to one side.
    """
    missing = abs(backward - smaller.slope)
    bend = abs(smaller.bend)
    stays, one_sided = bend > 0.5 * abs(larger.bend), abs(bend - 2 * missing) < 0.1 * missing
    return bend > 0.1 * missing and bend > 4 * smaller.rounding and (stays or one_sided)


def _hint(mismatches: list[Mismatch]) -> str:
    """Return a hint at the mistake that the ratio of the two numbers suggests."""
    if mismatches and all(m.backward == 0 for m in mismatches):
        return "backward is 0 everywhere: is the gradient returned for this input?"
    ratios = np.array([m.backward / m.numeric for m in mismatches if m.numeric])
    if not ratios.size or np.ptp(ratios) > 1e-3 * abs(ratios.mean()):
        return "no common factor: look for a transposed or flipped array, a wrong index, or a changed input"
    ratio = float(ratios.mean())
    if abs(ratio + 1) < 1e-3:
        return "the sign is wrong"
    if ratio > 1:
        return f"backward is {ratio:.4g} times too large: a sum for a mean, or a gradient counted twice?"
    return f"backward is {ratio:.4g} of what it should be: a missing accumulation, or a mean for a sum?"
