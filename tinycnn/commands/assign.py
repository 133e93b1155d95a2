"""``tinycnn assign list|release|reset|check|grade|pack|selftest|similarity``."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

# What takes time to import is imported by the action that needs it.


def add_assign(commands: Any, shared: argparse.ArgumentParser) -> None:
    """Add the command ``assign`` and its actions."""
    parser = commands.add_parser("assign", help="classroom assignments: hand out, check, grade")
    actions = parser.add_subparsers(metavar="ACTION", required=True)

    def add(name: str, run: Any, text: str) -> argparse.ArgumentParser:
        action = actions.add_parser(name, parents=[shared], help=text, description=text)
        action.set_defaults(run=run)
        return action

    add("list", _list, "the assignments: number, public and hidden points, title")

    release = add("release", _release, "write the folder that students get")
    release.add_argument("assignment", metavar="ASSIGNMENT", help="a number or a name, such as A3")
    release.add_argument("out", type=Path, metavar="OUT", help="a new folder")

    for name, run, text in (
        ("check", _check, "students: run the public tests on your file"),
        ("reset", _reset, "students: put the stub back; what you wrote is kept under another name"),
    ):
        action = add(name, run, text)
        action.add_argument("folder", nargs="?", type=Path, default=Path(), help="your folder (default: this one)")

    selftest = add("selftest", _selftest, "solutions, stubs, mutants and attacks: does each get what it should?")
    selftest.add_argument("assignments", nargs="*", metavar="ASSIGNMENT", help="numbers or names (default: all)")


def _list(options: argparse.Namespace) -> None:
    from tinycnn.assign.task import tasks

    for task in tasks():
        by_hand = sum(test.points for test in task.of_kind("manual"))
        public = 100 - task.hidden_points - by_hand
        print(f"{task.number:4} {public:3d} + {task.hidden_points:2d} hidden + {by_hand:2d} by hand  {task.title}")


def _release(options: argparse.Namespace) -> None:
    from tinycnn.assign.release import release
    from tinycnn.assign.task import find

    task = find(options.assignment)
    for path in release(task, options.out):
        print(path)
    print(f"{task.number}: the stub imports and passes none of {len(task.tests)} tests; no line of the solution shows")


def _reset(options: argparse.Namespace) -> None:
    from tinycnn.assign.release import reset
    from tinycnn.assign.task import read

    task = read(options.folder)
    kept = reset(options.folder, task)
    print(f"{options.folder / task.file} is the stub again" + (f"; what was there is {kept}" if kept else ""))


def _check(options: argparse.Namespace) -> int:
    from tinycnn.assign import submission
    from tinycnn.assign.grading import grade
    from tinycnn.assign.reports import text
    from tinycnn.assign.task import read

    task = read(options.folder)
    report = grade(task, submission.read(options.folder, task, "you"))
    print(f"{task.number} · {task.title}")
    if report.printed:
        print(f"--- what your code printed ---\n{report.printed.rstrip()}\n---")
    print("\n".join(text.lines(report, task.lesson, sys.stdout.isatty())))
    print(text.verdict(report, task))
    _say_what_is_missing(report.protections)
    return 0 if all(result.passed for result in report.results if result.kind == "public") else 1


def _say_what_is_missing(protections: list[str]) -> None:
    """The protections that this platform cannot give, on standard error."""
    from tinycnn.assign.sandbox import missing

    for text in missing(protections) if protections else ():
        print(f"this platform cannot protect by {text}: grade untrusted files in a container", file=sys.stderr)


def _selftest(options: argparse.Namespace) -> int:
    from tinycnn.assign.grading import Draw
    from tinycnn.assign.selftest import solution_and_mutants
    from tinycnn.assign.task import find, tasks

    good = True
    for task in [find(word) for word in options.assignments] or tasks():
        for row in solution_and_mutants(task, Draw(b"selftest", "selftest")):
            good &= row.good
            print(
                f"{row.task:4} {row.kind:9} {row.name:40} {row.score:3d} of {row.expected:3d}  {row.remark}", flush=True
            )
    return 0 if good else 1
