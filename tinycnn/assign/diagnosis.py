"""Diagnosis of wrong answers by the signature that a typical mistake leaves in the numbers."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np

Array = np.ndarray
_MOST_AXES = 4
_EQUAL = 1e-6  # of the largest value


def diagnose(got: Array, expected: Array, inputs: Sequence[Any] = (), wrong: Mapping[str, Any] | None = None) -> str:
    """Return the first signature that fits, in words; empty if none does.

    Parameters
    ----------
    got, expected : ndarray
        They differ.
    inputs : sequence
        The arguments of the student's function; arrays among them explain factors and missing terms.
    wrong : mapping of str to array or callable, optional
        Typical mistakes that the test knows: in words, and the value that each gives.
    """
    for words, value in (wrong or {}).items():
        if _same(got, np.asarray(value() if callable(value) else value)):
            return words
    arrays = [np.asarray(value) for value in inputs if isinstance(value, np.ndarray)]
    looks: tuple[Callable[[Array, Array, list[Array]], Iterator[str]], ...]
    looks = (_not_finite, _other_shape) if got.shape != expected.shape or not np.isfinite(got).all() else (
        _constant,
        _factor,
        _rearranged,
        _reordered,
        _missing_term,
        _shifted,
        _only_border,
        _almost,
    )  # fmt: skip
    return next((words for look in looks for words in look(got, expected, arrays)), "")


def _same(one: Array, other: Array) -> bool:
    if one.shape != other.shape or not np.isfinite(other).all():
        return False
    scale = np.abs(other).max(initial=0.0)
    return bool(np.abs(one - other).max(initial=0.0) <= _EQUAL * scale) and scale > 0


def _not_finite(got: Array, expected: Array, inputs: list[Array]) -> Iterator[str]:
    if got.shape == expected.shape and np.isfinite(expected).all():
        kind = "NaN" if np.isnan(got).any() else "infinity"
        large = any(a.size and np.abs(a).max() > 80 for a in inputs if a.dtype.kind == "f")
        yield (
            f"{kind} where the answer is finite: an overflow in exp? Subtract the largest value first"
            if large
            else f"{kind} where the answer is finite: a division by 0, or a logarithm of 0?"
        )


def _other_shape(got: Array, expected: Array, inputs: list[Array]) -> Iterator[str]:
    if got.shape == expected.shape:
        return
    if got.size == expected.size and got.ndim == expected.ndim:
        for axes in itertools.permutations(range(got.ndim)) if got.ndim <= _MOST_AXES else ():
            if _same(got.transpose(axes), expected):
                yield "the values are right, but axes are swapped: transposed"
        yield "axes are swapped: transposed"
    elif got.ndim == expected.ndim:
        off = {a - b for a, b in zip(got.shape, expected.shape) if a != b}
        if off == {1} or off == {-1}:
            yield f"one element too {'many' if off == {1} else 'few'}: is the size rounded down, and the padding right?"
        elif len(off) == 1 and not next(iter(off)) % 2:
            yield "the size is off by an even number: padding that was forgotten, or counted twice?"
    elif got.size == expected.size:
        yield f"the values may be right, but the shape is {got.shape}, expected {expected.shape}"


def _constant(got: Array, expected: Array, inputs: list[Array]) -> Iterator[str]:
    if got.size > 1 and not np.any(got):
        yield "0 everywhere: is the result computed, and returned?"
    elif any(_same(got, a) for a in inputs):
        yield "it is an input, unchanged"


def _factor(got: Array, expected: Array, inputs: list[Array]) -> Iterator[str]:
    denominator = float(np.vdot(expected, expected).real)
    factor = float(np.vdot(expected, got).real) / denominator if denominator else 0.0
    if math.isclose(factor, 1, rel_tol=1e-3) or not factor or not _same(got, factor * expected):
        return
    if math.isclose(factor, -1, rel_tol=1e-5):
        yield "the sign is wrong"
        return
    batch = inputs[0].shape[0] if inputs and inputs[0].ndim > 1 else 0
    for number, what in ((batch, "the batch size"), *_sizes(inputs, expected)):
        if number > 1 and math.isclose(factor, number, rel_tol=1e-5):
            yield f"{number} times too large, and {number} is {what}: a sum where a mean is wanted?"
        elif number > 1 and math.isclose(factor, 1 / number, rel_tol=1e-5):
            yield f"{number} times too small, and {number} is {what}: a mean where a sum is wanted?"
    if expected.size > 1:
        yield f"all values are {factor:.4g} times what they should be: a factor that is missing, or there twice"


def _sizes(inputs: list[Array], expected: Array) -> Iterator[tuple[int, str]]:
    for array in (*inputs, expected):
        yield array.size, "the number of elements"
        yield math.prod(array.shape[2:]), "the number of places"
        for length in array.shape:
            yield length, "the length of an axis"


def _rearranged(got: Array, expected: Array, inputs: list[Array]) -> Iterator[str]:
    if not 1 <= got.ndim <= _MOST_AXES:
        return
    for axes in itertools.permutations(range(got.ndim)):
        moved = got.transpose(axes)
        if axes != tuple(range(got.ndim)) and moved.shape == expected.shape and _same(moved, expected):
            yield "the values are right, but axes are swapped: transposed"
    for count in range(1, got.ndim + 1):
        for which in itertools.combinations(range(got.ndim), count):
            if _same(np.flip(got, which), expected):
                yield "the values are right, but in reverse order: flipped"


def _missing_term(got: Array, expected: Array, inputs: list[Array]) -> Iterator[str]:
    difference = expected - got
    for array in inputs:
        for axis in range(expected.ndim) if array.ndim == 1 else ():
            if array.size != expected.shape[axis] or array.size < 2:
                continue
            term = np.broadcast_to(
                np.expand_dims(array, [n for n in range(expected.ndim) if n != axis]), expected.shape
            )
            if _same(difference, term):
                yield "a term for each channel is missing: the bias?"
            elif _same(-difference, term):
                yield "a term for each channel is there twice: the bias?"
        if array.shape == expected.shape and _same(difference, array):
            yield "one of the inputs is missing in the sum: something overwritten rather than accumulated?"
    if expected.size > 1 and expected.ndim and np.ptp(difference) <= _EQUAL * np.abs(expected).max(initial=0.0):
        yield f"all values are off by {-float(difference.flat[0]):.4g}"


def _reordered(got: Array, expected: Array, inputs: list[Array]) -> Iterator[str]:
    if got.size > 3 and _same(np.sort(got, axis=None), np.sort(expected, axis=None)):
        yield "the right values in the wrong places: which axis runs fastest?"


def _shifted(got: Array, expected: Array, inputs: list[Array]) -> Iterator[str]:
    axes = [axis for axis in range(expected.ndim)[-2:] if expected.shape[axis] > 3]
    for moves in itertools.product((0, 1, -1, 2, -2), repeat=len(axes)):
        ahead, behind = [slice(None)] * expected.ndim, [slice(None)] * expected.ndim
        for axis, move in zip(axes, moves):
            ahead[axis], behind[axis] = (
                slice(max(move, 0), min(move, 0) or None),
                slice(max(-move, 0), min(-move, 0) or None),
            )
        if any(moves) and _same(got[tuple(ahead)], expected[tuple(behind)]):
            yield f"shifted by {', '.join(str(abs(m)) for m in moves)}: is the padding the same at both ends?"


def _only_border(got: Array, expected: Array, inputs: list[Array]) -> Iterator[str]:
    if expected.ndim >= 2 and min(expected.shape[-2:]) > 2:
        inner = (..., slice(1, -1), slice(1, -1))
        if _same(got[inner], expected[inner]):
            yield "right inside and wrong at the border: look at the padding"


def _almost(got: Array, expected: Array, inputs: list[Array]) -> Iterator[str]:
    if np.abs(got - expected).max(initial=0.0) < 1e-3 * np.abs(expected).max(initial=0.0):
        yield "almost right: is something rounded, to float32 perhaps, or a small term (eps) in the wrong place?"
