"""Reports as tables: CSV for spreadsheets, JUnit's XML for programs that show test results."""

from __future__ import annotations

import csv
import re
from pathlib import Path
from xml.etree import ElementTree

from tinycnn.assign.grading import Report
from tinycnn.assign.reports.text import feedback
from tinycnn.assign.task import Task

HAND = "hand.csv"


def write_csv(task: Task, reports: list[Report], out: Path) -> list[Path]:
    """Write a row for each student: all points, those of each test, and notes."""
    head = ["student", "score", "points", *(test.name for test in task.tests), "notes"]
    rows = [
        [r.student, r.score, r.points, *(result.score for result in r.results), "; ".join(r.notes)] for r in reports
    ]
    return [_write(out / "grades.csv", [head, *rows])]


def _write(path: Path, rows: list[list]) -> Path:
    with path.open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows([[_harmless(cell) for cell in row] for row in rows])
    return path


def _harmless(cell: object) -> object:
    """Return text that no spreadsheet takes for a formula."""
    return f"'{cell}" if isinstance(cell, str) and cell.startswith(("=", "+", "-", "@", "\t", "\r")) else cell


def write_junit(task: Task, reports: list[Report], out: Path) -> list[Path]:
    """Write a test suite for each student to ``grades.xml``; a test without all its points has failed."""
    root = ElementTree.Element("testsuites", name=task.name)
    for report in reports:
        failed = sum(not result.passed for result in report.results)
        suite = ElementTree.SubElement(
            root,
            "testsuite",
            name=_printable(report.student),
            tests=str(len(report.results)),
            failures=str(failed),
            errors="0",
            skipped="0",
            time=f"{report.seconds:.2f}",
        )
        for result in report.results:
            case = ElementTree.SubElement(suite, "testcase", classname=task.name, name=result.name, time="0")
            if not result.passed:
                message = f"{result.score} of {result.points} points"
                failure = ElementTree.SubElement(case, "failure", message=message, type="points")
                failure.text = _printable("\n".join(feedback(result) or report.notes))
    path = out / "grades.xml"
    ElementTree.ElementTree(root).write(path, encoding="utf-8", xml_declaration=True)
    return [path]


def _printable(text: str) -> str:
    """Return text without the characters that XML cannot hold."""
    return re.sub(r"[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]", "?", text)


# -- points given by hand ----------------------------------------------------------------------------------------------


def write_hand(task: Task, reports: list[Report], out: Path) -> Path | None:
    """Write the texts to be marked by hand, with a column for points; existing points stay."""
    if not task.of_kind("manual"):
        return None
    rows: list[list] = [["student", "test", "points", "of", "text"]]
    given = read_hand(task, out)
    for report in reports:
        for result in report.results:
            if result.kind == "manual":
                points = given.get((report.student, result.name), "")
                rows.append([report.student, result.name, points, result.points, result.text])
    return _write(out / HAND, rows)


def read_hand(task: Task, out: Path) -> dict[tuple[str, str], int]:
    """Return the points that a teacher has filled in, by student and test.

    Raises
    ------
    ValueError
        If they are not whole numbers from 0 to the points of the test.
    """
    most = {test.name: test.points for test in task.of_kind("manual")}
    given: dict[tuple[str, str], int] = {}
    try:
        with (out / HAND).open(encoding="utf-8-sig", newline="") as file:
            rows = list(csv.DictReader(file))
    except FileNotFoundError:
        return given
    for row in rows:
        student, test, points = (row.get(name) or "" for name in ("student", "test", "points"))
        if points.strip() and test in most:
            if not points.strip().isdecimal() or int(points) > most[test]:
                raise ValueError(
                    f"{out / HAND}: {student} has {points!r} points, expected a whole number to {most[test]}"
                )
            given[student.removeprefix("'"), test] = int(points)
    return given


def give_by_hand(task: Task, reports: list[Report], out: Path) -> None:
    """Put the points of ``hand.csv`` into the reports."""
    given = read_hand(task, out)
    for report in reports:
        for result in report.results:
            result.score = given.get((report.student, result.name), result.score)
