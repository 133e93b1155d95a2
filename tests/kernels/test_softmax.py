"""Softmax and cross-entropy kernels against NumPy and PyTorch."""

from importlib import import_module

import numpy as np
import pytest

import tinycnn as tc

kernels = import_module("tinycnn.kernels.cpu.softmax")  # the file; its package has a function of that name

DTYPES = [np.float32, np.float64]


def numbers(shape, dtype=np.float64, seed=0):
    return (np.random.default_rng(seed).standard_normal(shape) * 3).astype(dtype)


def softmax_reference(x, axis):
    e = np.exp(x - x.max(axis, keepdims=True))
    return e / e.sum(axis, keepdims=True)


@pytest.mark.nojit
@pytest.mark.parametrize("axis", [0, 1, 2, -1])
def test_against_numpy(axis):
    x, grad = numbers((2, 3, 4)), numbers((2, 3, 4), seed=1)
    p = softmax_reference(x, axis)
    np.testing.assert_allclose(kernels.softmax(x, axis), p, rtol=1e-14)
    np.testing.assert_allclose(kernels.log_softmax(x, axis), np.log(p), rtol=1e-13, atol=1e-15)
    total = (grad * p).sum(axis, keepdims=True)
    np.testing.assert_allclose(kernels.softmax_backward(grad, p, axis), p * (grad - total), atol=1e-14)
    total = grad.sum(axis, keepdims=True)
    np.testing.assert_allclose(kernels.log_softmax_backward(grad, np.log(p), axis), grad - p * total, atol=1e-13)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("shape, axis", [((5, 7), 1), ((3, 4, 5, 2), 1), ((6,), 0), ((), 0), ((2, 1000), 1)])
def test_equal_to_pytorch(shape, axis, dtype):
    torch = pytest.importorskip("torch")
    x, grad = numbers(shape, dtype), numbers(shape, dtype, seed=1)
    pairs = (
        (torch.softmax, kernels.softmax, kernels.softmax_backward),
        (torch.log_softmax, kernels.log_softmax, kernels.log_softmax_backward),
    )
    for theirs, forward, backward in pairs:
        tensor = torch.from_numpy(np.array(x)).requires_grad_()
        expected = theirs(tensor, axis)
        expected.backward(torch.from_numpy(np.array(grad)))
        out = forward(x, axis)
        back = backward(grad, out, axis)
        assert out.dtype == back.dtype == dtype and out.shape == back.shape == shape
        tolerance = 20 * np.finfo(dtype).eps
        np.testing.assert_allclose(out, expected.detach().numpy(), rtol=tolerance, atol=tolerance)
        np.testing.assert_allclose(back, tensor.grad.numpy(), rtol=tolerance, atol=20 * tolerance)


@pytest.mark.parametrize("dtype", DTYPES)
def test_extremes_equal_pytorch(dtype):
    torch = pytest.importorskip("torch")
    inf, nan = np.inf, np.nan
    x = np.array(
        [
            [-inf, -inf, -inf],
            [-inf, 0, 1],
            [inf, 0, 1],
            [nan, 0, 1],
            [0, 1, nan],
            [1e30, -1e30, 1e30],
            [1000, 999, 0],
        ],
        dtype,
    )
    for theirs, ours in (torch.softmax, kernels.softmax), (torch.log_softmax, kernels.log_softmax):
        np.testing.assert_allclose(ours(x, 1), theirs(torch.from_numpy(x), 1).numpy(), rtol=1e-6)


