"""Initialisation of weights: bounds and standard deviation by their formulas."""

import math

import numpy as np
import pytest

import tinycnn as tc
from tinycnn import nn
from tinycnn.nn import init


def blank(*shape):
    return nn.Parameter(np.full(shape, np.nan, np.float32))


@pytest.mark.parametrize(
    ("fill", "bound"),
    [
        (lambda p: init.uniform_(p, 2, 3), None),
        (lambda p: init.kaiming_uniform_(p, a=math.sqrt(5)), 1 / math.sqrt(150)),
        (lambda p: init.kaiming_uniform_(p, a=2.0, mode="fan_out"), math.sqrt(6 / 5 / 3200)),
        (lambda p: init.kaiming_uniform_(p, nonlinearity="tanh"), 5 / 3 * math.sqrt(3 / 150)),
        (lambda p: init.kaiming_uniform_(p, nonlinearity="sigmoid"), math.sqrt(3 / 150)),
        (lambda p: init.xavier_uniform_(p), math.sqrt(6 / 3350)),
    ],
)
def test_uniform_weights_reach_their_bounds_and_not_beyond(fill, bound):
    tc.manual_seed(0)
    data = fill(blank(128, 6, 5, 5)).data
    low, high = (2, 3) if bound is None else (-bound, bound)
    assert low <= data.min() < low + 0.01 * (high - low)
    assert high - 0.01 * (high - low) < data.max() <= high * (1 + 1e-6)


def test_the_slope_of_a_leaky_relu_makes_weights_smaller():
    tc.manual_seed(0)
    assert init.kaiming_normal_(blank(128, 150), a=1.0).data.std() == pytest.approx(math.sqrt(1 / 150), rel=0.03)
    assert init.gain("leaky_relu", 3.0) == pytest.approx(math.sqrt(0.2))
    assert [init.gain(name) for name in ("linear", "sigmoid", "tanh", "relu")] == [1, 1, 5 / 3, math.sqrt(2)]


def test_a_generator_that_is_given_is_drawn_from():
    drawn = [init.normal_(blank(9), generator=tc.random.Generator(3)).data.copy() for _ in range(2)]
    np.testing.assert_array_equal(*drawn)
    np.testing.assert_array_equal(drawn[0], tc.random.Generator(3).numpy.normal(0.0, 1.0, 9).astype(np.float32))


@pytest.mark.parametrize(
    ("layer", "fan_in"),
    [
        (lambda: nn.Linear(25, 4000), 25),
        (lambda: nn.Conv2d(4, 2000, 5, groups=2), 50),
        (lambda: nn.Conv2d(16, 2000, (2, 3)), 96),
    ],
)
def test_layers_start_uniform_by_their_fan_in(layer, fan_in):
    tc.manual_seed(0)
    made, bound = layer(), 1 / math.sqrt(fan_in)
    for parameter in (made.weight, made.bias):
        assert 0.98 * bound < np.abs(parameter.data).max() <= bound * (1 + 1e-6)
        assert parameter.data.std() == pytest.approx(bound / math.sqrt(3), rel=0.05)
        assert abs(parameter.data.mean()) < 0.05 * bound
