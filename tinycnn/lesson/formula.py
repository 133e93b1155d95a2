"""Formulas as outlines: TeX's mathematics through matplotlib, as SVG that scales with the text and needs no font."""

from __future__ import annotations

from functools import cache
from html import escape

import numpy as np

from tinycnn.lesson.source import LessonError

_SIZE = 100.0  # the font size of matplotlib's outlines of formulas
_COMMANDS = {1: "M", 2: "L", 3: "Q", 4: "C"}
_POINTS = {1: 1, 2: 1, 3: 2, 4: 3}


@cache
def svg(formula: str) -> str:
    """Return a formula as an ``<svg>`` in the colour of the text, on its baseline, with its source for screen readers.

    Raises
    ------
    LessonError
        If matplotlib cannot read it.
    """
    from matplotlib.font_manager import FontProperties
    from matplotlib.textpath import text_to_path

    font = FontProperties(size=_SIZE, math_fontfamily="stix")
    source = f"${formula}$"
    try:
        width, height, descent = text_to_path.get_text_width_height_descent(source, font, ismath=True)
        points, codes = text_to_path.get_text_path(font, source, ismath=True)
    except ValueError as error:
        raise LessonError(f"the formula {source} cannot be drawn: {error}") from error
    edge = 4.0  # outlines extend a little beyond their box
    box = f"0 {_short(descent - height - edge)} {_short(width)} {_short(height + 2 * edge)}"
    style = ";".join(
        f"{name}:{_short(value / _SIZE)}em"
        for name, value in (("width", width), ("height", height + 2 * edge), ("vertical-align", -descent - edge))
    )
    return (
        f'<svg class="math" role="img" aria-label="{escape(formula)}" viewBox="{box}" style="{style}">'
        f'<path d="{_outline(np.asarray(points).tolist(), np.asarray(codes).tolist())}"/></svg>'
    )


def _outline(points: list[list[float]], codes: list[int]) -> str:
    """Return a path in SVG's letters; y points down there."""
    parts, index = [], 0
    while index < len(codes):
        code = codes[index]
        count = _POINTS.get(code, 1)
        if code in _COMMANDS:
            numbers = (f"{x:.0f} {-y:.0f}" for x, y in points[index : index + count])
            parts.append(_COMMANDS[code] + " ".join(numbers))
        else:
            parts.append("Z")
        index += count
    return "".join(parts)


def _short(number: float) -> str:
    return f"{number:.3f}".rstrip("0").rstrip(".")
