"""The ``tinycnn`` command."""

from __future__ import annotations

import argparse
import difflib
import re
import signal
import sys
from collections.abc import Iterable, Sequence
from typing import Any, NoReturn

from tinycnn.commands.assign import add_assign
from tinycnn.commands.compress import add_compress
from tinycnn.commands.data import add_data
from tinycnn.commands.doctor import add_doctor
from tinycnn.commands.evaluate import add_evaluate, add_predict
from tinycnn.commands.experiment import add_experiment
from tinycnn.commands.failure import describe, let_rank_0_speak
from tinycnn.commands.inspect import add_gradcheck, add_plan, add_profile, add_summary
from tinycnn.commands.lesson import add_lesson
from tinycnn.commands.train import add_train
from tinycnn.interrupts import handlers, stop_now
from tinycnn.streams import lenient_streams

# Modules that take time to import (NumPy, Numba, matplotlib) are imported by the command that needs them.


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command, and return the exit status.

    0: done. 1: an error. 2: a wrong command line. 128 + n: ended by signal n, such as 130 after Ctrl-C.
    """
    with lenient_streams() as output:
        status = _run(arguments)
        output.flush()
        if output.failure is not None and status == 0:
            print(f"tinycnn: error: standard output: {describe(output.failure)}", file=sys.stderr)
            return 1
        return status


def _run(arguments: Sequence[str] | None) -> int:
    options = None
    try:
        with handlers(stop_now):
            options = _parser().parse_args(arguments)
            return options.run(options) or 0
    except KeyboardInterrupt:
        print("tinycnn: interrupted", file=sys.stderr)
        return 128 + signal.SIGINT
    except SystemExit as end:
        number = end.code - 128 if isinstance(end.code, int) else 0
        if number not in set(signal.Signals):
            raise
        print(f"tinycnn: ended by {signal.Signals(number).name}", file=sys.stderr)
        return 128 + number
    except Exception as error:
        if options is None or options.debug:
            raise
        print(f"tinycnn: error: {describe(error)}", file=sys.stderr)
        return 1


class _Parser(argparse.ArgumentParser):
    """A parser that reports a wrong command line in one line, with the nearest valid word."""

    def parse_known_args(self, args: Any = None, namespace: Any = None) -> Any:
        words = sys.argv[1:] if args is None else list(args)
        for word in words:
            if re.fullmatch(r"--[\w-]+=--", word):  # argparse would drop the value
                self.error(f"argument {word[:-3]}: expected one argument, not --")
        namespace, rest = super().parse_known_args(words, namespace)
        if rest:
            self.error(f"unknown argument {rest[0]}{_nearest(rest[0], self._option_string_actions)}")
        return namespace, rest

    def error(self, message: str) -> NoReturn:
        found = re.search(r"invalid choice: '(.+?)' \(choose from (.+)\)", message)
        hint = _nearest(found[1], re.findall(r"[\w-]+", found[2])) if found else ""
        message = message.replace("\n", " ")
        self.exit(2, None if let_rank_0_speak() else f"tinycnn: error: {message}{hint} (see {self.prog} --help)\n")


def _nearest(word: str, known: Iterable[str]) -> str:
    near = difflib.get_close_matches(word, list(known), n=1)
    return f"; did you mean {near[0]}?" if near else ""


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(prog="tinycnn", description="Convolutional networks from scratch: train, look inside, check.")
    parser.add_argument("--version", action=_Version, nargs=0, help="print the version and exit")
    shared = argparse.ArgumentParser(add_help=False)
    shared.add_argument("--debug", action="store_true", help="show the traceback of an error")
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)
    for add in (
        add_train,
        add_evaluate,
        add_predict,
        add_summary,
        add_plan,
        add_profile,
        add_gradcheck,
        add_data,
        add_doctor,
        add_compress,
        add_lesson,
        add_experiment,
        add_assign,
    ):
        add(commands, shared)
    return parser


class _Version(argparse.Action):
    def __call__(self, parser: argparse.ArgumentParser, *_: Any) -> None:
        from tinycnn import __version__

        print(f"tinycnn {__version__}")
        parser.exit()
