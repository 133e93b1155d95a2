"""Training: :class:`Trainer` runs the epochs, saves checkpoints and resumes from them bit for bit."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from tinycnn import functional as F
from tinycnn import random
from tinycnn.checkpoint import load_checkpoint, save_checkpoint
from tinycnn.data.loader import DataLoader
from tinycnn.distributed.communicator import ALONE, Communicator, agree, fingerprint, gather_text, share
from tinycnn.distributed.parallel import GradientSum, average_buffers
from tinycnn.divergence import TrainingError, broken_parameter, where_it_broke
from tinycnn.errors import CheckpointError
from tinycnn.evaluation import Evaluation, _logits, evaluate
from tinycnn.interrupts import stop_flag
from tinycnn.kernels import for_device, is_on_gpu
from tinycnn.nn import Module
from tinycnn.nn.module import device_of
from tinycnn.optim import Optimizer, Schedule, WarmUp
from tinycnn.progress import Progress
from tinycnn.storage import check_room, remove_temporaries, write_somewhere

__all__ = ["Callback", "Evaluation", "Trainer", "TrainingError", "evaluate"]

SAVE_EVERY = 120.0


class Callback:
    """Subclass it to watch a training: each method gets the :class:`Trainer`."""

    def on_epoch_begin(self, trainer: Trainer) -> None:
        """Before the first batch of an epoch."""

    def on_gradients(self, trainer: Trainer) -> None:
        """After the backward pass, before the step of the optimiser."""

    def on_batch_end(self, trainer: Trainer, loss: float) -> None:
        """After each step of the optimiser."""

    def on_epoch_end(self, trainer: Trainer) -> None:
        """After the epoch's evaluation; its row is ``trainer.history[-1]``."""


