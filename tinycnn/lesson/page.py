"""Lessons as web pages: one file each, prose beside code and figures, and an index. Nothing in them is fetched."""

from __future__ import annotations

import base64
import re
import struct
from collections.abc import Iterable, Sequence
from html import escape
from importlib.resources import files

from tinycnn.lesson import highlight
from tinycnn.lesson.execute import Recording
from tinycnn.lesson.markdown import inline, to_html
from tinycnn.lesson.report import Claim, Output, Picture
from tinycnn.lesson.source import Cell, Lesson

_WORDS = {
    "en": {
        "language": "English",
        "all": "All lessons",
        "figure": "Figure",
        "claims": "What this run showed",
        "about": "about {seconds} s on two cores",
        "heading": "tinycnn: the lessons",
        "lead": "Each lesson has one idea. Predict first, then measure. Run one with `tinycnn lesson run 00`, "
        "change its code, and see what happens.",
    },
    "zh": {
        "language": "中文",
        "all": "全部课程",
        "figure": "图",
        "claims": "这次运行验证的结论",
        "about": "双核约 {seconds} 秒",
        "heading": "tinycnn 课程",
        "lead": "每课只讲一件事：先预测，再测量。用 `tinycnn lesson run 00 --lang zh` 运行一课，"
        "改改代码，看看会发生什么。",
    },
}


def lesson_page(
    lesson: Lesson, recording: Recording, all_lessons: Sequence[Lesson], language: str, languages: Iterable[str]
) -> str:
    """Return the page of a lesson.

    Parameters
    ----------
    lesson : Lesson
        In the language of the page.
    recording : Recording
        The output of its code cells.
    all_lessons : sequence of Lesson
        All lessons, to link to the one before and the one after.
    language : str
    languages : iterable of str
        The languages of all pages.
    """
    words = _WORDS[language]
    outputs, figures = iter(recording.cells), _Figures(words["figure"], lesson.words)
    sections = [
        f'<section class="{"both" if code else "alone"}"><div class="prose">{to_html(prose.source)}</div>'
        + '<div class="work">'
        + "".join(_code(cell, next(outputs), figures, words["claims"]) for cell in code)
        + "</div></section>"
        for prose, code in _sections(lesson)
    ]
    facts = f'<p class="facts">{escape(words["about"].format(seconds=lesson.seconds))}</p>'
    sections[0] = sections[0].replace("</h1>", f"</h1>{facts}", 1)
    nav = _navigation(lesson.name, all_lessons, language, languages)
    body = f"{nav}<main>{''.join(sections)}</main>{nav}"
    return _document(f"{lesson.number} · {lesson.title}", body, language)


def index_page(all_lessons: Sequence[Lesson], language: str, languages: Iterable[str]) -> str:
    """Return the page that lists the lessons."""
    words = _WORDS[language]
    rows = "".join(
        f'<li><a href="{_file(lesson.name, language)}"><span class="number">{lesson.number}</span>'
        f"<span>{inline(lesson.title)}<small>{escape(words['about'].format(seconds=lesson.seconds))}</small></span>"
        "</a></li>"
        for lesson in all_lessons
    )
    body = (
        f'<nav><span></span>{_languages("index", language, languages)}</nav><main class="index">'
        f"<h1>{words['heading']}</h1><p>{inline(words['lead'])}</p><ol>{rows}</ol></main>"
    )
    return _document(words["heading"], body, language)


def _sections(lesson: Lesson) -> list[tuple[Cell, list[Cell]]]:
    """Return each markdown cell with the code cells that follow it."""
    sections: list[tuple[Cell, list[Cell]]] = []
    for cell in lesson.cells:
        if cell.kind == "markdown":
            sections.append((cell, []))
        else:
            sections[-1][1].append(cell)
    return sections


class _Figures:
    """A writer of figures as HTML, numbered through a page."""

    def __init__(self, label: str, words: dict[str, str]) -> None:
        self.label, self.words, self.count = label, words, 0

    def html(self, picture: Picture) -> str:
        self.count += 1
        caption = self.words.get(picture.caption, picture.caption)
        data = base64.b64encode(picture.png).decode("ascii")
        width, height = struct.unpack_from(">II", picture.png, 16)
        return (
            f'<figure><img alt="{escape(caption)}" width="{width}" height="{height}" style="--pixels:{width}"'
            f' src="data:image/png;base64,{data}">'
            f"<figcaption><b>{self.label} {self.count}.</b> {inline(caption)}</figcaption></figure>"
        )

    def claim(self, claim: Claim) -> str:
        return f"<li>{inline(self.words.get(claim.text, claim.text))}</li>"


def _code(cell: Cell, outputs: Sequence[Output], figures: _Figures, claims: str) -> str:
    """Return a code cell and its output; claims are collected at its end."""
    parts = [f'<pre class="code" tabindex="0">{highlight.to_lines(cell.source)}</pre>']
    for output in outputs:
        if isinstance(output, Picture):
            parts.append(figures.html(output))
        elif isinstance(output, str) and output.strip():
            parts.append(f'<pre class="output" tabindex="0">{escape(output.rstrip(), quote=False)}</pre>')
    held = "".join(figures.claim(output) for output in outputs if isinstance(output, Claim))
    if held:
        parts.append(f'<div class="claims"><h4>{claims}</h4><ul>{held}</ul></div>')
    return "".join(parts)


def _navigation(name: str, all_lessons: Sequence[Lesson], language: str, languages: Iterable[str]) -> str:
    names = [lesson.name for lesson in all_lessons]
    place = names.index(name)
    links = [f'<a href="{_file("index", language)}">{_WORDS[language]["all"]}</a>']
    if place:
        links.insert(0, _neighbour(all_lessons[place - 1], language, "prev"))
    if place + 1 < len(all_lessons):
        links.append(_neighbour(all_lessons[place + 1], language, "next"))
    return f"<nav><span>{''.join(links)}</span>{_languages(name, language, languages)}</nav>"


def _neighbour(lesson: Lesson, language: str, relation: str) -> str:
    left, right = ("← ", "") if relation == "prev" else ("", " →")
    label = f"{left}{lesson.number}{right}"
    return f'<a rel="{relation}" title="{escape(lesson.title)}" href="{_file(lesson.name, language)}">{label}</a>'


def _languages(name: str, language: str, languages: Iterable[str]) -> str:
    others = [other for other in languages if other != language]
    links = (f'<a lang="{o}" href="{_file(name, o)}">{_WORDS[o]["language"]}</a>' for o in others)
    return f"<span>{''.join(links)}</span>"


def _file(name: str, language: str) -> str:
    return f"{name}.html" if language == "en" else f"{name}.{language}.html"


def _document(title: str, body: str, language: str) -> str:
    css = re.sub(r"\s+", " ", files("tinycnn.lesson").joinpath("page.css").read_text(encoding="utf-8"))
    tag = {"en": "en", "zh": "zh-Hans"}[language]
    return (
        f'<!doctype html>\n<html lang="{tag}">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{escape(title)}</title>\n<style>{css}</style>\n</head>\n<body>\n{body}\n</body>\n</html>\n"
    )
