"""The base class of all optimisers: parameter groups, their state, and saving it."""

from __future__ import annotations

import operator
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, ClassVar

import numpy as np

from tinycnn import arguments, kernels
from tinycnn.kernels.arrays import quiet_for
from tinycnn.kernels.versions import changing
from tinycnn.optim.checks import check_numbers, check_range, check_update, describe
from tinycnn.optim.rates import Rates
from tinycnn.optim.state import checked_state
from tinycnn.tensor import Tensor

__all__ = ["Optimizer", "check_range"]


class Optimizer:
    """Base class of optimisers. A subclass defines ``_update`` for one parameter.

    Parameters
    ----------
    params : iterable of Parameter, of (name, Parameter) pairs, or of dict
        Pairs come from ``named_parameters()``; messages then give the names. Dicts are groups: ``{"params": [...],
        "lr": 0.1}`` overrides the defaults for its parameters.
    defaults : dict
        Options of groups that do not override them.

    Attributes
    ----------
    param_groups : list of dict
        Options such as ``lr`` may be changed here at any time.
    rates : Rates
        The learning rates under the schedules of this optimiser.

    Notes
    -----
    A frozen parameter (``requires_grad`` is False) is accepted and never changed, even where an old gradient is left
    in it; it is learned again when it is unfrozen. (PyTorch would apply the old gradient.)
    """

    ranges: ClassVar[Mapping[str, tuple[float, float]]] = {}  # options that must be numbers from low to below high
    state_arrays: ClassVar[tuple[str, ...] | None] = None  # names of the state's arrays; None: not declared
    required_state: ClassVar[tuple[str, ...]] = ()  # those that each saved state holds

    def __init__(self, params: Iterable[Any], defaults: dict[str, Any]) -> None:
        arguments.instance(type(self).__name__, "defaults", defaults, Mapping, "a dict of options")
        self.param_groups: list[dict[str, Any]] = []
        self.state: dict[int, dict[str, Any]] = {}
        self.rates = Rates()
        seen: set[int] = set()
        for group in self._as_groups(params):
            self._add_group(group, defaults, seen)
        self._known = [parameter for _, parameter, _ in self.members()]  # number to parameter
        if not any(group["params"] for group in self.param_groups):
            raise ValueError(
                f"{type(self).__name__}: the list of parameters is empty; layers in a plain list are not found "
                "(use nn.ModuleList), and a generator can be used once"
            )

    def _as_groups(self, params: Any) -> list[Mapping[str, Any]]:
        """Return the argument as a list of group dicts."""
        name = type(self).__name__
        if hasattr(params, "parameters"):
            raise TypeError(f"{name}: a {type(params).__name__} came, expected its .parameters()")
        if isinstance(params, Tensor):
            raise TypeError(f"{name}: a single tensor came, expected a list of parameters: [tensor]")
        if isinstance(params, Mapping):
            raise TypeError(f"{name}: a dict came, expected a list of group dicts, or the dict's .items()")
        if isinstance(params, (str, bytes, set, frozenset)) or not isinstance(params, Iterable):
            raise TypeError(f"{name}: params is a {type(params).__name__}, expected a list of parameters")
        entries = list(params)
        groups: list[Mapping[str, Any]] = [entry for entry in entries if isinstance(entry, Mapping)]
        if groups and len(groups) < len(entries):
            raise TypeError(f"{name}: params mixes group dicts and parameters, expected one kind")
        return groups or [{"params": entries}]

    def _add_group(self, group: Mapping[str, Any], defaults: dict[str, Any], seen: set[int]) -> None:
        name = type(self).__name__
        if "params" not in group:
            raise ValueError(f"{name}: a parameter group has no 'params', it has {sorted(map(str, group))}")
        unknown = sorted(str(option) for option in group if option not in defaults and option != "params")
        if unknown:
            raise ValueError(f"{name}: unknown option {unknown[0]!r} in a parameter group")
        given = group["params"]
        if isinstance(given, (str, bytes, set, frozenset, Mapping)) or not isinstance(given, Iterable):
            raise TypeError(f"{name}: 'params' of a group is a {type(given).__name__}, expected a list of parameters")
        entries = [given] if isinstance(given, Tensor) else list(given)
        named = [entry for entry in entries if _is_named(entry)]
        if named and len(named) < len(entries):
            raise ValueError(f"{name}: all parameters of a group must be (name, parameter) pairs, or none")
        options = {**defaults, **group, "params": [entry[1] for entry in named] if named else entries}
        if named:
            options["param_names"] = [entry[0] for entry in named]
        first = sum(len(earlier["params"]) for earlier in self.param_groups)
        self.param_groups.append(options)
        for number, parameter in enumerate(options["params"], first):
            self._check_parameter(number, parameter, seen)
        self.check_options(options)

    def _check_parameter(self, number: int, parameter: Any, seen: set[int]) -> None:
        name = type(self).__name__
        if not isinstance(parameter, Tensor):
            raise TypeError(f"{name}: parameters must be tensors, one is a {type(parameter).__name__}")
        if not parameter.is_leaf:
            raise ValueError(
                f"{name}: {self._place(number)} is not a leaf that requires gradients: an operation made it; pass the "
                "tensor that it was made from, or a new one, nn.Parameter(x.data)"
            )
        if id(parameter) in seen:
            raise ValueError(
                f"{name}: a parameter of shape {parameter.shape} is listed twice, the second time as "
                f"{self._place(number)}; list a shared parameter once, as net.parameters() does"
            )
        seen.add(id(parameter))

    def check_options(self, options: Mapping[str, Any]) -> None:
        """Raise ValueError if an option of a group is out of range."""
        arguments.instance(type(self).__name__, "options", options, (dict, Mapping), "a dict")
        for option, (low, high) in self.ranges.items():
            check_range(type(self).__name__, option, options[option], low, high)

    def check_changed_options(self, options: Mapping[str, Any]) -> None:
        """Raise ValueError if an option, which the user may have changed, is not a number any more."""
        arguments.instance(type(self).__name__, "options", options, (dict, Mapping), "a dict")
        check_numbers(type(self).__name__, self.ranges, options)

    def zero_grad(self, set_to_none: bool = True) -> None:
        """Set all gradients to None, or with ``set_to_none=False`` to zeros."""
        for _, parameter, _ in self.members():
            if parameter.grad is not None:
                parameter.grad = None if set_to_none else np.zeros_like(parameter.grad)

    def step(self) -> None:
        """Change every parameter that requires gradients and has one, in place.

        Raises
        ------
        ValueError
            If a gradient or a state array differs from its parameter in shape, dtype or device, or a parameter cannot
            be written. All are checked before any is changed.
        """
        self._follow_members()
        due = [entry for entry in self.members() if entry[1].grad is not None and entry[1].requires_grad]
        for group in self.param_groups:
            self.check_changed_options(group)
        for number, parameter, _ in due:
            try:
                state = self.state.get(number)
                if state is not None and (not isinstance(step := state.get("step"), int) or not 0 <= step < 2**62):
                    raise ValueError(f"its state 'step' is {state.get('step')!r}, expected an integer of at least 0")
                check_update(parameter, state or {}, self.state_arrays)
            except ValueError as error:
                raise ValueError(f"{type(self).__name__}: {self._place(number)}: {error}") from None
        states = [self.state.get(number, {}) for number, _, _ in due]
        arrays = [value for state in states for value in state.values() if hasattr(value, "shape")]
        quiet = quiet_for(self._largest_option(), np.float32)
        with changing(*[parameter.data for _, parameter, _ in due], *arrays), quiet:
            for number, parameter, group in due:
                state = self.state.setdefault(number, {"step": 0})
                state["step"] += 1
                where = parameter.device
                device = kernels.for_device(where)
                for name, value in state.items():
                    if getattr(value, "device", where) != where:  # the model has moved
                        state[name] = device.as_array(value)
                self._update(device, parameter, state, group)

    def _largest_option(self) -> float:
        """Return the largest number among the options of all groups."""
        return max([abs(float(group[name])) for group in self.param_groups for name in self.ranges], default=0.0)

    def _update(self, device: Any, parameter: Tensor, state: dict[str, Any], group: dict[str, Any]) -> None:
        raise NotImplementedError(f"{type(self).__name__}: _update is not defined")

    def members(self) -> Iterator[tuple[int, Tensor, dict[str, Any]]]:
        """Return all parameters with their groups, numbered in the order in which they were given."""
        number = 0
        for group in self.param_groups:
            for parameter in group["params"]:
                yield number, parameter, group
                number += 1

    def _follow_members(self) -> None:
        """Move the state with its parameters if the user changed ``param_groups``; new ones begin without state."""
        members = [parameter for group in self.param_groups for parameter in group["params"]]
        if len(members) == len(self._known) and all(map(operator.is_, members, self._known)):
            return
        numbers = {id(parameter): number for number, parameter in enumerate(self._known)}
        moved = ((number, self.state.get(numbers.get(id(member), -1))) for number, member in enumerate(members))
        self.state = {number: state for number, state in moved if state is not None}
        self._known = members

    def _place(self, number: int) -> str:
        """Return the words that messages use for a parameter."""
        return describe(self.param_groups, number)

    def state_dict(self) -> dict[str, Any]:
        """Return options and state as plain numbers and arrays: ``{"groups": [...], "state": {number: {...}}}``.

        ``params`` of a group is the list of its parameters' numbers. The arrays are not copies: save or copy them
        before the next step.
        """
        self._follow_members()
        groups, first = [], 0
        for group in self.param_groups:
            size = len(group["params"])
            groups.append({**group, "params": list(range(first, first + size))})
            first += size
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
            If the state belongs to other parameters or to another kind of optimizer, or is damaged. Nothing is changed
            then.
        """
        self._follow_members()
        state, groups = checked_state(self, saved)
        self.state = state
        for group, options in zip(self.param_groups, groups):
            group.update(options)
        self.rates.loaded(self)


def _is_named(entry: Any) -> bool:
    return isinstance(entry, tuple) and len(entry) == 2 and isinstance(entry[0], str)
