"""``tinycnn lesson list|run|notebook|html``."""

from __future__ import annotations

import argparse
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

# Modules that take time to import are imported by the command that needs them.
if TYPE_CHECKING:
    from tinycnn.lesson.source import Cell, Lesson

LANGUAGES = ("en", "zh")
OUT = Path("runs", "lessons")


def add_lesson(commands: Any, shared: argparse.ArgumentParser) -> None:
    """Add the command ``lesson`` and its actions."""
    parser = commands.add_parser("lesson", help="list, run or convert the lessons")
    actions = parser.add_subparsers(metavar="ACTION", required=True)
    listing = actions.add_parser("list", parents=[shared], help="the lessons: number, title, time")
    _add_language(listing)
    listing.set_defaults(run=_list)
    run = actions.add_parser("run", parents=[shared], help="run a lesson here: its prose, its numbers, its figures")
    run.add_argument("lesson", metavar="LESSON", help="a number or a name, such as 05")
    _add_language(run)
    _add_common(run)
    run.set_defaults(run=_run)
    notebook = actions.add_parser("notebook", parents=[shared], help="write notebooks with their outputs")
    page = actions.add_parser("html", parents=[shared], help="write web pages that need no network, and their index")
    for converter in (notebook, page):
        converter.add_argument("lessons", nargs="*", metavar="LESSON", help="numbers or names (default: all)")
        _add_common(converter)
    _add_language(notebook)
    page.add_argument("--lang", choices=LANGUAGES, help="language of the prose (default: a page for each)")
    notebook.set_defaults(run=_notebook)
    page.set_defaults(run=_html)


def _add_language(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--lang", choices=LANGUAGES, default="en", help="language of the prose (default: en)")


def _add_common(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--fast", action="store_true", help="a few seconds: less data, shallower nets, same claims")
    parser.add_argument("--out", type=Path, default=OUT, help=f"folder for what is written (default: {OUT})")


def _list(options: argparse.Namespace) -> None:
    from tinycnn.lesson.source import lessons

    for lesson in lessons():
        lesson = lesson.in_language(options.lang)
        print(f"{lesson.number}  {lesson.seconds:4d} s  {lesson.title}")


def _run(options: argparse.Namespace) -> None:
    os.environ.setdefault("MPLBACKEND", "Agg")
    if options.fast:
        os.environ["TINYCNN_LESSON"] = "fast"  # is read when tinycnn.lesson is imported
    from tinycnn.lesson.execute import run
    from tinycnn.lesson.report import Printer
    from tinycnn.lesson.source import find

    lesson = find(options.lesson).in_language(options.lang)
    run(lesson, _print_prose, Printer(options.out / lesson.name, lesson.words))


def _print_prose(cell: Cell) -> None:
    if cell.kind == "markdown":
        print(f"\n{cell.source}\n")


def _chosen(words: list[str]) -> list[Lesson]:
    """Return the lessons of the command line, or all."""
    from tinycnn.lesson.source import find, lessons

    return [find(word) for word in words] if words else lessons()


def _notebook(options: argparse.Namespace) -> None:
    import json

    from tinycnn.lesson.execute import record
    from tinycnn.lesson.notebook import to_notebook

    for lesson in [lesson.in_language(options.lang) for lesson in _chosen(options.lessons)]:
        recording = record(lesson, options.fast)
        notebook = json.dumps(to_notebook(lesson, recording), ensure_ascii=False, indent=1)
        _write(options.out / f"{lesson.name}{_suffix(options.lang)}.ipynb", notebook + "\n", recording.seconds)


def _html(options: argparse.Namespace) -> None:
    from tinycnn.lesson.execute import record
    from tinycnn.lesson.page import index_page, lesson_page
    from tinycnn.lesson.source import lessons

    languages = [options.lang] if options.lang else list(LANGUAGES)
    lessons_by_language = {language: [lesson.in_language(language) for lesson in lessons()] for language in languages}
    for chosen in _chosen(options.lessons):
        recording = record(chosen, options.fast)
        for language, all_lessons in lessons_by_language.items():
            page = lesson_page(chosen.in_language(language), recording, all_lessons, language, languages)
            _write(options.out / f"{chosen.name}{_suffix(language)}.html", page, recording.seconds)
    for language, all_lessons in lessons_by_language.items():
        _write(options.out / f"index{_suffix(language)}.html", index_page(all_lessons, language, languages))


def _write(path: Path, text: str, seconds: float | None = None) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
    print(path if seconds is None else f"{path} (the lesson ran for {seconds:.1f} s)", flush=True)


def _suffix(language: str) -> str:
    return "" if language == "en" else f".{language}"
