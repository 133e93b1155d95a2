"""Copies between arrays that lie differently in memory."""

import numpy as np
import pytest

from tinycnn.kernels.cpu.machine.nhwc import assign, channel_rows


@pytest.mark.parametrize("channels", [3, 8, 20])
@pytest.mark.parametrize(
    "place", [np.s_[:, :], np.s_[::2, :, ::3], np.s_[:, :, 1:, ::2], np.s_[:, :, ::-1], np.s_[1:2]]
)
def test_assign_copies_any_slice_and_nothing_else(channels, place):
    rng = np.random.default_rng(0)
    lying = [(0, 1, 2, 3), (0, 3, 1, 2)]
    for order in lying:
        for other in lying:
            whole = rng.normal(size=[(4, channels, 5, 6)[axis] for axis in np.argsort(order)]).transpose(order)
            expected = whole.copy()
            expected[place] = value = rng.normal(size=expected[place].shape)
            value = np.ascontiguousarray(value.transpose(np.argsort(other))).transpose(other)
            assign(whole[place], value)
            np.testing.assert_array_equal(whole, expected)


def test_assign_copies_fields_of_records():
    records = np.zeros((2, 3, 3), [("label", np.int32), ("pixels", np.float64, (8,))])
    images = records["pixels"].transpose(0, 3, 1, 2)
    assign(images, np.arange(images.size, dtype=float).reshape(2, 3, 3, 8).transpose(0, 3, 1, 2))
    np.testing.assert_array_equal(records["pixels"].ravel(), np.arange(images.size))
    assert not records["label"].any()


def test_assign_takes_numbers_and_repeats():
    target = np.zeros((2, 8, 3, 3))
    assign(target, 2)
    assert (target == 2).all()
    assign(target, np.arange(3.0))
    np.testing.assert_array_equal(target, np.broadcast_to(np.arange(3.0), target.shape))


def test_pixels_that_share_memory_are_not_rows_of_channels():
    numbers = np.arange(8.0)
    shared = np.lib.stride_tricks.as_strided(numbers, (1, 3, 1, 4), (32, 8, 32, 8))  # pixel x has channels x to x + 2
    apart = np.lib.stride_tricks.as_strided(numbers, (1, 2, 1, 4), (64, 8, 64, 16))
    assert channel_rows(shared) is None
    flat, step = channel_rows(apart)
    assert step == 2 and flat[:8].tolist() == numbers.tolist()
