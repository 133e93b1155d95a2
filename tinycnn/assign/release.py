"""The folder that students get, and a check that it holds no solution."""

from __future__ import annotations

import itertools
import json
import shutil
from pathlib import Path
from typing import Any

from tinycnn.assign import master
from tinycnn.assign.grading import grade
from tinycnn.assign.submission import Submission
from tinycnn.assign.task import FULL_MARKS, AssignmentError, Task

ORIGINAL = "original"


def release(task: Task, out: Path) -> list[Path]:
    """Write the student's folder: the stub, twice, public tests, README and ``task.toml`` without secrets.

    Parameters
    ----------
    task : Task
        A teacher's.
    out : Path
        A folder that does not exist yet, or is empty.

    Returns
    -------
    list of Path
        The files that were written.

    Raises
    ------
    AssignmentError
        If markers are not balanced, the stub cannot be imported, passes a test, or a line of the solution shows; then
        nothing is written.
    """
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise AssignmentError(
            f"{out} is there already; choose another folder (to put a stub back: tinycnn assign reset)"
        )
    files = student_files(task)
    _prove(task, files)
    for name, text in files.items():
        path = out / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8", newline="\n")
    return [out / name for name in files]


def student_files(task: Task) -> dict[str, str]:
    """Return the files that a student gets, by name."""
    stub = master.stub(task.master.read_text(encoding="utf-8"), task.file)
    beside = [path for path in (task.folder / "README.md", task.folder / "public.py", task.adapter) if path]
    texts = {path.name: path.read_text(encoding="utf-8") for path in beside}
    texts["README.md"] += _how_to(task)
    return {task.file: stub, f"{ORIGINAL}/{task.file}": stub, "task.toml": _task_of_students(task), **texts}


def _how_to(task: Task) -> str:
    """Return the end of every README: how to check and what to hand in."""
    hidden, by_hand = task.hidden_points, sum(test.points for test in task.of_kind("manual"))
    longer = [test for test in task.of_kind("public") if test.seconds != task.seconds]
    rest = f"{hidden} more are in hidden tests" + (f", {by_hand} are given by hand" if by_hand else "")
    return _HOW_TO.format(
        public=FULL_MARKS - hidden - by_hand,
        rest=rest,
        file=task.file,
        packages=" and ".join(task.packages),
        seconds=task.seconds,
        longer="".join(f" ({test.name}: {test.seconds:g})" for test in longer),
        memory=task.memory_mb,
    )


_HOW_TO = """
## Check it, hand it in

- `tinycnn assign check`, in this folder, runs the public tests: {public} of 100 points; {rest}.
- `tinycnn assign reset` puts the stub back; what you wrote is kept under another name.
- Hand in `{file}` alone. It may import the standard library, {packages}.
- A test may take {seconds:g} seconds of processor time{longer}, and {memory} MB of memory.
"""


def _task_of_students(task: Task) -> str:
    """Return ``task.toml`` without hidden tests and mutants."""
    names = ("title", "file", "lesson", "packages", "reserved", "seconds", "memory_mb", "largest_kb", "hidden_points")
    top: dict[str, Any] = {"assignment": task.name} | {name: getattr(task, name) for name in names}
    lines = [_toml(name, value) for name, value in top.items()]
    for kind in ("public", "manual"):
        if task.of_kind(kind):
            lines += ["", f"[{kind}]", *(_toml(test.name, test.points) for test in task.of_kind(kind))]
    slow = [_toml(test.name, test.seconds) for test in task.of_kind("public") if test.seconds != task.seconds]
    return "\n".join([*lines, *(["", "[slow]", *slow] if slow else [])]) + "\n"


def _toml(name: str, value: Any) -> str:
    return f"{name} = {json.dumps(value, ensure_ascii=False)}"


def _prove(task: Task, files: dict[str, str]) -> None:
    """Check that the stub can be imported and passes nothing, and that no line of a solution is in the student's
    files.
    """
    if found := master.leaks(task.master.read_text(encoding="utf-8"), task.file, files):
        raise AssignmentError(found[0])
    report = grade(task, Submission("stub", files[task.file].encode()))
    if report.notes:
        raise AssignmentError(f"the stub of {task.name} does not work: {report.notes[0]}")
    passed = [result.name for result in report.results if result.score]
    if passed:
        raise AssignmentError(f"the stub of {task.name} has points for {', '.join(passed)}, expected none")


def reset(folder: Path, task: Task) -> Path | None:
    """Put the stub back into a student's folder.

    Returns
    -------
    Path or None
        The new name of the former file, such as ``convolution.1.py``.
    """
    original, path = folder / ORIGINAL / task.file, folder / task.file
    if not original.is_file():
        raise AssignmentError(f"{folder} has no {original.relative_to(folder)}: it is not a folder that was released")
    kept = None
    if path.exists():
        names = (path.with_suffix(f".{number}{path.suffix}") for number in itertools.count(1))
        kept = next(name for name in names if not name.exists())
        path.rename(kept)
    shutil.copy(original, path)
    return kept
