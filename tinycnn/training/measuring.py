"""The numbers of a training: loss, accuracy and time, the progress bar, and the end of a training that diverged."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from tinycnn import random
from tinycnn.distributed.communicator import gather_text
from tinycnn.kernels import for_device, is_on_gpu
from tinycnn.progress import Progress
from tinycnn.training.callback import Callback
from tinycnn.training.divergence import TrainingError, where_it_broke

if TYPE_CHECKING:
    from tinycnn.tensor import Tensor
    from tinycnn.training.loop import Trainer


class Measuring(Callback):
    """The sums of an epoch's batches over all ranks, and the check that the loss is finite.

    On a GPU the loss is read after the backward pass was launched, so that the device does not wait for the host.

    Attributes
    ----------
    sums : dict
        Images, loss, right answers and seconds of the present epoch.
    loss : float
        The mean loss of the last batch.
    """

    def __init__(self) -> None:
        self.sums = self.no_sums()
        self.loss = float("nan")
        self._progress: Progress | None = None
        self._read: Callable[[], Sequence[Any]] | None = None

    @staticmethod
    def no_sums() -> dict[str, Any]:
        """Return the sums of an epoch that has not begun."""
        return {"images": 0, "loss": 0.0, "right": 0, "seconds": 0.0}

    def on_epoch_begin(self, trainer: Trainer) -> None:
        size = trainer.loader.batch_size
        total = min(len(trainer.loader.dataset), len(trainer.loader) * size)
        title = f"epoch {trainer.epoch + 1}/{trainer.epochs}"
        self._progress = Progress(total, title, trainer.position * size, trainer.quiet).__enter__()

    def on_batch_begin(self, trainer: Trainer, images: Any) -> None:
        self._start, self._images = time.perf_counter(), images
        self._random_state = random.default_generator().get_state()

    def on_loss(self, trainer: Trainer, loss: Tensor, logits: Tensor, labels: np.ndarray) -> None:
        self._labels = labels
        self._read = for_device(loss.device).copy_to_host_async(loss.data, logits.data)
        if not is_on_gpu(loss.data):
            self._measure(trainer)

    def on_gradients(self, trainer: Trainer) -> None:
        if self._read is not None:
            self._measure(trainer)

    def _measure(self, trainer: Trainer) -> None:
        assert self._read is not None
        own_loss, scores = self._read()
        self._read = None
        own, count = float(own_loss), len(self._labels)
        right = int((scores.argmax(axis=1) == self._labels).sum())
        self._count, self._loss_sum, self._right = trainer.total(count, own * count, right)
        self.loss = self._loss_sum / self._count
        trainer.share = count / self._count
        if not np.isfinite(self.loss):
            random.default_generator().set_state(self._random_state)
            place = "" if np.isfinite(own) else where_it_broke(trainer.model, self._images, own)
            raise TrainingError(next(filter(None, gather_text(trainer.communicator, place))))

    def on_batch_end(self, trainer: Trainer, loss: float) -> None:
        sums = self.sums
        sums["images"] += int(self._count)
        sums["loss"] += self._loss_sum
        sums["right"] += int(self._right)
        sums["seconds"] += time.perf_counter() - self._start
        if self._progress is not None:
            means = {"loss": sums["loss"] / sums["images"], "accuracy": sums["right"] / sums["images"]}
            self._progress.update(int(self._count), **means)

    def row(self) -> dict[str, float]:
        """Return the epoch's training columns of the history, and begin new sums."""
        sums, images = self.sums, max(self.sums["images"], 1)
        self.sums = self.no_sums()
        return {
            "train_loss": sums["loss"] / images,
            "train_accuracy": sums["right"] / images,
            "seconds": sums["seconds"],
            "images_per_second": images / max(sums["seconds"], 1e-9),
        }

    def close_progress(self) -> None:
        """Close the progress bar."""
        if self._progress is not None:
            self._progress.__exit__(None, None, None)
            self._progress = None

    def on_epoch_close(self, trainer: Trainer) -> None:
        self.close_progress()

    def on_fit_end(self, trainer: Trainer) -> None:
        self.close_progress()
