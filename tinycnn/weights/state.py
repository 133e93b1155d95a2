"""The state dict in the tree of a .pth file, and the names in it."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from itertools import islice
from typing import Any, TypeVar

from tinycnn.files.limits import shorten

KEYS = (
    "state_dict",
    "model_state_dict",
    "model_state",
    "model",
    "net",
    "net_state_dict",
    "network",
    "weights",
    "params",
    "module",
    "state",
    "model_ema",
    "params_ema",
    "ema",
    "ema_state_dict",
)
"""Keys under which checkpoints keep a state dict; the first one that is there is taken."""
_DEEPEST = 4
_EXTRA = "_extra_state"
_WRAPPERS = ("module.", "_orig_mod.")
_Tensor = TypeVar("_Tensor")


def find_state(tree: Any, kind: type[_Tensor]) -> dict[str, _Tensor]:
    """Return the state dict of a tree: the tree itself, or the dict under one of ``KEYS``, also nested.

    Tensors may stand beside it, such as the state of a generator.
    Entries ``_extra_state`` of modules are left out: they are Python objects of PyTorch's own layers, for which no
    layer here has a place.

    Raises
    ------
    ValueError
        With the keys that are there, or the entries that are not tensors.
    """
    inside = tree
    for _ in range(_DEEPEST):
        if not isinstance(inside, dict):
            break
        key = next((key for key in KEYS if isinstance(inside.get(key), dict)), None)
        if key is None or (_has(inside, kind) and not _holds(inside[key], kind)):
            break
        inside = inside[key]
    if isinstance(tree, kind):
        raise ValueError("it holds one tensor, expected a state dict: a dict of names to tensors")
    if not isinstance(inside, dict) or not _has(inside, kind):
        raise ValueError(f"it holds no state dict of tensors{_describe(tree)}")
    state: dict[str, _Tensor] = {}
    for name, value in inside.items():
        if type(name) is not str and type(name) is not int:
            raise ValueError("a name in its state dict is not text")
        if str(name).rpartition(".")[2] == _EXTRA:
            continue
        if not isinstance(value, kind):
            raise ValueError(
                f"the entry {shorten(str(name), 60)!r} of its state dict is a {type(value).__name__}, expected a tensor"
            )
        if str(name) in state:
            raise ValueError(f"two tensors are called {shorten(str(name), 60)!r}")
        state[str(name)] = value
    return state


def _has(tree: dict[Any, Any], kind: type) -> bool:
    return any(isinstance(value, kind) for value in tree.values())


def _holds(tree: dict[Any, Any], kind: type) -> bool:
    """True if a dict has tensors, itself or in a dict under one of ``KEYS``."""
    return _has(tree, kind) or any(isinstance(inner := tree.get(key), dict) and _has(inner, kind) for key in KEYS)


def _describe(tree: Any) -> str:
    if not isinstance(tree, dict):
        return f": it is a {type(tree).__name__}"
    if not tree:
        return ": it is empty"
    keys = [shorten(str(key), 40) for key in islice(tree, 21) if type(key) in (str, int)]
    more = ", ..." if len(keys) > 20 else ""
    return (
        f" under {', '.join(KEYS[:6])} or the like; its keys are {', '.join(keys[:20])}{more}. "
        "Save the one with the weights by itself: torch.save(checkpoint[key], path)"
    )


def without_wrappers(state: Mapping[str, Any], expected: Collection[str] | None = None) -> dict[str, Any]:
    """Return a state without the prefixes that wrappers gave to all of its names.

    ``module.`` is the one of DataParallel, ``_orig_mod.`` of ``torch.compile``, which may also stand inside a name.

    Parameters
    ----------
    state : mapping of name to array
    expected : collection of names, optional
        The names that fit. If more of them are in the state as it is than after a change, it is not changed.
    """
    state = dict(state)
    best, most = state, _fits(state, expected)
    changed = state
    while changed:
        prefix = next((p for p in _WRAPPERS if all(name.startswith(p) and name != p for name in changed)), None)
        if prefix is not None:
            changed = {name.removeprefix(prefix): value for name, value in changed.items()}
        elif any("._orig_mod." in name for name in changed):
            renamed = {name.replace("._orig_mod.", "."): value for name, value in changed.items()}
            if len(renamed) < len(changed):
                break
            changed = renamed
        else:
            break
        fits = _fits(changed, expected)
        if expected is None or fits > most or not most:
            best, most = changed, fits
    return best


def _fits(names: Iterable[str], expected: Collection[str] | None) -> int:
    return sum(name in expected for name in names) if expected is not None else 0
