"""A report for the terminal."""

from __future__ import annotations

import textwrap

from tinycnn.assign.grading import Report, Result
from tinycnn.assign.task import Task

_WIDTH = 110
_COLOURS = {"ok": "32", "part": "33", "no": "31", "hand": "36"}


def lines(report: Report, lesson: str = "", colour: bool = False) -> list[str]:
    """Return each test with its points and, where some are missing, the reason."""
    out = [f"note: {note}" for note in report.notes]
    for result in report.results:
        mark = _mark(result)
        shown = f"\033[{_COLOURS[mark]}m{mark:4}\033[0m" if colour else f"{mark:4}"
        out.append(f"{shown} {result.score:3d}/{result.points:<3d} {result.name}: {result.title}")
        if mark != "hand":
            out += [part for text in feedback(result) for part in _wrapped(text)]
    if lesson and any(result.kind != "manual" and not result.passed for result in report.results):
        out.append(f"To read again: tinycnn lesson run {lesson}")
    return out


def feedback(result: Result) -> list[str]:
    """Return the feedback on a result without full points; empty for one that has them."""
    if result.passed or not result.text:
        return []
    text = result.text if result.kind == "public" else f"{result.text} (a hidden test: its inputs are not shown)"
    return [text, *([f"Likely cause: {result.hint}"] if result.hint else [])]


def verdict(report: Report, task: Task) -> str:
    """Return the last line of ``check``: the points of public tests, and the points that they do not cover."""
    public = [result for result in report.results if result.kind == "public"]
    score, points = sum(r.score for r in public), sum(r.points for r in public)
    rest = f"{task.hidden_points} points are hidden"
    by_hand = sum(test.points for test in task.of_kind("manual"))
    rest += f", {by_hand} are given by hand" if by_hand else ""
    total = points + task.hidden_points + by_hand
    if score == points:
        return f"all PUBLIC tests passed, {score} of {total} points; {rest}"
    return f"{score} of {points} PUBLIC points so far, of {total} in all; {rest}"


def _mark(result: Result) -> str:
    if result.kind == "manual":
        return "hand"
    return "ok" if result.passed else "part" if result.score else "no"


def _wrapped(text: str) -> list[str]:
    return textwrap.wrap(text, _WIDTH, initial_indent=" " * 13, subsequent_indent=" " * 13)
