"""Magnitude pruning: the smallest weights become zero, the others are trained further.

Han et al., "Learning both Weights and Connections for Efficient Neural Networks" (2015). Biases and batch norm are few
and stay; a layer's or the whole network's weights are ordered by their absolute value.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np

from tinycnn import arguments
from tinycnn.errors import unknown_name
from tinycnn.kernels.versions import changing
from tinycnn.nn import Module
from tinycnn.tensor import Tensor
from tinycnn.training import Callback

if TYPE_CHECKING:
    from tinycnn.training import Trainer

SCOPES = ("layer", "global")


def weights_of(model: Module) -> dict[str, Tensor]:
    """Return the parameters that are compressed: the weights of convolutions and linear layers, by name."""
    arguments.instance("prune", "model", model, Module, "a Module")
    return {name: parameter for name, parameter in model.named_parameters() if parameter.ndim > 1}


def density(model: Module) -> float:
    """Return the share of weights that are not zero; 1 of no weights."""
    weights = weights_of(model).values()
    total = sum(w.size for w in weights)
    return sum(int(np.count_nonzero(w.data)) for w in weights) / total if total else 1.0


def masks(model: Module, keep: float, scope: str = "layer") -> dict[str, np.ndarray]:
    """Return a mask of the weights that stay: the largest share ``keep`` by absolute value.

    Parameters
    ----------
    model : Module
    keep : float
        From 0 to 1.
    scope : "layer" or "global"
        The same share of every layer, or of all layers together: then layers of small weights lose more, but each
        keeps half of that share, for a net in which one layer is empty is dead. A layer keeps at least one weight.

    Raises
    ------
    ValueError
        If ``keep`` is out of range.
    UnknownNameError
        If there is no such scope.

    Examples
    --------
    >>> from tinycnn import nn
    >>> layer = nn.Linear(4, 1)
    >>> layer.weight.data[...] = [[0.1, -3.0, 0.2, 2.0]]
    >>> masks(layer, 0.5)["weight"].tolist()
    [[False, True, False, True]]
    """
    arguments.number("prune", "the share of weights to keep", keep, 0, 1)
    if scope not in SCOPES:
        raise unknown_name("scope of pruning", scope, SCOPES)
    sizes = {name: np.abs(weight.data) for name, weight in weights_of(model).items()}
    if scope == "layer":
        return {name: size >= _threshold(size, keep * size.size) for name, size in sizes.items()}
    found = {name: size >= _threshold(size, keep / 2 * size.size) for name, size in sizes.items()}
    left = np.concatenate([sizes[name][~mask] for name, mask in found.items()])
    count = keep * sum(size.size for size in sizes.values()) - sum(int(mask.sum()) for mask in found.values())
    if count < 0.5:
        return found
    common = _threshold(left, count)
    return {name: mask | (sizes[name] >= common) for name, mask in found.items()}


def _threshold(sizes: np.ndarray, count: float) -> float:
    """Return the count-th largest magnitude (count >= 1); ties are kept."""
    place = sizes.size - max(1, round(count))
    return max(np.partition(sizes.reshape(-1), place)[place], np.finfo(sizes.dtype).tiny)


def cubic(progress: float, keep: float) -> float:
    """Return the share of weights to keep on the way from 1 to ``keep``, fast at first, slower as it becomes hard.

    keep + (1 - keep) (1 - progress)**3, with progress from 0 to 1 (Zhu and Gupta, "To Prune, or Not to Prune", 2017).

    >>> [cubic(progress, 0.25) for progress in (0, 0.5, 1)]
    [1.0, 0.34375, 0.25]
    """
    arguments.number("cubic", "progress", progress, 0, 1)
    arguments.number("cubic", "keep", keep, 0, 1)
    return keep + (1 - keep) * (1 - progress) ** 3


class Pruning(Callback):
    """A callback that prunes during training, and keeps pruned weights at zero after every step.

    Momentum and weight decay cannot bring a pruned weight back: it is set to zero after the optimiser's step. The
    remaining weights compensate for the pruned ones: they grow so that a layer's sum of squares stays the same, for the
    variance of the layer's outputs is proportional to that sum (He et al. 2015), and would shrink layer by layer.

    Parameters
    ----------
    keep : float
        The share of weights that stay in the end.
    scope : "layer" or "global"
    ramp : float
        The share of the training in which weights are pruned; afterwards the rest is trained.
    every : int
        Steps between two prunings; 1 for a deep net without batch norm, which does not recover from a large one.
    schedule : callable
        Maps (progress, keep), progress from 0 to 1 over the ramp, to the share to keep; :func:`cubic`.

    Examples
    --------
    >>> import tinycnn as tc
    >>> from tinycnn.training import Trainer
    >>> data = tc.data.Glyphs(size=8, count=20)
    >>> data.transform = tc.data.transforms.Normalize.of(data.images)
    >>> model = tc.nn.Sequential(tc.nn.Flatten(), tc.nn.Linear(64, 10))
    >>> optimizer = tc.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    >>> loader = tc.data.DataLoader(data, 10)
    >>> history = Trainer(model, loader, optimizer, 4, callbacks=[Pruning(0.1)], quiet=True).fit()
    >>> density(model)
    0.1
    """

    def __init__(
        self,
        keep: float,
        scope: str = "layer",
        ramp: float = 0.7,
        every: int = 10,
        schedule: Callable[[float, float], float] = cubic,
    ) -> None:
        self.keep, self.scope, self.ramp, self.every, self.schedule = keep, scope, ramp, every, schedule
        self.masks: dict[str, np.ndarray] = {}

    def on_batch_end(self, trainer: Trainer, loss: float) -> None:
        """Set pruned weights to zero again, and prune more if it is time."""
        apply(trainer.model, self.masks)
        batches = len(trainer.loader)
        step = trainer.epoch * batches + trainer.position
        last = max(1, round(self.ramp * trainer.epochs * batches))
        if not self.masks or (step <= last and (step % self.every == 0 or step == last)):
            self.masks = masks(trainer.model, self.schedule(min(step / last, 1), self.keep), self.scope)
            _apply_and_grow(trainer.model, self.masks)


def apply(model: Module, masks: dict[str, np.ndarray]) -> None:
    """Set pruned weights to zero, and not to minus zero."""
    weights = weights_of(model)
    for name, mask in arguments.instance("prune", "masks", masks, dict, "a dict of masks by name").items():
        if name not in weights or getattr(mask, "shape", None) != weights[name].shape or mask.dtype != np.bool_:
            raise ValueError(
                f"prune: the mask {name!r} does not fit a weight of the model, expected booleans of its shape"
            )
        with changing(weights[name].data):
            np.copyto(weights[name].data, 0, where=~mask)


def _apply_and_grow(model: Module, masks: dict[str, np.ndarray]) -> None:
    """Prune, and scale the weights that stay in a layer so that its sum of squares is the same."""
    weights = {name: weight.data for name, weight in weights_of(model).items()}
    before = {name: np.linalg.norm(data) for name, data in weights.items()}
    apply(model, masks)
    for name, data in weights.items():
        with changing(data):
            data *= before[name] / max(np.linalg.norm(data), np.finfo(data.dtype).tiny)
