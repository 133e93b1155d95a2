"""Loading of a state dict into a module: everything is checked and converted before anything is changed."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from tinycnn.errors import WeightsError
from tinycnn.kernels import for_device, is_on_gpu, on_host
from tinycnn.kernels.arrays import overlaps_itself
from tinycnn.kernels.versions import changing
from tinycnn.tensor import Tensor
from tinycnn.weights.state import without_wrappers

if TYPE_CHECKING:
    from tinycnn.nn.module import Module


class IncompatibleKeys(NamedTuple):
    """The names that ``load_state_dict`` did not find in the state, and those that the module does not have."""

    missing_keys: list[str]
    unexpected_keys: list[str]


class _Plan:
    """The arrays to write and the reasons not to."""

    def __init__(self, own: Mapping[str, Any], state: Mapping[str, Any], skip_mismatched: bool) -> None:
        self.own, self.state = own, state
        self.values: dict[str, Any] = {}
        self.skipped: list[str] = []
        self.misshaped: list[str] = []
        self.refused: list[str] = []
        for name, array in own.items():
            if name in state:
                self._add(name, array, skip_mismatched)
        self._compare_tied()
        names = _names_by_array(own)
        self.missing = [
            name
            for name in own
            if name in self.skipped
            or (not name.endswith("num_batches_tracked") and not any(other in state for other in names[id(own[name])]))
        ]
        self.unexpected = [str(name) for name in state if name not in own]

    def _add(self, name: str, array: Any, skip_mismatched: bool) -> None:
        try:
            value = as_numpy(self.state[name])
            if value.shape == (1,) and array.shape == ():
                value = value.reshape(())  # as very old files of PyTorch have it
            if value.shape != array.shape:
                if skip_mismatched:
                    self.skipped.append(name)
                else:
                    self.misshaped.append(f"{name} has shape {value.shape}, expected {array.shape}")
                return
            _check_writable(array)
            self.values[name] = _converted(value, array.dtype)
        except ValueError as error:
            self.refused.append(f"{name} {error}")

    def _compare_tied(self) -> None:
        """Check that all names of one array have equal values."""
        for names in _names_by_array(self.own).values():
            first, *others = [name for name in names if name in self.values] or [""]
            for other in others:
                a, b = self.values[first], self.values.pop(other)
                if a is not b and not np.array_equal(a, b, equal_nan=a.dtype.kind == "f"):
                    self.refused.append(f"{first} and {other} are one array here, but differ in the state")

    def write(self) -> None:
        """Copy the values into the module's arrays."""
        targets = list(self.own.values())
        pairs = []
        for name, value in self.values.items():
            array = self.own[name]
            if any(other is not array and _may_overlap(value, other) for other in targets):
                value = value.copy()
            pairs.append((array, for_device(array.device).as_array(value)))
        for array, value in pairs:
            with changing(array):
                array[...] = value


def load_into(module: Module, state: Any, strict: bool, skip_mismatched: bool) -> IncompatibleKeys:
    """Copy a state into a module; see :meth:`tinycnn.nn.Module.load_state_dict`."""
    own = module.state_arrays()
    given = without_wrappers(_as_mapping(state), own)
    plan = _Plan(own, given, skip_mismatched)
    missing = [name for name in plan.missing if name not in plan.skipped]
    wrong = {
        "missing": missing if strict else [],
        "unexpected": plan.unexpected if strict else [],
        "mis-shaped": plan.misshaped,
        "refused": plan.refused,
    }
    lines = [f"  {kind}: {', '.join(names)}" for kind, names in wrong.items() if names]
    if lines:
        hint = _hint(own, given)
        lines += [f"  hint: {hint}"] if hint and missing and plan.unexpected else []
        raise WeightsError("\n".join([f"load_state_dict: the state does not fit {type(module).__name__}:", *lines]))
    plan.write()
    return IncompatibleKeys(plan.missing, plan.unexpected)


def _as_mapping(state: Any) -> dict[str, Any]:
    """Return a state as a dict of name to value."""
    expected = "expected a dict of name to array"
    if hasattr(state, "state_dict"):
        raise TypeError(f"load_state_dict: the state is a {type(state).__name__}, expected its .state_dict()")
    if isinstance(state, Mapping):
        pairs = list(state.items())
    elif isinstance(state, Iterable) and not isinstance(state, (str, bytes, np.ndarray, Tensor)):
        pairs = list(state)
        if not all(isinstance(pair, (tuple, list)) and len(pair) == 2 for pair in pairs):
            raise TypeError(f"load_state_dict: the state is a {type(state).__name__}, {expected}, or such pairs")
    else:
        raise TypeError(f"load_state_dict: the state is a {type(state).__name__}, {expected}")
    for name, _ in pairs:
        if not isinstance(name, str):
            raise TypeError(f"load_state_dict: the state has the name {name!r}, expected text")
    mapping = dict(pairs)
    if len(mapping) < len(pairs):
        raise WeightsError("load_state_dict: the state has a name twice")
    return mapping


