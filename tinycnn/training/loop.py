"""The training loop: :class:`Trainer` runs the epochs. Everything else than the arithmetic is done by callbacks."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from tinycnn import arguments, random
from tinycnn import functional as F
from tinycnn.data.loader import DataLoader
from tinycnn.distributed.communicator import ALONE, Communicator
from tinycnn.interrupts import StopFlag, stop_flag
from tinycnn.nn import Module
from tinycnn.nn.module import device_of
from tinycnn.optim import Optimizer, Schedule, WarmUp
from tinycnn.tensor import Tensor
from tinycnn.training.callback import Callback
from tinycnn.training.evaluation import Evaluation, evaluate, logits_of
from tinycnn.training.measuring import Measuring
from tinycnn.training.ranks import Ranks
from tinycnn.training.saving import Saving
from tinycnn.training.state import restore, state_of


class Trainer:
    """A loop that trains a classifier by cross-entropy.

    Parameters
    ----------
    model : Module
        Trained where its parameters are: on the CPU, or after ``model.to("cuda")`` on a GPU.
    loader : DataLoader
    optimizer : Optimizer
    epochs : int
    schedule : Schedule, optional
        Steps once a batch.
    validation : DataLoader, optional
        Evaluated after each epoch.
    label_smoothing : float
    callbacks : sequence of Callback
    checkpoint : path, optional
        Written after each epoch, every two minutes in between, and on Ctrl-C, SIGTERM and SIGHUP. Its folder is made
        if it does not exist.
    extra : dict
        Kept in the checkpoint: settings, class names.
    quiet : bool
        Show no progress bar.
    communicator : Communicator
        Trains with all its ranks as one process would: each has a loader with its ``shard`` of the batches, gradients
        are added up, and rank 0 sends its state to the others, writes checkpoints and shows progress. Batch
        norm is each rank's own unless :func:`tinycnn.distributed.synchronize_batch_norm` joins it.

    Raises
    ------
    ValueError
        If there is not one epoch, or not one batch in it.

    Attributes
    ----------
    evaluation : Evaluation or None
        Of the last epoch.
    history : list of dict
        One row an epoch: epoch, train_loss, train_accuracy, test_loss, test_accuracy, lr, seconds, images_per_second.
    epoch, position : int
        The place: epochs that are done, and steps of the present epoch. Iterating over ``loader`` elsewhere, in a
        callback say, does not move it.
    interrupted : bool
        True if Ctrl-C or another signal ended it.
    signal : int
        The signal that ended it, or 0.

    Examples
    --------
    >>> import tinycnn as tc
    >>> data = tc.data.Glyphs(size=8, count=20, difficulty=0.0)
    >>> data.transform = tc.data.transforms.Normalize.of(data.images)
    >>> model = tc.nn.Sequential(tc.nn.Flatten(), tc.nn.Linear(64, 10))
    >>> trainer = Trainer(model, DataLoader(data, 10), tc.optim.SGD(model.parameters(), lr=0.1), 2, quiet=True)
    >>> [row["epoch"] for row in trainer.fit()]
    [1, 2]
    """

    def __init__(
        self,
        model: Module,
        loader: DataLoader,
        optimizer: Optimizer,
        epochs: int,
        schedule: Schedule | WarmUp | None = None,
        validation: DataLoader | None = None,
        label_smoothing: float = 0.0,
        callbacks: Sequence[Callback] = (),
        checkpoint: str | Path | None = None,
        extra: dict[str, Any] | None = None,
        quiet: bool = False,
        communicator: Communicator = ALONE,
    ) -> None:
        arguments.instance("Trainer", "model", model, Module, "a Module")
        arguments.instance("Trainer", "loader", loader, DataLoader, "a DataLoader")
        arguments.instance("Trainer", "optimizer", optimizer, Optimizer, "an Optimizer")
        arguments.integer("Trainer", "epochs", epochs, 1)
        self.model, self.loader, self.optimizer, self.epochs = model, loader, optimizer, epochs
        self.schedule, self.validation, self.label_smoothing = schedule, validation, label_smoothing
        self.callbacks, self.extra, self.communicator = callbacks, extra or {}, communicator
        self.checkpoint, self.quiet = (checkpoint, quiet) if communicator.rank == 0 else (None, True)
        if communicator.size > 1 and device_of(model) != "cpu":
            raise ValueError(f"Trainer: {communicator.size} ranks train together on the CPU, but the model is on a GPU")
        if not len(loader):
            raise ValueError(
                f"Trainer: {len(loader.dataset)} images make no batch of {loader.batch_size}; take a smaller "
                "batch_size, or drop_last=False"
            )
        self.history: list[dict[str, float]] = []
        self.evaluation: Evaluation | None = None
        self.interrupted, self.signal = False, 0
        self.epoch, self.position = (loader.epoch, loader.position) if loader.resumed else (0, 0)
        self.share = 1.0  # this rank's share of the batch
        self.measuring, self.saving = Measuring(), Saving(self.checkpoint)

    def fit(self) -> list[dict[str, float]]:
        """Train until ``epochs`` epochs are done (or a signal asks to stop), and return the history.

        Ctrl-C, and if there is a checkpoint SIGTERM and SIGHUP too, finish the step, save, and set ``interrupted``.

        Raises
        ------
        KeyboardInterrupt
            On Ctrl-C while nothing is unsaved (the first kernels are still compiling, say), and on a second one.
        SystemExit
            The same for SIGTERM and SIGHUP.
        OSError
            Before the first epoch if the checkpoint cannot be written; later with the place where it was saved instead.
        TrainingError
            If the loss is NaN or infinite, with the layer where that began. The checkpoint is the last good one.
        DistributedError
            If ranks differ in model, data or options, or one is gone or hangs. The last checkpoint is kept.
        """
        with self._started() as stop:
            while self.epoch < self.epochs and not self._any(stop()):
                self._begin_epoch()
                for images, labels in self.loader.batches(device_of(self.model)):
                    self._notify("on_batch_begin", images)
                    self.optimizer.zero_grad()
                    logits = self._forward(images)
                    loss = F.cross_entropy(logits, labels, label_smoothing=self.label_smoothing)
                    self._notify("on_loss", loss, logits, labels)
                    loss.backward(self.share)
                    self._notify("on_gradients")
                    self.optimizer.step()
                    if self.schedule is not None:
                        self.schedule.step()
                    self.position += 1
                    self._notify("on_batch_end", self.measuring.loss)
                    if self._any(stop()):
                        break
                self._end_epoch()
        return self.history

    @contextmanager
    def _started(self) -> Iterator[StopFlag]:
        """Begin and end the training; the value is True after a signal that asks to stop."""
        self._watchers: list[Callback] = [self.measuring, Ranks(), *self.callbacks, self.saving]
        several = self.communicator.size > 1
        terminate = several or self.checkpoint is not None
        try:
            self._notify("on_fit_begin")
            with stop_flag(lambda: self.saving.unsaved, terminate, several, self.communicator.rank == 0) as flag:
                yield flag
        finally:
            self._notify("on_fit_end")
        self.interrupted = self.epoch < self.epochs
        self.signal = flag.signal if self.interrupted else 0

    def _begin_epoch(self) -> None:
        self.loader.load_state_dict(self.place())
        self._notify("on_epoch_begin")
        self.model.train()

    def _forward(self, images: Any) -> Tensor:
        """Return the model's output (N, classes); dropout draws the same numbers as for the whole batch of all
        ranks.
        """
        generator = random.default_generator()
        generator.row = self.loader.rows(self.position).start
        try:
            return logits_of(self.model, images, len(self.loader.dataset.classes))
        finally:
            generator.row = 0

    def _end_epoch(self) -> None:
        """Evaluate and add the epoch's row to the history, unless it was interrupted; save."""
        self._notify("on_epoch_close")
        if self.position == len(self.loader):
            self.history.append({"epoch": self.epoch + 1} | self._row())
            self.epoch, self.position = self.epoch + 1, 0
            self.loader.load_state_dict(self.place())
            self._notify("on_epoch_end")
        self.save()

    def _row(self) -> dict[str, float]:
        trained = self.measuring.row()
        row = {name: trained.pop(name) for name in ("train_loss", "train_accuracy")}
        if self.validation is not None:
            title = f"test  {self.epoch + 1}/{self.epochs}"
            self.validation.load_state_dict({"seed": self.validation.seed, "epoch": self.epoch, "position": 0})
            self.evaluation = evaluate(self.model, self.validation, self.quiet, title, self.communicator)
            row |= {"test_loss": self.evaluation.loss, "test_accuracy": self.evaluation.accuracy}
        return row | {"lr": float(self.optimizer.param_groups[0]["lr"])} | trained

    def _notify(self, event: str, *values: Any) -> None:
        """Call a method of each callback, in their order."""
        for callback in self._watchers:
            getattr(callback, event)(self, *values)

    def total(self, *numbers: float) -> list[float]:
        """Return each number's sum over all ranks."""
        return self.communicator.allreduce(np.array(numbers, np.float64)).wait().tolist()

    def _any(self, stop: bool) -> bool:
        """True if a rank is asked to stop."""
        return bool(self.total(stop)[0])

    # -- the state -----------------------------------------------------------------------------------------------------

    def place(self) -> dict[str, int]:
        """Return the state of a loader that continues at the trainer's place."""
        return {"seed": self.loader.seed, "epoch": self.epoch, "position": self.position}

    def kinds(self) -> dict[str, Any]:
        """Return the facts that must be the same for training to continue bit for bit."""
        return {
            "model": type(self.model).__name__,
            "optimizer": type(self.optimizer).__name__,
            "schedule": type(self.schedule).__name__,
            "batches in an epoch": len(self.loader),
        }

    def state_dict(self) -> dict[str, Any]:
        """Return everything that a training needs to continue."""
        return state_of(self)

    def save(self) -> None:
        """Write the checkpoint, if there is a path for one; errors are those of :meth:`Saving.save`."""
        self.saving.save(self)

    def resume(self, state: dict[str, Any] | str | Path) -> None:
        """Continue from a checkpoint (its path, or what :meth:`state_dict` gave).

        Raises
        ------
        CheckpointError
            If it is damaged or belongs to another model, optimiser or schedule.
        """
        restore(self, state)
