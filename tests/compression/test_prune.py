"""Pruning: the smallest weights become zero, and stay zero whatever the optimiser does."""

import numpy as np
import pytest

import tinycnn as tc
from tinycnn.compression import prune
from tinycnn.data import ArrayDataset, DataLoader
from tinycnn.errors import UnknownNameError
from tinycnn.training import Callback, Trainer

OPTIMIZERS = {
    "momentum": lambda p: tc.optim.SGD(p, lr=0.1, momentum=0.9),
    "Nesterov and weight decay": lambda p: tc.optim.SGD(p, lr=0.1, momentum=0.9, nesterov=True, weight_decay=0.1),
    "Adam": lambda p: tc.optim.Adam(p, lr=0.01, weight_decay=0.1),
    "AdamW": lambda p: tc.optim.AdamW(p, lr=0.01, weight_decay=0.1),
}


def net():
    tc.manual_seed(0)
    nn = tc.nn
    return nn.Sequential(nn.Conv2d(1, 6, 3), nn.BatchNorm2d(6), nn.ReLU(), nn.Flatten(), nn.Linear(6 * 36, 4))


def loader():
    rng = np.random.default_rng(0)
    return DataLoader(ArrayDataset(rng.normal(size=(40, 1, 8, 8)).astype(np.float32), np.arange(40) % 4, "abcd"), 8)


def trained(model, optimizer, epochs, *callbacks):
    trainer = Trainer(model, loader(), optimizer, epochs, callbacks=callbacks, quiet=True)
    trainer.fit()
    return trainer


@pytest.mark.parametrize("keep", [0.0, 0.1, 0.5, 1.0])
def test_each_layer_keeps_its_share_of_the_largest(keep):
    model = net()
    for name, mask in prune.masks(model, keep, "layer").items():
        size = np.abs(prune.weights_of(model)[name].data)
        assert mask.sum() == max(1, round(keep * size.size))
        assert keep == 1 or size[mask].min() > size[~mask].max()


def test_a_global_threshold_takes_more_from_layers_of_small_weights_and_leaves_each_half_its_share():
    model = net()
    model[4].weight.data *= 1e-3
    found = prune.masks(model, 0.05, "global")
    assert sum(mask.sum() for mask in found.values()) == pytest.approx(0.05 * 918, abs=2)
    assert found["4.weight"].sum() == round(0.05 / 2 * 864)
    assert found["0.weight"].mean() > 10 * found["4.weight"].mean()


def test_biases_and_batch_norm_are_not_pruned():
    assert list(prune.weights_of(net())) == ["0.weight", "4.weight"]


def test_pruned_weights_are_zero_in_every_bit():
    model = net()
    prune.apply(model, prune.masks(model, 0.2))
    for weight in prune.weights_of(model).values():
        assert not np.signbit(weight.data[weight.data == 0]).any()
    assert prune.density(model) == pytest.approx(0.2, abs=0.01)


class Watch(Callback):
    """A callback that records which weights are zero after each step, and whether one changed back."""

    def __init__(self):
        self.zeros, self.returned, self.densities = {}, 0, []

    def on_batch_end(self, trainer, loss):
        for name, weight in prune.weights_of(trainer.model).items():
            zeros = weight.data == 0
            if name in self.zeros:
                self.returned += int((self.zeros[name] & ~zeros).sum())
            self.zeros[name] = zeros
        self.densities.append(prune.density(trainer.model))


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_masks_survive_momentum_and_weight_decay(name):
    model, watch = net(), Watch()
    trained(model, OPTIMIZERS[name](model.parameters()), 2)  # momentum that will push pruned weights
    optimizer = OPTIMIZERS[name](model.parameters())
    trained(model, optimizer, 6, prune.Pruning(0.2, every=3), watch)
    assert watch.returned == 0
    assert watch.densities[-1] == pytest.approx(0.2, abs=0.01)
    assert np.all(np.diff(watch.densities) <= 0) and len(set(watch.densities)) > 4


def test_weights_that_stay_take_over_what_a_layer_loses():
    model, norms = net(), []

    class Norms(Callback):
        def on_gradients(self, trainer):
            norms.append([float(np.linalg.norm(weight.data)) for weight in prune.weights_of(trainer.model).values()])

    trained(model, tc.optim.SGD(model.parameters(), lr=0.0), 6, prune.Pruning(0.2), Norms())
    assert prune.density(model) == pytest.approx(0.2, abs=0.01)
    np.testing.assert_allclose(norms, np.broadcast_to(norms[0], np.shape(norms)), rtol=1e-5)


def test_without_masks_they_would_come_back():
    model, watch = net(), Watch()
    prune.apply(model, prune.masks(model, 0.2))
    trained(model, OPTIMIZERS["momentum"](model.parameters()), 1, watch)
    assert watch.densities[-1] > 0.9


def test_pruning_ends_where_the_ramp_ends_and_the_masks_stay():
    model, watch = net(), Watch()
    trained(model, OPTIMIZERS["momentum"](model.parameters()), 10, prune.Pruning(0.1, ramp=0.5, every=10), watch)
    assert watch.densities[23] > watch.densities[24] == watch.densities[-1] == pytest.approx(0.1, abs=0.01)


def test_another_schedule_is_a_function():
    model, watch = net(), Watch()
    pruning = prune.Pruning(0.5, schedule=lambda progress, keep: keep)
    trained(model, OPTIMIZERS["momentum"](model.parameters()), 1, pruning, watch)
    assert set(watch.densities) == {watch.densities[-1]} and watch.densities[0] == pytest.approx(0.5, abs=0.01)


def test_bad_arguments_say_what_was_expected():
    with pytest.raises(ValueError, match=r"weights to keep is 1\.5, expected 0 to 1"):
        prune.masks(net(), 1.5)
    with pytest.raises(UnknownNameError, match="unknown scope of pruning 'gobal'; did you mean global"):
        prune.masks(net(), 0.5, "gobal")
