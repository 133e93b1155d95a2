"""Saved optimiser states: checked against the optimiser that continues from them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from tinycnn.errors import CheckpointError
from tinycnn.kernels import on_host
from tinycnn.kernels.arrays import converted
from tinycnn.optim.checks import describe
from tinycnn.tensor import Tensor

if TYPE_CHECKING:
    from tinycnn.optim.optimizer import Optimizer

_NOT_OPTIONS = ("params", "param_names")


def checked_state(optimizer: Optimizer, saved: Any) -> tuple[dict[int, dict[str, Any]], list[dict[str, Any]]]:
    """Return the state by parameter number and the options of each group that a saved state holds.

    Raises
    ------
    CheckpointError
        With what differs.
    """
    try:
        if not isinstance(saved, Mapping):
            raise ValueError(f"the state is a {type(saved).__name__}, expected what state_dict() returned")
        if missing := [key for key in ("groups", "state") if key not in saved]:
            raise ValueError(f"the state has no {missing[0]!r}, its keys are {sorted(map(str, saved))}")
        options = _checked_groups(optimizer, saved["groups"])
        return _checked_values(optimizer, saved["state"]), options
    except ValueError as error:
        raise CheckpointError(f"{type(optimizer).__name__}: {error}") from None


def _checked_groups(optimizer: Optimizer, saved: Any) -> list[dict[str, Any]]:
    groups = optimizer.param_groups
    if not isinstance(saved, (list, tuple)) or not all(isinstance(group, Mapping) for group in saved):
        raise ValueError("'groups' of the state is not a list of dicts")
    if len(saved) != len(groups):
        raise ValueError(f"the state has {len(saved)} parameter groups, expected {len(groups)}")
    return [_checked_group(optimizer, i, own, given) for i, (own, given) in enumerate(zip(groups, saved))]


def _checked_group(
    optimizer: Optimizer, place: int, own: Mapping[str, Any], given: Mapping[str, Any]
) -> dict[str, Any]:
    """Return the options of one saved group; states that were saved without ``params`` have no sizes to compare."""
    members = given.get("params")
    if members is not None and (not isinstance(members, (list, tuple)) or len(members) != len(own["params"])):
        count = len(members) if isinstance(members, (list, tuple)) else repr(members)
        raise ValueError(f"group {place} of the state has {count} parameters, expected {len(own['params'])}")
    names, own_names = given.get("param_names"), own.get("param_names")
    if isinstance(names, (list, tuple)) and own_names is not None and list(names) != own_names:
        pairs = [(a, b) for a, b in zip(names, own_names) if a != b] or [(names, own_names)]
        raise ValueError(
            f"group {place} of the state is of other parameters: {pairs[0][0]!r}, expected {pairs[0][1]!r}"
        )
    options = {name: tuple(v) if isinstance(v, list) else v for name, v in given.items() if name not in _NOT_OPTIONS}
    expected = [name for name in own if name not in _NOT_OPTIONS]
    missing = [name for name in expected if name not in options]
    unexpected = [str(name) for name in options if name not in expected]
    if missing or unexpected:
        facts = [f"lacks {', '.join(missing)}"] if missing else []
        facts += [f"has {', '.join(unexpected)}"] if unexpected else []
        raise ValueError(f"group {place} of the state is of another kind of optimizer: it {' and '.join(facts)}")
    for name, value in options.items():
        known = own[name]
        if isinstance(known, bool) and not isinstance(value, (bool, int)):
            raise ValueError(f"{name} in group {place} of the state is {value!r}, expected True or False")
    try:
        optimizer.check_options(options)
    except (ValueError, TypeError) as error:
        raise ValueError(f"group {place} of the state: {error}") from None
    return options


def _checked_values(optimizer: Optimizer, saved: Any) -> dict[int, dict[str, Any]]:
    if not isinstance(saved, Mapping):
        raise ValueError(f"'state' of the state is a {type(saved).__name__}, expected a dict")
    members = {number: parameter for number, parameter, _ in optimizer.members()}
    state: dict[int, dict[str, Any]] = {}
    for key, values in saved.items():
        number = _number(key)
        if number not in members:
            raise ValueError(f"the state has parameter {key!r}, this optimizer has {len(members)} parameters")
        if number in state:
            raise ValueError(f"the state has parameter {number} twice")
        state[number] = _checked_parameter(optimizer, number, members[number], values)
    return state


def _number(key: Any) -> int:
    """Return a parameter's number, which text files store as text; -1 if it is not one."""
    if isinstance(key, str) and key.isascii() and key.isdigit() and len(key) < 10:
        return int(key)
    return int(key) if isinstance(key, (int, np.integer)) and not isinstance(key, bool) else -1


def _checked_parameter(optimizer: Optimizer, number: int, parameter: Tensor, values: Any) -> dict[str, Any]:
    place = describe(optimizer.param_groups, number)
    if not isinstance(values, Mapping):
        raise ValueError(f"the state of {place} is a {type(values).__name__}, expected a dict")
    step = values.get("step")
    if not isinstance(step, (int, np.integer)) or isinstance(step, bool) or not 0 <= step < 2**62:
        raise ValueError(f"'step' in the state of {place} is {step!r}, expected an integer of at least 0")
    names = optimizer.state_arrays
    missing = [name for name in optimizer.required_state if name not in values]
    unexpected = [str(name) for name in values if names is not None and name not in ("step", *names)]
    if missing or unexpected:
        facts = [f"lacks {', '.join(missing)}"] if missing else []
        facts += [f"has {', '.join(unexpected)}"] if unexpected else []
        raise ValueError(f"the state of {place} is of another kind of optimizer: it {' and '.join(facts)}")
    checked: dict[str, Any] = {}
    for name, value in values.items():
        if name == "step":
            checked[name] = int(step)
        elif isinstance(value, np.ndarray) or names is not None:
            checked[name] = _checked_array(f"state {name!r} of {place}", value, parameter)
        else:
            checked[name] = value
    return checked


def _checked_array(what: str, value: Any, parameter: Tensor) -> np.ndarray:
    """Return a copy of a saved array, in its parameter's dtype as in PyTorch."""
    array = value.data if isinstance(value, Tensor) else value
    array = on_host(array)
    if not isinstance(array, np.ndarray):
        raise ValueError(f"{what} is a {type(value).__name__}, expected an array")
    if array.shape != parameter.shape:
        raise ValueError(f"{what} has shape {array.shape}, expected {parameter.shape}")
    if array.dtype.kind != "f":
        raise ValueError(f"{what} has dtype {array.dtype}, expected {parameter.dtype}")
    return converted(array, parameter.dtype)
