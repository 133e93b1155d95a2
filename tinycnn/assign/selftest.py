"""The grader graded: every solution has full marks, every stub none, every mutant what it should, every attack none."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from tinycnn.assign import master
from tinycnn.assign.grading import Draw, Report, grade
from tinycnn.assign.submission import Submission
from tinycnn.assign.task import Task


@dataclass
class Row:
    """One submission with a known grade."""

    task: str
    kind: str
    name: str
    expected: int
    score: int
    seconds: float
    remark: str = ""

    @property
    def good(self) -> bool:
        """Whether it got what it should."""
        return self.score == self.expected and not self.remark


def solution_and_mutants(task: Task, draw: Draw) -> Iterator[Row]:
    """The master, its stub and its mutants."""
    text = task.master.read_text(encoding="utf-8")
    full = task.automatic_points
    yield _row(task, "solution", task.file, full, _graded(task, text, draw))
    yield _row(task, "stub", task.file, 0, _graded(task, master.stub(text), draw))
    for mutant in task.mutants:
        report = _graded(task, master.mutated(text, mutant), draw)
        row = _row(task, "mutant", mutant.name, full - sum(mutant.loses.values()), report)
        if report.lost() != mutant.loses:
            row.remark = f"loses {_toml(report.lost())}, expected {_toml(mutant.loses)}"
        elif mutant.says and not any(mutant.says in result.hint for result in report.results):
            hints = "; ".join(sorted({result.hint for result in report.results} - {""}))
            row.remark = f"feedback does not say {mutant.says!r}, but {hints!r}"
        yield row


def _toml(table: dict[str, int]) -> str:
    return "{ " + ", ".join(f"{name} = {value}" for name, value in table.items()) + " }"


def _graded(task: Task, text: str, draw: Draw) -> Report:
    return grade(task, Submission("selftest", text.encode()), draw)


def _row(task: Task, kind: str, name: str, expected: int, report: Report) -> Row:
    row = Row(task.number, kind, name, expected, report.score, report.seconds)
    if row.score != expected:
        row.remark = "; ".join([*report.notes, *(f"{r.name}: {r.text}" for r in report.results if r.text)])[:600]
    return row
