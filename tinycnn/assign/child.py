"""The process that runs a student's code: it reads the name of a function, computes, and answers in plain arrays.

It starts as ``python -I -S child.py`` in a folder of its own. The first line on standard input is JSON with its
settings, and requests follow. It never sees a right answer, so whatever the student's code does to this process, it
cannot answer better than by computing. This file and its neighbours ``wire`` and ``confine`` are copied to a folder
without the rest of the package.
"""

from __future__ import annotations

import difflib
import importlib.machinery
import importlib.util
import json
import os
import sys
import traceback
from types import ModuleType
from typing import Any, BinaryIO, ClassVar

_LONGEST_TEXT = 2000


class _Allowed(importlib.machinery.PathFinder):
    """A finder of the packages that the assignment may use, and of no other installed ones."""

    places: ClassVar[dict[str, str]] = {}

    @classmethod
    def find_spec(cls, fullname: str, path: Any = None, target: Any = None) -> Any:
        top = fullname.partition(".")[0]
        if top not in cls.places:
            return None
        return super().find_spec(fullname, [cls.places[top]] if path is None else path, target)


class Missing(LookupError):
    """The error that the student's file has no such function."""


def main() -> None:
    """Take the settings, give up rights, import the student's file, answer requests until the input ends."""
    requests, replies = os.fdopen(os.dup(0), "rb"), os.fdopen(os.dup(1), "wb")
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.dup2(2, 1)  # the student's output goes to the log
    settings = json.loads(requests.readline())
    here = os.path.dirname(os.path.abspath(__file__))
    sys.path.append(here)
    _Allowed.places.update(settings["packages"])
    sys.meta_path.append(_Allowed)
    for name in settings["packages"]:
        importlib.import_module(name)
    import confine
    import wire

    sys.path.remove(here)
    wire.write(replies, wire.encode({"protections": confine.confine(settings)}))
    _serve(requests, replies, settings)


def _serve(requests: BinaryIO, replies: BinaryIO, settings: dict[str, Any]) -> None:
    import wire

    modules: list[ModuleType] = []
    while (message := wire.read(requests, settings["largest"])) is not None:
        request = wire.decode(message)
        reply = _answer(request, modules, settings)
        reply["nonce"] = request["nonce"]
        wire.write(replies, _sendable(reply, request, settings["largest"]))


def _sendable(reply: dict[str, Any], request: dict[str, Any], largest: int) -> bytes:
    """Return the reply as bytes, or as an error if it cannot be sent."""
    import wire

    try:
        message = wire.encode(reply)
        if len(message) <= largest:
            return message
        what = f"more than {largest >> 20} MB"
    except wire.WireError as error:
        what = str(error)
    except MemoryError:
        what = "more than fits into memory"
    text = f"{request['function']} returned {what}; expected numbers, arrays or tuples of them"
    return wire.encode({"nonce": request["nonce"], "error": "Unsendable", "text": text})


def _answer(request: dict[str, Any], modules: list[ModuleType], settings: dict[str, Any]) -> dict[str, Any]:
    """Return the requested value, or the error that was raised. The first request imports the files."""
    import wire

    try:
        if not modules:
            modules += [_load(path) for path in settings["modules"]]
            return {"value": None, "changed": []}
        arguments, options = request["arguments"], request["options"]
        before = [wire.encode(argument) for argument in arguments]
        value = _function(modules, request["function"])(*arguments, **options)
        changed = [n for n, argument in enumerate(arguments) if wire.encode(argument) != before[n]]
        return {"value": value, "changed": changed}
    except BaseException as error:
        return _described(error, settings["modules"][0])


def _load(path: str) -> ModuleType:
    """Import a file under the name it has."""
    name = os.path.splitext(os.path.basename(path))[0]
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


def _function(modules: list[ModuleType], name: str) -> Any:
    """Return the adapter's function, which gets the student's module first, or the student's own."""
    student, *adapters = modules
    for adapter in adapters:
        if name in vars(adapter):
            return lambda *arguments, **options: getattr(adapter, name)(student, *arguments, **options)
    try:
        return getattr(student, name)
    except AttributeError:
        near = difflib.get_close_matches(name, [word for word in vars(student) if not word.startswith("_")], n=1)
        hint = f"; did you mean {near[0]} to be it?" if near else ""
        raise Missing(f"there is no function {name} in {os.path.basename(student.__file__ or '')}{hint}") from None


def _described(error: BaseException, path: str) -> dict[str, Any]:
    """Return an error in plain words: its type, its text, and the line of the student's file that raised it."""
    try:
        lines = [line for frame, line in traceback.walk_tb(error.__traceback__) if frame.f_code.co_filename == path]
        line = lines[-1] if lines else 0
        if isinstance(error, SyntaxError) and error.filename in (path, os.path.basename(path)):
            line = error.lineno or 0
        text = str(error.msg if isinstance(error, SyntaxError) else error)[:_LONGEST_TEXT]
        return {"error": type(error).__name__[:80], "text": text, "line": line or 0}
    except BaseException:  # a student's exception can refuse to be printed
        return {"error": "Exception", "text": "", "line": 0}


if __name__ == "__main__":
    main()
