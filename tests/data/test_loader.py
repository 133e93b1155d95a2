"""The loader: a seeded order, exact resumption, errors and endings of its thread."""

import copy
import os
import pickle
import threading

import numpy as np
import pytest

from tinycnn.data import ArrayDataset, DataLoader
from tinycnn.data.transforms import RandomCrop
from tinycnn.errors import DataError


def dataset(count=10, transform=None):
    images = np.arange(count * 9, dtype=np.uint8).reshape(count, 1, 3, 3)
    return ArrayDataset(images, np.arange(count) % 3, "abc", transform)


def epoch(loader):
    return [(images.tolist(), labels.tolist()) for images, labels in loader]


@pytest.mark.parametrize("prefetch", [0, 2])
def test_every_image_comes_once_in_an_order_that_the_seed_and_epoch_fix(prefetch):
    loader, twin = (DataLoader(dataset(), 4, shuffle=True, seed=5, prefetch=prefetch) for _ in range(2))
    first, second = epoch(loader), epoch(loader)
    assert [len(labels) for _, labels in first] == [4, 4, 2] == [len(labels) for _, labels in second]
    assert sorted(pixel for images, _ in first for image in images for pixel in np.ravel(image)) == list(range(90))
    assert first != second
    assert [first, second] == [epoch(twin), epoch(twin)]


def test_drop_last_and_length():
    loader = DataLoader(dataset(), 4, drop_last=True)
    assert len(loader) == 2 == len(epoch(loader))
    assert len(DataLoader(dataset(), 4)) == 3


@pytest.mark.parametrize("stop", [1, 2, 3])
def test_resumption_in_the_middle_of_an_epoch_is_exact(stop):
    def fresh():
        return DataLoader(dataset(transform=RandomCrop(3, 2)), 4, shuffle=True, seed=1)

    straight = fresh()
    whole = epoch(straight) + epoch(straight)
    loader, seen = fresh(), []
    for images, labels in loader:
        seen.append((images.tolist(), labels.tolist()))
        if len(seen) == stop:
            break
    resumed = fresh()
    resumed.load_state_dict(loader.state_dict())
    seen += epoch(resumed)
    while len(seen) < len(whole):
        seen += epoch(resumed)
    assert seen == whole


def labels_of(loader):
    return [label for _, labels in loader for label in labels.tolist()]


def peek(loader):
    next(iter(loader))


def leave(loader):
    for _ in loader:
        break


def fail(loader):
    with pytest.raises(KeyError):
        for _ in loader:
            raise KeyError


def hold(loader):
    loader.held = iter(loader)
    next(loader.held)


@pytest.mark.parametrize("prefetch", [0, 2])
@pytest.mark.parametrize("spoil", [peek, leave, fail, hold])
def test_each_iterator_is_a_whole_epoch_whatever_became_of_the_one_before(spoil, prefetch):
    loader = DataLoader(dataset(), 4, prefetch=prefetch)
    spoil(loader)
    for _ in range(2):
        assert labels_of(loader) == [0, 1, 2, 0, 1, 2, 0, 1, 2, 0]


@pytest.mark.parametrize("prefetch", [0, 2])
def test_iterators_at_once_do_not_disturb_each_other(prefetch):
    loader = DataLoader(dataset(), 4, shuffle=True, seed=3, prefetch=prefetch)
    pairs = list(zip(loader, loader))
    assert len(pairs) == 3 and all(np.array_equal(one[0], other[0]) for one, other in pairs)
    assert [len(labels_of(loader)) for _ in loader] == [10, 10, 10]


def test_an_abandoned_epoch_is_used_up_so_that_short_loops_see_other_images():
    loader = DataLoader(ArrayDataset(np.zeros((50, 1, 2, 2)), np.arange(50), map(str, range(50))), 5, shuffle=True)
    firsts = [next(iter(loader))[1].tolist() for _ in range(3)]
    assert firsts[0] != firsts[1] != firsts[2] != firsts[0]
    iter(loader)
    assert loader.epoch == 3, "an iterator that gave nothing uses up nothing"


