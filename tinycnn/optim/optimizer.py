"""What all optimisers share: groups of parameters, their state, and saving it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from tinycnn import kernels
from tinycnn.errors import CheckpointError
from tinycnn.tensor import Tensor


class Optimizer:
    """Base class of optimisers. A subclass defines ``_update`` for one parameter.

    Parameters
    ----------
    params : iterable of Parameter, or of dict
        Dicts are groups: ``{"params": [...], "lr": 0.1}`` overrides the defaults for its parameters.
    defaults : dict
        Options of groups that do not override them.

    Attributes
    ----------
    param_groups : list of dict
        Options such as ``lr`` may be changed here at any time.
    """

    def __init__(self, params: Iterable[Any], defaults: dict[str, Any]) -> None:
        if hasattr(params, "parameters"):
            raise TypeError(f"{type(self).__name__}: a {type(params).__name__} came, expected its .parameters()")
        entries = list(params)
        if not entries:
            raise ValueError(f"{type(self).__name__}: the list of parameters is empty")
        groups = entries if isinstance(entries[0], Mapping) else [{"params": entries}]
        self.param_groups: list[dict[str, Any]] = []
        seen: set[int] = set()
        for group in groups:
            unknown = set(group) - set(defaults) - {"params"}
            if unknown:
                raise ValueError(f"{type(self).__name__}: unknown option {sorted(unknown)[0]!r} in a parameter group")
            members = [group["params"]] if isinstance(group["params"], Tensor) else list(group["params"])
            for parameter in members:
                self._check_parameter(parameter, seen)
            self.param_groups.append({**defaults, **group, "params": members})
        self.state: dict[int, dict[str, Any]] = {}

    def _check_parameter(self, parameter: Any, seen: set[int]) -> None:
        name = type(self).__name__
        if not isinstance(parameter, Tensor):
            raise TypeError(f"{name}: parameters must be tensors, one is a {type(parameter).__name__}")
        if not parameter.requires_grad or not parameter.is_leaf:
            raise ValueError(f"{name}: a tensor of shape {parameter.shape} is not a leaf that requires gradients")
        if id(parameter) in seen:
            raise ValueError(f"{name}: a parameter of shape {parameter.shape} is listed twice")
        seen.add(id(parameter))

    def zero_grad(self) -> None:
        """Forget all gradients."""
        for _, parameter, _ in self._members():
            parameter.grad = None

    def step(self) -> None:
        """Change every parameter that has a gradient, in place."""
        for number, parameter, group in self._members():
            if parameter.grad is not None:
                state = self.state.setdefault(number, {"step": 0})
                state["step"] += 1
                device = kernels.for_device(parameter.device)
                for name, value in state.items():
                    if getattr(value, "device", parameter.device) != parameter.device:  # the model has moved
                        state[name] = device.as_array(value)
                self._update(device, parameter, state, group)

    def _update(self, device: Any, parameter: Tensor, state: dict[str, Any], group: dict[str, Any]) -> None:
        raise NotImplementedError(f"{type(self).__name__}: _update is not defined")

    def _members(self) -> Iterable[tuple[int, Tensor, dict[str, Any]]]:
        """All parameters, numbered in the order in which they were given, with their group."""
        number = 0
        for group in self.param_groups:
            for parameter in group["params"]:
                yield number, parameter, group
                number += 1

    def state_dict(self) -> dict[str, Any]:
        """Options and state as plain numbers and arrays: ``{"groups": [...], "state": {number: {...}}}``."""
        groups = [{name: value for name, value in g.items() if name != "params"} for g in self.param_groups]
        state = {
            number: {name: kernels.on_host(value) for name, value in values.items()}
            for number, values in self.state.items()
        }
        return {"groups": groups, "state": state}

    def load_state_dict(self, saved: Mapping[str, Any]) -> None:
        """Continue from what :meth:`state_dict` gave for parameters of the same shapes in the same order.

        Raises
        ------
        CheckpointError
            If groups or shapes differ.
        """
        if len(saved["groups"]) != len(self.param_groups):
            raise CheckpointError(
                f"{type(self).__name__}: the state has {len(saved['groups'])} parameter groups, expected "
                f"{len(self.param_groups)}"
            )
        members = {number: parameter for number, parameter, _ in self._members()}
        state = {int(number): dict(values) for number, values in saved["state"].items()}
        for number, values in state.items():
            for name, value in values.items():
                expected = members[number].shape if number in members else None
                if isinstance(value, np.ndarray) and value.shape != expected:
                    raise CheckpointError(
                        f"{type(self).__name__}: state {name!r} of parameter {number} has shape {value.shape}, "
                        f"expected "
                        f"{expected}"
                    )
                values[name] = value.copy() if isinstance(value, np.ndarray) else value
        self.state = state
        for group, options in zip(self.param_groups, saved["groups"]):
            group.update({name: tuple(v) if isinstance(v, list) else v for name, v in options.items()})


def check_range(optimizer: str, name: str, value: float, low: float = 0.0, high: float = float("inf")) -> None:
    """Raise ValueError unless low <= value < high."""
    if isinstance(value, str) or not low <= value < high:
        limit = f"at least {low:g}" if high == float("inf") else f"from {low:g} to below {high:g}"
        raise ValueError(f"{optimizer}: {name} is {value!r}, expected {limit}")
