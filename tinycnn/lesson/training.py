"""A short way to train in a lesson: glyphs in, a history out, one bar for the whole of it."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Sequence
from functools import cache

from tqdm import tqdm

from tinycnn.data import ArrayDataset, DataLoader, Glyphs
from tinycnn.data.transforms import Normalize
from tinycnn.models import ResNet, cifar_resnet
from tinycnn.nn import Module, Parameter
from tinycnn.optim import SGD, CosineAnnealingLR
from tinycnn.random import manual_seed
from tinycnn.training import Callback, Trainer


def glyphs(
    train: int, test: int, size: int = 16, channels: int = 1, difficulty: float = 1.0, symbols: str = "digits"
) -> tuple[ArrayDataset, ArrayDataset]:
    """Return training and test glyphs, normalised by the mean and standard deviation of the training images."""
    sets = [Glyphs(s, size, channels, symbols, n, 0, difficulty) for s, n in (("train", train), ("test", test))]
    for data in sets:
        data.transform = Normalize.of(sets[0].images)
    return sets[0], sets[1]


def fit(
    model: Module,
    train: ArrayDataset,
    test: ArrayDataset,
    epochs: int,
    lr: float = 0.1,
    batch_size: int = 64,
    weight_decay: float = 5e-4,
    seed: int = 0,
    title: str = "training",
    callbacks: Sequence[Callback] = (),
    parameters: Iterable[Parameter] | None = None,
) -> Trainer:
    """Train by stochastic gradient descent with momentum 0.9, the rate falling to 0 along a cosine.

    Parameters
    ----------
    model : Module
    train, test : ArrayDataset
        Test images are evaluated after each epoch, and never trained on.
    epochs : int
    lr : float
        The rate at the start.
    batch_size : int
    weight_decay : float
    seed : int
        Of the order of images.
    title : str
        The text in front of the bar.
    callbacks : sequence of Callback
    parameters : iterable of Parameter, optional
        The parameters to train, by default all of the model.

    Returns
    -------
    Trainer
        With ``history``, a row for each epoch, and ``evaluation`` on the test images.
    """
    loader = DataLoader(train, batch_size, shuffle=True, drop_last=len(train) > batch_size, seed=seed)
    optimizer = SGD(
        model.parameters() if parameters is None else parameters, lr=lr, momentum=0.9, weight_decay=weight_decay
    )
    schedule = CosineAnnealingLR(optimizer, epochs * len(loader))
    with tqdm(total=epochs * len(loader), desc=title, unit=" steps", disable=None, leave=False) as bar:
        trainer = Trainer(
            model,
            loader,
            optimizer,
            epochs,
            schedule,
            DataLoader(test, 256),
            callbacks=[*callbacks, _Steps(bar)],
            quiet=True,
        )
        trainer.fit()
    if trainer.interrupted:
        raise KeyboardInterrupt
    return trainer


def twin(kind: str, depth: int, width: float, seed: int, classes: int = 10) -> ResNet:
    """Return a ResNet for small grey images, or its plain twin, with the weights of a seed.

    Parameters
    ----------
    kind : "plain" or "residual"
    depth : int
        6n + 2.
    width : float
        Factor on 16, 32 and 64 channels.
    seed : int
    classes : int
    """
    manual_seed(seed)
    return cifar_resnet(depth, classes, residual=kind == "residual", width=width, in_channels=1)


@cache
def trained(kind: str, depth: int, width: float, seed: int, images: int, epochs: int, lr: float) -> ResNet:
    """Return a :func:`twin` after training on glyphs.

    A process trains each net once and returns the same object again: a caller that changes it must restore it.
    """
    net = twin(kind, depth, width, seed)
    fit(net, *glyphs(images, 10), epochs, lr, seed=seed, title=f"{kind} {depth}")
    net.eval()
    return net


class _Steps(Callback):
    """A callback that advances a bar with each step."""

    def __init__(self, bar: tqdm) -> None:
        self.bar, self.losses = bar, deque[float](maxlen=20)

    def on_batch_end(self, trainer: Trainer, loss: float) -> None:
        self.losses.append(loss)
        self.bar.set_postfix_str(f"loss {sum(self.losses) / len(self.losses):.3f}", refresh=False)
        self.bar.update()
