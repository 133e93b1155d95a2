"""Reports as JSON: our own, Gradescope's ``results.json``, Classroom 50's ``result.json``. Points are whole numbers."""

from __future__ import annotations

import json
import os
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from tinycnn.assign.grading import Report, Result
from tinycnn.assign.reports.text import feedback
from tinycnn.assign.task import Task

# Gradescope shows no total as long as a test is hidden; these show after the due date.
_VISIBILITY = {"public": "visible", "hidden": "after_due_date", "manual": "visible"}


def write_json(task: Task, reports: list[Report], out: Path) -> list[Path]:
    """Write everything that is known of all submissions to ``grades.json``."""
    return [_write(out / "grades.json", [report.to_json() for report in reports])]


def write_gradescope(task: Task, reports: list[Report], out: Path) -> list[Path]:
    """Write a ``results.json`` for each student, in ``gradescope/``."""
    folder = _folder(out / "gradescope")
    for report in reports:
        _write(folder / f"{report.student}.json", gradescope(report))
    return [folder]


def write_classroom50(task: Task, reports: list[Report], out: Path) -> list[Path]:
    """Write a ``result.json`` for each student, in ``classroom50/``."""
    folder = _folder(out / "classroom50")
    for report in reports:
        _write(folder / f"{report.student}.json", classroom50(report))
    return [folder]


def gradescope(report: Report) -> dict[str, Any]:
    """Return a report as Gradescope reads it (its "Autograder Specifications", output format)."""
    table: dict[str, Any] = {
        "execution_time": round(report.seconds),
        "output": "\n".join([report.title, *report.notes]),
        "output_format": "text",
        "visibility": "visible",
        "stdout_visibility": "hidden",
        "tests": [_gradescope_test(result) for result in report.results if result.kind != "manual"],
    }
    if report.leaderboard:
        table["leaderboard"] = report.leaderboard
    return table


def _gradescope_test(result: Result) -> dict[str, Any]:
    return {
        "name": f"{result.name}: {result.title}",
        "score": result.score,
        "max_score": result.points,
        "status": "passed" if result.passed else "failed",
        "output": "\n".join(feedback(result)),
        "output_format": "text",
        "visibility": _VISIBILITY[result.kind],
        "tags": [result.kind],
    }


def classroom50(report: Report) -> dict[str, Any]:
    """Return a report as Classroom 50 reads it; the platform's facts are in environment variables."""
    names = {
        "classroom": "CLASSROOM",
        "submission": "SUBMISSION_TAG",
        "commit": "COMMIT_URL",
        "release": "RELEASE_URL",
        "review": "REVIEW_URL",
    }
    return {
        "schema": "classroom50/result/v1",
        "assignment": os.environ.get("ASSIGNMENT", report.assignment),
        "owner": report.student,
        "assignment_type": "individual",
        **{name: os.environ.get(variable, "") for name, variable in names.items()},
        "datetime": datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
        "score": report.score,
        "max-score": report.points,
        "tests": [
            {
                "test-name": result.name,
                "passed": result.passed,
                "score": result.score,
                "max-score": result.points,
                "message": "\n".join(feedback(result)),
            }
            for result in report.results
        ],
    }


def _folder(path: Path) -> Path:
    path.mkdir(parents=True, exist_ok=True)
    return path


def _write(path: Path, table: Any) -> Path:
    path.write_text(json.dumps(table, ensure_ascii=False, indent=1) + "\n", encoding="utf-8")
    return path
