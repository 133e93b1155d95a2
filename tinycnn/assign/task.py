"""An assignment as a folder: ``task.toml``, the instructor's master, tests, and a README for students.

``lessons/assignments/A03_convolution/`` holds ``task.toml``, the master under the name of the file that students hand
in, ``public.py`` and ``hidden.py`` with a function for each test, ``README.md`` for students, and, where values alone
are not enough, ``adapter.py``: functions that run beside the student's and call them.
"""

from __future__ import annotations

import ast
import hashlib
import re
import tomllib
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from tinycnn.errors import TinyCNNError

FULL_MARKS = 100
MOST_HIDDEN = 40  # points; each hidden test has a public counterpart
KINDS = ("public", "hidden", "manual")


class AssignmentError(TinyCNNError, ValueError):
    """An assignment that does not exist, or whose folder is not valid."""


@dataclass(frozen=True)
class Test:
    """A test: its function's name, points, visibility, subject, and seconds of processor time that it may take."""

    name: str
    points: int
    kind: str
    title: str
    seconds: float


@dataclass(frozen=True)
class Mutant:
    """A typical wrong answer: the master with one passage replaced, and the points that it loses in each test.

    ``says`` is a word of the diagnosis that students get, empty where none is due.
    """

    name: str
    find: str
    replace: str
    loses: dict[str, int]
    says: str = ""


@dataclass(frozen=True)
class Task:
    """An assignment, as read from its folder.

    Attributes
    ----------
    folder : Path
        Of the master, or of a student's copy.
    name, title, file, lesson : str
        Such as A03_convolution; the task in a few words; the file to hand in; the number of the lesson to read.
    packages : tuple of str
        What a student's file may import beside the standard library.
    reserved : tuple of str
        Modules of tinycnn that are the task itself, and therefore missing.
    seconds : float
        Of processor time for a test, where the table ``slow`` has no other.
    memory_mb, largest_kb : int
        Of the process; of the file.
    tests : tuple of Test
    hidden_points : int
    mutants : tuple of Mutant
    """

    folder: Path
    name: str
    title: str
    file: str
    lesson: str = ""
    packages: tuple[str, ...] = ("numpy",)
    reserved: tuple[str, ...] = ()
    seconds: float = 10.0
    memory_mb: int = 1024
    largest_kb: int = 200
    tests: tuple[Test, ...] = ()
    hidden_points: int = 0
    mutants: tuple[Mutant, ...] = field(default=(), repr=False)

    @property
    def number(self) -> str:
        """The number, such as A3."""
        return f"A{int(self.name[1:3])}"

    @property
    def master(self) -> Path:
        """The instructor's file, with the solution."""
        return self.folder / self.file

    @property
    def adapter(self) -> Path | None:
        """The functions that run beside the student's, if there are any."""
        path = self.folder / "adapter.py"
        return path if path.is_file() else None

    @property
    def automatic_points(self) -> int:
        """The points that are not given by hand."""
        return sum(test.points for test in self.tests if test.kind != "manual")

    def of_kind(self, kind: str) -> list[Test]:
        """Return the public, hidden or manual tests."""
        return [test for test in self.tests if test.kind == kind]

    @cached_property
    def digest(self) -> str:
        """A digest that changes when anything that decides a grade does."""
        digest = hashlib.sha256()
        for path in sorted(self.folder.glob("*.*")):
            digest.update(path.name.encode() + b"\0" + path.read_bytes() + b"\0")
        return digest.hexdigest()


def read(folder: Path) -> Task:
    """Read the task in a folder, a teacher's or a student's.

    Raises
    ------
    AssignmentError
        If something is missing, misspelt or does not add up.
    """
    path = folder / "task.toml"
    try:
        table = tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise AssignmentError(f"{folder} is not an assignment: there is no task.toml in it") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise AssignmentError(f"{path}: {error}") from error
    try:
        return _task(folder, table)
    except (KeyError, TypeError, AttributeError, ValueError) as error:
        raise AssignmentError(f"{path}: {_reason(error)}") from error


def _reason(error: Exception) -> str:
    return f"{error} is missing" if isinstance(error, KeyError) else str(error)


