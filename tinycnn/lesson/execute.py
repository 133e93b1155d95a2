"""Execution of a lesson cell by cell, here (:func:`run`) or in a process of its own (:func:`record`)."""

from __future__ import annotations

import base64
import io
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import redirect_stdout
from pathlib import Path
from typing import Any

from tinycnn.errors import TinyCNNError
from tinycnn.lesson.report import Claim, Output, Picture, reporting_to
from tinycnn.lesson.source import Cell, Lesson, parse


class LessonFailed(TinyCNNError, RuntimeError):
    """The error that a lesson ended with an error."""


def run(lesson: Lesson, before: Callable[[Cell], None], receive: Callable[[Output], None]) -> None:
    """Execute the code cells in order, in one new namespace.

    Parameters
    ----------
    lesson : Lesson
    before : callable
        It is called with each cell, prose too, before the cell runs.
    receive : callable
        It is called with claims and figures.
    """
    names: dict[str, Any] = {"__name__": "__main__", "__file__": str(lesson.path)}
    with reporting_to(receive):
        for cell in lesson.cells:
            before(cell)
            if cell.kind == "code":  # empty lines, so that tracebacks have the file's line numbers
                exec(compile("\n" * (cell.line - 1) + cell.source, str(lesson.path), "exec"), names)


class Recording:
    """The output of a lesson.

    Attributes
    ----------
    cells : list of lists of Output
        One list for each code cell.
    seconds : float
    """

    def __init__(self) -> None:
        self.cells: list[list[Output]] = []
        self.seconds = 0.0

    @property
    def outputs(self) -> list[Output]:
        """All outputs in order."""
        return [output for cell in self.cells for output in cell]

    def save(self, path: Path) -> None:
        """Write it as JSON."""
        cells = [[_packed(output) for output in cell] for cell in self.cells]
        path.write_text(json.dumps({"cells": cells, "seconds": self.seconds}), encoding="utf-8")

    @classmethod
    def load(cls, path: Path) -> Recording:
        """Read what :meth:`save` wrote."""
        state = json.loads(path.read_text(encoding="utf-8"))
        recording = cls()
        recording.cells = [[_unpacked(output) for output in cell] for cell in state["cells"]]
        recording.seconds = state["seconds"]
        return recording


def _packed(output: Output) -> Any:
    if isinstance(output, Picture):
        return {"png": base64.b64encode(output.png).decode("ascii"), "caption": output.caption}
    return {"claim": output.text} if isinstance(output, Claim) else output


def _unpacked(output: Any) -> Output:
    if isinstance(output, str):
        return output
    return Claim(output["claim"]) if "claim" in output else Picture(base64.b64decode(output["png"]), output["caption"])


def record_here(lesson: Lesson) -> Recording:
    """Run a lesson in this process and record its output."""
    recording, printed = Recording(), io.StringIO()

    def flush() -> None:
        if printed.tell():
            recording.cells[-1].append(printed.getvalue())
            printed.seek(0)
            printed.truncate()

    def before(cell: Cell) -> None:
        if cell.kind == "code":
            if recording.cells:
                flush()
            recording.cells.append([])

    def receive(output: Output) -> None:
        flush()
        recording.cells[-1].append(output)

    start = time.perf_counter()
    with redirect_stdout(printed):
        run(lesson, before, receive)
    flush()
    recording.seconds = time.perf_counter() - start
    return recording


def record(lesson: Lesson, fast: bool = False) -> Recording:
    """Run a lesson in a process of its own, with its progress on standard error, and return its output.

    Raises
    ------
    LessonFailed
        If it ended with an error, which is printed to standard error.
    """
    mode = {"TINYCNN_LESSON": "fast"} if fast else {}
    with tempfile.TemporaryDirectory() as place:
        path = Path(place) / "recording.json"
        command = [sys.executable, "-m", "tinycnn.lesson.execute", str(lesson.path.resolve()), str(path)]
        done = subprocess.run(command, env={**os.environ, "MPLBACKEND": "Agg", **mode}, check=False)
        if done.returncode:
            raise LessonFailed(f"lesson {lesson.name} ended with an error (exit status {done.returncode})")
        return Recording.load(path)


if __name__ == "__main__":
    record_here(parse(Path(sys.argv[1]))).save(Path(sys.argv[2]))
