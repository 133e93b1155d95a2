"""Reports on grades, for people and for platforms: a module for each format."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path

from tinycnn.assign.grading import Report
from tinycnn.assign.reports import page, platforms, tables
from tinycnn.assign.task import Task
from tinycnn.errors import unknown_name

__all__ = ["FORMATS", "Writer", "check", "write"]

Writer = Callable[[Task, list[Report], Path], list[Path]]

FORMATS: dict[str, Writer] = {
    "json": platforms.write_json,
    "gradescope": platforms.write_gradescope,
    "classroom50": platforms.write_classroom50,
    "csv": tables.write_csv,
    "junit": tables.write_junit,
    "html": page.write_html,
}


def check(formats: Iterable[str]) -> list[str]:
    """Return the formats, if they are all known.

    Raises
    ------
    UnknownNameError
        If one is not, with the nearest that is.
    """
    chosen = list(formats)
    for name in chosen:
        if name not in FORMATS:
            raise unknown_name("format", name, FORMATS)
    return chosen


def write(formats: Iterable[str], task: Task, reports: list[Report], out: Path) -> list[Path]:
    """Write reports in some formats; return the files and folders written."""
    out.mkdir(parents=True, exist_ok=True)
    return [path for name in formats for path in FORMATS[name](task, reports, out)]


def __dir__() -> list[str]:
    return __all__