def _task(folder: Path, table: dict[str, Any]) -> Task:
    titles = {kind: _titles(folder / f"{kind}.py") for kind in ("public", "hidden")}
    tests, slow, usual = [], table.pop("slow", {}), table.get("seconds", Task.seconds)
    for kind in KINDS:
        points = table.pop(kind, {})
        unknown = titles.get(kind, points).keys() ^ points.keys()
        if unknown:
            raise ValueError(f"[{kind}] and the functions of {kind}.py differ in {', '.join(sorted(unknown))}")
        titles_here = titles.get(kind, {})
        tests += [
            Test(name, _whole(name, n), kind, titles_here.get(name, name), slow.pop(name, usual))
            for name, n in points.items()
        ]
    if slow and "hidden_points" not in table:
        raise ValueError(f"[slow] names {', '.join(slow)}, which is not a test")
    mutants = tuple(Mutant(**mutant) for mutant in table.pop("mutants", []))
    name, own = table.pop("assignment", folder.name), sum(test.points for test in tests)
    hidden = table.pop("hidden_points", sum(test.points for test in tests if test.kind == "hidden"))
    for key in ("packages", "reserved"):
        if key in table:
            table[key] = tuple(table[key])
    task = Task(folder, name, tests=tuple(tests), hidden_points=hidden, mutants=mutants, **table)
    total = own + (hidden if not task.of_kind("hidden") else 0)
    if total != FULL_MARKS or hidden > MOST_HIDDEN:
        raise ValueError(
            f"{total} points with {hidden} hidden, expected {FULL_MARKS} with at most {MOST_HIDDEN} hidden"
        )
    if len({test.name for test in tests}) < len(tests):
        raise ValueError("two tests have the same name")
    if not re.fullmatch(r"A\d\d_\w+", name):
        raise ValueError(f"the assignment's name is {name!r}, expected one such as A03_convolution")
    return task


def _whole(name: str, points: Any) -> int:
    if type(points) is not int or points < 1:
        raise ValueError(f"{name} is worth {points!r} points, expected a whole number of at least 1")
    return points


def _titles(path: Path) -> dict[str, str]:
    """Return the title of each test of a file: its name and the first line of its docstring.

    Tests are the functions of ``(student, rng, check)``.
    """
    if not path.is_file():
        return {}
    functions = [
        n for n in ast.parse(path.read_text(encoding="utf-8"), str(path)).body if isinstance(n, ast.FunctionDef)
    ]
    tests = [node for node in functions if [a.arg for a in node.args.args] == ["student", "rng", "check"]]
    return {node.name: (ast.get_docstring(node) or node.name).partition("\n")[0].rstrip(".") for node in tests}


def catalogue() -> Path:
    """Return the folder of the assignments: in the checkout, or in the installed package.

    Raises
    ------
    AssignmentError
        If they are in neither.
    """
    package = Path(__file__).parents[1]
    for place in (package.parent / "lessons" / "assignments", package / "lessons" / "assignments"):
        if any(place.glob("A[0-9][0-9]_*/task.toml")):
            return place
    raise AssignmentError("there are no assignments in this installation: it is one for students; teachers need them")


def tasks() -> list[Task]:
    """Return all assignments, by number."""
    return [read(path.parent) for path in sorted(catalogue().glob("A[0-9][0-9]_*/task.toml"))]


def find(word: str) -> Task:
    """Return an assignment by its number (A3, a03, 3), its name, or a folder that holds one.

    Raises
    ------
    AssignmentError
        If it does not exist, with those that do.
    """
    if (Path(word) / "task.toml").is_file():
        return read(Path(word))
    names = [path.parent.name for path in sorted(catalogue().glob("A[0-9][0-9]_*/task.toml"))]
    number = re.fullmatch(r"[Aa]?0*(\d+)", word)
    for name in names:
        if word.lower() in (name.lower(), name[4:].lower()) or (number and int(number[1]) == int(name[1:3])):
            return read(catalogue() / name)
    raise AssignmentError(f"there is no assignment {word!r}; there are {', '.join(names)}")