def test_the_place_is_that_of_the_most_recent_iterator():
    loader = DataLoader(dataset(), 4)
    old, new = iter(loader), iter(loader)
    next(new)
    next(old)
    next(old)
    assert loader.state_dict() == {"seed": 0, "epoch": 0, "position": 1}
    assert len(list(new)) == 2
    assert loader.state_dict() == {"seed": 0, "epoch": 1, "position": 0}
    assert len(list(old)) == 1
    assert loader.state_dict() == {"seed": 0, "epoch": 1, "position": 0}


def test_a_loaded_place_counts_once_and_older_iterators_do_not_move_it():
    loader = DataLoader(dataset(), 4)
    old = iter(loader)
    loader.load_state_dict({"seed": 0, "epoch": 5, "position": 2})
    next(old)
    assert loader.state_dict() == {"seed": 0, "epoch": 5, "position": 2}
    assert [len(labels_of(loader)) for _ in range(3)] == [2, 10, 10]
    assert loader.epoch == 8
    loader.load_state_dict({"seed": 0, "epoch": 0, "position": 2})
    iter(loader)
    assert len(labels_of(loader)) == 10, "the iterator before took the place"


def test_the_seed_is_restored():
    loader, other = DataLoader(dataset(), 4, shuffle=True, seed=1), DataLoader(dataset(), 4, shuffle=True, seed=2)
    other.load_state_dict(loader.state_dict())
    assert other.seed == 1 and epoch(other) == epoch(loader)


@pytest.mark.parametrize(
    ("state", "message"),
    [
        ({}, "has no seed and no epoch and no position"),
        ({"seed": 0, "epoch": -1, "position": 0}, "epoch is -1, expected at least 0"),
        ({"seed": 0, "epoch": 0, "position": 4}, "position is 4, expected at most the 3 batches"),
        ({"seed": 0, "epoch": 1.5, "position": 0}, "epoch is 1.5, expected an integer"),
        ({"seed": None, "epoch": 1, "position": 0}, "seed is None, expected an integer"),
    ],
)
def test_a_place_that_is_none_is_refused_and_changes_nothing(state, message):
    loader = DataLoader(dataset(), 4)
    with pytest.raises((ValueError, TypeError), match=message):
        loader.load_state_dict(state)
    assert loader.state_dict() == {"seed": 0, "epoch": 0, "position": 0} and len(labels_of(loader)) == 10


def test_augmentation_differs_by_epoch_and_batch_and_returns_with_them():
    def noise(images, rng):
        return rng.random(images.shape)

    loader = DataLoader(dataset(8, noise), 4)
    first, second = (np.concatenate([images for images, _ in loader]) for _ in range(2))
    assert not np.array_equal(first, second) and not np.array_equal(first[:4], first[4:])
    loader.load_state_dict({"seed": 0, "epoch": 1, "position": 1})
    np.testing.assert_array_equal(next(iter(loader))[0], second[4:])


class Odd(BaseException):
    """An exception that is not an Exception."""


@pytest.mark.parametrize("prefetch", [0, 1])
@pytest.mark.parametrize("error", [DataError("image 7"), SystemExit(3), KeyboardInterrupt(), GeneratorExit(), Odd()])
def test_whatever_a_transform_raises_is_raised_in_the_loop(error, prefetch):
    def broken(images, rng):
        raise error

    with pytest.raises(type(error)) as caught:
        epoch(DataLoader(dataset(transform=broken), 4, prefetch=prefetch))
    assert caught.value is error and not loader_threads()


@pytest.mark.parametrize("prefetch", [0, 1])
def test_stop_iteration_of_a_transform_does_not_end_the_epoch(prefetch):
    def broken(images, rng):
        raise StopIteration

    with pytest.raises(RuntimeError, match=r"raised StopIteration\(\) in batch 0"):
        epoch(DataLoader(dataset(transform=broken), 4, prefetch=prefetch))