@pytest.mark.nojit
def test_cross_entropy_of_a_worked_example():
    logits = np.log(np.array([[0.5, 0.25, 0.25], [0.1, 0.1, 0.8]]))[:, :, None]
    target = np.array([[0], [2]])
    losses, weights, log_p = kernels.cross_entropy(logits, target, None, -100, 0.0)
    np.testing.assert_allclose(losses, [[np.log(2)], [-np.log(0.8)]])
    np.testing.assert_array_equal(weights, [[1], [1]])
    grad = kernels.cross_entropy_backward(np.ones((2, 1)), log_p, target, None, -100, 0.0)
    np.testing.assert_allclose(grad[..., 0], [[-0.5, 0.25, 0.25], [0.1, 0.1, -0.2]])


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("smoothing", [0.0, 0.1, 1.0])
@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("inner, ignore_index", [(1, -100), (6, -100), (6, 2)])
def test_cross_entropy_equals_pytorch(inner, ignore_index, weighted, smoothing, dtype):
    torch = pytest.importorskip("torch")
    n, classes = 5, 7
    logits, rng = numbers((n, classes, inner), dtype), np.random.default_rng(2)
    target = rng.integers(0, classes, (n, inner))
    target[1, 0] = ignore_index
    weight = rng.random(classes).astype(dtype) if weighted else None
    tensor, labels = torch.from_numpy(logits).requires_grad_(), torch.from_numpy(target)
    options = {
        "weight": None if weight is None else torch.from_numpy(weight),
        "ignore_index": ignore_index,
        "label_smoothing": smoothing,
    }
    expected = torch.nn.functional.cross_entropy(tensor, labels, reduction="none", **options)
    mean = torch.nn.functional.cross_entropy(tensor, labels, **options).item()
    losses, sample_weights, log_p = kernels.cross_entropy(logits, target, weight, ignore_index, smoothing)
    tolerance = 30 * float(np.finfo(dtype).eps)
    np.testing.assert_allclose(losses, expected.detach().numpy(), rtol=tolerance, atol=tolerance)
    assert losses.sum() / sample_weights.sum() == pytest.approx(mean, rel=10 * tolerance)
    assert log_p.shape == logits.shape
    grad = numbers((n, inner), dtype, seed=3)
    expected.backward(torch.from_numpy(grad))
    back = kernels.cross_entropy_backward(grad, log_p, target, weight, ignore_index, smoothing)
    assert losses.dtype == sample_weights.dtype == back.dtype == dtype
    np.testing.assert_allclose(back, tensor.grad.numpy(), rtol=tolerance, atol=tolerance)


def test_an_impossible_class_costs_nothing_unless_it_is_the_target():
    logits = np.array([[0.0, -np.inf], [0.0, -np.inf]])[:, :, None]
    losses, _, log_p = kernels.cross_entropy(logits, np.array([[0], [1]]), None, -100, 0.0)
    assert losses.ravel().tolist() == [0.0, np.inf]
    back = kernels.cross_entropy_backward(np.ones((2, 1)), log_p, np.array([[0], [1]]), None, -100, 0.0)
    assert back.ravel().tolist() == [0.0, 0.0, 1.0, -1.0]


@pytest.mark.parametrize("shape", [(0, 4), (3, 0), (0, 0, 2)])
def test_empty(shape):
    x = np.empty(shape, np.float32)
    for axis in range(x.ndim):
        assert kernels.softmax(x, axis).shape == kernels.log_softmax_backward(x, x, axis).shape == shape


def test_cross_entropy_of_an_empty_batch():
    logits, target = np.empty((0, 3, 2), np.float32), np.empty((0, 2), np.int64)
    losses, weights, log_p = kernels.cross_entropy(logits, target, None, -100, 0.1)
    assert losses.shape == weights.shape == (0, 2)
    assert kernels.cross_entropy_backward(losses, log_p, target, None, -100, 0.1).shape == (0, 3, 2)


def test_any_strides():
    x = numbers((6, 8))[::-2, ::3].T
    np.testing.assert_array_equal(kernels.softmax(x, 0), kernels.softmax(x.copy(), 0))
    assert kernels.softmax(numbers((2, 3, 4)), 1).flags.c_contiguous


def test_the_same_bits_for_any_number_of_threads():
    x, target = numbers((9, 37, 3), np.float32), np.arange(27).reshape(9, 3)

    def everything():
        losses, _, log_p = kernels.cross_entropy(x, target, None, -100, 0.1)
        back = kernels.cross_entropy_backward(losses, log_p, target, None, -100, 0.1)
        return [a.tobytes() for a in (losses, log_p, back, kernels.softmax(x, 1), kernels.softmax_backward(x, x, 1))]

    many = everything()
    tc.set_num_threads(1)
    assert many == everything()
