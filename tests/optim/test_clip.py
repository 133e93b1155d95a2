"""Gradient clipping: norms by their formula, never scaled up, and all forms of parameters."""

import math

import numpy as np
import pytest

from tinycnn import nn, optim


def holding(*grads, dtype=np.float64):
    parameters = []
    for grad in grads:
        parameter = nn.Parameter(np.zeros(np.shape(grad), dtype))
        parameter.grad = None if grad is None else np.array(grad, dtype)
        parameters.append(parameter)
    return parameters


def values(parameters):
    return [None if p.grad is None else p.grad.tolist() for p in parameters]


@pytest.mark.parametrize(
    ("norm_type", "norm"), [(2.0, 13.0), (1.0, 19.0), (math.inf, 12.0), ("inf", 12.0), (3, 1819 ** (1 / 3))]
)
def test_the_joint_norm_is_brought_down_to_the_limit(norm_type, norm):
    parameters = holding([3.0, -4.0], [0.0, 12.0])
    assert optim.clip_grad_norm_(parameters, 2.0, norm_type) == pytest.approx(norm, rel=1e-12)
    expected = [[3 * 2 / norm, -4 * 2 / norm], [0.0, 12 * 2 / norm]]
    np.testing.assert_allclose(values(parameters), expected, rtol=1e-6)


@pytest.mark.parametrize("limit", [5.1, 1e6, math.inf])
def test_gradients_below_the_limit_are_never_scaled_up(limit):
    parameters = holding([3.0, -4.0])
    assert optim.clip_grad_norm_(parameters, limit) == 5.0
    optim.clip_grad_value_(parameters, limit)
    assert values(parameters) == [[3.0, -4.0]]


def test_a_single_tensor_a_generator_and_parameters_without_gradients():
    (single,) = holding([3.0, 4.0])
    assert optim.clip_grad_norm_(single, 1.0) == 5.0
    np.testing.assert_allclose(single.grad, [0.6, 0.8], rtol=1e-5)
    optim.clip_grad_value_(single, 0.5)
    assert single.grad.tolist() == [0.5, 0.5]
    parameters = holding([3.0], None, [4.0])
    parameters[1].grad = None
    assert optim.clip_grad_norm_(iter(parameters), 10.0) == 5.0
    assert optim.clip_grad_norm_((p for p in parameters if p.grad is None), 1.0) == 0.0
    optim.clip_grad_value_(iter(parameters), 3.5)
    assert values(parameters) == [[3.0], None, [3.5]]


def test_zero_limits_zero_gradients_and_empty_ones():
    parameters = holding([1.0, -2.0], np.zeros((0, 3)))
    optim.clip_grad_norm_(parameters, 0.0)
    assert values(parameters)[0] == [0.0, 0.0]
    assert optim.clip_grad_norm_(parameters, 0.0) == 0.0 and values(parameters)[0] == [0.0, 0.0]
    assert optim.clip_grad_norm_(holding(np.zeros((0, 3))), 1.0, math.inf) == 0.0


@pytest.mark.filterwarnings("error")
def test_norms_that_are_not_finite():
    infinite, broken = holding([math.inf, 1.0]), holding([math.nan, 1.0], [50.0])
    assert optim.clip_grad_norm_(infinite, math.inf) == math.inf and infinite[0].grad[1] == 1.0
    assert optim.clip_grad_norm_(infinite, 1.0) == math.inf
    assert math.isnan(infinite[0].grad[0]) and infinite[0].grad[1] == 0
    assert math.isnan(optim.clip_grad_norm_(broken, 1.0)) and np.isnan(broken[1].grad).all()
    for grads in (holding([math.inf, 1.0]), holding([math.nan, 1.0])):
        with pytest.raises(RuntimeError, match=r"the norm of the gradients is (inf|nan)"):
            optim.clip_grad_norm_(grads, 1.0, error_if_nonfinite=True)
        assert grads[0].grad[1] == 1.0
    huge = holding([3e200, 4e200])
    assert optim.clip_grad_norm_(huge, 1.0) == pytest.approx(5e200)
    np.testing.assert_allclose(huge[0].grad, [0.6, 0.8], rtol=1e-12)


def test_shared_repeated_and_read_only_gradients_are_changed_once():
    first, second = holding([3.0], [0.0])
    second.grad = first.grad
    assert optim.clip_grad_norm_([first, second], 1.0) == pytest.approx(math.sqrt(18))
    assert first.grad[0] == second.grad[0] == pytest.approx(3 / math.sqrt(18), rel=1e-5)
    (twice,) = holding([3.0, 4.0])
    assert optim.clip_grad_norm_([twice, twice], 1.0) == 5.0
    np.testing.assert_allclose(twice.grad, [0.6, 0.8], rtol=1e-5)
    repeated = nn.Parameter(np.zeros(4))
    repeated.grad = np.broadcast_to(np.float64(2.0), (4,))
    optim.clip_grad_norm_(repeated, 1.0)
    np.testing.assert_allclose(repeated.grad, [0.5] * 4, rtol=1e-5)


@pytest.mark.parametrize(
    ("call", "kind", "message"),
    [
        (lambda p: optim.clip_grad_norm_(p, -1.0), ValueError, "max_norm is -1.0, expected at least 0"),
        (lambda p: optim.clip_grad_norm_(p, math.nan), ValueError, "max_norm is nan, expected at least 0"),
        (lambda p: optim.clip_grad_norm_(p, None), TypeError, "max_norm is None, expected a number"),
        (lambda p: optim.clip_grad_norm_(p, 1.0, 0), ValueError, "norm_type is 0, expected above 0"),
        (lambda p: optim.clip_grad_norm_(p, 1.0, -1), ValueError, "norm_type is -1, expected at least 0"),
        (lambda p: optim.clip_grad_norm_(p, 1.0, "fro"), TypeError, "norm_type is 'fro', expected a number"),
        (lambda p: optim.clip_grad_value_(p, math.nan), ValueError, "clip_value is nan, expected at least 0"),
        (lambda p: optim.clip_grad_value_(p, "big"), TypeError, "clip_value is 'big', expected a number"),
        (lambda p: optim.clip_grad_norm_(None, 1.0), TypeError, "parameters is a NoneType, expected tensors"),
        (lambda p: optim.clip_grad_norm_([p[0].grad], 1.0), TypeError, "must be tensors, one is a ndarray"),
        (lambda p: optim.clip_grad_value_(nn.Linear(1, 1), 1.0), TypeError, r"expected its .parameters\(\)"),
    ],
)
def test_wrong_arguments_are_named_and_change_nothing(call, kind, message):
    parameters = holding([3.0, 4.0])
    with pytest.raises(kind, match=message):
        call(parameters)
    assert values(parameters) == [[3.0, 4.0]]


def test_no_parameters_are_warned_of():
    with pytest.warns(UserWarning, match="clip_grad_norm_: no parameters came, so nothing is clipped"):
        assert optim.clip_grad_norm_(iter(()), 1.0) == 0.0