def test_a_transform_that_loses_images_is_refused():
    with pytest.raises(ValueError, match="gave 3 images and 4 labels for the 4 indices of batch 0"):
        epoch(DataLoader(dataset(transform=lambda images, rng: images[1:]), 4))


def loader_threads():
    return [thread for thread in threading.enumerate() if thread.name == "tinycnn-loader"]


def test_the_thread_ends_with_its_iterator():
    for _ in DataLoader(dataset(), 1):
        assert loader_threads()
        break
    assert not loader_threads()
    batches = iter(DataLoader(dataset(), 1))
    next(batches)
    assert loader_threads()
    batches.close()
    assert not loader_threads() and list(batches) == []
    batches = iter(DataLoader(dataset(), 1))
    next(batches)
    del batches
    assert not loader_threads()


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
def test_an_iterator_goes_on_in_a_fork_without_its_thread():
    batches = iter(DataLoader(dataset(), 1))
    next(batches)
    child = os.fork()
    if not child:
        os._exit(len(list(batches)))
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 9 == len(list(batches))


@pytest.mark.parametrize("duplicate", [copy.copy, copy.deepcopy, lambda loader: pickle.loads(pickle.dumps(loader))])
def test_loaders_can_be_copied_in_the_middle_of_an_epoch(duplicate):
    loader = DataLoader(dataset(), 4, shuffle=True, seed=1)
    batches = iter(loader)
    next(batches)
    other = duplicate(loader)
    assert other.state_dict() == loader.state_dict() and epoch(other) == epoch(loader)
    with pytest.raises(TypeError, match="copy the loader, or save its state_dict"):
        duplicate(batches)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"batch_size": 0}, "batch_size is 0, expected at least 1"),
        ({"batch_size": 2.5}, "batch_size is 2.5, expected an integer"),
        ({"batch_size": None}, "batch_size is None, expected an integer"),
        ({"seed": -1}, "seed is -1, expected at least 0"),
        ({"prefetch": -1}, "prefetch is -1, expected at least 0"),
        ({"shard": (2, 2)}, r"shard is \(2, 2\), expected \(rank, ranks\)"),
    ],
)
def test_options_out_of_range_are_refused(options, message):
    with pytest.raises((ValueError, TypeError), match=message):
        DataLoader(dataset(), **options)


@pytest.mark.parametrize(
    ("images", "labels", "message"),
    [
        (
            np.zeros((2, 3, 3), np.uint8),
            [0, 1],
            r"images have shape \(2, 3, 3\) and dtype uint8, expected \(N, C, H, W\)",
        ),
        (np.zeros((2, 1, 3, 3), np.uint8), [0], r"labels have shape \(1,\) and dtype int64, expected .* \(2,\)"),
        (np.zeros((2, 1, 3, 3), np.uint8), [0, 3], "label 3 at index 1 is outside the 3 classes"),
        (np.zeros((0, 1, 3, 3), np.uint8), np.zeros(0, int), "it is empty"),
    ],
)
def test_arrays_that_do_not_fit_are_refused(images, labels, message):
    with pytest.raises(DataError, match=message):
        ArrayDataset(images, np.array(labels), "abc")


@pytest.mark.parametrize("state", [None, "seed epoch position", 3, ["seed", "epoch", "position"]])
def test_a_state_that_is_not_a_dict_is_refused(state):
    loader = DataLoader(ArrayDataset(np.zeros((5, 1, 2, 2)), np.arange(5), "abcde"), batch_size=2)
    with pytest.raises(TypeError, match=f"load_state_dict: the loader's state is a {type(state).__name__}"):
        loader.load_state_dict(state)
    assert loader.state_dict() == {"seed": 0, "epoch": 0, "position": 0} and len(list(loader)) == 3
