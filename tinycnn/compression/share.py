"""Weight sharing: the weights of a layer take few values, which are trained further.

Han et al., "Deep Compression" (2016), section 3. The values are the centres of k-means clusters of the layer's weights
that are not zero. A weight then is an index of log2 k bits into a code book of k values.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from tinycnn import arguments
from tinycnn.compression.prune import weights_of
from tinycnn.kernels.versions import changing
from tinycnn.nn import Module, Parameter
from tinycnn.training import Callback

if TYPE_CHECKING:
    from tinycnn.training import Trainer


def rate(n: int, k: int, b: int = 32) -> float:
    """Return how many times smaller n weights of b bits become by sharing k values: n b / (n log2 k + k b).

    Equation 1 of the paper; it counts indices of log2 k bits (here rounded up to whole bits) and the code book.

    >>> rate(16, 4)  # the paper's example
    3.2
    """
    for name, value in (("n", n), ("k", k), ("b", b)):
        arguments.integer("rate", name, value, 1)
    return n * b / (n * math.ceil(math.log2(k)) + k * b)


def kmeans(values: np.ndarray, k: int, iterations: int = 100) -> tuple[np.ndarray, np.ndarray, list[float]]:
    """Return clusters of values: each belongs to the nearest centre, each centre is the mean of its values.

    The centres start evenly between the smallest and the largest value ("linear initialisation", section 3.2: large
    weights are few and matter, and random centres would miss them). In sorted order a cluster is an interval, and its
    mean a difference of two cumulative sums: an iteration takes k binary searches, not n k distances.

    Parameters
    ----------
    values : float array, shape (N,)
    k : int
        Clusters; some may end up empty.
    iterations : int
        At most; it ends when no value changes its cluster.

    Returns
    -------
    float64 array, shape (k,)
        Centres in rising order.
    integer array, shape (N,)
        The cluster of each value.
    list of float
        The sum of squared distances after each iteration; it never rises.

    Examples
    --------
    >>> centres, clusters, _ = kmeans(np.array([0.0, 1.0, 9.0, 11.0]), 2)
    >>> centres.tolist(), clusters.tolist()
    ([0.5, 10.0], [0, 0, 1, 1])
    """
    arguments.array("kmeans", "values", values, "f", 1)
    arguments.integer("kmeans", "k", k, 1, 2**24)
    arguments.integer("kmeans", "iterations", iterations, 0)
    if not values.size or not np.isfinite(values).all():
        raise ValueError("kmeans: values is empty or holds NaN or infinity, expected finite numbers")
    ordered = np.sort(values.astype(np.float64))
    middle = ordered.mean()
    ordered -= middle  # so that differences of cumulative sums lose no digits
    sums, squares = (np.concatenate([[0.0], np.cumsum(power)]) for power in (ordered, ordered**2))
    centres = np.linspace(ordered[0], ordered[-1], k)
    edges, errors = np.array([]), []
    for _ in range(iterations):
        before, edges = edges, np.searchsorted(ordered, [-np.inf, *_borders(centres), np.inf])
        if np.array_equal(edges, before):
            break
        counts, totals = np.diff(edges), np.diff(sums[edges])
        full = counts > 0
        centres[full] = totals[full] / counts[full]
        errors.append(float((np.diff(squares[edges]) - counts * (centres * full) ** 2).sum()))
    return centres + middle, np.searchsorted(_borders(centres), values - middle, "right"), errors


def _borders(centres: np.ndarray) -> np.ndarray:
    """Return the middle between neighbours; a value on a border belongs to the higher centre."""
    return (centres[1:] + centres[:-1]) / 2


def share(weights: np.ndarray, bits: int = 5) -> np.ndarray:
    """Return the weights of a layer with 2**bits values among those that are not zero, chosen by :func:`kmeans`.

    Parameters
    ----------
    weights : float array
    bits : int
        1 to 8; the paper takes 8 for convolutions and 5 for fully connected layers.

    Raises
    ------
    ValueError
        If ``bits`` is out of range.
    """
    arguments.array("share", "weights", weights, "f")
    arguments.integer("share", "bits", bits, 1, 8)
    shared, places = weights.copy(), weights != 0
    if places.any():
        centres, clusters, _ = kmeans(weights[places], 2**bits)
        shared[places] = centres[clusters]
    return shared


class Sharing(Callback):
    """A callback that trains shared weights: a value moves by the sum of its weights' gradients (section 3.3, equation
    3).

    The optimiser gets :meth:`parameters`: code books in place of the weights of layers.

    Parameters
    ----------
    model : Module
        Its weights share few values already, by :func:`share` or :func:`~tinycnn.compression.quantize.quantize`.

    Examples
    --------
    >>> import tinycnn as tc
    >>> model = tc.nn.Linear(64, 10)
    >>> model.weight.data[...] = share(model.weight.data, bits=4)
    >>> [p.shape for p in Sharing(model).parameters()]
    [(16,), (10,)]
    """

    def __init__(self, model: Module) -> None:
        self.weights = weights_of(model)
        self.codes: dict[str, np.ndarray] = {}
        self.books: dict[str, Parameter] = {}
        for name, weight in self.weights.items():
            book, codes = np.unique(weight.data, return_inverse=True)
            self.books[name], self.codes[name] = Parameter(book), codes.reshape(weight.shape)
        self.pruned = {name: book.data == 0 for name, book in self.books.items()}
        self.others = [parameter for name, parameter in model.named_parameters() if name not in self.weights]

    def parameters(self) -> list[Parameter]:
        """Return the parameters to train: the code books, and the parameters that are not shared."""
        return [*self.books.values(), *self.others]

    def on_gradients(self, trainer: Trainer) -> None:
        """Sum the weights' gradients by value; pruned weights stay zero."""
        for name, weight in self.weights.items():
            if weight.grad is None:
                continue
            book = self.books[name]
            sums = np.bincount(self.codes[name].reshape(-1), weight.grad.reshape(-1), len(book.data))
            book.grad = np.where(self.pruned[name], 0, sums).astype(book.dtype)
            weight.grad = None

    def on_batch_end(self, trainer: Trainer, loss: float) -> None:
        """Write the changed values into the model."""
        for name, weight in self.weights.items():
            with changing(weight.data):
                weight.data[...] = self.books[name].data[self.codes[name]]
