"""Optimiser kernels: trajectories beside PyTorch's, in-place on any memory layout."""

import numpy as np
import pytest

import tinycnn as tc
from tinycnn.kernels.cpu.optimizer import adam_update, sgd_update

DTYPES = [np.float32, np.float64]
SGD = [
    (0.0, 0.0, 0.0, False),
    (0.0, 0.0, 0.1, False),
    (0.9, 0.0, 0.01, False),
    (0.9, 0.3, 0.0, False),
    (0.8, 0.0, 0.1, True),
]


def numbers(shape, dtype, seed=0):
    return np.random.default_rng(seed).standard_normal(shape).astype(dtype)


@pytest.mark.nojit
def test_sgd_by_hand():
    weight, velocity = np.array([1.0]), np.full(1, np.nan)
    sgd_update(weight, np.array([2.0]), velocity, True, 0.5, 0.9, 0.0, 1.0, False)
    assert (weight.item(), velocity.item()) == (-0.5, 3.0)
    sgd_update(weight, np.array([2.0]), velocity, False, 0.5, 0.9, 0.5, 0.0, False)
    np.testing.assert_allclose([weight.item(), velocity.item()], [-0.5 - 0.5 * 3.7, 3.7])


@pytest.mark.nojit
@pytest.mark.parametrize("decoupled", [False, True])
def test_the_first_step_of_adam_is_the_learning_rate(decoupled):
    weight, m, v = np.array([1.0, 1.0]), np.zeros(2), np.zeros(2)
    adam_update(weight, np.array([5.0, -0.01]), m, v, 1, 0.1, 0.9, 0.999, 0.0, 0.0, decoupled)
    np.testing.assert_allclose(weight, [0.9, 1.1])
    np.testing.assert_allclose([m, v], [[0.5, -0.001], [0.025, 1e-7]])


@pytest.mark.nojit
@pytest.mark.parametrize("momentum, dampening, weight_decay, nesterov", SGD)
def test_sgd_follows_its_formula(momentum, dampening, weight_decay, nesterov):
    weight = numbers((3,), np.float64)
    expected, velocity = weight.copy(), np.zeros(3)
    buffer = np.full_like(weight, np.nan) if momentum else None
    for step in range(4):
        grad = numbers(weight.shape, np.float64, step + 1)
        decayed = grad + weight_decay * expected
        velocity = momentum * velocity + (1 - dampening if step else 1) * decayed
        along = decayed + momentum * velocity if nesterov else velocity if momentum else decayed
        expected -= 0.1 * along
        sgd_update(weight, grad, buffer, step == 0, 0.1, momentum, dampening, weight_decay, nesterov)
    np.testing.assert_allclose(weight, expected, rtol=1e-13)


@pytest.mark.nojit
@pytest.mark.parametrize("weight_decay", [0.0, 0.1])
@pytest.mark.parametrize("decoupled", [False, True])
def test_adam_follows_its_formula(decoupled, weight_decay):
    weight = numbers((3,), np.float64)
    expected, m, v = weight.copy(), np.zeros(3), np.zeros(3)
    ours = np.zeros(3), np.zeros(3)
    for step in range(1, 5):
        grad = numbers(weight.shape, np.float64, step)
        if decoupled:
            expected -= 0.01 * weight_decay * expected
        decayed = grad if decoupled else grad + weight_decay * expected
        m, v = 0.8 * m + 0.2 * decayed, 0.95 * v + 0.05 * decayed**2
        expected -= 0.01 * (m / (1 - 0.8**step)) / (np.sqrt(v / (1 - 0.95**step)) + 1e-3)
        adam_update(weight, grad, *ours, step, 0.01, 0.8, 0.95, 1e-3, weight_decay, decoupled)
    np.testing.assert_allclose(weight, expected, rtol=1e-13)
    np.testing.assert_allclose(ours, [m, v], rtol=1e-13)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("momentum, dampening, weight_decay, nesterov", SGD)
