"""Shared weights: k-means, linear quantisation, gradients that are summed, the paper's formula."""

import numpy as np
import pytest

import tinycnn as tc
from tinycnn.compression.prune import weights_of
from tinycnn.compression.quantize import quantize
from tinycnn.compression.share import Sharing, kmeans, rate, share
from tinycnn.data import ArrayDataset, DataLoader
from tinycnn.training import Callback, Trainer

SAMPLES = {
    "normal": np.random.default_rng(0).normal(size=5000),
    "far from zero": np.random.default_rng(1).normal(size=3000) + 1e4,
    "heavy tails": np.random.default_rng(2).standard_cauchy(3000),
    "few values": np.random.default_rng(3).integers(0, 5, 400).astype(float),
    "single precision": np.random.default_rng(4).normal(size=2000).astype(np.float32),
    "one": np.array([0.5]),
    "equal": np.full(9, -2.0),
}


@pytest.mark.parametrize("k", [1, 2, 16, 256])
@pytest.mark.parametrize("name", SAMPLES)
def test_the_error_of_kmeans_never_rises_and_is_what_the_clusters_leave(name, k):
    values = SAMPLES[name]
    centres, clusters, errors = kmeans(values, k, iterations=10_000)
    scale = float(np.sum((values - values.mean(dtype=float)) ** 2)) + 1e-300
    assert np.all(np.diff(errors) <= 1e-12 * scale)
    left = float(np.sum((values.astype(float) - centres[clusters]) ** 2))
    assert left == pytest.approx(errors[-1], rel=1e-6, abs=1e-10 * scale)


@pytest.mark.parametrize("name", SAMPLES)
def test_every_value_belongs_to_the_nearest_centre_and_every_centre_is_a_mean(name):
    values = SAMPLES[name]
    centres, clusters, _ = kmeans(values, 8, iterations=10_000)
    assert np.all(np.diff(centres) >= 0)
    distances = np.abs(values.astype(float)[:, None] - centres)
    scale = np.abs(values).max()
    np.testing.assert_allclose(distances[np.arange(len(values)), clusters], distances.min(axis=1), atol=1e-12 * scale)
    for cluster in np.unique(clusters):
        assert centres[cluster] == pytest.approx(values[clusters == cluster].mean(dtype=float), rel=1e-9, abs=1e-9)


def test_centres_start_evenly_between_the_extremes():
    centres, _, errors = kmeans(np.array([0.0, 1.0, 2.0, 10.0]), 3, iterations=1)
    np.testing.assert_allclose(centres, [1.0, 5.0, 10.0])  # 0, 5, 10 at the start; nothing is near 5
    assert errors == [2.0]


@pytest.mark.parametrize("bits", [1, 4, 5, 8])
def test_shared_weights_take_few_values_and_zeros_stay(bits):
    weights = np.random.default_rng(0).normal(size=(40, 50)).astype(np.float32)
    weights[np.abs(weights) < 1] = 0
    shared = share(weights, bits)
    assert shared.dtype == np.float32 and shared.shape == weights.shape
    assert len(np.unique(shared[shared != 0])) <= 2**bits
    np.testing.assert_array_equal(shared == 0, weights == 0)
    assert np.abs(shared - weights).max() <= np.ptp(weights) / 2**bits


@pytest.mark.parametrize("bits", [2, 6, 8])
def test_linear_quantisation_rounds_to_the_nearest_of_equal_steps(bits):
    weights = np.random.default_rng(0).normal(size=(30, 20)).astype(np.float32)
    found = quantize(weights, bits)
    step = np.abs(weights).max() / (2 ** (bits - 1) - 1)
    assert np.abs(found - weights).max() <= step * 0.5001
    np.testing.assert_allclose(found / step, np.rint(found / step), atol=1e-4)
    assert len(np.unique(found)) <= 2**bits - 1 and np.abs(found).max() == np.abs(weights).max()
    assert not np.signbit(found[found == 0]).any()


def test_all_zeros_stay_zeros():
    zeros = np.zeros((3, 4), np.float32)
    np.testing.assert_array_equal(quantize(zeros, 6), zeros)
    np.testing.assert_array_equal(share(zeros, 5), zeros)


