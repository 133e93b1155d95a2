"""One file from which training continues bit for bit: model, optimiser, schedule, generators, place in the epoch,
history.

It is a safetensors file: the arrays by name, everything else as JSON in its metadata, with a checksum of the whole
file. Written atomically, read without running any code.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tinycnn.errors import CheckpointError, WeightsError
from tinycnn.files.limits import refusals, shorten
from tinycnn.tree import put_back, put_back_first_format, take_out
from tinycnn.weights.safetensors import CHECKSUM, read_safetensors, save_safetensors

FORMAT = 2
_FIRST_FORMAT = "1"  # without a checksum; tuples came back as lists, keys as text


def save_checkpoint(path: str | Path, state: dict[str, Any]) -> None:
    """Write a tree of dicts, lists, tuples, plain values and arrays, which is read back exactly as it is.

    Raises
    ------
    CheckpointError
        Naming the entry that would not be read back as it is; nothing is written.
    OSError
        If it cannot be written (a full disk, say): the older checkpoint is kept.
    """
    arrays: dict[str, Any] = {}
    if type(state) is not dict:
        raise CheckpointError(f"checkpoint: the state is a {type(state).__name__}, expected a dict")
    try:
        tree = json.dumps(take_out(state, arrays))
        save_safetensors(path, arrays, {"format": str(FORMAT), "tree": tree}, checksum=True)
    except (TypeError, WeightsError) as error:
        raise CheckpointError(f"checkpoint: {path} cannot hold the state: {error}") from error


def load_checkpoint(path: str | Path) -> dict[str, Any]:
    """Read what :func:`save_checkpoint` wrote.

    Raises
    ------
    CheckpointError
        If the file is missing, damaged, or not a checkpoint.
    """
    if not Path(path).is_file():
        raise CheckpointError(f"checkpoint: there is no file {path}")
    try:
        arrays, metadata = read_safetensors(path)
    except WeightsError as error:  # it names the file
        raise CheckpointError(f"checkpoint is damaged: {error}") from error
    saved = metadata.get("format")
    if saved not in (str(FORMAT), _FIRST_FORMAT):
        raise CheckpointError(
            f"checkpoint: {path} is not a checkpoint of this version: its format is {shorten(str(saved), 50)}, "
            f"expected {FORMAT}"
        )
    if saved == str(FORMAT) and CHECKSUM not in metadata:
        raise CheckpointError(f"checkpoint: {path} is damaged: it has no checksum")
    with refusals(path, CheckpointError):
        tree = json.loads(metadata["tree"])
        state = put_back(tree, arrays) if saved == str(FORMAT) else put_back_first_format(tree, arrays)
        if type(state) is not dict:
            raise ValueError(f"its tree is a {type(state).__name__}, expected a dict")
        return state


@contextmanager
def reading_checkpoint(path: str | Path) -> Iterator[None]:
    """Turn every failure to understand a loaded checkpoint's tree into a CheckpointError that names the file.

    >>> with reading_checkpoint("runs/mnist/checkpoint.safetensors"):
    ...     {}["model"]
    Traceback (most recent call last):
    ...
    tinycnn.errors.CheckpointError: runs/mnist/checkpoint.safetensors is refused: it is damaged (KeyError: 'model')
    """
    with refusals(path, CheckpointError):
        yield
