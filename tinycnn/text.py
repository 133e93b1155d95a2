"""Text from users, such as class names: data, whatever characters it holds."""

from __future__ import annotations

import re
import unicodedata


def printable(text: object, longest: int | None = None) -> str:
    r"""Return text as one line: control characters and lone surrogates as escapes, shortened to ``longest`` characters.

    >>> printable("a\tb")
    'a\\tb'
    >>> printable("retriever", 6)
    'retri…'
    """
    line = "".join(c if unicodedata.category(c) not in ("Cc", "Cs", "Zl", "Zp") else escaped(c) for c in str(text))
    return line if longest is None or len(line) <= longest else f"{line[: longest - 1]}…"


def plain(text: object, longest: int | None = None) -> str:
    r"""Return text for matplotlib, where ``$`` would begin a formula; as :func:`printable` otherwise.

    >>> plain("$20 bill, $5 bill")
    '\\$20 bill, \\$5 bill'
    """
    return printable(text, longest).replace("$", r"\$")


def legend(text: object) -> str:
    """Return text for a legend, which leaves out names that begin with an underscore."""
    name = plain(text)
    return f" {name}" if name.startswith("_") else name


def dot_quoted(text: object) -> str:
    r"""Return text as a quoted string of Graphviz's DOT language.

    >>> print(dot_quoted('say "hi"\\n'))
    "say \"hi\"\\n"
    """
    lines = [printable(line).replace("\\", r"\\").replace('"', r"\"") for line in str(text).split("\n")]
    return '"' + re.sub(r"&(?=#?\w+;)", "&amp;", r"\n".join(lines)) + '"'


def escaped(character: str) -> str:
    r"""Return the escape of a character, as in Python's literals: ``\u732b``."""
    return character.encode("unicode_escape").decode()