def test_sgd_follows_pytorch(momentum, dampening, weight_decay, nesterov, dtype):
    torch = pytest.importorskip("torch")
    weight = numbers((3, 5, 2), dtype)
    theirs = torch.from_numpy(weight.copy()).requires_grad_()
    options = {
        "momentum": momentum,
        "dampening": dampening,
        "weight_decay": weight_decay,
        "nesterov": nesterov,
    }
    optimizer = torch.optim.SGD([theirs], 0.1, **options)
    buffer = np.full_like(weight, np.nan) if momentum else None
    for step in range(20):
        grad = numbers(weight.shape, dtype, step + 1)
        theirs.grad = torch.from_numpy(grad.copy())
        optimizer.step()
        sgd_update(weight, grad, buffer, step == 0, 0.1, momentum, dampening, weight_decay, nesterov)
        np.testing.assert_array_equal(grad, theirs.grad.numpy())
    tolerance = 20 * np.finfo(dtype).eps
    np.testing.assert_allclose(weight, theirs.detach().numpy(), rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("weight_decay", [0.0, 0.1])
@pytest.mark.parametrize("decoupled", [False, True])
def test_adam_follows_pytorch(decoupled, weight_decay, dtype):
    torch = pytest.importorskip("torch")
    weight = numbers((3, 5, 2), dtype)
    m, v = np.zeros_like(weight), np.zeros_like(weight)
    theirs = torch.from_numpy(weight.copy()).requires_grad_()
    kind = torch.optim.AdamW if decoupled else torch.optim.Adam
    optimizer = kind([theirs], 0.01, (0.8, 0.95), 1e-6, weight_decay)
    for step in range(1, 21):
        grad = numbers(weight.shape, dtype, step)
        theirs.grad = torch.from_numpy(grad.copy())
        optimizer.step()
        adam_update(weight, grad, m, v, step, 0.01, 0.8, 0.95, 1e-6, weight_decay, decoupled)
    tolerance = 30 * np.finfo(dtype).eps
    np.testing.assert_allclose(weight, theirs.detach().numpy(), rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("dtype", DTYPES)
def test_in_place_on_any_strides(dtype):
    base = numbers((8, 6), dtype)
    plain, untouched = base.copy(), base.copy()
    view = base[::-2, 1::2].T
    grad, m, v = (np.ascontiguousarray(numbers(view.shape, dtype, s)) for s in (1, 2, 3))
    expected = np.ascontiguousarray(view)
    state, buffer = m.T.copy().T, m.copy()
    sgd_update(view, grad[::-1][::-1], state, False, 0.1, 0.9, 0.0, 0.1, False)
    sgd_update(expected, grad, buffer, False, 0.1, 0.9, 0.0, 0.1, False)
    np.testing.assert_array_equal(view, expected)
    np.testing.assert_array_equal(state, buffer)
    moments = [m.copy(), abs(v), np.asfortranarray(m), np.asfortranarray(abs(v))]
    adam_update(expected, grad, *moments[:2], 3, 0.1, 0.9, 0.99, 1e-8, 0.1, False)
    adam_update(view, grad, *moments[2:], 3, 0.1, 0.9, 0.99, 1e-8, 0.1, False)
    np.testing.assert_array_equal(view, expected)
    np.testing.assert_array_equal(moments[3], moments[1])
    changed = np.zeros(base.shape, bool)
    changed[::-2, 1::2] = True
    np.testing.assert_array_equal(base[~changed], untouched[~changed])
    assert not np.array_equal(base[changed], plain[changed])


def test_a_read_only_parameter_is_an_error_not_a_lost_update():
    weight = np.ones(3)
    weight.flags.writeable = False
    with pytest.raises(ValueError, match="read-only"):
        sgd_update(weight, np.ones(3), None, True, 0.1, 0.0, 0.0, 0.0, False)


@pytest.mark.parametrize("shape", [(), (0,), (2, 0)])
def test_scalars_and_empty_arrays(shape):
    weight, grad, m, v = (np.ones(shape, np.float32) for _ in range(4))
    sgd_update(weight, grad, m, True, 0.5, 0.9, 0.0, 0.0, False)
    adam_update(weight, grad, m, v, 1, 0.5, 0.9, 0.99, 1e-8, 0.0, False)
    assert weight.shape == shape and np.all(weight < 0.5)


def test_the_same_bits_for_any_number_of_threads():

    def run():
        weight, m, v = (abs(numbers(10_001, np.float32, s)) for s in range(3))
        adam_update(weight, m, m.copy(), v, 2, 0.1, 0.9, 0.99, 1e-8, 0.1, True)
        sgd_update(weight, m, v, False, 0.1, 0.9, 0.0, 0.1, True)
        return weight.tobytes(), v.tobytes()

    many = run()
    tc.set_num_threads(1)
    assert many == run()


@pytest.mark.parametrize("wrong", ["dtype", "shape", "read-only", "a list"])
@pytest.mark.parametrize("operand", range(4))
def test_each_operand_is_checked_without_the_contract_before_the_kernel(operand, wrong):
    arrays = [np.ones(4, np.float32) for _ in range(4)]
    if wrong == "read-only" and operand == 1:
        return  # a gradient is only read
    arrays[operand] = {
        "dtype": np.ones(4),
        "shape": np.ones(3, np.float32),
        "read-only": np.broadcast_to(np.float32(1), (4,)),
        "a list": [1.0] * 4,
    }[wrong]
    with pytest.raises((TypeError, ValueError), match=r"^adam_update: "):
        adam_update(*arrays, 1, 0.5, 0.9, 0.99, 1e-8, 0.0, False)
    assert all(np.all(np.asarray(array) == 1) for array in arrays)
