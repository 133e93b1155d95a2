"""The vocabulary of an assignment's tests: :class:`Student`, :class:`Check` and diagnosis of wrong answers.

A test is a function ``name(student, rng, check)``. It runs in the grader: it draws inputs from ``rng``, calls the
student's functions as ``student.function(...)``, which run in a process of their own and return plain arrays, and
compares by ``check``. The first line of its docstring is all that students are told of a hidden test.
"""

from __future__ import annotations

import builtins
import contextlib
import runpy
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np

from tinycnn.assign.diagnosis import diagnose
from tinycnn.assign.sandbox import GraderError, Sandbox, StudentError

_TOLERANCE = {4: 1e-4, 8: 1e-7}  # by the bytes of the smaller float type


class Wrong(Exception):
    """An answer that is not right.

    Attributes
    ----------
    text : str
        Everything: for public tests.
    brief : str
        Without inputs and expected values: for hidden tests.
    hint : str
        The likely mistake; may be empty.
    """

    def __init__(self, text: str, brief: str, hint: str = "") -> None:
        super().__init__(text)
        self.text, self.brief, self.hint = text, brief, hint


@dataclass
class Call:
    """A call of a function: its name and arguments."""

    function: str
    arguments: tuple[Any, ...]
    options: dict[str, Any]

    def __str__(self) -> str:
        parts = [*map(describe, self.arguments), *(f"{name}={describe(v)}" for name, v in self.options.items())]
        return f"{self.function}({', '.join(parts)})"


class Student:
    """The functions of the student and of the adapter, called as if they were local: ``student.conv2d(x, weight)``."""

    def __init__(self, sandbox: Sandbox) -> None:
        self._sandbox = sandbox
        self.last_call = Call("", (), {})

    def restart(self) -> None:
        """Continue in a new process, without any state of earlier calls."""
        self._sandbox.close()

    def __getattr__(self, name: str) -> Callable[..., Any]:
        if name.startswith("__"):
            raise AttributeError(name)

        def call(*arguments: Any, **options: Any) -> Any:
            self.last_call = Call(name, arguments, options)
            value = self._sandbox.ask(name, *arguments, **options)
            if self._sandbox.changed:
                raise Wrong(
                    f"{self.last_call} changed its argument number {self._sandbox.changed[0] + 1}",
                    f"{name} changed one of its arguments",
                    "mutated input: work on a copy, or write into a new array",
                )
            return value

        return call


@dataclass
class Check:
    """Comparisons; each raises :class:`Wrong` where an answer is not right."""

    student: Student
    failures: list[Exception] = field(default_factory=list)
    parts: int = 0
    leaderboard: list[dict[str, Any]] = field(default_factory=list)

    @contextlib.contextmanager
    def part(self) -> Iterator[None]:
        """Begin a part of a test: parts have equal shares of its points, and the others continue if one fails."""
        self.parts += 1
        try:
            yield
        except Exception as error:
            if isinstance(error, GraderError) or (isinstance(error, StudentError) and error.fatal):
                raise
            self.failures.append(error)

    def close(
        self, got: Any, expected: Any, wrong: Mapping[str, Any] | None = None, tolerance: float | None = None
    ) -> None:
        """Check that the numbers agree to rounding, in an array of the same shape.

        Parameters
        ----------
        got, expected : array_like
        wrong : mapping of str to array or callable, optional
            Typical mistakes in words, and the value that each gives.
        tolerance : float, optional
            Largest difference, as a share of the largest expected value; the default depends on the dtypes.
        """
        expected, call = np.asarray(expected), self.student.last_call
        array = self._numbers(got)
        off = np.ones(expected.shape, bool)
        if array.shape == expected.shape:
            smaller = min((max(a.dtype.itemsize, 4) for a in (array, expected) if a.dtype.kind == "f"), default=8)
            allowed = (_TOLERANCE[smaller] if tolerance is None else tolerance) * _scale(expected)
            with np.errstate(invalid="ignore"):  # values that are not finite are off
                off = ~(np.abs(array.astype(np.float64) - expected) <= allowed)
            if not off.any():
                return
        inputs = (*call.arguments, *call.options.values())
        hint = diagnose(array.astype(np.float64), expected.astype(np.float64), inputs, wrong)
        brief = f"{call.function} {_share(array, expected, off)}"
        raise Wrong(f"{call} {_difference(array, expected, off)}", brief, hint)

    def _numbers(self, got: Any) -> np.ndarray:
        """Return an array of numbers, or raise :class:`Wrong`."""
        call = self.student.last_call
        number = isinstance(got, (int, float)) and not isinstance(got, bool)
        if not (number or (isinstance(got, np.ndarray) and got.dtype.kind in "iuf")):
            hint = "is there a return at its end?" if got is None else ""
            text = f"returned {describe(got)}, expected an array of numbers"
            raise Wrong(f"{call} {text}", f"{call.function} {text}", hint)
        return np.asarray(got)

    def equal(self, got: Any, expected: Any, wrong: Mapping[str, Any] | None = None, what: str = "") -> None:
        """Check for the same whole numbers, words or sequences of them, exactly; a float is not a whole number.

        ``what`` names the compared quantity if it is not the value itself, such as "the number of arrays".
        """
        if _plain(got) == _plain(expected) and _kinds(got) == _kinds(expected):
            return
        call, hint = self.student.last_call, ""
        for words, value in (wrong or {}).items():
            if _plain(got) == _plain(value):
                hint = words
        if not hint and isinstance(got, float) and not isinstance(expected, float):
            hint = "a float where a whole number is wanted: // rounds down to one"
        elif not hint and _is_number(got) and _is_number(expected) and abs(got - expected) == 1:
            hint = "off by one"
        text = f"{call}{f': {what} is' if what else ' returned'} {describe(got)}, expected {describe(expected)}"
        raise Wrong(text, f"{call.function}{f': {what} is not right' if what else ' returned another value'}", hint)

    def refuses(self, function: Callable[..., Any], *arguments: Any, **options: Any) -> None:
        """Check that the student's function raises ValueError. Only beside a call that it must not refuse."""
        try:
            value = function(*arguments, **options)
        except StudentError as error:
            if error.kind == "ValueError":
                return
            raise
        call = self.student.last_call
        raise Wrong(
            f"{call} returned {describe(value)}, expected a ValueError", f"{call.function} takes what it must refuse"
        )

    def rank(self, name: str, value: float, order: str = "desc") -> None:
        """Add an entry to the leaderboard; "asc" if less is better."""
        self.leaderboard.append({"name": name, "value": value, "order": order})

    def true(self, holds: Any, text: str, hint: str = "") -> None:
        """Check that a property holds; ``text`` names the failure, without values."""
        if not holds:
            raise Wrong(text, text, hint)


