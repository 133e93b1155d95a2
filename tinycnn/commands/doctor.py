"""The command ``doctor``."""

from __future__ import annotations

import argparse
from typing import Any


def add_doctor(commands: Any, shared: argparse.ArgumentParser) -> None:
    """Add the command ``doctor``."""
    parser = commands.add_parser(
        "doctor", parents=[shared], help="list what is installed or missing, and how to get it"
    )
    parser.set_defaults(run=_doctor)


def _doctor(options: argparse.Namespace) -> int:
    from tinycnn.doctor import report

    return 0 if report(print) else 1
