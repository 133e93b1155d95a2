"""Deep Compression from end to end: prune, retrain and share the weights of a model, train the shared values, write
``.tcz``.

Han et al., "Deep Compression: Compressing Deep Neural Networks with Pruning, Trained Quantization and Huffman Coding"
(2016), figure 1.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

import numpy as np

from tinycnn.compression import container, prune
from tinycnn.compression.quantize import quantize
from tinycnn.compression.share import Sharing, rate, share
from tinycnn.data import DataLoader
from tinycnn.errors import TinyCNNError, WeightsError
from tinycnn.kernels.versions import changing
from tinycnn.nn import Module
from tinycnn.optim import Adam, MultiStepLR, WarmUp
from tinycnn.training import Callback, Trainer, evaluate

LEAST_BITS = 4
_MARGIN = 0.97  # share of the target that is used while pruning: retraining still changes the sizes


class TargetError(TinyCNNError, ValueError):
    """The error that no pruning reaches the size."""


@dataclass(frozen=True)
class Plan:
    """The options of compression.

    Parameters
    ----------
    target : int
        Bytes of the file, at most.
    bits : int
        Bits of a weight's index, 4 to 8; small layers take fewer, 4 at least.
    linear : bool
        Linear quantisation in place of k-means.
    scope : "global" or "layer"
        Of pruning.
    epochs : int
        Of retraining while and after pruning.
    fine_tuning : int
        Epochs in which shared values are trained.
    lr : float
        Adam's, after a warm-up; a tenth of it in the last 15 % of the steps. For shared values both are a tenth.
    """

    target: int
    bits: int = 5
    linear: bool = False
    scope: str = "global"
    epochs: int = 8
    fine_tuning: int = 2
    lr: float = 1e-3


class Stage(NamedTuple):
    """The model at one stage: bytes of its file, of its weights' values alone, and accuracy on the test images."""

    name: str
    bytes: int
    value_bytes: int
    accuracy: float


class Point(NamedTuple):
    """A point of the trade-off: share of the weights kept, bytes of the file, accuracy."""

    keep: float
    bytes: int
    accuracy: float


@dataclass
class Result:
    """The result of a compression.

    Attributes
    ----------
    stages : list of Stage
        Trained, pruned, shared, Huffman coded; the last one was read from the file.
    formula : float
        Equation 1's rate for the weights that are kept; measured is the ratio of the stages' ``value_bytes``.
    at_once, retrained : list of Point
        The trade-off when a trained model is pruned and shared at once, and while it is retrained.
    """

    stages: list[Stage] = field(default_factory=list)
    formula: float = 0.0
    at_once: list[Point] = field(default_factory=list)
    retrained: list[Point] = field(default_factory=list)


def compress(
    model: Module,
    train: DataLoader,
    test: DataLoader,
    path: str | Path,
    plan: Plan,
    say: Callable[[str], object] = print,
    quiet: bool = False,
) -> Result:
    """Compress a trained model into a file, and return the stages.

    Parameters
    ----------
    model : Module
        It is replaced by the contents of the file.
    train, test : DataLoader
        Images for retraining, and for measuring the accuracy.
    path : path
        Of the file.
    plan : Plan
    say : callable
        It is called with a line before each stage.
    quiet : bool
        Show no progress bars.

    Raises
    ------
    TargetError
        If the target is too small for any weights.
    """
    result, trial = Result(), _Trial(model, test, plan)
    trained = sum(array.nbytes for array in model.state_dict().values())
    weights = sum(weight.data.nbytes for weight in prune.weights_of(model).values())
    result.stages.append(Stage("trained", trained, weights, evaluate(model, test, quiet).accuracy))

    say("looking for the share of weights that fits the target")
    keep = trial.keep_for(_MARGIN * plan.target)
    say(f"pruning: {100 * keep:.2f} % of the weights will stay")
    result.at_once = [trial.point(share) for share in np.geomspace(1, keep / 4, 8)]
    if keep < 1:
        curve = _Curve(trial)
        optimizer = Adam(model.parameters(), lr=plan.lr)
        _train(model, train, test, optimizer, plan.epochs, [prune.Pruning(keep, plan.scope, every=1), curve], quiet)
        result.retrained = curve.points
        trial.prune(min(trial.keep_for(plan.target), prune.density(model)))
    result.stages.append(_stage("pruned", model, test, container.encode(model.state_dict())))

    say(f"sharing: {plan.bits} bits a weight, {'at equal distances' if plan.linear else 'by k-means'}")
    trial.share()
    if not plan.linear and plan.fine_tuning:
        sharing = Sharing(model)
        optimizer = Adam(sharing.parameters(), lr=plan.lr / 10)
        _train(model, train, test, optimizer, plan.fine_tuning, [sharing], quiet)
    trial.halve()
    result.formula = _formula(model)
    result.stages.append(_stage("shared", model, test, container.encode(model.state_dict(), huffman_coded=False)))

    say("coding")
    container.save(path, model.state_dict())
    back = container.load(path)
    if any(back[name].tobytes() != array.tobytes() for name, array in model.state_dict().items()):
        raise WeightsError(f"{path}: other bits were read than were written")
    model.load_state_dict(back)
    result.stages.append(_stage("Huffman coded", model, test, Path(path).read_bytes()))
    return result


