"""Running statistics of batch norm, and the numbers that it refuses."""

import numpy as np
import pytest

import tinycnn as tc
from tinycnn import functional as F
from tinycnn import nn


@pytest.mark.parametrize("momentum", [0.25, None])
def test_running_statistics(momentum):
    """With None they are the mean over all batches, as in PyTorch; the variance is the unbiased one."""
    norm = nn.BatchNorm2d(3, momentum=momentum)
    batches = np.random.default_rng(2).normal(1, 3, size=(4, 5, 3, 2, 2)).astype(np.float32)
    mean, var = np.zeros(3), np.ones(3)
    for number, batch in enumerate(batches, 1):
        norm(tc.Tensor(batch))
        share = momentum or 1 / number
        mean += share * (batch.mean(axis=(0, 2, 3), dtype=np.float64) - mean)
        var += share * (batch.var(axis=(0, 2, 3), ddof=1, dtype=np.float64) - var)
    np.testing.assert_allclose(norm.running_mean, mean, rtol=1e-5)
    np.testing.assert_allclose(norm.running_var, var, rtol=1e-5)
    assert norm.num_batches_tracked == 4


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ((np.zeros(3), None), "running_mean came without running_var"),
        ((None, np.ones(3)), "running_var came without running_mean"),
        ((np.zeros(2), np.ones(2)), r"running_mean has shape \(2,\)"),
    ],
)
def test_running_statistics_that_do_not_fit_are_named(arguments, words):
    with pytest.raises(ValueError, match=words):
        F.batch_norm(tc.Tensor(np.ones((2, 3, 2, 2))), *arguments)


@pytest.mark.parametrize(("name", "value"), [("eps", -1.0), ("eps", "small"), ("momentum", None), ("momentum", "a")])
def test_numbers_of_batch_norm_are_checked(name, value):
    with pytest.raises((TypeError, ValueError), match=f"batch_norm: {name} is"):
        F.batch_norm(tc.Tensor(np.ones((2, 3, 2, 2))), None, None, training=True, **{name: value})