def test_the_papers_formula():
    assert rate(16, 4) == 3.2  # figure 3: a 4x4 layer with 4 centres
    n, k = 10**6, 32
    assert rate(n, k) == pytest.approx(n * 32 / (n * 5 + k * 32))
    assert rate(n, 17) == pytest.approx(n * 32 / (n * 5 + 17 * 32))  # an index is whole bits


def test_a_value_midway_between_two_centres_belongs_to_the_higher_one():
    values = np.array([0.0, 0.0, 1.0, 2.0, 2.0])
    centres, clusters, _ = kmeans(values, 2, iterations=0)
    assert centres.tolist() == [0, 2] and clusters.tolist() == [0, 0, 1, 1, 1]


@pytest.mark.parametrize("bad", [0, 9])
def test_bits_out_of_range(bad):
    with pytest.raises(ValueError, match=f"share: bits is {bad}, expected 1 to 8"):
        share(np.ones(3), bad)
    with pytest.raises(ValueError, match=f"quantize: bits is {bad}, expected 2 to 8"):
        quantize(np.ones(3), bad)


# -- training shared weights -------------------------------------------------------------------------------------------


def net():
    tc.manual_seed(0)
    model = tc.nn.Sequential(tc.nn.Conv2d(1, 4, 3), tc.nn.ReLU(), tc.nn.Flatten(), tc.nn.Linear(4 * 36, 3))
    for weight in weights_of(model).values():
        weight.data[np.abs(weight.data) < 0.03] = 0
        weight.data[...] = share(weight.data, 2)
    return model.to(np.float64)


def loader():
    rng = np.random.default_rng(0)
    return DataLoader(ArrayDataset(rng.normal(size=(30, 1, 8, 8)), np.arange(30) % 3, "abc"), 10)


class Finite(Callback):
    """A callback that compares a code book's gradient with finite differences of the loss, and keeps the largest
    error.
    """

    def __init__(self, sharing, model, batch):
        self.sharing, self.model, self.batch, self.worst = sharing, model, batch, 0.0

    def loss(self):
        images, labels = self.batch
        self.sharing.on_batch_end(None, 0.0)
        return float(tc.functional.cross_entropy(self.model(tc.Tensor(images)), labels).item())

    def on_gradients(self, trainer):
        for name, book in self.sharing.books.items():
            for i in np.flatnonzero(book.data):
                kept = book.data[i]
                losses = []
                for step in (1e-6, -1e-6):
                    book.data[i] = kept + step
                    losses.append(self.loss())
                book.data[i] = kept
                numeric = (losses[0] - losses[1]) / 2e-6
                self.worst = max(self.worst, abs(numeric - book.grad[i]), 1e-30 * len(name))
        self.loss()


def test_a_centres_gradient_is_the_sum_of_its_weights_gradients():
    model, data = net(), loader()
    sharing = Sharing(model)
    batch = next(iter(loader()))
    check = Finite(sharing, model, batch)
    optimizer = tc.optim.SGD(sharing.parameters(), lr=0.0)
    data.dataset = data.dataset.subset(slice(10))
    Trainer(model, data, optimizer, 1, callbacks=[sharing, check], quiet=True).fit()
    assert 0 < check.worst < 1e-7


@pytest.mark.parametrize("optimizer", [tc.optim.SGD, tc.optim.Adam])
def test_training_lowers_the_loss_and_keeps_weights_shared_and_zeros_zero(optimizer):
    model = net()
    before = {name: weight.data.copy() for name, weight in weights_of(model).items()}
    sharing = Sharing(model)
    trainer = Trainer(model, loader(), optimizer(sharing.parameters(), lr=0.05), 15, callbacks=[sharing], quiet=True)
    history = trainer.fit()
    assert history[-1]["train_loss"] < 0.9 * history[0]["train_loss"]
    for name, weight in weights_of(model).items():
        np.testing.assert_array_equal(weight.data == 0, before[name] == 0)
        assert not np.array_equal(weight.data, before[name])
        for value in np.unique(before[name]):
            assert len(np.unique(weight.data[before[name] == value])) == 1
