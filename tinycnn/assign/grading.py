"""All tests of an assignment on one submission: points, and feedback that teaches."""

from __future__ import annotations

import hashlib
import hmac
import runpy
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from tinycnn.assign.sandbox import GraderError, Sandbox, StudentError
from tinycnn.assign.submission import Submission
from tinycnn.assign.task import Task, Test
from tinycnn.assign.testing import Check, Student, explain

TestFunction = Callable[[Student, np.random.Generator, Check], None]


@dataclass(frozen=True)
class Draw:
    """The source of a student's inputs: a keyed hash of assignment, student and test.

    The same secret gives the same inputs again; without it they cannot be predicted.
    """

    secret: bytes
    student: str

    def rng(self, assignment: str, test: str) -> np.random.Generator:
        """Return the generator of one test's inputs."""
        text = "\0".join((assignment, self.student, test)).encode()
        return np.random.default_rng(int.from_bytes(hmac.digest(self.secret, text, "sha256")))


PUBLIC = Draw(b"public", "")


@dataclass
class Result:
    """The result of one test.

    Attributes
    ----------
    name, title, kind : str
    points, score : int
    text : str
        For the student; empty if all is right.
    hint : str
        The likely mistake.
    """

    name: str
    title: str
    kind: str
    points: int
    score: int = 0
    text: str = ""
    hint: str = ""

    @property
    def passed(self) -> bool:
        """True if it has all its points."""
        return self.score == self.points


@dataclass
class Report:
    """The result of a submission.

    Attributes
    ----------
    assignment, title, student : str
    results : list of Result
    notes : list of str
        On the submission as a whole.
    printed : str
        The end of the student's printed output: for students at home and teachers.
    leaderboard : list of dict
        ``name``, ``value`` and ``order``: "asc" where less is better, else "desc".
    protections : list of str or None
        The protections that held while the student's code ran; None if it did not run.
    seconds : float
    digest : str
        Of all that decides the grade.
    """

    assignment: str
    title: str
    student: str
    results: list[Result]
    notes: list[str] = field(default_factory=list)
    printed: str = ""
    leaderboard: list[dict[str, Any]] = field(default_factory=list)
    protections: list[str] | None = None
    seconds: float = 0.0
    digest: str = ""

    @property
    def score(self) -> int:
        """The sum of points."""
        return sum(result.score for result in self.results)

    @property
    def points(self) -> int:
        """The points that can be reached."""
        return sum(result.points for result in self.results)

    def lost(self) -> dict[str, int]:
        """Return the points lost in each test that does not have all; tests marked by hand are left out."""
        return {r.name: r.points - r.score for r in self.results if r.kind != "manual" and not r.passed}

    def to_json(self) -> dict[str, Any]:
        """Return it as plain data."""
        return {**asdict(self), "score": self.score, "points": self.points}

    @classmethod
    def from_json(cls, table: dict[str, Any]) -> Report:
        """Return the inverse of :meth:`to_json`."""
        table = {name: value for name, value in table.items() if name not in ("score", "points")}
        return cls(**{**table, "results": [Result(**result) for result in table["results"]]})


def digest_of(task: Task, submission: Submission, draw: Draw) -> str:
    """Return a digest that changes when a regrade could give another grade."""
    secret = hmac.digest(draw.secret, draw.student.encode(), "sha256")
    parts = (task.digest.encode(), secret, submission.source or b"", "\n".join(submission.notes).encode())
    return hashlib.sha256(b"\0".join(hashlib.sha256(part).digest() for part in parts)).hexdigest()


def grade(
    task: Task,
    submission: Submission,
    draw: Draw = PUBLIC,
    framework: Path | None = None,
    keep: Path | None = None,
) -> Report:
    """Run the available tests on a submission.

    Parameters
    ----------
    task : Task
    submission : Submission
    draw : Draw
    framework, keep : Path, optional
        The copy of tinycnn for the child, and where to keep it; see :class:`tinycnn.assign.sandbox.Sandbox`.

    Raises
    ------
    GraderError
        If the grader does not work here. Every failure of a student's file ends in a report.
    """
    start = time.perf_counter()
    results = [Result(test.name, test.title, test.kind, test.points) for test in task.tests]
    report = Report(task.name, task.title, submission.student, results, [*submission.notes])
    report.digest = digest_of(task, submission, draw)
    if submission.source is None:
        return report
    functions = functions_of(task)
    with Sandbox(task, submission.source, framework, keep) as sandbox:
        try:
            sandbox.start()
        except StudentError as error:
            text, hint = explain(error, True, task.packages, "")
            report.notes.append(f"{task.file} cannot be imported, so that nothing could be tested: {text}")
            report.notes += [hint] if hint else []
        else:
            for test, result in zip(task.tests, results):
                sandbox.left = test.seconds
                if test.kind == "manual":
                    _collect(sandbox, test, result)
                else:
                    rng = draw.rng(task.name, test.name)
                    report.leaderboard += _run(functions[test.name], sandbox, test, result, rng)
    report.printed, report.protections = sandbox.printed, sandbox.protections
    report.seconds = round(time.perf_counter() - start, 2)
    return report


def functions_of(task: Task) -> dict[str, TestFunction]:
    """Return the tests by name, from ``public.py`` and, if it exists, ``hidden.py``."""
    functions: dict[str, TestFunction] = {}
    for kind in ("public", "hidden"):
        tests = task.of_kind(kind)
        names = runpy.run_path(str(task.folder / f"{kind}.py"), run_name=f"{task.name}.{kind}") if tests else {}
        functions |= {test.name: names[test.name] for test in tests}
    return functions


def _run(
    function: TestFunction, sandbox: Sandbox, test: Test, result: Result, rng: np.random.Generator
) -> list[dict[str, Any]]:
    """Fill in the result of one test; return its leaderboard entries."""
    student = Student(sandbox)
    check = Check(student)
    whole = True
    try:
        function(student, rng, check)
    except GraderError:
        raise
    except Exception as error:
        whole = False
        check.failures.append(error)
    parts = check.parts or 1
    passed = parts - len(check.failures) if whole else 0
    result.score = test.points * passed // parts
    if check.failures:
        called = student.last_call.function
        result.text, result.hint = explain(check.failures[0], test.kind == "public", sandbox.task.packages, called)
        if whole and check.parts > 1:
            result.text += f" ({passed} of {parts} parts right)"
    return check.leaderboard


def _collect(sandbox: Sandbox, test: Test, result: Result) -> None:
    """Fetch the text that a teacher will mark by hand."""
    try:
        text = sandbox.ask(test.name)
    except StudentError as error:
        result.text = explain(error, True, sandbox.task.packages, test.name)[0]
    else:
        result.text = text[:10000] if isinstance(text, str) else "no text was returned"
