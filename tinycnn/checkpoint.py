"""One file from which training goes on bit for bit: model, optimiser, schedule, generators, place in the epoch,
history.

It is a safetensors file: the arrays by name, everything else as JSON in its metadata. Written atomically, read without
running any code.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np

from tinycnn.errors import CheckpointError, WeightsError
from tinycnn.weights.safetensors import read_safetensors, save_safetensors

FORMAT = 1


def save_checkpoint(path: str | Path, state: dict[str, Any]) -> None:
    """Write a tree of dicts, lists, plain values and arrays.

    Raises
    ------
    OSError
        If it cannot be written (a full disk, say): the checkpoint that was there stands.
    """
    arrays: dict[str, np.ndarray] = {}
    tree = take_out(state, arrays)
    save_safetensors(path, arrays, {"format": str(FORMAT), "tree": json.dumps(tree)})


def load_checkpoint(path: str | Path) -> dict[str, Any]:
    """Read what :func:`save_checkpoint` wrote.

    Raises
    ------
    CheckpointError
        If the file is missing, damaged, or no checkpoint.
    """
    if not Path(path).is_file():
        raise CheckpointError(f"checkpoint: there is no file {path}")
    try:
        arrays, metadata = read_safetensors(path)
        if metadata.get("format") != str(FORMAT):
            raise CheckpointError(
                f"checkpoint: {path} is no checkpoint of this version: its format is {metadata.get('format')}, "
                f"expected {FORMAT}"
            )
        tree = json.loads(metadata["tree"])
        return put_back(tree, arrays)
    except CheckpointError:
        raise
    except WeightsError as error:  # it names the file
        raise CheckpointError(f"checkpoint is damaged: {error}") from error
    except (KeyError, ValueError, TypeError, AttributeError) as error:
        raise CheckpointError(f"checkpoint: {path} is damaged: {error}") from error


def take_out(value: Any, arrays: dict[str, np.ndarray], path: tuple[str, ...] = ()) -> Any:
    """The tree with each array replaced by a reference to its name in ``arrays``, where it is put."""
    if isinstance(value, dict):
        return {str(key): take_out(item, arrays, (*path, str(key))) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [take_out(item, arrays, (*path, str(i))) for i, item in enumerate(value)]
    if isinstance(value, np.ndarray):
        name = "/".join(path)
        arrays[name] = value
        return {"array": name}
    return value.item() if isinstance(value, np.generic) else value


def put_back(tree: Any, arrays: dict[str, np.ndarray]) -> Any:
    """The tree that :func:`take_out` took arrays out of."""
    if isinstance(tree, dict):
        if list(tree) == ["array"]:
            return arrays[tree["array"]]
        return {key: put_back(item, arrays) for key, item in tree.items()}
    return [put_back(item, arrays) for item in tree] if isinstance(tree, list) else tree
