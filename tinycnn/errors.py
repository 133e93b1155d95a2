"""Errors that name the argument, its value and the expected value."""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from typing import Any


class TinyCNNError(Exception):
    """Base class of the errors that a command prints as one line, without a traceback."""


class DataError(TinyCNNError, ValueError):
    """A data set, image or label that cannot be used as it is."""


class WeightsError(TinyCNNError, ValueError):
    """A weights file that is damaged, hostile, or does not fit the model."""


class CheckpointError(TinyCNNError, ValueError):
    """A checkpoint that is damaged or belongs to another run."""


class DeviceError(TinyCNNError, RuntimeError):
    """A device that is not available, or too small."""


class UnknownNameError(TinyCNNError, LookupError):
    """A model, data set or option that does not exist."""


class GradcheckError(AssertionError):
    """The error that backward disagrees with finite differences: where, by how much, and the likely mistake."""


def unknown_name(kind: str, name: Any, known: Iterable[str]) -> UnknownNameError:
    """Return the error for a misspelt name, with the nearest known ones.

    >>> str(unknown_name("model", "resnet19", ["resnet18", "vgg11"]))
    "unknown model 'resnet19'; did you mean resnet18? Known: resnet18, vgg11"
    """
    choices = sorted(known)
    lowered = {choice.lower(): choice for choice in choices}
    near = [lowered[word] for word in difflib.get_close_matches(str(name).lower(), lowered, n=3)]
    hint = f"; did you mean {' or '.join(near)}?" if near else "."
    return UnknownNameError(f"unknown {kind} {name!r}{hint} Known: {', '.join(choices)}")
