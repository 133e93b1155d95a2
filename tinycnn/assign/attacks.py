"""Submissions of the careless and the clever, each of which must get no points and do no harm.

Most are files in ``lessons/assignments/attacks/``, written so that they fit any assignment: missing names fall through
to the module's ``__getattr__``. Added here are answers that take no work, archives with paths that lead elsewhere, and
the right answers to another student's questions.
"""

from __future__ import annotations

import base64
import hashlib
import io
import os
import re
import tarfile
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tinycnn.assign import wire
from tinycnn.assign.grading import PUBLIC, Draw, functions_of
from tinycnn.assign.sandbox import Sandbox
from tinycnn.assign.task import Task, catalogue
from tinycnn.assign.testing import Check, Student

SLOW = ("endless_call", "endless_loop", "sleeper", "huge_output", "threads", "disk_bomb", "memory_bomb")
_LAZY = {
    "answers nothing": "None",
    "answers 0": "0",
    "answers 1": "1",
    "answers True": "True",
    "answers a text": "'100 points'",
    "answers with its first argument": "arguments[0]",
    "answers with its last argument": "arguments[-1]",
    "answers with zeros": "arguments[0] * 0",
    "answers with NaN": "arguments[0] * float('nan')",
    "answers with an empty array": "__import__('numpy').zeros((0,))",
    "answers with a tuple of its arguments": "arguments",
    "refuses everything": "(_ for _ in ()).throw(ValueError('no'))",
}
_LAZY_FILE = "def __getattr__(name):\n    return lambda *arguments, **options: {answer}\n"


@dataclass(frozen=True)
class Attack:
    """A submission: its name, its path, and the protection without which it is not tried."""

    name: str
    path: Path
    needs: str = ""


def lazy(task: Task, folder: Path) -> Iterator[Attack]:
    """Return answers that take no work."""
    for name, answer in _LAZY.items():
        path = folder / name.replace(" ", "_")
        path.mkdir()
        (path / task.file).write_text(_LAZY_FILE.format(answer=answer), encoding="utf-8")
        yield Attack(name, path)


def hostile(task: Task, folder: Path) -> Iterator[Attack]:
    """Return code that does something else than compute an answer."""
    for source in sorted((catalogue() / "attacks").glob("*.py")):
        text = source.read_text(encoding="utf-8")
        needs = re.search(r'^""".*Needs: (\w+)\."""', text)
        path = folder / source.stem
        path.mkdir()
        (path / task.file).write_text(text, encoding="utf-8")
        yield Attack(source.stem.replace("_", " "), path, needs[1] if needs else "")


def smuggled(task: Task, folder: Path) -> Iterator[Attack]:
    """Return the solution by ways that must not be followed, and archives that are larger than they look."""
    ways: dict[str, Callable[[Task, Path], None]] = {
        "link to the master": _link,
        "folder that is a link": _linked_folder,
        "zip with paths that lead out.zip": _zip_out,
        "zip with a link.zip": _zip_link,
        "zip bomb.zip": _zip_bomb,
        "tar with links.tar.gz": _tar_links,
        "tar bomb.tar.gz": _tar_bomb,
        "pipe that never speaks": _pipe,
    }
    for name, build in ways.items():
        try:
            build(task, folder / name)
        except (OSError, AttributeError):  # a system without links or pipes
            continue
        yield Attack(name, folder / name)


def _link(task: Task, path: Path) -> None:
    path.mkdir()
    (path / task.file).symlink_to(task.master)


def _linked_folder(task: Task, path: Path) -> None:
    path.symlink_to(task.folder)


def _zip_out(task: Task, path: Path) -> None:
    with zipfile.ZipFile(path, "w") as archive:
        for place in ("../", "a/../../", "/", "C:\\", "..\\"):
            archive.writestr(f"{place}{task.file}", task.master.read_bytes())


def _zip_link(task: Task, path: Path) -> None:
    with zipfile.ZipFile(path, "w") as archive:
        member = zipfile.ZipInfo(task.file)
        member.create_system, member.external_attr = 3, 0o120777 << 16
        archive.writestr(member, str(task.master))


def _zip_bomb(task: Task, path: Path) -> None:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive, archive.open(task.file, "w") as file:
        file.write(task.master.read_bytes())
        for _ in range(200):
            file.write(b"#" * 2**20)


def _tar_links(task: Task, path: Path) -> None:
    with tarfile.open(path, "w:gz") as archive:
        for kind in (tarfile.SYMTYPE, tarfile.LNKTYPE):
            member = tarfile.TarInfo(task.file)
            member.type, member.linkname = kind, str(task.master)
            archive.addfile(member)


def _tar_bomb(task: Task, path: Path) -> None:
    with tarfile.open(path, "w:gz") as archive:
        content = task.master.read_bytes() + b"#" * 2**28
        member = tarfile.TarInfo(task.file)
        member.size = len(content)
        archive.addfile(member, io.BytesIO(content))


def _pipe(task: Task, path: Path) -> None:
    path.mkdir()
    os.mkfifo(path / task.file)


# -- answers by heart --------------------------------------------------------------------------------------------------

_BY_HEART = """
import base64, hashlib, wire  # the child's own coder is there for all

KNOWN = wire.decode(base64.b64decode("{answers}"))


def __getattr__(name):
    def answer(*arguments, **options):
        question = hashlib.sha256(wire.encode([name, arguments, options])).hexdigest()
        return KNOWN[question] if question in KNOWN else list(KNOWN.values())[0]

    return answer
"""


def by_heart(task: Task, folder: Path) -> Iterator[Attack]:
    """Return the right answers to the tests as they are drawn at home, and as another student has them."""
    for name, draw in (("answers by heart", PUBLIC), ("answers of another student", Draw(b"selftest", "another"))):
        path = folder / name.replace(" ", "_")
        path.mkdir()
        answers = base64.b64encode(wire.encode(_recorded(task, draw))).decode()
        (path / task.file).write_text(_BY_HEART.format(answers=answers), encoding="utf-8")
        yield Attack(name, path)


def _recorded(task: Task, draw: Draw) -> dict[str, Any]:
    """Return the digest of every question in the tests, and the solution's answer."""
    with _Recorder(task, task.master.read_bytes()) as sandbox:
        for name, function in functions_of(task).items():
            student = Student(sandbox)
            function(student, draw.rng(task.name, name), Check(student))
        return sandbox.answers


class _Recorder(Sandbox):
    def __init__(self, task: Task, source: bytes) -> None:
        super().__init__(task, source)
        self.answers: dict[str, Any] = {}

    def ask(self, function: str, *arguments: Any, **options: Any) -> Any:
        question = hashlib.sha256(wire.encode([function, arguments, options])).hexdigest()
        self.answers[question] = super().ask(function, *arguments, **options)
        return self.answers[question]
