"""Experiments: a grid of cells, each measured once, kept in a CSV file, and drawn.

An experiment is a script in ``lessons/experiments/`` that defines ``EXPERIMENT``. Every option is a list of values;
their product is the grid. Results are written after each cell, so that an interrupted run continues from there.
"""

from __future__ import annotations

import csv
import io
import itertools
import runpy
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from tinycnn.errors import DataError, unknown_name
from tinycnn.files.atomic import atomic_write
from tinycnn.lesson.report import FAST
from tinycnn.lesson.source import folder as lessons_folder

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Cell = dict[str, Any]
Rows = list[dict[str, Any]]
RESULTS = "results.csv"


@dataclass(frozen=True)
class Option:
    """An axis of the grid: its values, those of the fast mode, and its meaning."""

    values: tuple[Any, ...]
    fast: tuple[Any, ...]
    help: str


@dataclass(frozen=True)
class Experiment:
    """A study.

    Parameters
    ----------
    about : str
        One line.
    grid : dict of name to Option
    measure : callable
        Return rows of numbers for a cell; they depend only on the cell.
    draw : callable
        Return figures by name, from the rows of all cells.
    summary : tuple of str
        Columns to print: mean and standard deviation over seeds, of each cell's last row.
    cost : callable
        The relative time of a cell, for the estimate of the time left.
    """

    about: str
    grid: dict[str, Option]
    measure: Callable[[Cell], Rows]
    draw: Callable[[Rows], dict[str, Figure]]
    summary: tuple[str, ...]
    cost: Callable[[Cell], float] = field(default=lambda cell: 1.0)

    def cells(self, fast: bool = FAST, **values: Iterable[Any]) -> list[Cell]:
        """Return the cells of the grid; given values replace the options' own."""
        for name in values:
            if name not in self.grid:
                raise unknown_name("option", name, self.grid)
        axes = [values.get(name, option.fast if fast else option.values) for name, option in self.grid.items()]
        return [dict(zip(self.grid, place)) for place in itertools.product(*axes)]

    def run(self, cells: list[Cell], folder: Path | None = None, report: Callable[[str], Any] = print) -> Rows:
        """Measure the cells that are not in the folder's CSV file yet, and return the rows of all.

        Parameters
        ----------
        cells : list of dict
        folder : Path, optional
            The folder for results; without it they are only returned.
        report : callable
            It is called with a line after each cell.

        Raises
        ------
        DataError
            If the file there belongs to another experiment.
        """
        path = folder / RESULTS if folder else None
        kept = self._read(path) if path and path.exists() else []
        done = {self._key(row) for row in kept}
        left = [cell for cell in cells if self._key(cell) not in done]
        if len(left) < len(cells):
            report(f"{len(cells) - len(left)} of {len(cells)} cells are measured already")
        start, spent, total = time.perf_counter(), 0.0, sum(map(self.cost, left))
        for number, cell in enumerate(left, 1):
            begin = time.perf_counter()
            kept += [_through_text(cell | row) for row in self.measure(cell)]
            if path:
                _write(path, kept)
            now, spent = time.perf_counter(), spent + self.cost(cell)
            rest = _duration((now - start) * (total - spent) / spent)
            report(f"[{number}/{len(left)}] {self.describe(cell, cells)}: {now - begin:.1f} s, about {rest} left")
        wanted = {self._key(cell): place for place, cell in enumerate(cells)}
        chosen = [row for row in kept if self._key(row) in wanted]
        return sorted(chosen, key=lambda row: wanted[self._key(row)])

    def describe(self, cell: Cell, cells: list[Cell]) -> str:
        """Return a cell in words: the options that differ between cells."""
        return self._words(cell, self._varied(cells))

    def table(self, rows: Rows) -> list[str]:
        """Return the summary in lines: each combination of options with the mean and standard deviation over its
        seeds.
        """
        last = {self._key(row): row for row in rows}  # the last row of a cell stays
        varied = self._varied([row | {"seed": 0} for row in last.values()])
        groups: dict[str, dict[str, dict[str, Any]]] = {}
        for key, row in last.items():
            groups.setdefault(self._words(row | {"seed": 0}, varied), {})[key] = row
        lines = []
        for name, runs in groups.items():
            numbers = [(column, [row[column] for row in runs.values()]) for column in self.summary]
            parts = [f"{column} {np.mean(values):.4g} +- {np.std(values):.2g}" for column, values in numbers]
            lines.append(f"{name}: {', '.join(parts)} ({len(runs)} {'run' if len(runs) == 1 else 'runs'})")
        return lines

    def _varied(self, cells: Rows) -> list[str]:
        return [name for name in self.grid if len({str(cell[name]) for cell in cells}) > 1] or [*self.grid]

    @staticmethod
    def _words(cell: Cell, names: list[str]) -> str:
        return ", ".join(f"{name} {cell[name]}" for name in names)

    def _key(self, row: dict[str, Any]) -> str:
        return " ".join(_text(row[name]) for name in self.grid)

    def _read(self, path: Path) -> Rows:
        with path.open(encoding="utf-8", newline="") as file:
            rows: Rows = [{name: _value(text) for name, text in row.items()} for row in csv.DictReader(file)]
        if rows and not self.grid.keys() <= rows[0].keys():
            missing = ", ".join(self.grid.keys() - rows[0].keys())
            raise DataError(f"{path} has no column {missing}: it is of another experiment; choose another --out")
        return rows


def names() -> list[str]:
    """Return the names of all experiments."""
    return sorted(path.stem for path in (lessons_folder() / "experiments").glob("[a-z]*.py"))


def load(name: str) -> Experiment:
    """Load an experiment by name.

    Raises
    ------
    UnknownNameError
        If it does not exist, with the nearest names.
    """
    if name not in names():
        raise unknown_name("experiment", name, names())
    return runpy.run_path(str(lessons_folder() / "experiments" / f"{name}.py"), run_name=name)["EXPERIMENT"]


def _text(value: Any) -> str:
    return f"{value:.9g}" if isinstance(value, (float, np.floating)) else str(value)


def _value(text: str) -> Any:
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            pass
    return text


def _through_text(row: dict[str, Any]) -> dict[str, Any]:
    """Return a row as it will be read back: the same figures whether measured now or earlier."""
    return {name: _value(_text(value)) for name, value in row.items()}


def _write(path: Path, rows: Rows) -> None:
    text = io.StringIO(newline="")
    writer = csv.DictWriter(text, list(rows[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows({name: _text(value) for name, value in row.items()} for row in rows)
    path.parent.mkdir(parents=True, exist_ok=True)
    with atomic_write(path) as file:
        file.write(text.getvalue().encode())


def _duration(seconds: float) -> str:
    return f"{seconds:.0f} s" if seconds < 100 else f"{seconds / 60:.0f} min"
