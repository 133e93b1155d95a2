"""Training and evaluation: :class:`Trainer` goes through the epochs, :func:`evaluate` counts what is right."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from tinycnn import functional as F
from tinycnn import random
from tinycnn.checkpoint import load_checkpoint, save_checkpoint
from tinycnn.data.loader import DataLoader
from tinycnn.distributed.communicator import ALONE, Communicator, agree, fingerprint, gather_text, share
from tinycnn.distributed.parallel import GradientSum, average_buffers
from tinycnn.errors import CheckpointError, TinyCNNError
from tinycnn.grad_mode import no_grad
from tinycnn.kernels import for_device, is_on_gpu, on_host
from tinycnn.nn import Module
from tinycnn.nn.module import device_of
from tinycnn.optim import Optimizer, Schedule, WarmUp
from tinycnn.progress import Progress
from tinycnn.tensor import Tensor

SAVE_EVERY = 120.0
SAME_CTRL_C = 0.5


class TrainingError(TinyCNNError, ArithmeticError):
    """Training cannot go on: the loss is not a finite number."""


class Evaluation(NamedTuple):
    """How a model does on a data set. ``confusion[i, j]`` counts images of class i that were taken for class j."""

    loss: float
    accuracy: float
    top5: float
    confusion: np.ndarray
    probabilities: np.ndarray


def evaluate(
    model: Module,
    loader: DataLoader,
    quiet: bool = True,
    title: str = "test",
    communicator: Communicator = ALONE,
) -> Evaluation:
    """Loss, top-1 and top-5 accuracy, confusion matrix and class probabilities, in evaluation mode.

    Parameters
    ----------
    model : Module
        Is put back into the mode it was in.
    loader : DataLoader
        Not shuffled if the probabilities are to be matched with images.
    quiet : bool
        Show no progress bar.
    title : str
    communicator : Communicator
        Its ranks take turns with the batches; all get the whole result.
    """
    was_training = model.training
    classes = len(loader.dataset.classes)
    logits = np.zeros((_images_of(loader), classes))
    labels = np.zeros(len(logits), np.int64)
    end = right = seen = 0
    model.eval()
    with no_grad(), Progress(len(logits), title, quiet=quiet) as progress:
        for number, (images, labels_of_batch) in enumerate(loader.batches(device_of(model))):
            place = slice(end, end := end + len(labels_of_batch))
            labels[place] = labels_of_batch
            if number % communicator.size == communicator.rank:
                logits[place] = _logits(model, images, classes).numpy()
                right += int((logits[place].argmax(axis=1) == labels_of_batch).sum())
                seen += len(labels_of_batch)
            progress.update(len(labels_of_batch), accuracy=right / max(seen, 1))
    model.train(was_training)
    return _evaluation(communicator.allreduce(logits).wait(), labels)


def _evaluation(logits: np.ndarray, labels: np.ndarray) -> Evaluation:
    """Everything that is counted, from the logits (N, classes) and the true classes (N,)."""
    confusion = np.zeros((logits.shape[1],) * 2, np.int64)
    np.add.at(confusion, (labels, logits.argmax(axis=1)), 1)
    best = np.argsort(-logits, axis=1, kind="stable")[:, :5]
    top5 = float((best == labels[:, None]).any(axis=1).mean())
    loss = float(F.cross_entropy(Tensor(logits), labels).data)
    probabilities = F.softmax(Tensor(logits), dim=1).data
    return Evaluation(loss, float(np.trace(confusion)) / len(labels), top5, confusion, probabilities)


def _logits(model: Module, images: Any, classes: int) -> Tensor:
    """The model's output, checked to have a column for each class."""
    output = model(Tensor._of(images) if is_on_gpu(images) else Tensor(images))
    if output.shape != (len(images), classes):
        raise ValueError(
            f"the model gives an output of shape {output.shape}, expected {(len(images), classes)}: "
            f"{len(images)} images, {classes} classes"
        )
    return output


