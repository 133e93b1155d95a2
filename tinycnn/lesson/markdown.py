"""The Markdown that lessons are written in, as HTML.

Headings, paragraphs, lists, tables, quotes, fenced code; emphasis, code, links, images and formulas between dollars.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from html import escape

from tinycnn.lesson import formula, highlight

_ITEM = re.compile(r"(?:([-*])|\d+\.) +")
_WIDE = r"\u3000-\u303f\u4e00-\u9fff\uff00-\uffef"
_MARK = r"\u3000-\u303f\uff00-\uffef"
_FORMULA = re.compile(r"\$([^$\s](?:[^$]*[^$\s])?)\$([.,;:?!)\u3001\u3002\uff01-\uff1f]*)")
_NO_BREAK = re.compile(rf"(?<=[{_MARK}])\n|\n(?=[{_MARK}])|(?<=[{_WIDE}])\n(?=[{_WIDE}])")


def to_html(text: str) -> str:
    """Return a text as HTML."""
    lines, out = text.splitlines(), []
    while lines:
        if not lines[0].strip():
            lines.pop(0)
            continue
        out.append(next(render(lines) for starts, render in _BLOCKS if starts(lines)))
    return "\n".join(out)


def _take(lines: list[str], wanted: Callable[[str], object]) -> list[str]:
    """Remove and return the first lines for which ``wanted`` is true."""
    count = next((i for i, line in enumerate(lines) if not wanted(line)), len(lines))
    taken = lines[:count]
    del lines[:count]
    return taken


def _fence(lines: list[str]) -> str:
    language = lines.pop(0).removeprefix("```").strip()
    source = "\n".join(_take(lines, lambda line: not line.startswith("```")))
    del lines[:1]
    return f"<pre>{highlight.to_html(source) if language == 'python' else escape(source)}</pre>"


def _heading(lines: list[str]) -> str:
    marks, text = lines.pop(0).split(" ", 1)
    return f"<h{len(marks)}>{inline(text)}</h{len(marks)}>"


def _formula(lines: list[str]) -> str:
    return f'<p class="formula">{formula.svg(lines.pop(0).strip().strip("$").strip())}</p>'


def _table(lines: list[str]) -> str:
    head, _, *rows = [
        [cell.strip() for cell in re.split(r"(?<!\\)\|", line.strip().strip("|"))]
        for line in _take(lines, lambda line: line.startswith("|"))
    ]
    cells = "".join(f"<th>{inline(cell)}</th>" for cell in head)
    body = "".join("<tr>" + "".join(f"<td>{inline(cell)}</td>" for cell in row) + "</tr>" for row in rows)
    return f'<div class="wide"><table><thead><tr>{cells}</tr></thead><tbody>{body}</tbody></table></div>'


def _quote(lines: list[str]) -> str:
    inside = _take(lines, lambda line: line.startswith(">"))
    return f"<blockquote>{to_html(chr(10).join(line[1:].removeprefix(' ') for line in inside))}</blockquote>"


def _list(lines: list[str]) -> str:
    kind = "ul" if lines[0][0] in "-*" else "ol"
    items: list[str] = []
    for line in _take(lines, lambda line: _ITEM.match(line) or (line.startswith("  ") and line.strip())):
        start = _ITEM.match(line)
        if start:
            items.append(line[start.end() :])
        else:
            items[-1] += "\n" + line.strip()
    return f"<{kind}>{''.join(f'<li>{inline(item)}</li>' for item in items)}</{kind}>"


def _paragraph(lines: list[str]) -> str:
    first = lines.pop(0)
    rest = _take(lines, lambda line: line.strip() and not any(starts([line]) for starts, _ in _BLOCKS[:-1]))
    return f"<p>{inline(chr(10).join([first, *rest]))}</p>"


_BLOCKS: tuple[tuple[Callable[[list[str]], object], Callable[[list[str]], str]], ...] = (
    (lambda lines: lines[0].startswith("```"), _fence),
    (lambda lines: re.match(r"#{1,4} ", lines[0]), _heading),
    (lambda lines: re.fullmatch(r"\$\$.+\$\$\s*", lines[0]), _formula),
    (lambda lines: lines[0].startswith("|"), _table),
    (lambda lines: lines[0].startswith(">"), _quote),
    (lambda lines: _ITEM.match(lines[0]), _list),
    (lambda lines: True, _paragraph),
)


def inline(text: str) -> str:
    """Return a line of text as HTML; a line break between Chinese characters, or beside a Chinese mark, is dropped."""
    text = _NO_BREAK.sub("", text)
    kept: list[str] = []

    def keep(html: str) -> str:
        kept.append(html)
        return f"\0{len(kept) - 1}\0"

    text = re.sub(r"`([^`]+)`", lambda m: keep(f"<code>{escape(m[1])}</code>"), text)
    text = _FORMULA.sub(lambda m: keep(_with_punctuation(" ".join(m[1].split()), m[2])), text)
    text = escape(text, quote=False)
    text = re.sub(r"!\[([^]]*)\]\(([^)\s]+)\)", lambda m: keep(f'<img alt="{escape(m[1])}" src="{m[2]}">'), text)
    text = re.sub(r"\[([^]]+)\]\(([^)\s]+)\)", r'<a href="\2">\1</a>', text)
    text = re.sub(r"\*\*(.+?)\*\*", r"<strong>\1</strong>", text, flags=re.S)
    text = re.sub(r"(?<!\*)\*([^*\s](?:[^*]*[^*\s])?)\*", r"<em>\1</em>", text)
    return re.sub(r"\0(\d+)\0", lambda m: kept[int(m[1])], text)


def _with_punctuation(source: str, mark: str) -> str:
    """Return a formula with the mark behind it kept on its line."""
    drawn = formula.svg(source)
    return f'<span class="together">{drawn}{mark}</span>' if mark else drawn
