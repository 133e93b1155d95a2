"""The parts that lessons have in common: checked claims, figures with captions, a fast mode, a short way to train."""

from tinycnn.lesson.report import FAST, ClaimError, check, show
from tinycnn.lesson.training import fit, glyphs

__all__ = ["FAST", "ClaimError", "check", "fit", "glyphs", "show"]


def __dir__() -> list[str]:
    return __all__
