"""Sums of gradients in buckets: their start, their contents, and refusals."""

import numpy as np
import pytest

import tinycnn as tc
from tests.distributed import program
from tests.distributed.program import dataset
from tinycnn import nn
from tinycnn.data import DataLoader
from tinycnn.distributed import ALONE, DistributedError, GradientSum, synchronize_batch_norm
from tinycnn.distributed.communicator import Done, fingerprint
from tinycnn.distributed.parallel import average_buffers
from tinycnn.training.ranks import facts


class Twins:
    """A communicator of two ranks with equal arrays: a sum is twice the array."""

    rank, size = 0, 2

    def __init__(self):
        self.events = []

    def allreduce(self, array):
        self.events.append(("start", array.size))
        array *= 2
        return Done(array)


def deep():
    tc.manual_seed(0)
    return nn.Sequential(nn.Linear(6, 7), nn.ReLU(), nn.Linear(7, 8), nn.ReLU(), nn.Linear(8, 9))


def test_sums_start_while_backward_goes_on():
    model, twins = deep(), Twins()
    for name, parameter in model.named_parameters():
        parameter.register_hook(lambda grad, name=name: twins.events.append(("known", name)))
    with GradientSum(model.parameters(), twins, bucket_bytes=1) as gradients:
        model(tc.Tensor(np.ones((3, 6), np.float32))).sum().backward()
        gradients.finish()
    first_sum = twins.events.index(("start", 72))
    assert first_sum < twins.events.index(("known", "2.weight")) < twins.events.index(("known", "0.weight"))
    assert sorted(size for kind, size in twins.events if kind == "start") == sorted(p.size for p in model.parameters())


@pytest.mark.parametrize(("bucket_bytes", "buckets"), [(1, 6), (300, 2), (10**6, 1)])
def test_gradients_are_the_sums_for_any_size_of_bucket(bucket_bytes, buckets):
    alone, together, twins = deep(), deep(), Twins()
    images = tc.Tensor(np.random.default_rng(0).normal(size=(4, 6)).astype(np.float32))
    alone(images).sum().backward()
    with GradientSum(together.parameters(), twins, bucket_bytes) as gradients:
        for _ in range(2):  # the second step uses the buckets again
            together.zero_grad()
            together(images).sum().backward()
            gradients.finish()
    assert len(twins.events) == 2 * buckets
    for one, other in zip(alone.parameters(), together.parameters()):
        np.testing.assert_array_equal(2 * one.grad, other.grad)
    together.zero_grad()
    together(images).sum().backward()
    assert len(twins.events) == 2 * buckets, "after the with block the model is on its own"


def test_a_parameter_that_got_no_gradient_is_refused():
    model = deep()
    with GradientSum(model.parameters(), Twins()) as gradients:
        model[0](tc.Tensor(np.ones((3, 6), np.float32))).sum().backward()
        with pytest.raises(DistributedError, match=r"a parameter of shape \(9,\) got no gradient"):
            gradients.finish()


def test_a_second_backward_pass_before_finish_is_refused():
    model = deep()
    with GradientSum(model.parameters(), Twins()):
        model(tc.Tensor(np.ones((3, 6), np.float32))).sum().backward()
        with pytest.raises(DistributedError, match="a second backward pass before finish"):
            model(tc.Tensor(np.ones((3, 6), np.float32))).sum().backward()


def test_running_statistics_become_their_mean_over_ranks_and_counts_stay():
    layer = nn.BatchNorm2d(3)
    layer.running_mean[:], layer.running_var[:], layer.num_batches_tracked[...] = (1, 2, 3), (4, 5, 6), 7
    average_buffers(layer, Twins())
    assert layer.running_mean.tolist() == [1, 2, 3] and layer.running_var.tolist() == [4, 5, 6]
    assert int(layer.num_batches_tracked) == 7


def test_synchronised_batch_norms_know_their_ranks():
    model, twins = nn.Sequential(nn.BatchNorm2d(3), nn.ReLU(), nn.Sequential(nn.BatchNorm2d(2))), Twins()
    synchronize_batch_norm(model, twins)
    assert [module.communicator for module in (model[0], model[2][0])] == [twins, twins]


def test_frozen_parameters_are_left_out():
    model = deep()
    model[0].weight.requires_grad = False
    with GradientSum(model.parameters(), Twins()) as gradients:
        model(tc.Tensor(np.ones((3, 6), np.float32))).sum().backward()
        gradients.finish()
    assert model[0].weight.grad is None


@pytest.mark.parametrize("ranks", [1, 2, 3, 4])
@pytest.mark.parametrize("drop_last", [False, True])
def test_shards_together_are_the_batches_of_one_process(ranks, drop_last):
    options = {"batch_size": 6, "shuffle": True, "drop_last": drop_last, "seed": 3}
    whole = DataLoader(dataset(), **options)
    shards = [DataLoader(dataset(), **options, shard=(rank, ranks)) for rank in range(ranks)]
    for _ in range(2):
        for (images, labels), *parts in zip(whole, *shards, strict=True):
            np.testing.assert_array_equal(np.concatenate([part[0] for part in parts]), images)
            np.testing.assert_array_equal(np.concatenate([part[1] for part in parts]), labels)
    assert all(shard.state_dict() == whole.state_dict() for shard in shards)


@pytest.mark.parametrize("options", [{"batch_size": 3}, {"batch_size": 7}])
def test_a_batch_of_fewer_images_than_ranks_is_refused(options):
    with pytest.raises(ValueError, match=r"22 images in batches of \d make a batch of \d, fewer"):
        DataLoader(dataset(), **options, shard=(0, 4))
    DataLoader(dataset(), batch_size=7, drop_last=True, shard=(0, 4))


def test_fingerprints_differ_where_arrays_or_words_do():
    array = np.arange(5.0)
    prints = [
        fingerprint(array),
        fingerprint(array + 1e-12),
        fingerprint("a", array),
        fingerprint(deep()),
        fingerprint(),
    ]
    assert len(set(prints)) == len(prints) and fingerprint(array) == fingerprint(array.copy())


def test_one_other_label_is_another_data_set():
    def fact(change):
        data = dataset(500)
        data.labels[1] = (data.labels[1] + change) % 3
        return facts(program.trainer(ALONE, data=data))["data set"]

    assert fact(0) == fact(3) != fact(1)
