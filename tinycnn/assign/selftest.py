"""A test of the grader: every solution has full marks, every stub none, every mutant its known points, every attack
none.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from tinycnn.assign import attacks, master, submission
from tinycnn.assign.grading import Draw, Report, grade
from tinycnn.assign.submission import Submission
from tinycnn.assign.task import Mutant, Task

DRAW = Draw(b"selftest", "selftest")
_QUICKLY = 1.0  # seconds for each call, where most calls will never end


@dataclass
class Row:
    """One submission with a known grade.

    ``remark`` is the fault, ``skipped`` the reason why it was not tried.
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
        """True if it got the expected grade, or could not be tried here."""
        return not self.remark and (bool(self.skipped) or self.score == self.expected)


HOSTILE = ("A3", "A9")  # an assignment on NumPy alone, and one on tinycnn: the others are graded in the same way
FAST = ("A1", "A2", "A3", "A4", "A7", "A8", "A11", "A13")  # those that need neither a compiler nor a training


def rows(task: Task, hostile: bool | None = None, slow: bool = True) -> Iterator[Row]:
    """Grade every known submission of an assignment.

    Parameters
    ----------
    task : Task
    hostile : bool, optional
        Also with attacks that do something; by default those of :data:`HOSTILE`.
    slow : bool
        Also with attacks that run until they are stopped, and with answers that take no work to every assignment.
    """
    text = task.master.read_text(encoding="utf-8")
    with tempfile.TemporaryDirectory(prefix="tinycnn-") as place:
        keep = Path(place) / "tinycnn" if "tinycnn" in task.packages else None
        grader = _Grader(task, keep)
        report = grade(task, Submission(DRAW.student, text.encode()), DRAW, keep=keep)
        yield _row(task, "solution", task.file, task.automatic_points, report)
        yield _row(task, "stub", task.file, 0, grader.text(master.stub(text, task.file)))
        for mutant in task.mutants:
            yield _mutant_row(task, mutant, grader.text(master.mutated(text, mutant)))
        hostile = task.number in HOSTILE if hostile is None else hostile
        yield from _attacked(grader, Path(place), hostile, slow)
        if hostile:
            yield _row(task, "after", "the solution again", task.automatic_points, grader.text(text))


@dataclass
class _Grader:
    """A grader of texts and files of one assignment, with compiled kernels kept from the solution's run."""

    task: Task
    framework: Path | None

    def text(self, text: str) -> Report:
        return grade(self.task, Submission(DRAW.student, text.encode()), DRAW, self.framework)

    def quickly(self, path: Path) -> Report:
        tests = tuple(replace(test, seconds=_QUICKLY) for test in self.task.tests)
        quick = replace(self.task, seconds=_QUICKLY, tests=tests)
        return grade(quick, submission.read(path, self.task, DRAW.student), DRAW, self.framework)


def _mutant_row(task: Task, mutant: Mutant, report: Report) -> Row:
    row = _row(task, "mutant", mutant.name, task.automatic_points - sum(mutant.loses.values()), report)
    if report.lost() != mutant.loses:
        row.remark = f"loses {_toml(report.lost())}, expected {_toml(mutant.loses)}"
    elif mutant.says and not any(mutant.says in result.hint for result in report.results):
        hints = "; ".join(sorted({result.hint for result in report.results} - {""}))
        row.remark = f"feedback does not say {mutant.says!r}, but {hints!r}"
    return row


def _attacked(grader: _Grader, place: Path, hostile: bool, slow: bool) -> Iterator[Row]:
    """Grade attacks, each of which must get no points and leave everything as it was."""
    task = grader.task
    folder = place / "home"  # looks like a neighbour's, with the solution in it
    folder.mkdir()
    (folder / task.file).write_bytes(task.master.read_bytes())
    held = grader.text("").protections or []
    families = [attacks.lazy] if hostile or slow else []
    families += [attacks.hostile, attacks.smuggled, attacks.by_heart] if hostile else []
    canary = Path(tempfile.gettempdir()) / f"tinycnn-canary-{os.getpid()}"
    canary.write_text("alive", encoding="utf-8")
    try:
        for attack in (attack for family in families for attack in family(task, folder)):
            row = Row(task.number, "attack", attack.name, 0)
            if attack.needs and attack.needs not in held:
                row.skipped = f"this platform has no protection of the kind {attack.needs!r}"
            elif slow or attack.path.name not in attacks.SLOW:
                row = _row(task, "attack", attack.name, 0, grader.quickly(attack.path))
                row.remark = row.remark or _harm(canary)
            else:
                continue
            yield row
    finally:
        canary.unlink(missing_ok=True)


def _harm(canary: Path) -> str:
    """Return a message on the files or processes that an attack left behind; empty if there are none."""
    if not canary.is_file() or canary.read_text("utf-8") != "alive":
        return f"{canary} was changed"
    places = {canary.parent, Path("/tmp"), Path("/var/tmp"), Path("/dev/shm")}
    left = [path for place in places for path in place.glob("tinycnn-attack*")]
    left += [path for path in Path("/proc").glob("[0-9]*/cmdline") if _is_stray(path)]
    return f"left behind: {', '.join(map(str, left))}" if left else ""


def _is_stray(path: Path) -> bool:
    """True if a process is a child of a grader that has ended it, or descends from one."""
    try:
        return b"child.py" in (text := path.read_bytes()) and f"-of-{os.getpid()}-".encode() in text
    except OSError:
        return False


def _toml(table: dict[str, int]) -> str:
    return "{ " + ", ".join(f"{name} = {value}" for name, value in table.items()) + " }"


def _row(task: Task, kind: str, name: str, expected: int, report: Report) -> Row:
    row = Row(task.number, kind, name, expected, report.score, report.seconds)
    if row.score != expected:
        failed = [f"{result.name}: {result.text}" for result in report.results if result.text]
        passed = [f"{result.name} has {result.score} points" for result in report.results if result.score]
        row.remark = "; ".join([*report.notes, *(failed if expected else passed)])[:600]
    return row
