"""The record of a network's training: the size of activations and gradients in each layer, step by step."""

from __future__ import annotations

import csv
import io
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from tinycnn import arguments, nn
from tinycnn.files.atomic import atomic_write
from tinycnn.grad_mode import is_grad_enabled
from tinycnn.hooks import Hook, UncopiedCallback
from tinycnn.kernels import on_host
from tinycnn.tensor import Tensor

if TYPE_CHECKING:
    from matplotlib.figure import Figure

WEIGHTED = (nn.Conv2d, nn.Linear)
QUANTITIES = ("activation", "mean", "std", "zeros", "dead", "gradient", "weight_gradient")


class Watch:
    """The record of a network's training; made by :func:`watch`.

    Attributes
    ----------
    rows : list of dict
        One for each watched step and layer, in the order in which layers ran: ``step``, ``layer``, ``kind``, and

        - ``activation``: the root of the mean square of the layer's output; ``mean`` and ``std`` of it;
        - ``zeros``: the share of it that is exactly 0;
        - ``dead``: the share of its channels (or features) that are 0 for the whole batch;
        - ``gradient``: the root of the mean square of the loss's gradient for that output;
        - ``weight_gradient``: the Euclidean norm of the gradient for the layer's weight.

        The last two are NaN before backward has reached the layer, and ``weight_gradient`` where there is no weight.
    steps : int
        Forward passes of the model that were counted.

    Notes
    -----
    A copy of the watched model, and what is unpickled from it, is not watched. A copy of the record keeps its rows and
    watches nothing.
    """

    def __init__(self, model: nn.Module, every: int, kinds: tuple[type[nn.Module], ...]) -> None:
        self.rows: list[dict[str, Any]] = []
        self.steps, self.every = 0, every
        self._runs: Counter[str] = Counter()
        self._bases: dict[str, set[str]] = {}  # the names of a class and of its bases
        self._hooks: list[Hook] = []
        for name, module in model.named_modules():
            if isinstance(module, kinds):
                self._follow(name, module)
        if not self._hooks:
            names = ", ".join(kind.__name__ for kind in kinds)
            raise ValueError(f"watch: {type(model).__name__} has no layer to watch, expected one of {names} in it")
        self._hooks.append(model.register_forward_hook(UncopiedCallback(self.end_step)))

    def _follow(self, name: str, module: nn.Module) -> None:
        """Put hooks on a layer."""
        recorder = _Recorder(self, name)
        self._hooks.append(module.register_forward_hook(UncopiedCallback(recorder.record_output)))
        if isinstance(getattr(module, "weight", None), Tensor) and module.weight.requires_grad:
            self._hooks.append(module.weight.register_hook(recorder.record_weight))

    def record(self, name: str, layer: nn.Module, output: Any) -> dict[str, Any]:
        """Add a row for a layer that has run, and return it; an empty one if this step is not watched."""
        if not self._watching(output):
            return {}
        self._runs[name] += 1
        again = f"#{self._runs[name]}" if self._runs[name] > 1 else ""
        kind = type(layer).__name__
        self._bases[kind] = {base.__name__ for base in type(layer).__mro__}
        row = {"step": self.steps, "layer": name + again, "kind": kind, **_statistics(output.numpy())}
        self.rows.append(row)
        output.register_hook(lambda grad: row.update(gradient=_size(grad)))
        return row

    def _watching(self, output: Any) -> bool:
        return is_grad_enabled() and output.requires_grad and self.steps % self.every == 0

    def end_step(self, *_: Any) -> None:
        """Count a forward pass of the whole model."""
        if is_grad_enabled():
            self._runs.clear()
            self.steps += 1

    def remove(self) -> None:
        """Remove the hooks from the model; the rows stay."""
        for hook in self._hooks:
            hook.remove()
        self._hooks = []

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_hooks": []}

    def __enter__(self) -> Watch:
        return self

    def __exit__(self, *_: object) -> None:
        self.remove()

    # -- the record ----------------------------------------------------------------------------------------------------

    def table(
        self, quantity: str = "gradient", kinds: tuple[type[nn.Module], ...] = WEIGHTED
    ) -> tuple[list[int], list[str], np.ndarray]:
        """Return a quantity by step and layer.

        Parameters
        ----------
        quantity : str
            One of the columns of ``rows``.
        kinds : tuple of Module classes
            Of the layers, subclasses included; those with weights by default.

        Returns
        -------
        steps : list of int
        layers : list of str
        values : float array, shape (steps, layers)

        Raises
        ------
        ValueError
            If there is no such quantity, or nothing was recorded.
        """
        if quantity not in QUANTITIES:
            raise ValueError(f"watch: quantity is {quantity!r}, expected one of {', '.join(QUANTITIES)}")
        _check_kinds(kinds)
        wanted = {kind.__name__ for kind in kinds}
        rows = [row for row in self.rows if wanted & self._bases.get(row["kind"], {row["kind"]})]
        if not rows:
            raise ValueError("watch: no step of such a layer was recorded; train the model while it is watched")
        steps = list(dict.fromkeys(row["step"] for row in rows))
        layers = list(dict.fromkeys(row["layer"] for row in rows))
        values = np.full((len(steps), len(layers)), np.nan)
        for row in rows:
            values[steps.index(row["step"]), layers.index(row["layer"])] = row[quantity]
        return steps, layers, values

    def figure(self, quantity: str = "gradient", kinds: tuple[type[nn.Module], ...] = WEIGHTED) -> Figure:
        """Draw the gradient-flow figure: a quantity layer by layer, and its course over the training."""
        from tinycnn import plotting

        steps, layers, values = self.table(quantity, kinds)
        names = {"activation": "size of activations (RMS)", "gradient": "size of gradients (RMS)"}
        return plotting.flow(values, steps, layers, names.get(quantity, quantity.replace("_", " ")))

    def save(self, path: str | Path) -> None:
        """Write the rows as CSV."""
        text = io.StringIO(newline="")
        writer = csv.DictWriter(text, ["step", "layer", "kind", *QUANTITIES], lineterminator="\n")
        writer.writeheader()
        for row in self.rows:
            writer.writerow({k: f"{v:.6g}" if isinstance(v, float) else v for k, v in row.items()})
        with atomic_write(path) as file:
            file.write(text.getvalue().encode(errors="backslashreplace"))