def _train(
    model: Module,
    train: DataLoader,
    test: DataLoader,
    optimizer: Adam,
    epochs: int,
    callbacks: Sequence[Callback],
    quiet: bool,
) -> None:
    train.epoch = train.position = 0
    steps = epochs * len(train)
    schedule = WarmUp(MultiStepLR(optimizer, [round(0.85 * steps)]), min(steps, 100) // 2)
    trainer = Trainer(model, train, optimizer, epochs, schedule, test, callbacks=callbacks, quiet=quiet)
    trainer.fit()
    if trainer.interrupted:
        raise KeyboardInterrupt


def _stage(name: str, model: Module, test: DataLoader, data: bytes) -> Stage:
    weights = prune.weights_of(model)
    values = sum(entry.bytes - entry.run_bytes for entry in container.entries(data) if entry.name in weights)
    return Stage(name, len(data), values, evaluate(model, test).accuracy)


def _formula(model: Module) -> float:
    """Return equation 1 for the kept weights of all layers together."""
    before = after = 0.0
    for weight in prune.weights_of(model).values():
        kept = weight.data[weight.data != 0]
        if len(kept):
            before += len(kept)
            after += len(kept) / rate(len(kept), len(np.unique(kept)))
    return before / after


class _Curve(Callback):
    """A callback that measures the trade-off after each epoch."""

    def __init__(self, trial: _Trial) -> None:
        self.trial, self.points = trial, list[Point]()

    def on_epoch_end(self, trainer: Trainer) -> None:
        self.points.append(self.trial.point(prune.density(self.trial.model)))


class _Trial:
    """A trial of pruning to a share of weights and sharing values at once: size and accuracy."""

    def __init__(self, model: Module, test: DataLoader, plan: Plan) -> None:
        self.model, self.test, self.plan = model, test, plan

    def prune(self, keep: float) -> None:
        prune.apply(self.model, prune.masks(self.model, keep, self.plan.scope))

    def share(self) -> None:
        """Replace the weights of each layer by few values."""
        for weight in prune.weights_of(self.model).values():
            worth = (int(np.count_nonzero(weight.data)) // 16).bit_length()  # no book that outweighs its indices
            bits = min(self.plan.bits, max(LEAST_BITS, worth))
            with changing(weight.data):
                weight.data[...] = (quantize if self.plan.linear else share)(weight.data, bits)

    def halve(self) -> None:
        """Round all numbers to half precision that then change by less than a thousandth of their array's largest."""
        for array in self.model.state_dict().values():
            if array.dtype == np.float32:
                with np.errstate(over="ignore"):
                    half = array.astype(np.float16).astype(np.float32)
                close = np.abs(half - array) <= np.abs(array).max(initial=0) / 1000
                with changing(array):
                    np.copyto(array, half, where=close)

    @contextmanager
    def _tried(self, keep: float) -> Iterator[None]:
        saved = {name: array.copy() for name, array in self.model.state_dict().items()}
        self.prune(keep)
        self.share()
        self.halve()
        try:
            yield
        finally:
            self.model.load_state_dict(saved)

    def point(self, keep: float) -> Point:
        """Return the point of the trade-off at a share of weights."""
        with self._tried(keep):
            size = len(container.encode(self.model.state_dict()))
            return Point(keep, size, evaluate(self.model, self.test).accuracy)

    def size(self, keep: float) -> int:
        """Return the bytes of the file at a share of weights."""
        with self._tried(keep):
            return len(container.encode(self.model.state_dict()))

    def keep_for(self, target: float) -> float:
        """Return the largest share of weights, to about 1 %, whose file has at most ``target`` bytes."""
        if self.size(1) <= target:
            return 1.0
        low, high = 1e-4, 1.0
        if (least := self.size(low)) > target:
            raise TargetError(
                f"compress: the target is {target:,.0f} bytes, but {least:,} are left where nearly all weights are "
                "pruned: biases, names and sizes"
            )
        while high / low > 1.01:
            middle = (low * high) ** 0.5
            low, high = (middle, high) if self.size(middle) <= target else (low, middle)
        return low
