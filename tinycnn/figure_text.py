"""Figures whose text may hold any character.

A character that the figure's font lacks is drawn from an installed font that has it, else as an escape, with one note.
In SVG it stays text, for the viewer's fonts.
"""

from __future__ import annotations

import os
import re
import unicodedata
import warnings
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any

import matplotlib
from matplotlib import font_manager
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.font_manager import FontProperties
from matplotlib.ft2font import FT2Font
from matplotlib.text import Text

from tinycnn.progress import note
from tinycnn.text import escaped, printable

_NO_FONT = "Last Resort"  # draws a box for every character
_SIMPLE = re.compile(r"[A-Za-z0-9_ .,:;()/%+=#\n…✓✗·×–−]*")
_LONGEST = 44  # characters of a text with escapes
_noted: list[str] = []  # the characters of the first note: there is one a process


def drawn_length(text: str) -> int:
    """Return how many characters a text has when it is drawn, where escapes are longer."""
    return len(_drawable(text, FontProperties())[0])


class TextFigure(Figure):
    """A figure that draws text as described above.

    Attributes
    ----------
    names : sequence of str
        The names in full, which an SVG file holds as its description: drawn names may be shortened.
    """

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self.names: Sequence[str] = ()
        _Canvas(self)

    def savefig(self, fname: Any, **options: Any) -> None:  # type: ignore[override]
        """Save the figure, in SVG with names as text."""
        named = os.path.splitext(fname)[1] if isinstance(fname, (str, os.PathLike)) else ""
        kind = (options.get("format") or str(named).lstrip(".") or matplotlib.rcParams["savefig.format"]).lower()
        texts = [text.get_text() for text in self.findobj(Text)]
        as_text = kind in ("svg", "svgz") and not all(_SIMPLE.fullmatch(text) and "--" not in text for text in texts)
        if kind in ("svg", "svgz") and self.names:
            description = ", ".join(printable(name) for name in self.names)
            options["metadata"] = {"Description": description} | (options.get("metadata") or {})
        with matplotlib.rc_context({"svg.fonttype": "none"} if as_text else {}), warnings.catch_warnings():
            warnings.filterwarnings("ignore", message="Glyph .* missing from")  # the viewer has fonts of its own
            warnings.filterwarnings("ignore", message="constrained_layout not applied")  # names that leave no room
            super().savefig(fname, **options)


class _Canvas(FigureCanvasAgg):
    """A canvas for pixels whose renderer finds fonts for the characters that it draws."""

    def get_renderer(self) -> Any:
        """Return the renderer, changed to look for fonts."""
        renderer: Any = super().get_renderer()
        if not hasattr(renderer, "_tinycnn_text"):
            _look_for_fonts(renderer)
        return renderer


def _look_for_fonts(renderer: Any) -> None:
    draw, measure = renderer.draw_text, renderer.get_text_width_height_descent

    def draw_text(
        gc: Any, x: Any, y: Any, s: str, prop: Any, angle: Any, ismath: Any = False, mtext: Any = None
    ) -> Any:
        return draw(gc, x, y, *(_drawable(s, prop) if not ismath else (s, prop)), angle, ismath, mtext)

    def get_text_width_height_descent(s: str, prop: Any, ismath: Any) -> Any:
        return measure(*(_drawable(s, prop) if not ismath else (s, prop)), ismath)

    renderer.draw_text, renderer.get_text_width_height_descent = draw_text, get_text_width_height_descent
    renderer._tinycnn_text = True


def _drawable(text: str, properties: FontProperties) -> tuple[str, FontProperties]:
    """Return text and fonts with which each character can be drawn."""
    if text.isascii():
        return text, properties
    has = _characters(font_manager.findfont(properties))
    missing = [c for c in dict.fromkeys(text) if ord(c) not in has]
    fonts = {c: _font_with(c) for c in missing}
    families = [name for name in dict.fromkeys(fonts.values()) if name is not None]
    if families:
        properties = properties.copy()
        properties.set_family([*properties.get_family(), *families])
    without = [c for c in missing if fonts[c] is None]
    for c in without:
        text = text.replace(c, "" if unicodedata.category(c) in ("Cf", "Mn") else escaped(c))
    if without:
        _note(without)
        text = text if len(text) <= _LONGEST else f"{text[: _LONGEST - 1]}…"
    return text, properties


def _note(characters: list[str]) -> None:
    if not _noted:
        _noted.extend(characters)
        note(
            f"no installed font has {' '.join(characters[:5])}: figures show such characters as escapes; a font with "
            "them (Noto Sans CJK, say) is used once it is installed and matplotlib's font cache is deleted"
        )


@cache
def _characters(path: str) -> frozenset[int]:
    """Return the characters of a font file; none if it cannot be used."""
    try:
        return frozenset(FT2Font(path).get_charmap())
    except (RuntimeError, OSError, ValueError):
        return frozenset()


@cache
def _font_with(character: str) -> str | None:
    """Return the name of an installed font that draws a character."""
    for entry in font_manager.fontManager.ttflist:
        if _NO_FONT not in entry.name and ord(character) in _characters(entry.fname) and _draws(entry, character):
            return entry.name
    return None


def _draws(entry: Any, character: str) -> bool:
    """True if matplotlib finds that very font by its name, and can draw the character with it."""
    try:
        path = font_manager.findfont(FontProperties(family=[entry.name]), fallback_to_default=False)
        if ord(character) not in _characters(str(path)):
            return False
        font = FT2Font(str(Path(path)))
        font.set_size(10, 100)
        font.load_char(ord(character))
    except (RuntimeError, OSError, ValueError):
        return False
    return True