def as_numpy(value: Any) -> np.ndarray:
    """Return the numbers of an array, a list, one of our tensors or one of PyTorch's, not copied if possible.

    Raises
    ------
    ValueError
        If it does not hold real numbers; the message continues a sentence about it.
    """
    if isinstance(value, Tensor):
        value = value.data
    if is_on_gpu(value):
        value = on_host(value)
    kind = type(value).__name__
    try:
        array = np.asarray(_of_torch(value))
    except (TypeError, ValueError, RuntimeError, NotImplementedError) as error:
        raise ValueError(f"is a {kind} without numbers ({error})") from None
    if array.dtype.kind == "V" and array.dtype.names is None and "float" in array.dtype.name:
        array = array.astype(np.float32)  # bfloat16 and the like, from the package ml_dtypes
    if array.dtype.kind not in "fiub":
        raise ValueError(f"is a {kind} of dtype {array.dtype}, expected real numbers")
    if isinstance(value, np.ma.MaskedArray) and np.ma.is_masked(value):
        raise ValueError("is an array with masked elements")
    return array


def _of_torch(value: Any) -> Any:
    """Return an array of a tensor of PyTorch's; anything else unchanged."""
    if not (hasattr(value, "detach") and hasattr(value, "numpy")):
        return value
    value = value.detach().cpu()
    for lazy in ("resolve_conj", "resolve_neg"):  # views that PyTorch negates or conjugates when they are read
        value = getattr(value, lazy, lambda value=value: value)()
    try:
        return value.numpy()
    except TypeError:  # NumPy has no bfloat16
        return value.float().numpy()


def _converted(value: np.ndarray, dtype: np.dtype) -> np.ndarray:
    """Return the values in a dtype, checked to be in its range."""
    if value.dtype == dtype or not value.size:
        return value.astype(dtype, copy=False)
    if dtype.kind == "f":
        with np.errstate(over="ignore"):
            converted = value.astype(dtype)
        if value.dtype.kind == "f" and (np.isinf(converted) & ~np.isinf(value)).any():
            raise ValueError(f"has values beyond {dtype}")
        return converted
    if value.dtype.kind == "f" and not (np.isfinite(value).all() and (value == np.rint(value)).all()):
        raise ValueError(f"has values that are not whole numbers, expected {dtype}")
    low, high = (0, 1) if dtype.kind == "b" else (np.iinfo(dtype).min, np.iinfo(dtype).max)
    if int(value.min()) < low or int(value.max()) > high:
        raise ValueError(f"has values from {value.min()} to {value.max()}, expected {dtype}")
    return value.astype(dtype)


def _check_writable(array: Any) -> None:
    if isinstance(array, np.ndarray) and (not array.flags.writeable or overlaps_itself(array)):
        raise ValueError("cannot be written: its array here is read-only or has elements that share memory")


def _may_overlap(a: Any, b: Any) -> bool:
    return isinstance(a, np.ndarray) and isinstance(b, np.ndarray) and np.may_share_memory(a, b)


def _names_by_array(own: Mapping[str, Any]) -> dict[int, list[str]]:
    """Return the names of each array, by its id: several where layers or parameters are shared."""
    names: dict[int, list[str]] = {}
    for name, array in own.items():
        names.setdefault(id(array), []).append(name)
    return names


def _hint(own: Mapping[str, Any], state: Mapping[str, Any]) -> str:
    """Return advice for names that would fit without a common prefix."""
    fits = sum(name in own for name in state)
    prefix = next(iter(state), "").partition(".")[0] + "."
    if all(name.startswith(prefix) for name in state):
        without = sum(name.removeprefix(prefix) in own for name in state)
        if without > fits:
            change = f"{{name.removeprefix({prefix!r}): value for name, value in state.items()}}"
            return f"each name starts with the prefix {prefix!r}; without it {without} names fit: {change}"
    for part in dict.fromkeys(name.partition(".")[0] for name in own):
        inside = sum(f"{part}.{name}" in own for name in state)
        if inside > fits:
            return f"{inside} names fit inside {part!r}: load the state into that part, model.{part}"
    return ""
