"""Comparison of backward with finite differences.

For one input element the derivative is close to ``(f(x + h) - f(x - h)) / 2h``. A function with many outputs is first
reduced to one number by a random weighting of its outputs (a random cotangent: with weights of 1 the errors of
softmax-like functions cancel). A whole network is checked along random directions v: the directional derivative must
equal the inner product of v and the gradient, at two forward passes a direction whatever the number of parameters.

Kinks are left out; see :mod:`tinycnn.gradient_report`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np

from tinycnn import arguments, random
from tinycnn.errors import GradcheckError
from tinycnn.functional import cross_entropy
from tinycnn.grad_mode import no_grad
from tinycnn.gradient_report import STEPS_ALONG_DIRECTIONS, Report, Slope
from tinycnn.kernels import for_device, on_host
from tinycnn.nn.module import Module, device_of
from tinycnn.tensor import Tensor

_TINY = 1e-8


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
    if not isinstance(inputs, (Tensor, list, tuple)):
        raise TypeError(f"gradcheck: inputs is a {type(inputs).__name__}, expected a list of tensors")
    tensors = [inputs] if isinstance(inputs, Tensor) else list(inputs)
    for number, tensor in enumerate(tensors):
        if not isinstance(tensor, Tensor):
            raise TypeError(f"gradcheck: input {number} is a {type(tensor).__name__}, expected a Tensor")
    seed = arguments.integer("gradcheck", "seed", seed, 0)
    checked = [(f"input {i}", t) for i, t in enumerate(tensors) if t.requires_grad]
    report = Report(tolerance)
    with _kept_state([tensor for _, tensor in checked]):
        objective = _Objective(lambda: function(*tensors), checked, seed)
        report.problem = objective.problem
        for name, tensor in checked if not report.problem else ():
            scale = _scale(objective.gradients[name])
            for index in np.ndindex(tensor.shape):
                where = f"{name} at {index}"
                report.compare(where, float(objective.gradients[name][index]), objective.along(tensor, index), scale)
    return _finish(report, raise_error)


@contextmanager
def _kept_state(tensors: Sequence[Tensor], model: Module | None = None) -> Iterator[None]:
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
    model: Module,
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
    arguments.instance("gradcheck_model", "model", model, Module, "a Module")
    seed = arguments.integer("gradcheck_model", "seed", seed, 0)
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
        report.compare(
            f"direction {number}", slope, objective.along_direction(direction), _TINY, STEPS_ALONG_DIRECTIONS
        )
    for name, tensor in checked if samples else ():
        scale = max(_scale(objective.gradients[name]), _TINY)
        for index in _sample_indices(objective.gradients[name], samples, rng):
            slope = float(objective.gradients[name][index])
            report.compare(f"{name} at {index}", slope, objective.along(tensor, index), scale)
    return report


class _Objective:
    """A scalar function of tensors, its gradients by backward, and its slopes by finite differences."""

    def __init__(
        self, run: Callable[[], Tensor], checked: list[tuple[str, Tensor]], seed: int, model: Module | None = None
    ):
        for name, tensor in checked:
            if tensor.dtype != np.float64:
                raise TypeError(f"gradcheck: {name} has dtype {tensor.dtype}, expected float64")
        if not checked:
            raise ValueError("gradcheck: no input requires gradients")
        self._run, self._checked, self._model = run, dict(checked), model
        self._generator = random.default_generator()
        self._state = self._generator.get_state()
        self._buffers = {name: array.copy() for name, array in model.named_buffers()} if model is not None else {}
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
        for name, array in self._model.named_buffers() if self._model is not None else ():
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

    def _slope(self, above: np.ndarray, below: np.ndarray, step: float) -> Slope:
        rounding = 8 * np.finfo(np.float64).eps * float(np.abs(self._centre).sum()) / step
        with np.errstate(all="ignore"):  # NaN and inf are results
            bend = float(((above - self._centre) - (self._centre - below)).sum()) / step
            return Slope(float((above - below).sum()) / (2 * step), bend, rounding)

    def along(self, tensor: Tensor, index: tuple[int, ...]) -> Callable[[float], Slope]:
        """Return the slope along one element, as a function of the step."""

        def estimate(step: float) -> Slope:
            centre = float(tensor.data[index])
            try:
                tensor.data[index] = centre + step
                above = self._terms()
                tensor.data[index] = centre - step
                return self._slope(above, self._terms(), step)
            finally:
                tensor.data[index] = centre

        return estimate

    def along_direction(self, direction: dict[str, np.ndarray]) -> Callable[[float], Slope]:
        """Return the slope along a direction through all tensors, as a function of the step."""

        def estimate(step: float) -> Slope:
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


def _finish(report: Report, raise_error: bool) -> Report:
    if raise_error and report.failed:
        raise GradcheckError(str(report))
    return report
