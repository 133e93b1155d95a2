"""Conversion of the instructor's master to the student's stub and to mutants.

Markers are nbgrader's: the lines between ``### BEGIN SOLUTION`` and ``### END SOLUTION`` become
``raise NotImplementedError()`` in the stub, or a comment if they are not indented. One more marker: the stub gets the
commented lines after ``### INSTEAD`` in that place, for code with a fault to be found.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from tinycnn.assign.task import AssignmentError, Mutant

_MARKER = re.compile(r"(\s*)#+\s*(BEGIN SOLUTION|END SOLUTION|INSTEAD)\s*")
_SHORTEST = 12  # characters: shorter lines, such as `return out`, give nothing away


@dataclass
class _Region:
    """A solution: its first line, its indentation, its lines, and the lines that replace them."""

    line: int
    indent: str
    solution: list[str]
    instead: list[str] | None = None

    def stub(self) -> list[str]:
        if self.instead is not None:
            return [re.sub(r"^(\s*)# ?", r"\1", line) for line in self.instead]
        lines = [f"{self.indent}# YOUR CODE HERE"]
        return [*lines, f"{self.indent}raise NotImplementedError()"] if self.indent else lines


def _parse(text: str, name: str) -> list[str | _Region]:
    """Return lines and regions in their order."""
    parts: list[str | _Region] = []
    inside: _Region | None = None
    for number, line in enumerate(text.splitlines(), 1):
        marker = _MARKER.fullmatch(line)
        kind = marker[2] if marker else None
        if kind == "BEGIN SOLUTION" and marker:
            if inside:
                raise AssignmentError(f"{name}: line {number} begins a solution inside that of line {inside.line}")
            inside = _Region(number, marker[1], [])
            parts.append(inside)
        elif kind and not inside:
            raise AssignmentError(f"{name}: line {number} has {kind} without BEGIN SOLUTION before it")
        elif kind == "INSTEAD" and inside:
            inside.instead = []
        elif kind == "END SOLUTION":
            inside = None
        elif inside:
            (inside.solution if inside.instead is None else inside.instead).append(line)
        else:
            parts.append(line)
    if inside:
        raise AssignmentError(f"{name}: the solution that begins in line {inside.line} has no END SOLUTION")
    if not any(isinstance(part, _Region) for part in parts):
        raise AssignmentError(f"{name}: there is no BEGIN SOLUTION in it")
    return parts


def stub(text: str, name: str = "master") -> str:
    """Return the stub that students get: the master without its solutions.

    Raises
    ------
    AssignmentError
        If markers are missing, unbalanced or nested.

    Examples
    --------
    >>> print(stub('''def double(x):
    ...     ### BEGIN SOLUTION
    ...     return 2 * x
    ...     ### END SOLUTION'''))
    def double(x):
        # YOUR CODE HERE
        raise NotImplementedError()
    <BLANKLINE>
    """
    lines: list[str] = []
    for part in _parse(text, name):
        lines += part.stub() if isinstance(part, _Region) else [part]
    return "\n".join(lines) + "\n"


def secret_lines(text: str, name: str = "master") -> set[str]:
    """Return the lines of solutions that no student may find: those that are informative and occur nowhere else in
    the master.
    """
    parts = _parse(text, name)
    shown = {line.strip() for part in parts for line in (part.stub() if isinstance(part, _Region) else [part])}
    solved = {line.strip() for part in parts if isinstance(part, _Region) for line in part.solution}
    return {line for line in solved - shown if len(line) >= _SHORTEST and not line.startswith("#")}


def leaks(text: str, name: str, files: dict[str, str]) -> list[str]:
    """Return messages on files that show secret lines of a master: lines of code, also in comments, and passages of
    texts.
    """
    found = []
    for file, content in files.items():
        lines = {line.strip().lstrip("# ") for line in content.splitlines()}
        shown = lines if file.endswith(".py") else content
        found += [(file, line) for line in sorted(secret_lines(text, name)) if line in shown]
    return [f"{file} would show a line of the solution: {line!r}" for file, line in found]


def mutated(text: str, mutant: Mutant) -> str:
    """Return the master with a mutant's passage replaced.

    Raises
    ------
    AssignmentError
        If the passage is not in the master exactly once, or nothing changes.
    """
    count = text.count(mutant.find)
    if count != 1 or mutant.find == mutant.replace:
        raise AssignmentError(f"mutant {mutant.name!r}: {mutant.find!r} is {count} times in the master, expected once")
    return text.replace(mutant.find, mutant.replace)
