"""Comparisons element by element. Their results are tensors of booleans, without gradients."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tinycnn.ops import comparison
from tinycnn.tensor_methods.facts import Facts

if TYPE_CHECKING:
    from tinycnn.tensor import Tensor


class Comparison(Facts):
    """Comparison operators with tensors, arrays and numbers."""

    __slots__ = ()
    __hash__ = object.__hash__  # a class with __eq__ has none otherwise; tensors are keys of the engine's dicts

    def __eq__(self, other: Any) -> Tensor:  # type: ignore[override]
        return comparison.Equal.apply(self, other)

    def __ne__(self, other: Any) -> Tensor:  # type: ignore[override]
        return comparison.NotEqual.apply(self, other)

    def __lt__(self, other: Any) -> Tensor:
        return comparison.Less.apply(self, other)

    def __le__(self, other: Any) -> Tensor:
        return comparison.LessEqual.apply(self, other)

    def __gt__(self, other: Any) -> Tensor:
        return comparison.Greater.apply(self, other)

    def __ge__(self, other: Any) -> Tensor:
        return comparison.GreaterEqual.apply(self, other)