class _Recorder:
    """The hook of a watched layer. It stores numbers, never an array or a node of the graph."""

    def __init__(self, watch: Watch, name: str) -> None:
        self._watch, self._name = watch, name
        self._latest: dict[str, Any] = {}

    def record_output(self, layer: nn.Module, _: tuple, output: Any) -> None:
        self._latest = self._watch.record(self._name, layer, output)

    def record_weight(self, grad: np.ndarray) -> None:
        if self._latest:
            self._latest["weight_gradient"] = _size(grad) * grad.size**0.5


def watch(model: nn.Module, every: int = 1, kinds: tuple[type[nn.Module], ...] = (*WEIGHTED, nn.Activation)) -> Watch:
    """Record the size of activations and gradients in each layer while a model is trained, by whatever loop.

    A step is a forward pass of the model with gradients enabled: evaluation under ``no_grad`` is not recorded. Hooks
    keep a few numbers of each layer; they change no result and hold no graph.

    Parameters
    ----------
    model : Module
    every : int
        Record each ``every``-th step.
    kinds : tuple of Module classes
        The layers to watch, subclasses included: by default those with weights, and activation functions.

    Returns
    -------
    Watch
        Also a context manager that takes the hooks off at its end.

    Raises
    ------
    ValueError
        If ``every`` is below 1, or the model has no such layer.

    Examples
    --------
    >>> from tinycnn.nn import Linear, ReLU, Sequential
    >>> net = Sequential(Linear(4, 8), ReLU(), Linear(8, 1))
    >>> with watch(net) as record:
    ...     net(Tensor(np.ones((5, 4), np.float32))).sum().backward()
    >>> [(row["layer"], row["kind"], row["gradient"] > 0) for row in record.rows]
    [('0', 'Linear', True), ('1', 'ReLU', True), ('2', 'Linear', True)]
    """
    arguments.instance("watch", "model", model, nn.Module, "a Module")
    arguments.integer("watch", "every", every, 1)
    _check_kinds(kinds)
    return Watch(model, every, kinds)


def _check_kinds(kinds: Any) -> None:
    if not isinstance(kinds, tuple) or not all(isinstance(kind, type) for kind in kinds):
        raise TypeError(f"watch: kinds is {kinds!r}, expected a tuple of Module classes")


def _statistics(array: np.ndarray) -> dict[str, float]:
    """Return size, mean, standard deviation, zeros and dead channels of an output (N, C, ...); gradients are not
    known yet.
    """
    size = _size(array)
    mean = float(array.mean(dtype=np.float64))
    zeros = 1 - np.count_nonzero(array) / max(array.size, 1)
    used = array.any(axis=tuple(axis for axis in range(array.ndim) if axis != 1)) if zeros else np.True_
    return {
        "activation": size,
        "mean": mean,
        "std": float(np.sqrt(max(size * size - mean * mean, 0.0))),
        "zeros": zeros,
        "dead": 1 - float(np.mean(used)),
        "gradient": np.nan,
        "weight_gradient": np.nan,
    }


def _size(array: np.ndarray) -> float:
    """Return the root of the mean square, in float64 where the squares leave float32."""
    flat = on_host(array).ravel(order="K")
    with np.errstate(over="ignore", under="ignore", invalid="ignore"):
        square = float(np.vdot(flat, flat))
        if not 1e-30 < square < 1e37:
            square = float(np.vdot(wide := flat.astype(np.float64), wide))
    return (square / max(array.size, 1)) ** 0.5
