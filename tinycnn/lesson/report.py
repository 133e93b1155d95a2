"""Claims and figures of a lesson, and their destination: the terminal, a notebook, or a page."""

from __future__ import annotations

import io
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from tinycnn.errors import TinyCNNError

if TYPE_CHECKING:
    from matplotlib.figure import Figure

FAST = os.environ.get("TINYCNN_LESSON") == "fast"
"""True if this run is a quick one for tests: less data, shallower nets, the same claims."""


class ClaimError(TinyCNNError, AssertionError):
    """The error that a claim of a lesson does not hold."""


@dataclass(frozen=True)
class Claim:
    """A claim that held."""

    text: str


@dataclass(frozen=True)
class Picture:
    """A figure: its PNG and its caption."""

    png: bytes
    caption: str


Output = str | Claim | Picture
_receivers: list[Callable[[Output], None]] = []


def check(claim: str, holds: object) -> None:
    """State a claim that this run supports.

    Raises
    ------
    ClaimError
        If it does not hold.

    Examples
    --------
    >>> check("two is even", 2 % 2 == 0)
    holds: two is even
    """
    if not holds:
        raise ClaimError(f"this run does not support the claim: {claim}")
    _report(Claim(claim))


def show(figure: Figure, caption: str) -> None:
    """Show a figure with a caption that names its point.

    In a notebook it appears below the cell. A script writes it to ``runs/lessons/NN_name/figureN.png`` and prints
    where; the caption is also in the file.
    """
    file = io.BytesIO()
    figure.savefig(file, format="png", dpi=150, metadata={"Description": caption})
    _report(Picture(file.getvalue(), caption))


@contextmanager
def reporting_to(receive: Callable[[Output], None]) -> Iterator[None]:
    """Send claims and figures to a function instead."""
    _receivers.append(receive)
    try:
        yield
    finally:
        _receivers.pop()


def _report(output: Claim | Picture) -> None:
    if _receivers:
        _receivers[-1](output)
    elif isinstance(output, Picture) and _in_notebook():
        from IPython.display import Image, Markdown, display

        display(Image(output.png, width=760, alt=output.caption), Markdown(f"*{output.caption}*"))
    else:
        Printer(Path("runs", "lessons", Path(sys.argv[0]).stem or "lesson"))(output)


def _in_notebook() -> bool:
    return "ipykernel" in sys.modules


class Printer:
    """A printer of claims that writes figures into a folder, numbered.

    Parameters
    ----------
    folder : Path
        It is made with the first figure.
    words : dict
        Translations of claims and captions.
    """

    _counts: ClassVar[dict[Path, int]] = {}

    def __init__(self, folder: Path, words: dict[str, str] | None = None) -> None:
        self.folder, self.words = folder, words or {}

    def __call__(self, output: Output) -> None:
        """Print it, or write it and print its path."""
        if isinstance(output, Picture):
            number = self._counts[self.folder] = self._counts.get(self.folder, 0) + 1
            path = self.folder / f"figure{number}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(output.png)
            print(f"figure {number}: {self.words.get(output.caption, output.caption)} [{path}]")
        elif isinstance(output, Claim):
            print(f"holds: {self.words.get(output.text, output.text)}")
        else:
            print(output, end="")