def _images_of(loader: DataLoader) -> int:
    """How many images an epoch has."""
    count = len(loader.dataset)
    return min(count, len(loader) * loader.batch_size)


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
        Written after each epoch, every two minutes in between, and on Ctrl-C.
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
    interrupted : bool
        Whether Ctrl-C ended it.

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
        self.interrupted = False
        self._saved, self._unsaved = time.monotonic(), False
        self._sums = {"images": 0, "loss": 0.0, "right": 0, "seconds": 0.0}

    def fit(self) -> list[dict[str, float]]:
        """Train until ``epochs`` epochs are done (or Ctrl-C), and return the history.

        Raises
        ------
        KeyboardInterrupt
            On Ctrl-C while nothing is unsaved (the first kernels are still compiling, say), and on a second one.
        TrainingError
            If the loss is NaN or infinite, with the layer where that began. The checkpoint is the last good one.
        DistributedError
            If ranks differ in model, data or options, or one is gone or hangs. The last checkpoint stands.
        """
        self._start_together()
        self._gradients = GradientSum(self.model.parameters(), self.communicator)
        with _interrupt_flag(lambda: self._unsaved, self.communicator) as pressed, self._gradients:

            def interrupted() -> bool:
                return bool(self._total(pressed())[0])

            while self.loader.epoch < self.epochs and not interrupted():
                self._run_epoch(interrupted)
        self.interrupted = self.loader.epoch < self.epochs
        return self.history

    def _run_epoch(self, interrupted: Callable[[], bool]) -> None:
        total, done = _images_of(self.loader), self.loader.position * self.loader.batch_size
        number = self.loader.epoch + 1
        self._notify("on_epoch_begin")
        self.model.train()
        with Progress(total, f"epoch {number}/{self.epochs}", done, self.quiet) as progress:
            for images, labels in self.loader.batches(device_of(self.model)):
                count, sums = self._step(images, labels), self._sums
                progress.update(count, loss=sums["loss"] / sums["images"], accuracy=sums["right"] / sums["images"])
                if interrupted():
                    break
                if time.monotonic() - self._saved > SAVE_EVERY:
                    self.save()
        if self.loader.epoch == number or self.loader.position == len(self.loader):
            self._close_epoch(number)
        self.save()

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
        generator.row = self.loader.rows(self.loader.position - 1).start
        logits = _logits(self.model, images, len(self.loader.dataset.classes))
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
            place = _where_it_broke(self.model, images, own) if not np.isfinite(own) else ""
            raise TrainingError(next(filter(None, gather_text(self.communicator, place))))
        if not on_gpu:
            loss.backward(len(labels) / count)
        self._gradients.finish()
        self._unsaved = True
        self._notify("on_gradients")
        self.optimizer.step()
        if self.schedule is not None:
            self.schedule.step()
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
            self.evaluation = evaluate(self.model, self.validation, self.quiet, title, self.communicator)
            row |= {"test_loss": self.evaluation.loss, "test_accuracy": self.evaluation.accuracy}
        row["lr"] = float(self.optimizer.param_groups[0]["lr"])
        row |= {"seconds": sums["seconds"], "images_per_second": images / max(sums["seconds"], 1e-9)}
        self.history.append(row)
        self._sums = {"images": 0, "loss": 0.0, "right": 0, "seconds": 0.0}
        self.loader.epoch, self.loader.position = number, 0
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
            "loader": self.loader.state_dict(),
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
            If it cannot be written: the same.
        """
        self._refuse_broken()
        if self.checkpoint is not None:
            save_checkpoint(self.checkpoint, self.state_dict())
            self._unsaved = False
        self._saved = time.monotonic()

    def _refuse_broken(self) -> None:
        broken = _broken_parameter(self.model)
        if broken:
            raise TrainingError(f"training stopped. {broken}")

    def resume(self, state: dict[str, Any] | str | Path) -> None:
        """Go on from a checkpoint (its path, or what :meth:`state_dict` gave).

        Raises
        ------
        CheckpointError
            If it is damaged or belongs to another model, optimiser or schedule.
        """
        if not isinstance(state, dict):
            state = load_checkpoint(state)
        for kind, own in self._kinds().items():
            saved = state.get("kinds", {}).get(kind)
            if saved != own:
                raise CheckpointError(f"resume: {kind} is {saved} in the checkpoint, but {own} here")
        try:
            self.model.load_state_dict(state["model"])
            self.optimizer.load_state_dict(state["optimizer"])
            if self.schedule is not None:
                self.schedule.load_state_dict(state["schedule"])
            self.loader.load_state_dict(state["loader"])
            random.default_generator().set_state(state["generator"])
            self.history, self._sums = list(state["history"]), dict(state["sums"])
        except (KeyError, TypeError, ValueError) as error:
            raise CheckpointError(f"resume: the checkpoint does not fit: {error}") from error


@contextmanager
def _interrupt_flag(unsaved: Callable[[], bool], communicator: Communicator) -> Iterator[Callable[[], bool]]:
    """Turn the first Ctrl-C into a flag, so that a step is finished and saved; the second interrupts at once.

    So does the first where nothing is unsaved. Ranks may get one Ctrl-C twice, from the terminal and from mpiexec.
    """
    pressed, last = threading.Event(), -np.inf
    if threading.current_thread() is not threading.main_thread():
        yield pressed.is_set
        return

    def note(signum: int, frame: Any) -> None:
        nonlocal last
        now = time.monotonic()
        same, last = communicator.size > 1 and now - last < SAME_CTRL_C, now
        if same and pressed.is_set():
            return
        if pressed.is_set() or not unsaved():
            raise KeyboardInterrupt
        pressed.set()
        if communicator.rank == 0:
            os.write(2, b"\nCtrl-C: finishing this step, then saving; press it again to stop at once\n")

    before = signal.signal(signal.SIGINT, note)
    try:
        yield pressed.is_set
    finally:
        signal.signal(signal.SIGINT, before)


def _where_it_broke(model: Module, images: Any, loss: float) -> str:
    """A message that names the first place that is not finite: the images, a parameter, or a layer's output."""
    head = f"the loss is {loss}: training stopped"
    images = on_host(images)
    if not np.isfinite(images).all():
        return f"{head}. The batch of images holds values that are not finite"
    parameter = _broken_parameter(model)
    if parameter:
        return f"{head}. {parameter}"
    broken: list[str] = []

    def look(name: str) -> Callable:
        def hook(module: Module, inputs: tuple, output: Any) -> None:
            if isinstance(output, Tensor) and not np.isfinite(output.numpy()).all():
                broken.append(f"{name} ({type(module).__name__})")

        return hook

    hooks = [m.register_forward_hook(look(name)) for name, m in model.named_modules() if name and not m._modules]
    with no_grad():
        model(Tensor(images).to(device_of(model)))
    for hook in hooks:
        hook.remove()
    place = (
        f"It began in the output of layer {broken[0]}" if broken else "All layers' outputs are finite, the loss is not"
    )
    return f"{head}. {place}; lower --lr, or normalise the input"


def _broken_parameter(model: Module) -> str:
    """A sentence on where parameters stopped being finite, empty if all are finite.

    Backward runs from the last layer to the first and carries NaN along, so the last broken one is where it began.
    """
    broken = [name for name, parameter in model.named_parameters() if not np.isfinite(parameter.numpy()).all()]
    if not broken:
        return ""
    layer = broken[-1].rpartition(".")[0] or broken[-1]
    return (
        f"It began in the gradient of layer {layer}: its parameter {broken[-1]} is not finite since the last step; "
        "lower --lr, or clip gradients"
    )
