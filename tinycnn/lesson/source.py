"""Lessons as files: cells of a percent script, and the Chinese prose that is kept beside it.

``lessons/NN_name.py`` holds the code and the English prose. ``lessons/zh/NN_name.md`` holds the Chinese prose: a
section for each markdown cell, in their order, between lines of ``---``; then a table that translates captions
and claims.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

from tinycnn.errors import TinyCNNError

LANGUAGES = ("en", "zh")
_MARKER = re.compile(r"# %%(?: \[(markdown)\])?(?: seconds=(\d+))?\s*")


class LessonError(TinyCNNError, ValueError):
    """A lesson that does not exist, or whose file is not valid."""


@dataclass(frozen=True)
class Cell:
    """A cell: ``kind`` is "markdown" or "code"; ``line`` is where its text begins in the file."""

    kind: str
    source: str
    line: int


@dataclass(frozen=True)
class Lesson:
    """A lesson.

    Attributes
    ----------
    path : Path
    cells : tuple of Cell
        The first one is markdown, and begins with the title.
    seconds : int
        The approximate time of the full mode on two cores.
    words : dict
        Translations of captions and claims; empty in English.
    """

    path: Path
    cells: tuple[Cell, ...]
    seconds: int
    words: dict[str, str]

    @property
    def name(self) -> str:
        """The name, such as 05_small_kernels."""
        return self.path.stem

    @property
    def number(self) -> str:
        """The number, such as 05."""
        return self.name[:2]

    @cached_property
    def title(self) -> str:
        """The first heading, without its number."""
        found = re.match(r"# \d\d · (.+)", self.cells[0].source)
        if not found:
            raise LessonError(f"{self.path.name}: the first cell begins with no title like `# {self.number} · Title`")
        return found[1]

    @property
    def code(self) -> tuple[Cell, ...]:
        """The code cells."""
        return tuple(cell for cell in self.cells if cell.kind == "code")

    def in_language(self, language: str) -> Lesson:
        """Return the same lesson with its prose in another language.

        Raises
        ------
        LessonError
            If the prose does not exist, or its sections do not match the cells.
        """
        return self if language == "en" else _translated(self, self.path.parent / language / f"{self.name}.md")


def parse(path: Path) -> Lesson:
    """Read a percent script.

    Raises
    ------
    LessonError
        If something stands before the first cell, or the first cell is not ``# %% [markdown] seconds=...``.
    """
    cells: list[Cell] = []
    seconds = 0
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
        marker = _MARKER.fullmatch(line)
        if marker:
            cells.append(Cell(marker[1] or "code", "", number + 1))
            seconds = seconds or int(marker[2] or 0)
        elif line.startswith("# %%"):
            raise LessonError(f"{path.name}: line {number} is {line!r}, expected `# %%` or `# %% [markdown]`")
        elif cells:
            cells[-1] = replace(cells[-1], source=f"{cells[-1].source}{_text(path, cells[-1].kind, line, number)}\n")
        elif line.strip():
            raise LessonError(f"{path.name}: line {number} stands before the first cell")
    cells = [replace(cell, source=cell.source.strip("\n"), line=cell.line + _blank(cell.source)) for cell in cells]
    if not cells or cells[0].kind != "markdown" or not seconds:
        raise LessonError(f"{path.name}: the first cell is not `# %% [markdown] seconds=...` with the title")
    return Lesson(path, tuple(cells), seconds, {})


def _text(path: Path, kind: str, line: str, number: int) -> str:
    if kind == "code":
        return line
    if line and not line.startswith("#"):
        raise LessonError(f"{path.name}: line {number} of a markdown cell does not begin with `#`: {line!r}")
    return line[1:].removeprefix(" ")


def _blank(text: str) -> int:
    """Return how many empty lines a text begins with."""
    return len(text) - len(text.lstrip("\n"))


def _translated(lesson: Lesson, path: Path) -> Lesson:
    if not path.is_file():
        raise LessonError(f"{lesson.name} has no prose in {path.parent.name}: {path} does not exist")
    *sections, table = re.split(r"^---\n", path.read_text(encoding="utf-8"), flags=re.M)
    prose = [cell for cell in lesson.cells if cell.kind == "markdown"]
    if len(sections) != len(prose):
        raise LessonError(
            f"{path.parent.name}/{path.name} has {len(sections)} sections and a table of captions and claims, "
            f"expected {len(prose)} sections, one for each markdown cell"
        )
    texts = iter(section.strip() for section in sections)
    cells = tuple(cell if cell.kind == "code" else replace(cell, source=next(texts)) for cell in lesson.cells)
    rows = [tuple(part.strip() for part in line.strip("| ").split(" | ")) for line in table.strip().splitlines()[2:]]
    wrong = [row for row in rows if len(row) != 2]
    if wrong:
        raise LessonError(f"{path.parent.name}/{path.name}: the table's row {wrong[0]} has not two columns")
    return replace(lesson, cells=cells, words={row[0]: row[1] for row in rows})


def folder() -> Path:
    """Return the folder of the lessons: in the checkout, or in the installed package.

    Raises
    ------
    LessonError
        If they are in neither.
    """
    package = Path(__file__).parents[1]
    for place in (package.parent / "lessons", package / "lessons"):
        if any(place.glob("[0-9][0-9]_*.py")):
            return place
    raise LessonError(f"there are no lessons in {package}: install tinycnn again")


def lessons() -> list[Lesson]:
    """Return all lessons, by number."""
    return [parse(path) for path in sorted(folder().glob("[0-9][0-9]_*.py"))]


def find(word: str) -> Lesson:
    """Return a lesson by its number (5 or 05), its name, or the beginning of its name after the number.

    Raises
    ------
    LessonError
        If it does not exist, with those that do.
    """
    paths = sorted(folder().glob("[0-9][0-9]_*.py"))
    wanted = Path(word).stem if word.endswith(".py") else word
    for path in paths:
        if path.stem == wanted or path.stem[:2] == wanted.zfill(2) or path.stem[3:].startswith(wanted):
            return parse(path)
    raise LessonError(f"there is no lesson {word!r}; there are {', '.join(path.stem for path in paths)}")
