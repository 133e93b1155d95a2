"""Checkpoints of a training: after each epoch, from time to time in between, and after a signal."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING

from tinycnn.checkpoint import save_checkpoint
from tinycnn.files.storage import check_room, remove_temporaries, write_somewhere
from tinycnn.training.callback import Callback
from tinycnn.training.divergence import TrainingError, broken_parameter

if TYPE_CHECKING:
    from tinycnn.training.loop import Trainer

SAVE_EVERY = 120.0  # seconds


class Saving(Callback):
    """The writing of checkpoints to a path; without one, only the check that all parameters are finite.

    Attributes
    ----------
    path : Path or None
    unsaved : bool
        True if steps were made since the last checkpoint.
    """

    def __init__(self, path: str | Path | None) -> None:
        self.path = None if path is None else Path(path)
        self.unsaved = False
        self._saved = time.monotonic()

    def on_fit_begin(self, trainer: Trainer) -> None:
        if self.path is not None:
            remove_temporaries(self.path)
            check_room(self.path, _checkpoint_size(trainer))

    def on_gradients(self, trainer: Trainer) -> None:
        self.unsaved = True

    def on_batch_end(self, trainer: Trainer, loss: float) -> None:
        if time.monotonic() - self._saved > SAVE_EVERY:
            self.save(trainer)

    def on_epoch_close(self, trainer: Trainer) -> None:
        refuse_broken(trainer)

    def save(self, trainer: Trainer) -> None:
        """Write the checkpoint, if there is a path for one.

        Raises
        ------
        TrainingError
            If a parameter is not finite: the older checkpoint is kept.
        OSError
            If it cannot be written: the older one is kept, and the message names the place where this one was saved.
        """
        refuse_broken(trainer)
        if self.path is not None:
            state = trainer.state_dict()
            write_somewhere(self.path, lambda path: save_checkpoint(path, state))
            self.unsaved = False
        self._saved = time.monotonic()


def refuse_broken(trainer: Trainer) -> None:
    """Raise TrainingError if a parameter is not finite."""
    broken = broken_parameter(trainer.model)
    if broken:
        raise TrainingError(f"training stopped. {broken}")


def _checkpoint_size(trainer: Trainer) -> int:
    """Return about how many bytes a checkpoint has: the weights, and as many for each kind of optimiser state."""
    kinds = 2 if "betas" in (group := trainer.optimizer.param_groups[0]) else bool(group.get("momentum"))
    weights = sum(p.data.nbytes for p in trainer.model.parameters())
    return sum(array.nbytes for array in trainer.model.state_dict().values()) + kinds * weights
