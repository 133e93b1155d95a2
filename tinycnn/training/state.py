"""The state from which a training continues bit for bit."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tinycnn import random
from tinycnn.checkpoint import load_checkpoint
from tinycnn.errors import CheckpointError

if TYPE_CHECKING:
    from tinycnn.training.loop import Trainer

_COLUMNS = ("epoch", "train_loss", "train_accuracy", "lr", "seconds", "images_per_second")
_SUMS = ("images", "loss", "right", "seconds")


def state_of(trainer: Trainer) -> dict[str, Any]:
    """Return everything that a training continues from."""
    return {
        "kinds": trainer.kinds(),
        "model": trainer.model.state_dict(),
        "optimizer": trainer.optimizer.state_dict(),
        "schedule": trainer.schedule.state_dict() if trainer.schedule is not None else None,
        "loader": trainer.place(),
        "generator": random.default_generator().get_state(),
        "history": trainer.history,
        "sums": trainer.measuring.sums,
        "extra": trainer.extra,
    }


def restore(trainer: Trainer, state: dict[str, Any] | str | Path) -> None:
    """Put a trainer into a state, or into that of a checkpoint.

    Raises
    ------
    CheckpointError
        If it is damaged or belongs to another model, optimiser or schedule.
    """
    source = "" if isinstance(state, dict) else f" ({state})"
    if not isinstance(state, dict):
        state = load_checkpoint(state)
    for kind, own in trainer.kinds().items():
        saved = kinds.get(kind) if isinstance(kinds := state.get("kinds"), dict) else None
        if type(saved) is not type(own) or saved != own:
            raise CheckpointError(f"resume: {kind} is {saved} in the checkpoint, but {own} here{source}")
    try:
        trainer.model.load_state_dict(state["model"])
        trainer.optimizer.load_state_dict(state["optimizer"])
        if trainer.schedule is not None:
            trainer.schedule.load_state_dict(state["schedule"])
        trainer.loader.load_state_dict(state["loader"])
        trainer.epoch, trainer.position = trainer.loader.epoch, trainer.loader.position
        random.default_generator().set_state(state["generator"])
        trainer.history, trainer.measuring.sums = _history(state["history"]), _sums(state["sums"])
    except (KeyError, IndexError, TypeError, ValueError, AttributeError, OverflowError) as error:
        what = f"{error!r} is missing" if isinstance(error, KeyError) else error
        raise CheckpointError(f"resume: the checkpoint does not fit: {what}{source}") from error


def _history(rows: Any) -> list[dict[str, float]]:
    """Return the history in a checkpoint, checked to be rows with the numbers of a result."""
    if not isinstance(rows, list) or not all(_has_numbers(row, _COLUMNS) for row in rows):
        raise ValueError("history is not a list of rows of numbers")
    return list(rows)


def _sums(sums: Any) -> dict[str, Any]:
    """Return the sums of the present epoch in a checkpoint, checked."""
    if not _has_numbers(sums, _SUMS):
        raise ValueError(f"sums are {sums!r}, expected numbers for {', '.join(_SUMS)}")
    return {name: sums[name] for name in _SUMS}


def _has_numbers(row: Any, names: Sequence[str]) -> bool:
    return isinstance(row, dict) and all(isinstance(row.get(name), (int, float)) for name in names)
