"""``tinycnn assign list|release|reset|check|grade|pack|selftest|similarity``."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tinycnn.commands.options import whole_number
from tinycnn.text import printable

# Modules that take time to import are imported by the action that needs them.


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

    grade = add("grade", _grade, "teachers: grade a folder of submissions; continues where it was stopped")
    grade.add_argument(
        "submissions", type=Path, metavar="SUBMISSIONS", help="a file, folder or archive for each student"
    )
    grade.add_argument("--out", type=Path, required=True, metavar="DIR", help="folder for reports")
    grade.add_argument("--assignment", help="a number or a name (default: by the names of the files)")
    grade.add_argument(
        "--jobs", type=whole_number(1, 1024), default=1, metavar="N", help="number of processes (default: 1)"
    )
    grade.add_argument("--format", default="json,csv,html", help="json, csv, html, junit, gradescope, classroom50")
    grade.add_argument(
        "--secret", type=Path, help="file with the course's secret (default: DIR/secret, made if missing)"
    )

    pack = add("pack", _pack, "teachers: an autograder to upload")
    pack.add_argument("assignment", metavar="ASSIGNMENT", help="a number or a name, such as A3")
    pack.add_argument("--gradescope", type=Path, required=True, metavar="FILE.zip", help="the zip to write")
    pack.add_argument(
        "--secret", type=Path, help="file with the course's secret (default: FILE.secret, made if missing)"
    )
    pack.add_argument(
        "--wheels", type=Path, metavar="DIR", help="wheels to carry, so that it installs without a network"
    )

    similarity = add("similarity", _similarity, "teachers: pairs of submissions that share much, to be read")
    similarity.add_argument("submissions", type=Path, metavar="DIR", help="a file, folder or archive for each student")
    similarity.add_argument("--assignment", help="a number or a name (default: by the names of the files)")
    similarity.add_argument(
        "--least", type=whole_number(0, 100), default=40, metavar="PERCENT", help="shared part (default: 40)"
    )

    selftest = add(
        "selftest", _selftest, "grade solutions, stubs, mutants and attacks, and compare with their known points"
    )
    selftest.add_argument("assignments", nargs="*", metavar="ASSIGNMENT", help="numbers or names (default: all)")
    selftest.add_argument(
        "--fast", action="store_true", help="half a minute: some assignments, and attacks that end by themselves"
    )
    selftest.add_argument(
        "--jobs", type=whole_number(1, 1024), default=1, metavar="N", help="number of processes (default: 1)"
    )


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
    compiles = " (kernels are compiled first)" if {"numba", "tinycnn"} & set(task.packages) else ""
    print(f"{task.number} · {task.title}{compiles}", flush=True)
    report = grade(task, submission.read(options.folder, task, "you"))
    if report.printed:
        print(f"--- what your code printed ---\n{report.printed.rstrip()}\n---")
    print("\n".join(text.lines(report, task.lesson, sys.stdout.isatty())))
    print(text.verdict(report, task))
    _say_what_is_missing([report])
    return 0 if all(result.passed for result in report.results if result.kind == "public") else 1


def _say_what_is_missing(reports: list[Any]) -> None:
    """Print the protections that this platform lacks to standard error."""
    from tinycnn.assign.sandbox import missing

    held = next((report.protections for report in reports if report.protections is not None), None)
    for text in [] if held is None else missing(held):
        print(f"this platform cannot protect by {text}: grade untrusted files in a container", file=sys.stderr)


def _task_of(options: argparse.Namespace) -> Any:
    from tinycnn.assign.batch import guess_task
    from tinycnn.assign.task import find

    return find(options.assignment) if options.assignment else guess_task(options.submissions)


def _grade(options: argparse.Namespace) -> int:
    import tempfile

    from tinycnn.assign import reports
    from tinycnn.assign.batch import Batch, secret_of, warm
    from tinycnn.assign.reports import tables

    formats = reports.check(options.format.split(","))
    task = _task_of(options)
    secret = secret_of(options.secret or options.out / "secret")
    print(f"{task.number} · {task.title}", flush=True)
    with tempfile.TemporaryDirectory() as place:
        batch = Batch(task, options.submissions, options.out, secret, warm(task, Path(place)))
        batch.run(options.jobs, lambda line: print(line, flush=True))
    graded = [batch.reports[student] for student in sorted(batch.reports)]
    by_hand = tables.write_hand(task, graded, options.out)
    tables.give_by_hand(task, graded, options.out)
    for path in reports.write(formats, task, graded, options.out):
        print(path)
    if by_hand:
        print(f"fill in the points of {by_hand}, then run the same command again")
    _say_what_is_missing(graded)
    for student, failure in batch.failures.items():
        print(f"not graded: {student}: {failure}", file=sys.stderr)
    return 1 if batch.failures else 0


def _pack(options: argparse.Namespace) -> None:
    from tinycnn.assign.batch import secret_of
    from tinycnn.assign.pack import pack
    from tinycnn.assign.task import AssignmentError, find

    path = options.gradescope
    if not path.parent.is_dir():
        raise AssignmentError(f"{path}: there is no folder {path.parent}")
    secret = options.secret or path.with_suffix(".secret")
    if options.wheels is not None and not any(options.wheels.glob("*.whl")):
        raise AssignmentError(f"--wheels {options.wheels}: there is no wheel, expected a folder with *.whl")
    names = pack(find(options.assignment), path, secret_of(secret), options.wheels)
    wheels = sum(name.startswith("wheels/") for name in names)
    print(f"{path}: {len(names)} files, {path.stat().st_size / 1e6:.1f} MB, {wheels} wheels; the secret is in {secret}")
    if not wheels:
        print("without --wheels, Gradescope downloads NumPy, Numba, matplotlib and tqdm when it builds the image")


def _similarity(options: argparse.Namespace) -> None:
    from tinycnn.assign import master, submission
    from tinycnn.assign.similarity import pairs, spans

    task = _task_of(options)
    found = {name: submission.read(path, task, name) for name, path in submission.collect(options.submissions).items()}
    sources = {name: one.source for name, one in found.items() if one.source is not None}
    stub = master.stub(task.master.read_text(encoding="utf-8"), task.file)
    close = pairs(sources, stub, options.least / 100)
    for name in sorted(found.keys() - sources.keys()):
        print(printable(f"not compared: {name}: {found[name].notes[-1]}"))
    print(f"{len(sources)} submissions; pairs that share at least {options.least} % beyond the stub: {len(close)}")
    for pair in close:
        print(f"{100 * pair.share:3.0f} %  {pair.one}, {pair.other}: lines {spans(pair)}")


def _selftest(options: argparse.Namespace) -> int:
    from tinycnn.assign import selftest
    from tinycnn.assign.task import find, tasks

    chosen = [find(word) for word in options.assignments] or tasks()
    if options.fast:
        chosen = [task for task in chosen if task.number in selftest.FAST]
    counts: dict[str, list[bool]] = {}
    for row in _rows(chosen, options.jobs, not options.fast):
        mark = "skip" if row.skipped else "ok" if row.good else "NO"
        score = "" if row.skipped else f"{row.score:3d} of {row.expected:3d}"
        line = f"{mark:4} {row.task:4} {row.kind:9} {row.name:45} {score:10} {row.seconds:6.1f} s  "
        print((line + (row.remark or row.skipped)).rstrip(), flush=True)
        counts.setdefault(row.kind, []).append(row.good)
    for kind, good in counts.items():
        print(f"{kind:9} {sum(good)} of {len(good)} as they should be")
    return 0 if all(all(good) for good in counts.values()) else 1


def _rows(chosen: list[Any], jobs: int, slow: bool) -> Iterator[Any]:
    """Return the rows of all assignments, in their order."""
    from tinycnn.assign.selftest import rows

    if jobs == 1:
        for task in chosen:
            yield from rows(task, slow=slow)
        return
    from concurrent.futures import ProcessPoolExecutor
    from multiprocessing import get_context

    with ProcessPoolExecutor(jobs, mp_context=get_context("spawn")) as pool:
        for part in pool.map(_all_rows, chosen, [slow] * len(chosen)):
            yield from part


def _all_rows(task: Any, slow: bool) -> list[Any]:
    from tinycnn.assign.selftest import rows

    return list(rows(task, slow=slow))
