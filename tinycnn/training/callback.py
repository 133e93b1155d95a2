"""Callbacks: objects that the trainer notifies of each event of a training."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from tinycnn.tensor import Tensor
    from tinycnn.training.loop import Trainer


class Callback:
    """Base class of callbacks; each method gets the :class:`Trainer`. They are called in this order."""

    def on_fit_begin(self, trainer: Trainer) -> None:
        """Act before the first epoch."""

    def on_epoch_begin(self, trainer: Trainer) -> None:
        """Act before the first batch of an epoch."""

    def on_batch_begin(self, trainer: Trainer, images: Any) -> None:
        """Act before the forward pass of a batch."""

    def on_loss(self, trainer: Trainer, loss: Tensor, logits: Tensor, labels: np.ndarray) -> None:
        """Act after the forward pass."""

    def on_gradients(self, trainer: Trainer) -> None:
        """Act after the backward pass, before the step of the optimiser."""

    def on_batch_end(self, trainer: Trainer, loss: float) -> None:
        """Act after each step of the optimiser."""

    def on_epoch_close(self, trainer: Trainer) -> None:
        """Act after the last batch of an epoch, before its evaluation."""

    def on_epoch_end(self, trainer: Trainer) -> None:
        """Act after the epoch's evaluation; its row is ``trainer.history[-1]``."""

    def on_fit_end(self, trainer: Trainer) -> None:
        """Act after the last epoch, and after an error too."""
