"""A product with a constant matrix as a list of additions and multiplications, as few as are easily found.

Zeros of the matrix cost nothing, ones no multiplication. Two columns that differ in signs only are replaced by the sum
and the difference of their lines; two rows that differ in signs only share their partial sums.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

ADD, SUBTRACT, SCALE, MULTIPLY_ADD = range(4)

Matrix = Sequence[Sequence[float]]


class Step(NamedTuple):
    """An operation on the lines of two numbers: ``a + b``, ``a - b``, ``factor * a`` or ``factor * a + b``."""

    operation: int
    a: int
    b: int = 0
    factor: float = 1.0


class Program(NamedTuple):
    """Steps, each of which makes one line more, and the numbers of the lines that are the product.

    The lines are numbered: first those that the matrix is multiplied by, then one for each step.
    """

    steps: list[Step]
    results: list[int]


def program_of(matrix: Matrix) -> Program:
    """Return the program of ``matrix @ lines``.

    >>> program_of([[1, 1], [1, -1]])
    Program(steps=[Step(operation=0, a=0, b=1, factor=1.0), Step(operation=1, a=0, b=1, factor=1.0)], results=[2, 3])
    """
    writer = _Writer(len(matrix[0]))
    return Program(writer.steps, writer.product(matrix))


class _Writer:
    """The steps written so far."""

    def __init__(self, inputs: int) -> None:
        self.inputs, self.steps = inputs, list[Step]()

    def write(self, operation: int, a: int, b: int = 0, factor: float = 1.0) -> int:
        """Write a step and return the number of its line."""
        self.steps.append(Step(operation, a, b, float(factor)))
        return self.inputs + len(self.steps) - 1

    def product(self, matrix: Matrix) -> list[int]:
        """Write matrix @ lines. Rows that differ in signs only share their sums, columns the sums of their lines."""
        matrix, lines = self.fold_columns(matrix)
        results: dict[int, int] = {}
        for i, row in enumerate(matrix):
            mate = next((k for k in range(i + 1, len(matrix)) if k not in results and _are_mates(row, matrix[k])), None)
            if i in results:
                continue
            if mate is None:
                results[i] = self.combination(row, lines)
                continue
            same, opposite = (
                self.combination([a if a == sign * b else 0 for a, b in zip(row, matrix[mate])], lines)
                for sign in (1, -1)
            )
            results[i], results[mate] = self.write(ADD, same, opposite), self.write(SUBTRACT, same, opposite)
        return [results[i] for i in range(len(matrix))]

    def fold_columns(self, matrix: Matrix) -> tuple[Matrix, list[int]]:
        """Return the same product by lines a + b and a - b, for two columns that differ in signs only."""
        columns, lines = [list(column) for column in zip(*matrix)], list(range(self.inputs))
        for j in range(len(columns)):
            for k in range(j + 1, len(columns)):
                if _are_mates(columns[j], columns[k]):
                    pairs = list(zip(columns[j], columns[k]))
                    columns[j], columns[k] = ([a if a == sign * b else 0 for a, b in pairs] for sign in (1, -1))
                    lines[j], lines[k] = self.write(ADD, lines[j], lines[k]), self.write(SUBTRACT, lines[j], lines[k])
        return list(zip(*columns)), lines

    def combination(self, coefficients: Sequence[float], lines: list[int]) -> int:
        """Write the sum of coefficient * line. Additions of a line itself come first."""
        terms = sorted(((k, line) for k, line in zip(coefficients, lines) if k), key=lambda term: term[0] != 1)
        (first, total), rest = terms[0], terms[1:]
        if first != 1:
            total = self.write(SCALE, total, factor=first)
        for k, line in rest:
            if abs(k) == 1:
                total = self.write(ADD if k > 0 else SUBTRACT, total, line)
            else:
                total = self.write(MULTIPLY_ADD, line, total, k)
        return total


def _are_mates(a: Sequence[float], b: Sequence[float]) -> bool:
    """Return True if two lists of coefficients differ in the signs of some of them, and agree in others."""
    return all(abs(x) == abs(y) for x, y in zip(a, b)) and any(x == y != 0 for x, y in zip(a, b)) and a != b
