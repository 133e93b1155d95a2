"""Python with its keywords, strings, numbers, comments and definitions in colour."""

from __future__ import annotations

import builtins
import io
import keyword
import re
import tokenize
from html import escape

_STRINGS = {"STRING", "FSTRING_START", "FSTRING_MIDDLE", "FSTRING_END"}


def to_lines(source: str) -> str:
    """Return the source as HTML, each line inside ``<span class="line">`` with its indent, so that it can be
    wrapped.
    """
    out, still_open = [], ""
    for plain, line in zip(source.splitlines(), to_html(source).splitlines(), strict=True):
        indent = len(plain) - len(plain.lstrip())
        line = still_open + line
        tags = re.findall(r'<span class="\w+">|</span>', line)
        still_open = tags[-1] if tags and tags[-1] != "</span>" else ""
        out.append(f'<span class="line" style="--indent:{indent}">{line}{"</span>" if still_open else ""}\n</span>')
    return "".join(out)


def to_html(source: str) -> str:
    """Return the source as HTML: its text unchanged, words inside ``<span class="...">``.

    >>> to_html("x = 1  # one")
    'x = <span class="number">1</span>  <span class="comment"># one</span>'
    """
    lines = source.splitlines(keepends=True)
    out, row, column, previous = [], 1, 0, ""
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        kind = _kind(token, previous)
        if token.string.strip() and token.type != tokenize.OP:
            previous = token.string
        if not kind:
            continue
        out.append(escape(_between(lines, (row, column), token.start), quote=False))
        out.append(f'<span class="{kind}">{escape(_between(lines, token.start, token.end), quote=False)}</span>')
        row, column = token.end
    out.append(escape(_between(lines, (row, column), (len(lines) + 1, 0)), quote=False))
    return "".join(out)


def _kind(token: tokenize.TokenInfo, previous: str) -> str:
    """Return the class of a token; empty for tokens without a colour."""
    name = tokenize.tok_name[token.type]
    if name in _STRINGS:
        return "string"
    if name in ("COMMENT", "NUMBER"):
        return name.lower()
    if name == "NAME":
        if keyword.iskeyword(token.string):
            return "keyword"
        if previous in ("def", "class"):
            return "definition"
        if hasattr(builtins, token.string):
            return "builtin"
    return ""


def _between(lines: list[str], start: tuple[int, int], end: tuple[int, int]) -> str:
    """Return the text from one (row, column) to another; rows begin at 1."""
    (first, left), (last, right) = start, end
    if first == last:
        return lines[first - 1][left:right]
    whole = lines[first - 1 : last]
    tail = lines[last - 1][:right] if last <= len(lines) else ""
    return whole[0][left:] + "".join(whole[1 : last - first]) + tail if whole else ""
