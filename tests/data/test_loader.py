"""The loader: a seeded order, exact resumption, errors and endings of its thread."""

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


def test_an_error_in_the_thread_is_raised_in_the_loop():
    def broken(images, rng):
        raise DataError("image 7 is broken")

    with pytest.raises(DataError, match="image 7 is broken"):
        epoch(DataLoader(dataset(transform=broken), 4))


def test_an_abandoned_loop_ends_its_thread():
    for _ in DataLoader(dataset(), 1):
        break
    assert not [thread for thread in threading.enumerate() if thread.name == "tinycnn-loader"]


def test_a_batch_size_below_one_is_refused():
    with pytest.raises(ValueError, match="batch_size is 0, expected at least 1"):
        DataLoader(dataset(), 0)


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
