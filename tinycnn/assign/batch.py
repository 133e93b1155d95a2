"""The grading of a folder of submissions by several processes; each report is saved at once and never graded twice.

Workers (:mod:`.worker`) are processes of their own: whatever ends one of them, the batch continues.
"""

from __future__ import annotations

import json
import queue
import secrets
import subprocess
import sys
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tinycnn.assign import submission
from tinycnn.assign.grading import Draw, Report, Result, digest_of, grade
from tinycnn.assign.sandbox import GraderError
from tinycnn.assign.submission import Submission
from tinycnn.assign.task import AssignmentError, Task, tasks
from tinycnn.files.atomic import atomic_write

RESULTS = "results"
_TRIES = 2


def secret_of(path: Path) -> bytes:
    """Return the course's secret, from a file that is made if it does not exist."""
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(secrets.token_hex(32) + "\n", encoding="ascii")
        path.chmod(0o600)
    secret = path.read_bytes().strip()
    if len(secret) < 16:
        raise AssignmentError(f"{path} has {len(secret)} characters, expected a secret of at least 16")
    return secret


def guess_task(folder: Path) -> Task:
    """Return the assignment whose file is among the submissions.

    Raises
    ------
    AssignmentError
        If there is no such assignment, or more than one.
    """
    paths = submission.collect(folder).values()
    found = []
    for task in tasks():
        read = [submission.read(path, task) for path in paths]
        if any(one.source is not None and not one.notes for one in read):
            found.append(task)
    if len(found) != 1:
        which = f"files of {', '.join(task.number for task in found)} are" if found else "no assignment's file is"
        raise AssignmentError(f"{which} in {folder}: say which assignment it is by --assignment")
    return found[0]


@dataclass
class Batch:
    """The submissions to grade, and the reports on them.

    Parameters
    ----------
    task : Task
    folder, out : Path
        Of submissions; of reports.
    secret : bytes
    framework : Path, optional
        See :class:`tinycnn.assign.sandbox.Sandbox`.

    Attributes
    ----------
    reports : dict of str to Report
        By student.
    failures : dict of str to str
        Students without a report because the grader failed, and why.
    """

    task: Task
    folder: Path
    out: Path
    secret: bytes
    framework: Path | None = None
    reports: dict[str, Report] = field(default_factory=dict)
    failures: dict[str, str] = field(default_factory=dict)

    def run(self, jobs: int = 1, say: Callable[[str], Any] = print) -> None:
        """Grade the submissions that have no report yet."""
        paths = submission.collect(self.folder)
        (self.out / RESULTS).mkdir(parents=True, exist_ok=True)
        left: queue.SimpleQueue[str] = queue.SimpleQueue()
        for student, path in paths.items():
            kept = self._kept(student, submission.read(path, self.task, student))
            if kept:
                self.reports[student] = kept
            else:
                left.put(student)
        if self.reports:
            say(f"{len(self.reports)} of {len(paths)} are graded already")
        done: queue.SimpleQueue[tuple[str, Report | str]] = queue.SimpleQueue()
        count = left.qsize()
        workers = [_Worker(self, paths, left, done) for _ in range(min(jobs, count))]
        try:
            for number in range(1, count + 1):
                student, outcome = done.get()
                if isinstance(outcome, str):
                    self.failures[student] = outcome
                    say(f"[{number}/{count}] {student}: the grader failed: {outcome}")
                else:
                    self.reports[student] = outcome
                    self._keep(outcome)
                    say(f"[{number}/{count}] {student}: {outcome.score} of {outcome.points} ({outcome.seconds:.1f} s)")
        finally:
            for worker in workers:
                worker.stop()

    def _path(self, student: str) -> Path:
        return self.out / RESULTS / f"{student}.json"

    def _kept(self, student: str, handed_in: Submission) -> Report | None:
        """Return the report of an earlier run, if a new one would be the same."""
        try:
            report = Report.from_json(json.loads(self._path(student).read_text(encoding="utf-8")))
        except (OSError, ValueError, KeyError, TypeError):
            return None
        return report if report.digest == digest_of(self.task, handed_in, Draw(self.secret, student)) else None

    def _keep(self, report: Report) -> None:
        with atomic_write(self._path(report.student)) as file:
            file.write(json.dumps(report.to_json(), ensure_ascii=False, indent=1).encode())


class _Worker(threading.Thread):
    """A thread that takes students from one queue and puts reports into another; a process of its own does the work."""

    def __init__(self, batch: Batch, paths: dict[str, Path], left: queue.SimpleQueue, done: queue.SimpleQueue) -> None:
        super().__init__(daemon=True)
        self.batch, self.paths, self.left, self.done = batch, paths, left, done
        self.process: subprocess.Popen[str] | None = None
        self.stopped = False
        self.start()

    def run(self) -> None:
        while not self.stopped:
            try:
                student = self.left.get_nowait()
            except queue.Empty:
                break
            try:
                self.done.put((student, self._graded(student)))
            except Exception as error:  # whatever happens, the batch waits for an answer
                self.done.put((student, f"{type(error).__name__}: {error}"))
        self.stop()

    def stop(self) -> None:
        """End the process, even in the middle of its work."""
        self.stopped = True
        if self.process:
            self.process.kill()

    def _graded(self, student: str) -> Report | str:
        task = self.batch.task
        for _ in range(_TRIES):
            answer = self._ask({"path": str(self.paths[student]), "student": student})
            if answer:
                return answer["failure"] if "failure" in answer else Report.from_json(answer)
        results = [Result(test.name, test.title, test.kind, test.points) for test in task.tests]
        note = "the grader's process ended while it ran this file, each time: a teacher should look at it"
        handed_in = submission.read(self.paths[student], task, student)
        digest = digest_of(task, handed_in, Draw(self.batch.secret, student))
        return Report(task.name, task.title, student, results, [note], digest=digest)

    def _ask(self, request: dict[str, str]) -> dict[str, Any] | None:
        try:
            if self.process is None or self.process.poll() is not None:
                self._start()
            assert self.process and self.process.stdin and self.process.stdout
            self.process.stdin.write(json.dumps(request) + "\n")
            self.process.stdin.flush()
            line = self.process.stdout.readline()
        except OSError:
            line = ""
        if not line.endswith("\n") and self.process:
            self.process.kill()
            self.process.wait()
        return json.loads(line) if line.endswith("\n") else None

    def _start(self) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-m", "tinycnn.assign.worker"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            encoding="utf-8",
            start_new_session=True,  # Ctrl-C is for the batch
        )
        assert self.process.stdin
        framework = self.batch.framework
        start = {
            "task": str(self.batch.task.folder.resolve()),
            "secret": self.batch.secret.hex(),
            "framework": str(framework) if framework else "",
        }
        self.process.stdin.write(json.dumps(start) + "\n")


def warm(task: Task, folder: Path) -> Path | None:
    """Check that the grader works here: the solution has full marks. Its compiled kernels are kept for the submissions.

    Parameters
    ----------
    task : Task
    folder : Path
        The folder for tinycnn with its compiled kernels, if the assignment uses it.

    Returns
    -------
    Path or None
        Tinycnn there.

    Raises
    ------
    GraderError
        If the solution has less than full marks.
    """
    keep = folder / "tinycnn" if "tinycnn" in task.packages else None
    report = grade(task, Submission("solution", task.master.read_bytes()), keep=keep)
    if report.lost():
        why = "; ".join(
            [*report.notes, *(f"{r.name}: {r.text}" for r in report.results if r.kind != "manual" and r.text)]
        )
        raise GraderError(f"{task.number}: the solution itself has only {report.score} points here: {why}")
    return keep
