"""The grader graded: every solution has full marks, every stub none, every mutant what it should, every attack none."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from tinycnn.assign import attacks, master, submission
from tinycnn.assign.grading import Draw, Report, grade
from tinycnn.assign.submission import Submission
from tinycnn.assign.task import Task

DRAW = Draw(b"selftest", "selftest")
_QUICKLY = 1.0  # seconds for each call, where most calls will never end


@dataclass
class Row:
    """One submission with a known grade.

    ``remark`` says what is wrong, ``skipped`` why it was not tried.
    """

    task: str
    kind: str
    name: str
    expected: int
    score: int = 0
    seconds: float = 0.0
    remark: str = ""
    skipped: str = ""

    @property
    def good(self) -> bool:
        """Whether it got what it should, or could not be tried here."""
        return not self.remark and (bool(self.skipped) or self.score == self.expected)


def solution_and_mutants(task: Task) -> Iterator[Row]:
    """The master, its stub and its mutants."""
    text = task.master.read_text(encoding="utf-8")
    full = task.automatic_points
    yield _row(task, "solution", task.file, full, _graded(task, text))
    yield _row(task, "stub", task.file, 0, _graded(task, master.stub(text)))
    for mutant in task.mutants:
        report = _graded(task, master.mutated(text, mutant))
        row = _row(task, "mutant", mutant.name, full - sum(mutant.loses.values()), report)
        if report.lost() != mutant.loses:
            row.remark = f"loses {_toml(report.lost())}, expected {_toml(mutant.loses)}"
        elif mutant.says and not any(mutant.says in result.hint for result in report.results):
            hints = "; ".join(sorted({result.hint for result in report.results} - {""}))
            row.remark = f"feedback does not say {mutant.says!r}, but {hints!r}"
        yield row


def attacked(task: Task, hostile: bool = True, slow: bool = True) -> Iterator[Row]:
    """Attacks, each of which must get no points; after them the grader must be as it was, and grade as it did.

    Parameters
    ----------
    task : Task
    hostile : bool
        Also those that do something; otherwise only those that answer without work.
    slow : bool
        Also those that run until they are stopped.
    """
    quick = replace(task, seconds=_QUICKLY)
    with tempfile.TemporaryDirectory(prefix="tinycnn-") as place:
        folder = Path(place) / "home"  # looks like a neighbour's, with the solution in it
        folder.mkdir()
        (folder / task.file).write_bytes(task.master.read_bytes())
        canary, held = attacks.canary(), _graded(task, "").protections
        families = [attacks.lazy, *([attacks.hostile, attacks.smuggled, attacks.by_heart] if hostile else [])]
        for attack in (attack for family in families for attack in family(task, folder)):
            row = Row(task.number, "attack", attack.name, 0)
            if attack.needs and attack.needs not in held:
                row.skipped = f"this platform has no protection of the kind {attack.needs!r}"
            elif slow or attack.path.name not in attacks.SLOW:
                report = grade(quick, submission.read(attack.path, task, DRAW.student), DRAW)
                row = _row(task, "attack", attack.name, 0, report)
                row.remark = row.remark or _harm(canary)
            else:
                continue
            yield row
        canary.unlink()
    if hostile:
        yield _row(
            task, "after", "the solution again", task.automatic_points, _graded(task, task.master.read_text("utf-8"))
        )


def _harm(canary: Path) -> str:
    """What an attack left behind; empty if nothing."""
    if not canary.is_file() or canary.read_text("utf-8") != "alive":
        return f"{canary} was changed"
    places = {canary.parent, Path("/tmp"), Path("/var/tmp"), Path("/dev/shm")}
    left = [path for place in places for path in place.glob("tinycnn-attack*")]
    left += [path for path in Path("/proc").glob("[0-9]*/cmdline") if _is_stray(path)]
    return f"left behind: {', '.join(map(str, left))}" if left else ""


def _is_stray(path: Path) -> bool:
    """Whether a process is a child of a grader that has ended it, or descends from one."""
    try:
        return b"child.py" in (text := path.read_bytes()) and f"-of-{os.getpid()}-".encode() in text
    except OSError:
        return False


def _toml(table: dict[str, int]) -> str:
    return "{ " + ", ".join(f"{name} = {value}" for name, value in table.items()) + " }"


def _graded(task: Task, text: str) -> Report:
    return grade(task, Submission(DRAW.student, text.encode()), DRAW)


def _row(task: Task, kind: str, name: str, expected: int, report: Report) -> Row:
    row = Row(task.number, kind, name, expected, report.score, report.seconds)
    if row.score != expected:
        failed = [f"{result.name}: {result.text}" for result in report.results if result.text]
        passed = [f"{result.name} has {result.score} points" for result in report.results if result.score]
        row.remark = "; ".join([*report.notes, *(failed if expected else passed)])[:600]
    return row
