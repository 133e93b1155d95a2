"""The protocol between processes that train together, and functions that use nothing but the protocol.

Two implementations are elsewhere: :class:`tinycnn.distributed.mpi.MPICommunicator` for programs that ``mpiexec``
starts, and :class:`tinycnn.distributed.ring.Ring` for processes of our own. :data:`ALONE` is a single process.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable
from typing import Any, NoReturn, Protocol

import numpy as np

from tinycnn import arguments
from tinycnn.errors import TinyCNNError
from tinycnn.tree import put_back, take_out


class DistributedError(TinyCNNError, RuntimeError):
    """The error that processes cannot continue to train together: one is gone, hangs, or differs from the others."""


class MismatchError(DistributedError):
    """The error that ranks called different operations, or the same one with arrays that differ in shape or dtype."""


class PeerGoneError(DistributedError):
    """The error that a rank has ended while another waits for it."""


LONGEST = 1e9  # seconds of a time limit, which the system's clocks can count


def checked_timeout(name: str, seconds: float | None) -> float:
    """Return a time limit in seconds, :func:`time_limit` for None.

    Raises
    ------
    ValueError
        If it is not a number above 0.
    """
    if seconds is None:
        return time_limit()
    if isinstance(seconds, bool) or not isinstance(seconds, (int, float)) or not 0 < seconds <= LONGEST:
        raise ValueError(f"{name}: timeout is {seconds!r}, expected seconds above 0 and at most {LONGEST:g}")
    return float(seconds)


def described(operation: str, array: np.ndarray) -> str:
    """Return an operation in words that are equal on all ranks only if its arrays fit.

    >>> described("allreduce", np.zeros((2, 3)))
    'allreduce of (2, 3) float64'
    """
    return f"{operation} of {array.shape} {array.dtype}"


def check_array(array: Any) -> None:
    """Raise an error unless a collective operation can work on an array in place.

    Raises
    ------
    TypeError
        If it is not an array of numbers.
    ValueError
        If it is not contiguous, or read-only.
    """
    if not isinstance(array, np.ndarray) or array.dtype.kind not in "biufc":
        kind = getattr(array, "dtype", type(array).__name__)
        raise TypeError(f"communicator: the array is {kind}, expected a NumPy array of numbers")
    if not array.flags.c_contiguous or not array.flags.writeable:
        flaw = "not contiguous" if array.flags.writeable else "read-only"
        raise ValueError(f"communicator: the array of shape {array.shape} is {flaw}")


def time_limit() -> float:
    """Return the seconds that a rank waits for another: the environment variable TINYCNN_TIMEOUT, or 300.

    Raises
    ------
    ValueError
        If that is not a number above 0.
    """
    text = os.environ.get("TINYCNN_TIMEOUT", "300")
    try:
        seconds = float(text)
    except ValueError:
        seconds = 0.0
    if not 0 < seconds < float("inf"):
        raise ValueError(f"TINYCNN_TIMEOUT is {text!r}, expected seconds above 0")
    return seconds


class Request(Protocol):
    """An operation in progress."""

    def test(self) -> bool:
        """Return True if it is complete; if no other thread moves the data, move some."""

    def wait(self) -> np.ndarray:
        """Wait until it is complete, and return the array.

        Raises
        ------
        DistributedError
            If another rank is gone, or none has moved for the communicator's time limit.
        """


class Communicator(Protocol):
    """One of ``size`` processes that do the same, numbered by ``rank`` from 0.

    All ranks call the same operations in the same order, with arrays of the same shape and dtype; otherwise
    MismatchError names the difference.
    """

    rank: int
    size: int

    def allreduce(self, array: np.ndarray) -> Request:
        """Begin to replace a contiguous array by its sum over all ranks; do not use it until ``wait()``.

        All ranks get the same bits.
        """

    def broadcast(self, array: np.ndarray, root: int = 0) -> None:
        """Replace a contiguous array by that of rank ``root``."""

    def barrier(self) -> None:
        """Return when all ranks are here."""

    def abort(self, message: str) -> NoReturn:
        """End all ranks, with one message."""


class Done:
    """A request that is complete."""

    def __init__(self, array: np.ndarray) -> None:
        self._array = array

    def test(self) -> bool:
        """Return True."""
        return True

    def wait(self) -> np.ndarray:
        """Return the array."""
        return self._array


class Alone:
    """The communicator of a single process."""

    rank, size = 0, 1

    def allreduce(self, array: np.ndarray) -> Request:
        """Leave the array, which is its sum."""
        return Done(array)

    def broadcast(self, array: np.ndarray, root: int = 0) -> None:
        """Leave the array, which is rank 0's."""

    def barrier(self) -> None:
        """Return at once: there are no other ranks."""

    def abort(self, message: str) -> NoReturn:
        """Raise DistributedError."""
        raise DistributedError(message)


