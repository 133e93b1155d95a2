"""Comparison of backward with finite differences.

For one input element the derivative is close to ``(f(x + h) - f(x - h)) / 2h``. A function with many outputs is first
reduced to one number by a random weighting of its outputs (a random cotangent: with weights of 1 the errors of
softmax-like functions cancel). A whole network is checked along random directions v: the directional derivative must
equal the inner product of v and the gradient, at two forward passes a direction whatever the number of parameters.

A kink (ReLU at 0, equal elements in a max) has no derivative. It is told apart from an error by the slopes to the
left and to the right, ``(f(x + h) - f(x)) / h`` and ``(f(x) - f(x - h)) / h``: where f is smooth their difference
shrinks with h, at a kink it stays.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np

from tinycnn import random
from tinycnn.grad_mode import no_grad
from tinycnn.kernels import for_device, on_host
from tinycnn.tensor import Tensor

_STEPS = (1e-4, 1e-5, 1e-6, 1e-7, 1e-8)
_STEPS_ALONG_DIRECTIONS = (*_STEPS, 1e-9)  # moving all parameters of a deep net by 1e-8 still meets many ReLUs' kinks
_TINY = 1e-8


class _Slope(NamedTuple):
    """A finite difference: the slope, right slope minus left slope, and how much of the slope may be rounding."""

    slope: float
    bend: float
    rounding: float


class GradcheckError(AssertionError):
    """The error that backward disagrees with finite differences: where, by how much, and the likely mistake."""


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

    def _compare(
        self,
        where: str,
        backward: float,
        estimate: Callable[[float], _Slope],
        scale: float,
        steps: Sequence[float] = _STEPS,
    ) -> None:
        """Compare one derivative at smaller and smaller steps, until one agrees."""
        tried: list[_Slope] = []
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


def _is_kink(backward: float, larger: _Slope, smaller: _Slope) -> bool:
    """True if the slopes on both sides differ by as much as backward does, and by no less over a smaller step.

    Where kinks are many the larger step meets more of them; then it counts that backward is the slope to one side.
    """
    missing = abs(backward - smaller.slope)
    bend = abs(smaller.bend)
    stays, one_sided = bend > 0.5 * abs(larger.bend), abs(bend - 2 * missing) < 0.1 * missing
    return bend > 0.1 * missing and bend > 4 * smaller.rounding and (stays or one_sided)


def gradcheck(
    function: Callable[..., Tensor],
    inputs: Sequence[Tensor] | Tensor,
    tolerance: float = 1e-6,
    seed: int = 0,
    raise_error: bool = True,
) -> Report:
    """Compare backward with finite differences for every element of every input that requires gradients.

    Parameters
    ----------
    function : callable
        Maps the input tensors to one tensor. It must compute the same every time: seed its randomness inside.
    inputs : Tensor or sequence of Tensor
        float64; those with ``requires_grad`` are checked.
    tolerance : float
        Largest relative error ``|a - b| / max(|a|, |b|, scale)``; ``scale`` is a thousandth of the input's largest
        derivative, so that derivatives that are nearly 0 are judged beside their neighbours.
    seed : int
        Of the random weighting of the outputs.
    raise_error : bool
        Raise on failure rather than return the failed report. A report whose derivatives are all at kinks is returned:
        it has neither passed nor failed.

    Raises
    ------
    GradcheckError
        With the input, index, both numbers, relative error and a hint.
    TypeError
        If an input is not float64.

    Examples
    --------
    >>> import tinycnn as tc
    >>> x = tc.Tensor(np.array([0.5, -1.0, 2.0]), requires_grad=True)
    >>> gradcheck(lambda x: (x * x).exp(), [x]).passed
    True
    """
    tensors = [inputs] if isinstance(inputs, Tensor) else list(inputs)
    for number, tensor in enumerate(tensors):
        if not isinstance(tensor, Tensor):
            raise TypeError(f"gradcheck: input {number} is a {type(tensor).__name__}, expected a Tensor")
    checked = [(f"input {i}", t) for i, t in enumerate(tensors) if t.requires_grad]
    report = Report(tolerance)
    with _kept_state([tensor for _, tensor in checked]):
        objective = _Objective(lambda: function(*tensors), checked, seed)
        report.problem = objective.problem
        for name, tensor in checked if not report.problem else ():
            scale = _scale(objective.gradients[name])
            for index in np.ndindex(tensor.shape):
                where = f"{name} at {index}"
                report._compare(where, float(objective.gradients[name][index]), objective.along(tensor, index), scale)
    return _finish(report, raise_error)


@contextmanager
def _kept_state(tensors: Sequence[Tensor], model: Any = None) -> Iterator[None]:
    """Put back values, dtypes, gradients, buffers, modes and the random state, whatever happens inside."""
    generator = random.default_generator()
    state = generator.get_state()
    values = [(tensor, tensor.data, tensor.data.copy(), tensor.grad, tensor.requires_grad) for tensor in tensors]
    modules = list(model.modules()) if model is not None else []
    modes = [(module, module.training) for module in modules]
    buffers = [
        (module, [(name, array, array.copy()) for name, array in module.named_buffers(recurse=False)])
        for module in modules
    ]
    try:
        yield
    finally:
        for tensor, array, copy, grad, required in values:
            array[...] = copy  # the same numbers: not a change that a pending backward pass must notice
            tensor.grad, tensor.data, tensor.requires_grad = None, array, required
            tensor.grad = grad
        for module, kept in buffers:
            for name, _ in list(module.named_buffers(recurse=False)):
                setattr(module, name, None)
            for name, array, copy in kept:
                array[...] = copy
                setattr(module, name, array)
        for module, training in modes:
            module.training = training
        generator.set_state(state)


def gradcheck_model(
    model: Any,
    x: Any,
    target: Any = None,
    directions: int = 3,
    samples: int = 2,
    tolerance: float = 1e-6,
    seed: int = 0,
    raise_error: bool = True,
) -> Report:
    """Check a whole network: along random directions through all parameters and the input, and element by element.

    For the check the model is converted to float64, in the mode it is in: with dropout or batch norm in training mode
    these are checked too (every forward pass draws the same dropout masks), and all parameters are moved by about a
    hundredth, since biases that are exactly 0 put ReLUs exactly on their kink. Afterwards values, dtypes, gradients,
    running statistics, modes and the random state are as before. Frozen parameters are not checked.

    Parameters
    ----------
    model : Module
    x : array_like, shape (N, C, H, W)
    target : integers, shape (N,), optional
        Class indices: the objective is then the cross-entropy, else a random weighting of the outputs.
    directions : int
        Random directions through all parameters and the input at once.
    samples : int
        Elements of each parameter tensor checked one by one, on top.
    tolerance, seed, raise_error
        As in :func:`gradcheck`.

    Examples
    --------
    >>> from tinycnn import nn
    >>> model = nn.Sequential(nn.Conv2d(1, 2, 3), nn.Tanh(), nn.Flatten(), nn.Linear(8, 3))
    >>> gradcheck_model(model, np.random.default_rng(0).normal(size=(2, 1, 4, 4))).passed
    True
    """
    rng = np.random.default_rng(seed)
    parameters = list(model.parameters())
    with _kept_state(parameters, model):
        for parameter in parameters:
            parameter.grad = None
        for module in model.modules():
            for name, array in module.named_buffers(recurse=False):
                setattr(module, name, array.copy())
        model.to(np.float64)
        for parameter in parameters:
            parameter.data = parameter.data.copy()
            _put(parameter, parameter.numpy() + 0.01 * (_typical(parameter) * rng.normal(size=parameter.shape)))
        report = _check_model(model, x, target, directions, samples, Report(tolerance), seed, rng)
    return _finish(report, raise_error)


def _check_model(model, x, target, directions, samples, report, seed, rng) -> Report:
    from tinycnn.functional import cross_entropy
    from tinycnn.nn.module import device_of

    image = Tensor(Tensor(np.asarray(x, dtype=np.float64)).to(device_of(model)), requires_grad=True)
    checked = [("input", image), *((n, p) for n, p in model.named_parameters() if p.requires_grad)]
    run = (lambda: model(image)) if target is None else (lambda: cross_entropy(model(image), target))
    objective = _Objective(run, checked, seed, model)
    report.problem = objective.problem
    if report.problem:
        return report
    for number in range(directions):
        direction = {name: rng.normal(size=t.shape) * _typical(t) for name, t in checked}
        slope = sum(float((direction[name] * objective.gradients[name]).sum()) for name, _ in checked)
        report._compare(
            f"direction {number}", slope, objective.along_direction(direction), _TINY, _STEPS_ALONG_DIRECTIONS
        )
    for name, tensor in checked if samples else ():
        scale = max(_scale(objective.gradients[name]), _TINY)
        for index in _sample_indices(objective.gradients[name], samples, rng):
            slope = float(objective.gradients[name][index])
            report._compare(f"{name} at {index}", slope, objective.along(tensor, index), scale)
    return report


class _Objective:
    """A scalar function of tensors, its gradients by backward, and its slopes by finite differences."""

    def __init__(self, run: Callable[[], Tensor], checked: list[tuple[str, Tensor]], seed: int, model: Any = None):
        for name, tensor in checked:
            if tensor.dtype != np.float64:
                raise TypeError(f"gradcheck: {name} has dtype {tensor.dtype}, expected float64")
        if not checked:
            raise ValueError("gradcheck: no input requires gradients")
        self._run, self._checked, self._model = run, dict(checked), model
        self._generator = random.default_generator()
        self._state = self._generator.get_state()
        self._buffers = {name: array.copy() for name, array in model.named_buffers()} if model else {}
        output = self._forward()
        if not isinstance(output, Tensor):
            raise TypeError(f"gradcheck: the function returned a {type(output).__name__}, expected a Tensor")
        self._cotangent = np.random.default_rng(seed).normal(size=output.shape)
        values = output.numpy().copy()
        self.gradients = self._backward(output)
        self.problem = self._problem(values)
        self._centre = self._terms()

    def _problem(self, values: np.ndarray) -> str:
        """Return why the function cannot be checked: it is random, or there is nothing to check."""
        if not any(tensor.size for tensor in self._checked.values()):
            return "nothing to check, the inputs that require gradients have no elements"
        with no_grad():
            again = self._forward().numpy()
        if again.shape != values.shape or not np.array_equal(again, values, equal_nan=True):
            return (
                "the function is random: two calls with the same inputs gave different results; seed its randomness "
                "inside, so that it computes the same every time"
            )
        return ""

    def _forward(self) -> Tensor:
        """Run one forward pass, from the same random state and running statistics every time."""
        self._generator.set_state(self._state)
        for name, array in self._model.named_buffers() if self._model else ():
            array[...] = self._buffers[name]
        return self._run()

    def _backward(self, output: Tensor) -> dict[str, np.ndarray]:
        kept = {name: tensor.grad for name, tensor in self._checked.items()}
        for tensor in self._checked.values():
            tensor.grad = None
        output.backward(self._cotangent)
        gradients = {n: np.zeros(t.shape) if t.grad is None else on_host(t.grad) for n, t in self._checked.items()}
        for name, tensor in self._checked.items():
            tensor.grad = kept[name]
        return gradients

    def _terms(self) -> np.ndarray:
        """Return the weighted outputs, whose sum is the objective: differences are taken before summing, to round
        less.
        """
        with no_grad(), np.errstate(all="ignore"):
            return self._forward().numpy() * self._cotangent

    def _slope(self, above: np.ndarray, below: np.ndarray, step: float) -> _Slope:
        rounding = 8 * np.finfo(np.float64).eps * float(np.abs(self._centre).sum()) / step
        with np.errstate(all="ignore"):  # NaN and inf are results
            bend = float(((above - self._centre) - (self._centre - below)).sum()) / step
            return _Slope(float((above - below).sum()) / (2 * step), bend, rounding)

    def along(self, tensor: Tensor, index: tuple[int, ...]) -> Callable[[float], _Slope]:
        """Return the slope along one element, as a function of the step."""

        def estimate(step: float) -> _Slope:
            centre = float(tensor.data[index])
            try:
                tensor.data[index] = centre + step
                above = self._terms()
                tensor.data[index] = centre - step
                return self._slope(above, self._terms(), step)
            finally:
                tensor.data[index] = centre

        return estimate

    def along_direction(self, direction: dict[str, np.ndarray]) -> Callable[[float], _Slope]:
        """Return the slope along a direction through all tensors, as a function of the step."""

        def estimate(step: float) -> _Slope:
            centre = {name: tensor.numpy().copy() for name, tensor in self._checked.items()}
            terms = []
            try:
                for sign in (1, -1):
                    for name, tensor in self._checked.items():
                        _put(tensor, centre[name] + sign * step * direction[name])
                    terms.append(self._terms())
            finally:
                for name, tensor in self._checked.items():
                    _put(tensor, centre[name])
            return self._slope(terms[0], terms[1], step)

        return estimate


def _put(tensor: Tensor, values: np.ndarray) -> None:
    tensor.data[...] = for_device(tensor.device).as_array(values)


def _scale(gradient: np.ndarray) -> float:
    return max(float(np.abs(gradient).max(initial=0.0)) * 1e-3, _TINY)


def _typical(tensor: Tensor) -> float:
    """Return the size of a tensor's elements, so that a direction moves each tensor by the same share of itself."""
    return float(np.sqrt(np.mean(tensor.numpy() ** 2))) or 1.0 if tensor.size else 1.0


def _sample_indices(gradient: np.ndarray, samples: int, rng: np.random.Generator) -> Iterator[tuple[int, ...]]:
    """Return the index of the element with the largest gradient, and others at random."""
    if not gradient.size:
        return
    flat = [int(np.abs(gradient).argmax()), *rng.integers(gradient.size, size=samples - 1)]
    for number in dict.fromkeys(flat):
        yield tuple(int(i) for i in np.unravel_index(number, gradient.shape))


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


def _finish(report: Report, raise_error: bool) -> Report:
    if raise_error and report.failed:
        raise GradcheckError(str(report))
    return report