class Trainer:
    """Train a classifier by cross-entropy.

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
        are added up, and rank 0 starts the others off with its state, writes checkpoints and shows progress. Batch
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
        self.model, self.loader, self.optimizer, self.epochs = model, loader, optimizer, epochs
        self.schedule, self.validation, self.label_smoothing = schedule, validation, label_smoothing
        self.callbacks, self.extra, self.communicator = callbacks, extra or {}, communicator
        self.checkpoint, self.quiet = (checkpoint, quiet) if communicator.rank == 0 else (None, True)
        if epochs < 1:
            raise ValueError(f"Trainer: epochs is {epochs}, expected at least 1")
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
        self.epoch, self.position = (loader.epoch, loader.position) if loader._starts_here else (0, 0)
        self._saved, self._unsaved = time.monotonic(), False
        self._sums = {"images": 0, "loss": 0.0, "right": 0, "seconds": 0.0}

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
            Before the first epoch if the checkpoint cannot be written where it should; later with the place where it
            was saved instead.
        TrainingError
            If the loss is NaN or infinite, with the layer where that began. The checkpoint is the last good one.
        DistributedError
            If ranks differ in model, data or options, or one is gone or hangs. The last checkpoint stands.
        """
        self._start_together()
        if self.checkpoint is not None:
            remove_temporaries(Path(self.checkpoint))
            check_room(Path(self.checkpoint), self._checkpoint_size())
        self._gradients = GradientSum(self.model.parameters(), self.communicator)
        several = self.communicator.size > 1
        terminate = several or self.checkpoint is not None
        with stop_flag(lambda: self._unsaved, terminate, several, self.communicator.rank == 0) as flag, self._gradients:

            def interrupted() -> bool:
                return bool(self._total(flag())[0])

            while self.epoch < self.epochs and not interrupted():
                self._run_epoch(interrupted)
        self.interrupted = self.epoch < self.epochs
        self.signal = flag.signal if self.interrupted else 0
        return self.history

    def _run_epoch(self, interrupted: Callable[[], bool]) -> None:
        size = self.loader.batch_size
        total, done = min(len(self.loader.dataset), len(self.loader) * size), self.position * size
        number = self.epoch + 1
        self.loader.load_state_dict(self._place())
        self._notify("on_epoch_begin")
        self.model.train()
        batches = self.loader.batches(device_of(self.model))
        with Progress(total, f"epoch {number}/{self.epochs}", done, self.quiet) as progress:
            for images, labels in batches:
                count, sums = self._step(images, labels), self._sums
                progress.update(count, loss=sums["loss"] / sums["images"], accuracy=sums["right"] / sums["images"])
                if interrupted():
                    break
                if time.monotonic() - self._saved > SAVE_EVERY:
                    self.save()
        if self.position == len(self.loader):
            self._close_epoch(number)
        self.save()

    def _place(self) -> dict[str, int]:
        """The state of a loader that goes on where training is."""
        return {"seed": self.loader.seed, "epoch": self.epoch, "position": self.position}

    def _start_together(self) -> None:
        """Check that all ranks do the same, and take over rank 0's state."""
        if self.communicator.size > 1:
            agree(self.communicator, self._facts())
            state = share(self.communicator, self.state_dict)
            if self.communicator.rank:
                self.resume(state)

    def _total(self, *numbers: float) -> list[float]:
        """Each number's sum over all ranks."""
        return self.communicator.allreduce(np.array(numbers, np.float64)).wait().tolist()

    def _step(self, images: Any, labels: np.ndarray) -> int:
        """Forward, backward, update; how many images the batch has on all ranks together."""
        start = time.perf_counter()
        generator = random.default_generator()
        random_state = generator.get_state()
        self.optimizer.zero_grad()
        generator.row = self.loader.rows(self.position).start
        try:
            logits = _logits(self.model, images, len(self.loader.dataset.classes))
        finally:
            generator.row = 0
        loss = F.cross_entropy(logits, labels, label_smoothing=self.label_smoothing)
        read = for_device(loss.device).read_later(loss.data, logits.data)
        on_gpu = is_on_gpu(loss.data)
        if on_gpu:  # it goes on while the host waits for the loss
            loss.backward()
        own_loss, scores = read()
        own, own_right = float(own_loss), int((scores.argmax(axis=1) == labels).sum())
        count, loss_sum, right = self._total(len(labels), own * len(labels), own_right)
        value = loss_sum / count
        if not np.isfinite(value):
            generator.set_state(random_state)
            place = where_it_broke(self.model, images, own) if not np.isfinite(own) else ""
            raise TrainingError(next(filter(None, gather_text(self.communicator, place))))
        if not on_gpu:
            loss.backward(len(labels) / count)
        self._gradients.finish()
        self._unsaved = True
        self._notify("on_gradients")
        self.optimizer.step()
        if self.schedule is not None:
            self.schedule.step()
        self.position += 1
        self._sums["images"] += int(count)
        self._sums["loss"] += loss_sum
        self._sums["right"] += int(right)
        self._sums["seconds"] += time.perf_counter() - start
        self._notify("on_batch_end", value)
        return int(count)

    def _close_epoch(self, number: int) -> None:
        """Evaluate, add the epoch's row to the history, begin the next epoch."""
        self._refuse_broken()
        if self.communicator.size > 1:
            average_buffers(self.model, self.communicator)
            agree(self.communicator, {"state after an epoch": fingerprint(*self.model.state_dict().values())})
        sums, images = self._sums, max(self._sums["images"], 1)
        row: dict[str, float] = {
            "epoch": number,
            "train_loss": sums["loss"] / images,
            "train_accuracy": sums["right"] / images,
        }
        if self.validation is not None:
            title = f"test  {number}/{self.epochs}"
            self.validation.load_state_dict({"seed": self.validation.seed, "epoch": self.epoch, "position": 0})
            self.evaluation = evaluate(self.model, self.validation, self.quiet, title, self.communicator)
            row |= {"test_loss": self.evaluation.loss, "test_accuracy": self.evaluation.accuracy}
        row["lr"] = float(self.optimizer.param_groups[0]["lr"])
        row |= {"seconds": sums["seconds"], "images_per_second": images / max(sums["seconds"], 1e-9)}
        self.history.append(row)
        self._sums = {"images": 0, "loss": 0.0, "right": 0, "seconds": 0.0}
        self.epoch, self.position = number, 0
        self.loader.load_state_dict(self._place())
        self._notify("on_epoch_end")

    def _notify(self, event: str, *values: Any) -> None:
        for callback in self.callbacks:
            getattr(callback, event)(self, *values)

    # -- saving --------------------------------------------------------------------------------------------------------

    def state_dict(self) -> dict[str, Any]:
        """Everything that training goes on from."""
        return {
            "kinds": self._kinds(),
            "model": self.model.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "schedule": self.schedule.state_dict() if self.schedule is not None else None,
            "loader": self._place(),
            "generator": random.default_generator().get_state(),
            "history": self.history,
            "sums": self._sums,
            "extra": self.extra,
        }

    def _kinds(self) -> dict[str, Any]:
        """What must be the same for training to go on bit for bit."""
        return {
            "model": type(self.model).__name__,
            "optimizer": type(self.optimizer).__name__,
            "schedule": type(self.schedule).__name__,
            "batches in an epoch": len(self.loader),
        }

    def _facts(self) -> dict[str, str]:
        """What must be the same on all ranks, in words that differ where it does."""
        model, data = self.model, self.loader.dataset
        shapes = {name: (array.shape, array.dtype) for name, array in model.state_dict().items()}
        sample = data.batch(np.linspace(0, len(data) - 1, min(len(data), 64), dtype=int), np.random.default_rng(0))
        everything = data.classes, *sample, *(getattr(data, name, None) for name in ("images", "labels"))
        options = self._kinds(), self.loader.batch_size, self.loader.shuffle, self.label_smoothing
        return {
            "model": f"{type(model).__name__} of {sum(p.size for p in model.parameters()):,} parameters "
            f"({fingerprint(shapes, model)})",
            "data set": f"{len(data):,} images of {len(data.classes)} classes ({fingerprint(*everything)})",
            "training": f"{self.epochs} epochs of {len(self.loader)} batches ({fingerprint(options)})",
        }

    def save(self) -> None:
        """Write the checkpoint, if there is a path for one.

        Raises
        ------
        TrainingError
            If a parameter is not finite: the checkpoint that was there stands.
        OSError
            If it cannot be written: the same, and the message names the place where it was saved instead.
        """
        self._refuse_broken()
        if self.checkpoint is not None:
            state = self.state_dict()
            write_somewhere(Path(self.checkpoint), lambda path: save_checkpoint(path, state))
            self._unsaved = False
        self._saved = time.monotonic()

    def _checkpoint_size(self) -> int:
        """About how many bytes a checkpoint has: the weights, and as many again for each kind of optimizer state."""
        kinds = 2 if "betas" in (group := self.optimizer.param_groups[0]) else bool(group.get("momentum"))
        weights = sum(p.data.nbytes for p in self.model.parameters())
        return sum(array.nbytes for array in self.model.state_dict().values()) + kinds * weights

    def _refuse_broken(self) -> None:
        broken = broken_parameter(self.model)
        if broken:
            raise TrainingError(f"training stopped. {broken}")

    def resume(self, state: dict[str, Any] | str | Path) -> None:
        """Go on from a checkpoint (its path, or what :meth:`state_dict` gave).

        Raises
        ------
        CheckpointError
            If it is damaged or belongs to another model, optimiser or schedule.
        """
        source = "" if isinstance(state, dict) else f" ({state})"
        if not isinstance(state, dict):
            state = load_checkpoint(state)
        for kind, own in self._kinds().items():
            saved = kinds.get(kind) if isinstance(kinds := state.get("kinds"), dict) else None
            if type(saved) is not type(own) or saved != own:
                raise CheckpointError(f"resume: {kind} is {saved} in the checkpoint, but {own} here{source}")
        try:
            self.model.load_state_dict(state["model"])
            self.optimizer.load_state_dict(state["optimizer"])
            if self.schedule is not None:
                self.schedule.load_state_dict(state["schedule"])
            self.loader.load_state_dict(state["loader"])
            self.epoch, self.position = self.loader.epoch, self.loader.position
            random.default_generator().set_state(state["generator"])
            self.history, self._sums = _history(state["history"]), _sums(state["sums"])
        except (KeyError, IndexError, TypeError, ValueError, AttributeError, OverflowError) as error:
            what = f"{error!r} is missing" if isinstance(error, KeyError) else error
            raise CheckpointError(f"resume: the checkpoint does not fit: {what}{source}") from error


def _history(rows: Any) -> list[dict[str, float]]:
    """The history in a checkpoint, checked to be rows with the numbers that a result is made of."""
    if not isinstance(rows, list) or not all(_has_numbers(row, _COLUMNS) for row in rows):
        raise ValueError("history is not a list of rows of numbers")
    return list(rows)


_COLUMNS = ("epoch", "train_loss", "train_accuracy", "lr", "seconds", "images_per_second")


def _sums(sums: Any) -> dict[str, Any]:
    """The sums of the present epoch in a checkpoint, checked."""
    names = ("images", "loss", "right", "seconds")
    if not _has_numbers(sums, names):
        raise ValueError(f"sums are {sums!r}, expected numbers for {', '.join(names)}")
    return {name: sums[name] for name in names}


def _has_numbers(row: Any, names: Sequence[str]) -> bool:
    return isinstance(row, dict) and all(isinstance(row.get(name), (int, float)) for name in names)