def beside(file: str, name: str) -> SimpleNamespace:
    """Return a definition in another file of the same folder: ``beside(__file__, "public.py")`` in hidden tests."""
    return SimpleNamespace(**runpy.run_path(str(Path(file).with_name(name)), run_name=name))


def numeric_gradient(function: Callable[[np.ndarray], Any], x: np.ndarray, step: float = 1e-5) -> np.ndarray:
    """Return central differences of a function's value (a number), for each element of x."""
    gradient = np.empty_like(x)
    for place in np.ndindex(*x.shape):
        values = []
        for sign in (1, -1):
            moved = x.copy()
            moved[place] += sign * step
            values.append(float(function(moved)))
        gradient[place] = (values[0] - values[1]) / (2 * step)
    return gradient


def describe(value: Any) -> str:
    """Return a value in a few words.

    >>> describe(np.zeros((2, 3))), describe(4), describe((1, 2))
    ('array (2, 3) float64', '4', '(1, 2)')
    """
    if isinstance(value, np.ndarray):
        return f"array {value.shape} {value.dtype}" if value.ndim else str(value)
    if isinstance(value, (list, tuple)) and any(isinstance(part, np.ndarray) for part in value):
        inner = ", ".join(map(describe, value)) if len(value) <= 3 else f"{len(value)} arrays"
        return f"[{inner}]" if isinstance(value, list) else f"({inner})"
    text = repr(value)
    return text if len(text) <= 120 else f"{text[:117]}..."


def explain(error: Exception, public: bool, allowed: tuple[str, ...], function: str) -> tuple[str, str]:
    """Return the message to a student on a failure, and its hint."""
    if isinstance(error, Wrong):
        return (error.text if public else error.brief), error.hint
    if not isinstance(error, StudentError):  # the test failed on the value that it was given
        return (
            f"what {function} returned cannot be used: {error}" if public else f"{function} returned the wrong kind"
        ), ""
    where = f" (line {error.line} of your file)" if error.line else ""
    text = f": {error.text}" if error.text and public else ""
    if error.kind == "NotImplementedError":
        return f"{function or 'this'} is not written yet{where}", ""
    if error.kind == "Missing":
        return (error.text if public else f"there is no function {function}"), ""
    if error.kind == "Timeout":
        return f"{function or 'the file'} was stopped: {error.text}", "a loop without an end?"
    if error.kind in ("Died", "Forged", "Unsendable"):
        alone = public and (error.kind == "Unsendable" or not function)
        return (error.text if alone else f"{function or 'the file'}{text or ' failed'}"), ""
    hint = ""
    if error.kind in ("ImportError", "ModuleNotFoundError"):
        hint = f"what may be imported here: the standard library, {', '.join(allowed)}"
    known = error.kind if isinstance(getattr(builtins, error.kind, None), type) else "an error"
    return f"{function or 'importing the file'} raised {known}{text}{where}", hint


def _scale(expected: np.ndarray) -> float:
    """Return the largest expected value; 1 if all are 0."""
    return float(np.abs(expected).max(initial=0.0)) or 1.0


def _difference(got: np.ndarray, expected: np.ndarray, off: np.ndarray) -> str:
    """Return shapes and dtypes, and the first place where two arrays differ."""
    if got.shape != expected.shape:
        return f"returned {describe(got)}, expected shape {expected.shape}"
    if not expected.ndim:
        return f"returned {got.item():.6g}, expected {expected.item():.6g}"
    place = tuple(int(n) for n in np.argwhere(off)[0])
    return (
        f"returned {describe(got)}; it differs first at [{', '.join(map(str, place))}]: "
        f"yours {got[place]:.6g}, expected {expected[place]:.6g} ({_percent(off)} of {off.size} differ)"
    )


def _share(got: np.ndarray, expected: np.ndarray, off: np.ndarray) -> str:
    if got.shape != expected.shape:
        return "returned an array of another shape"
    return f"returned other values ({_percent(off)} of them)"


def _percent(off: np.ndarray) -> str:
    share = 100 * off.mean()
    return f"{share:.0f} %" if share >= 1 else "less than 1 %"


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _plain(value: Any) -> Any:
    """Return sequences as lists, NumPy's numbers as Python's."""
    if isinstance(value, (np.ndarray, np.generic)):
        return value.tolist()
    return [_plain(part) for part in value] if isinstance(value, (list, tuple)) else value


def _kinds(value: Any) -> Any:
    plain = _plain(value)
    return [_kinds(part) for part in plain] if isinstance(plain, list) else type(plain)
