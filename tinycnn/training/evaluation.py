"""Evaluation: loss, accuracy, confusion matrix and probabilities of a model on a data set."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np

from tinycnn import functional as F
from tinycnn.data.loader import DataLoader
from tinycnn.distributed.communicator import ALONE, Communicator, check_communicator
from tinycnn.grad_mode import no_grad
from tinycnn.kernels import for_device, is_on_gpu
from tinycnn.nn import Module
from tinycnn.nn.module import device_of
from tinycnn.progress import Progress
from tinycnn.tensor import Tensor


class Evaluation(NamedTuple):
    """The result of a model on a data set. ``confusion[i, j]`` counts images of class i that were taken for class j.

    An image whose output holds NaN is taken for no class: it counts as wrong and is in no column.
    """

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
    """Compute loss, top-1 and top-5 accuracy, confusion matrix and class probabilities, in evaluation mode.

    Parameters
    ----------
    model : Module
        Each of its modules is put back into the mode it was in, after an error too.
    loader : DataLoader
        Do not shuffle it if the probabilities are to be matched with images.
    quiet : bool
        Show no progress bar.
    title : str
    communicator : Communicator
        Its ranks take turns with the batches, or each takes its shard if the loader is sharded among them; all get the
        whole result.

    Raises
    ------
    TypeError
        If the model is not a Module, the loader not a DataLoader, or the model's output not a tensor.
    ValueError
        If the loader does not give each image of its data set once (``drop_last``, or a place in the middle of an
        epoch), is sharded among other processes than the communicator's, or the model's output has another shape than
        (images, classes).
    """
    if not isinstance(model, Module):
        raise TypeError(f"evaluate: model is a {type(model).__name__}, expected a Module")
    if not isinstance(loader, DataLoader):
        raise TypeError(f"evaluate: loader is a {type(loader).__name__}, expected a DataLoader of the data set")
    count, classes = len(loader.dataset), len(loader.dataset.classes)
    check_communicator("evaluate", communicator)
    _check_loader(loader, communicator)
    modes = [(module, module.training) for module in model.modules()]
    # A rank fills the rows of its own images; the sum over all ranks is the whole.
    logits, labels = np.zeros((count, classes)), np.zeros(count)
    right = seen = 0
    try:
        model.eval()
        with no_grad(), Progress(count, title, quiet=quiet) as progress:
            for number, (images, labels_of_batch) in enumerate(_batches(loader, device_of(model))):
                rows = loader.rows(number) if number < len(loader) else slice(0, 0)
                place = slice(number * loader.batch_size + rows.start, number * loader.batch_size + rows.stop)
                _check_batch(number, images, labels_of_batch, min(place.stop, count) - place.start)
                if loader.shard[1] > 1 or number % communicator.size == communicator.rank:
                    logits[place] = logits_of(model, images, classes).numpy()
                    labels[place] = labels_of_batch
                    right += int((_predicted(logits[place]) == labels_of_batch).sum())
                    seen += len(labels_of_batch)
                progress.update(len(labels_of_batch), accuracy=right / max(seen, 1))
    finally:
        for module, mode in modes:
            module.training = mode
    labels_and_count = communicator.allreduce(np.append(labels, seen)).wait()
    if labels_and_count[-1] != count:
        raise ValueError(
            f"evaluate: the loader gave {int(labels_and_count[-1])} images, expected the {count} of its data set"
        )
    return _evaluation(communicator.allreduce(logits).wait(), labels_and_count[:-1].astype(np.int64))


def _check_loader(loader: DataLoader, communicator: Communicator) -> None:
    """Raise ValueError unless the next epoch has each image of the data set once, over all ranks."""
    count = len(loader.dataset)
    given = min(count, len(loader) * loader.batch_size)
    if not count:
        raise ValueError("evaluate: the data set has no images")
    if given != count:
        raise ValueError(f"evaluate: the loader gives {given} of {count} images; make it with drop_last=False")
    if loader.resumed and loader.position:
        raise ValueError(
            f"evaluate: the loader starts after batch {loader.position} of {len(loader)}, where load_state_dict put "
            "it; evaluate with a loader of its own"
        )
    if loader.shard[1] > 1 and loader.shard != (communicator.rank, communicator.size):
        raise ValueError(
            f"evaluate: the loader gives a part of each batch (shard {loader.shard}), but the communicator is rank "
            f"{communicator.rank} of {communicator.size}; use a loader without shard"
        )


def _batches(loader: DataLoader, device: str) -> Iterator[tuple[Any, Any]]:
    """Return an iterator over the loader's batches on a device, also where a subclass has its own ``__iter__``."""
    if type(loader).__iter__ is DataLoader.__iter__:
        return loader.batches(device)
    kernels = for_device(device)
    return ((kernels.as_array(images), labels) for images, labels in loader)


def _check_batch(number: int, images: Any, labels: Any, expected: int) -> None:
    """Raise ValueError unless a batch, which a subclass of the loader may have made, has its number of images."""
    if not len(images) == len(labels) == expected:
        raise ValueError(
            f"evaluate: batch {number} of the loader has {len(images)} images and {len(labels)} labels, expected "
            f"{max(expected, 0)} of the data set"
        )


def _evaluation(logits: np.ndarray, labels: np.ndarray) -> Evaluation:
    """Count everything from the logits (N, classes) and the true classes (N,)."""
    wrong = np.flatnonzero((labels < 0) | (labels >= logits.shape[1]))
    if wrong.size:
        raise ValueError(f"evaluate: label {labels[wrong[0]]} at {wrong[0]} is outside the {logits.shape[1]} classes")
    confusion = np.zeros((logits.shape[1],) * 2, np.int64)
    predicted = _predicted(logits)
    known = predicted >= 0
    np.add.at(confusion, (labels[known], predicted[known]), 1)
    best = np.argsort(-logits, axis=1, kind="stable")[:, :5]
    top5 = float(((best == labels[:, None]).any(axis=1) & known).mean())
    loss = float(F.cross_entropy(Tensor(logits), labels).data)
    probabilities = F.softmax(Tensor(logits), dim=1).data
    return Evaluation(loss, float(np.trace(confusion)) / len(labels), top5, confusion, probabilities)


def _predicted(logits: np.ndarray) -> np.ndarray:
    """Return the class of each row (N, classes), or -1 where the row holds NaN."""
    return np.where(np.isnan(logits).any(axis=1), -1, logits.argmax(axis=1))


def logits_of(model: Module, images: Any, classes: int) -> Tensor:
    """Return the model's output, checked to have a row for each image and a column for each class."""
    output = model(Tensor.wrap(images) if is_on_gpu(images) else Tensor(images))
    if not isinstance(output, Tensor):
        raise TypeError(f"the model gives a {type(output).__name__}, expected a tensor of shape (images, classes)")
    if output.shape != (len(images), classes):
        raise ValueError(
            f"the model gives an output of shape {output.shape}, expected {(len(images), classes)}: "
            f"{len(images)} images, {classes} classes"
        )
    return output
