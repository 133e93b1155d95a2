"""One planted mistake, and the tree in which it is planted."""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parents[2]
SECONDS = 600.0  # after which a test run that hangs counts as one that noticed
NO_TORCH = 'raise ImportError("PyTorch is hidden: tests must notice the mistake without it")\n'
_LEFT_OUT = shutil.ignore_patterns(".git", "__pycache__", "*.egg-info", "build", "dist", "runs", ".*_cache")


class Mutant(NamedTuple):
    """A mistake: in ``file``, ``old`` (which occurs once) becomes ``new``; ``tests`` must then fail.

    ``file`` may be a folder: the mistake is planted in the file below it that has the text. ``tests`` are arguments of
    pytest. ``NAME=value`` before them sets an environment variable.
    """

    file: str
    old: str
    new: str
    tests: str

    @property
    def room(self) -> str:
        """The part of the project in which the mistake is planted."""
        parts = Path(self.file).parts
        if parts[0] == "lessons":
            return "lessons"
        if len(parts) == 2 and self.file.endswith(".py"):
            return "top"
        return "/".join(parts[1:3]) if parts[1] == "kernels" and not parts[2].endswith(".py") else parts[1]

    def path(self, root: Path = ROOT) -> Path | None:
        """Return the file that has the text, None unless it occurs once."""
        place = root / self.file
        files = sorted(place.rglob("*.py")) if place.is_dir() else [place] if place.is_file() else []
        counts = {file: file.read_text(encoding="utf-8").count(self.old) for file in files}
        found = [file for file, count in counts.items() if count]
        return found[0] if sum(counts.values()) == 1 else None

    def flaw(self) -> str:
        """Return a reason why it cannot be planted, or nothing."""
        if self.path() is None:
            return f"{self.file}: {self.old!r} does not occur exactly once"
        return "" if self.old != self.new else f"{self.file}: {self.old!r} is not changed"


def planted(file: str, tests: str, *changes: tuple[str, str]) -> tuple[Mutant, ...]:
    """Return the mistakes of one file, each a pair (old text, new text), that the same tests must notice."""
    return tuple(Mutant(file, old, new, tests) for old, new in changes)


class Tree:
    """A copy of the project in which mistakes are planted, one at a time."""

    def __init__(self, folder: Path) -> None:
        self.root, self.hidden = folder / "tree", folder / "hidden"
        shutil.copytree(ROOT, self.root, ignore=_LEFT_OUT)
        (self.hidden / "torch").mkdir(parents=True)
        (self.hidden / "torch" / "__init__.py").write_text(NO_TORCH)
        self.cache = folder / "numba"

    def notices(self, mutant: Mutant) -> bool:
        """True if the tests fail with the mistake planted."""
        path = mutant.path(self.root)
        assert path is not None, mutant.flaw()
        text = path.read_text(encoding="utf-8")
        path.write_text(text.replace(mutant.old, mutant.new), encoding="utf-8")
        try:
            return self.run(mutant.tests) != 0
        finally:
            path.write_text(text, encoding="utf-8")

    def run(self, tests: str) -> int:
        """Return pytest's exit status, without PyTorch; 124 after :data:`SECONDS`."""
        words = shlex.split(tests)
        settings = dict(word.split("=", 1) for word in words if "=" in word and not word.startswith("-"))
        arguments = [word for word in words if word not in {f"{k}={v}" for k, v in settings.items()}]
        paths = os.pathsep.join([str(self.hidden), str(self.root)])
        env = {**os.environ, "PYTHONPATH": paths, "NUMBA_CACHE_DIR": str(self.cache), **settings}
        env["PYTHONDONTWRITEBYTECODE"] = "1"  # a changed file of one size and second is not taken for the old one
        command = [sys.executable, "-m", "pytest", "-x", "-q", "-p", "no:cacheprovider", "--no-header", *arguments]
        try:
            return subprocess.run(
                command, cwd=self.root, env=env, capture_output=True, timeout=SECONDS, stdin=subprocess.DEVNULL
            ).returncode
        except subprocess.TimeoutExpired:
            return 124