ALONE = Alone()


def check_communicator(owner: str, value: Any) -> None:
    """Raise TypeError unless a value is a communicator."""
    if isinstance(value, type) or not all(hasattr(value, name) for name in ("rank", "size", "allreduce")):
        raise TypeError(f"{owner}: communicator is a {type(value).__name__}, expected a Communicator")


def gather(communicator: Communicator, array: np.ndarray) -> np.ndarray:
    """Return the arrays (...) of all ranks as one (ranks, ...): a sum in which each rank fills its own row."""
    check_communicator("gather", communicator)
    arguments.instance("gather", "array", array, np.ndarray, "an array")
    rows = np.zeros((communicator.size, *array.shape), array.dtype)
    rows[communicator.rank] = array
    return communicator.allreduce(rows).wait()


def gather_text(communicator: Communicator, text: str) -> list[str]:
    """Return the texts of all ranks."""
    own = np.frombuffer(text.encode(), np.uint8)
    lengths = gather(communicator, np.array([own.size]))[:, 0]
    padded = np.zeros(lengths.max(), np.uint8)
    padded[: own.size] = own
    return [row[:length].tobytes().decode() for row, length in zip(gather(communicator, padded), lengths)]


def share(communicator: Communicator, make: Callable[[], Any]) -> Any:
    """Return rank 0's result of ``make()`` on all ranks: a tree of dicts, lists, plain values and arrays."""
    check_communicator("share", communicator)
    if not callable(make):
        raise TypeError(f"share: make is a {type(make).__name__}, expected a function without arguments")
    if communicator.size == 1:
        return make()
    arrays: dict[str, np.ndarray] = {}
    text = ""
    if communicator.rank == 0:
        tree = take_out(make(), arrays)
        text = json.dumps([tree, {name: [array.dtype.str, array.shape] for name, array in arrays.items()}])
    tree, headers = json.loads(gather_text(communicator, text)[0])
    for name, (dtype, shape) in headers.items():
        array = np.array(arrays[name], order="C") if communicator.rank == 0 else np.empty(shape, dtype)
        communicator.broadcast(array)
        arrays[name] = array.reshape(shape)
    return put_back(tree, arrays)


def agree(communicator: Communicator, facts: dict[str, str]) -> None:
    """Check that all ranks have the same facts, such as ``{"model": "ResNet of 78,042 parameters"}``.

    Raises
    ------
    DistributedError
        On all ranks, with what differs first.
    """
    first, *others = (json.loads(text) for text in gather_text(communicator, json.dumps(facts)))
    for rank, other in enumerate(others, 1):
        for name, fact in first.items():
            if other.get(name) != fact:
                raise DistributedError(f"rank {rank} has another {name}: {other.get(name)}; rank 0 has {fact}")


def fingerprint(*parts: Any) -> str:
    """Return eight letters that differ if arrays or texts do."""
    digest = hashlib.blake2b(digest_size=4)
    for part in parts:
        digest.update(np.ascontiguousarray(part).data if isinstance(part, np.ndarray) else repr(part).encode())
    return digest.hexdigest()
