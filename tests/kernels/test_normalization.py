"""Batch norm and local response norm kernels against NumPy and PyTorch."""

import numpy as np
import pytest

import tinycnn as tc
from tinycnn import functional as F
from tinycnn.kernels.cpu import normalization as kernels

DTYPES = [np.float32, np.float64]
SHAPES = [(4, 3, 35), (5, 4, 1), (1, 2, 63), (2, 1, 500)]
EPS = 1e-5


def numbers(shape, dtype=np.float64, seed=0):
    return np.random.default_rng(seed).standard_normal(shape).astype(dtype)


def statistics(x):
    mean, var = kernels.batch_norm_statistics(x)
    return mean, (1 / np.sqrt(var + EPS)).astype(x.dtype)


@pytest.mark.nojit
def test_batch_norm_against_numpy():
    x, weight, bias = numbers((2, 3, 4)), numbers(3, seed=1), numbers(3, seed=2)
    mean, var = kernels.batch_norm_statistics(x)
    np.testing.assert_allclose(mean, x.mean((0, 2)), rtol=1e-13)
    np.testing.assert_allclose(var, x.var((0, 2)), rtol=1e-13)
    out = kernels.batch_norm(x, mean, 1 / np.sqrt(var), weight, bias)
    np.testing.assert_allclose((out - bias[:, None]).mean((0, 2)), 0, atol=1e-14)
    np.testing.assert_allclose(out.std((0, 2)), abs(weight), rtol=1e-13)


@pytest.mark.parametrize("shape", [(4, 16, 900), (3, 5, 77), (2, 20, 1300), (64, 300, 4), (1, 1, 40000)])
def test_statistics_and_sums_over_many_blocks(shape):
    x, grad = numbers(shape) + 3, numbers(shape, seed=1)
    mean, var = kernels.batch_norm_statistics(x)
    np.testing.assert_allclose(mean, x.mean((0, 2)), rtol=1e-12)
    np.testing.assert_allclose(var, x.var((0, 2)), rtol=1e-12)
    sums, products = kernels.batch_norm_gradient_sums(grad, x, mean)
    np.testing.assert_allclose(sums, grad.sum((0, 2)), rtol=1e-9)
    np.testing.assert_allclose(products, (grad * (x - mean[:, None])).sum((0, 2)), rtol=1e-9, atol=1e-10)


@pytest.mark.nojit
def test_batch_norm_backward_is_orthogonal_to_shift_and_scale():
    x, grad = numbers((2, 3, 4)), numbers((2, 3, 4), seed=1)
    mean, var = kernels.batch_norm_statistics(x)
    dx, dweight, dbias = kernels.batch_norm_backward(grad, x, mean, 1 / np.sqrt(var), np.ones(3))
    z = (x - mean[:, None]) / np.sqrt(var)[:, None]
    np.testing.assert_allclose(dx.sum((0, 2)), 0, atol=1e-13)
    np.testing.assert_allclose((dx * z).sum((0, 2)), 0, atol=1e-13)
    np.testing.assert_allclose(dweight, (grad * z).sum((0, 2)), rtol=1e-12)
    np.testing.assert_allclose(dbias, grad.sum((0, 2)), rtol=1e-12)


@pytest.mark.nojit
def test_batch_norm_backward_of_parts_is_that_of_the_whole():
    x, grad, weight = numbers((5, 3, 4)), numbers((5, 3, 4), seed=1), numbers(3, seed=2)
    mean, inv_std = statistics(x)
    parts = [(grad[rows], x[rows], mean) for rows in (slice(2), slice(2, 5))]
    sums = np.sum([kernels.batch_norm_gradient_sums(*part) for part in parts], axis=0)
    found = [kernels.batch_norm_backward_input(*part, inv_std, weight, *sums / 20) for part in parts]
    whole, dweight, dbias = kernels.batch_norm_backward(grad, x, mean, inv_std, weight)
    np.testing.assert_allclose(np.concatenate(found), whole, rtol=1e-12)
    np.testing.assert_allclose([sums[1] * inv_std, sums[0]], [dweight, dbias], rtol=1e-12)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("shape", SHAPES)
def test_batch_norm_equals_pytorch(shape, training, dtype):
    torch = pytest.importorskip("torch")
    channels = shape[1]
    x, grad = numbers(shape, dtype) * 2 + 1, numbers(shape, dtype, seed=1)
    weight, bias = numbers(channels, dtype, seed=2), numbers(channels, dtype, seed=3)
    running = numbers(channels, dtype, seed=4), abs(numbers(channels, dtype, seed=5)) + 1
    tensors = [torch.from_numpy(a).requires_grad_() for a in (x, weight, bias)]
    expected = torch.nn.functional.batch_norm(
        tensors[0], *(torch.from_numpy(a.copy()) for a in running), *tensors[1:], training=training, eps=EPS
    )
    expected.backward(torch.from_numpy(grad))
    mean, inv_std = statistics(x) if training else (running[0], (1 / np.sqrt(running[1] + EPS)).astype(dtype))
    backward = kernels.batch_norm_backward if training else kernels.batch_norm_eval_backward
    out, gradients = (
        kernels.batch_norm(x, mean, inv_std, weight, bias),
        backward(grad, x, mean, inv_std, weight),
    )
    tolerance = 60 * np.finfo(dtype).eps
    np.testing.assert_allclose(out, expected.detach().numpy(), rtol=tolerance, atol=tolerance)
    for ours, theirs in zip(gradients, tensors):
        assert ours.dtype == dtype and ours.shape == tuple(theirs.shape)
        np.testing.assert_allclose(ours, theirs.grad.numpy(), rtol=tolerance, atol=10 * tolerance)


def test_variance_survives_a_large_mean():
    x = (numbers((8, 2, 1000)) + 4096).astype(np.float32)
    mean, var = kernels.batch_norm_statistics(x)
    np.testing.assert_allclose(mean, x.mean((0, 2), dtype=np.float64), rtol=1e-7)
    np.testing.assert_allclose(var, x.var((0, 2), dtype=np.float64), rtol=1e-6)


def test_nan_stays_in_its_channel():
    x = numbers((2, 3, 5))
    x[1, 1, 2] = np.nan
    mean, var = kernels.batch_norm_statistics(x)
    assert np.isnan(mean).tolist() == np.isnan(var).tolist() == [False, True, False]
    x = numbers((2, 3, 5))
    x[0, 0, 0] = np.inf
    dx, _, _ = kernels.batch_norm_eval_backward(np.ones_like(x), x, np.zeros(3), np.ones(3), np.ones(3))
    np.testing.assert_array_equal(dx, np.ones_like(x))


def local_response_norm_reference(x, size, alpha, beta, k):
    scale = np.full_like(x, k)
    for c in range(x.shape[1]):
        window = x[:, max(0, c - size // 2) : c + (size - 1) // 2 + 1]
        scale[:, c] += alpha / size * (window**2).sum(1)
    return x / scale**beta, scale


@pytest.mark.nojit
@pytest.mark.parametrize("size, beta", [(3, 0.75), (2, 0.5)])
def test_local_response_norm_against_numpy(size, beta):
    x = numbers((2, 4, 3))
    for ours, reference in zip(
        kernels.local_response_norm(x, size, 0.3, beta, 2.0),
        local_response_norm_reference(x, size, 0.3, beta, 2.0),
    ):
        np.testing.assert_allclose(ours, reference, rtol=1e-13)


@pytest.mark.parametrize("inner", [1, 5, 37])
@pytest.mark.parametrize("beta", [0.75, 0.5])
@pytest.mark.parametrize("huge", [1e20, 1e30, 3e38])
def test_local_response_norm_where_squares_are_beyond_the_dtype(huge, beta, inner):
    x = numbers((2, 5, inner), np.float32)
    x[1, 2, inner // 2] = huge
    out, scale = kernels.local_response_norm(x, 3, 0.3, beta, 2.0)
    grad_x = kernels.local_response_norm_backward(np.ones_like(x), x, out, scale, 3, 0.3, beta)
    assert np.isinf(scale[1, 1:4, inner // 2]).all()
    assert not out[1, 1:4, inner // 2].any()
    assert np.isfinite(out).all() and np.isfinite(grad_x).all()
    with np.errstate(over="ignore"):
        np.testing.assert_allclose(out, local_response_norm_reference(x, 3, 0.3, beta, 2.0)[0], rtol=1e-6)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("size", [1, 2, 3, 5, 4, 20])
@pytest.mark.parametrize("beta", [0.75, 0.6])
def test_local_response_norm_equals_pytorch(size, beta, dtype):
    torch = pytest.importorskip("torch")
    x, grad = numbers((3, 7, 21), dtype) * 3, numbers((3, 7, 21), dtype, seed=1)
    tensor = torch.from_numpy(x).requires_grad_()
    expected = torch.nn.functional.local_response_norm(tensor, size, 0.4, beta, 1.5)
    expected.backward(torch.from_numpy(grad))
    out, scale = kernels.local_response_norm(x, size, 0.4, beta, 1.5)
    back = kernels.local_response_norm_backward(grad, x, out, scale, size, 0.4, beta)
    assert out.dtype == scale.dtype == back.dtype == dtype
    tolerance = 20 * np.finfo(dtype).eps
    np.testing.assert_allclose(out, expected.detach().numpy(), rtol=tolerance, atol=tolerance)
    np.testing.assert_allclose(back, tensor.grad.numpy(), rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("shape", [(0, 3, 4), (2, 0, 4), (2, 3, 0)])
def test_empty(shape):
    x, c = np.empty(shape, np.float32), np.ones(shape[1], np.float32)
    mean, var = kernels.batch_norm_statistics(x)
    np.testing.assert_array_equal([mean, var], np.zeros((2, shape[1])))
    assert kernels.batch_norm(x, mean, c, c, c).shape == shape
    for backward in kernels.batch_norm_backward, kernels.batch_norm_eval_backward:
        dx, dweight, dbias = backward(x, x, mean, c, c)
        assert dx.shape == shape
        np.testing.assert_array_equal([dweight, dbias], np.zeros((2, shape[1])))
    out, scale = kernels.local_response_norm(x, 3, 1.0, 0.75, 1.0)
    assert kernels.local_response_norm_backward(x, x, out, scale, 3, 1.0, 0.75).shape == shape


def test_any_strides_and_read_only():
    x = numbers((6, 5, 8)).transpose(2, 1, 0)[::-2]
    x.flags.writeable = False
    np.testing.assert_array_equal(statistics(x), statistics(x.copy()))
    mean, inv_std = statistics(x)
    for one, other in zip(
        kernels.batch_norm_backward(x, x, mean, inv_std, mean[::-1]),
        kernels.batch_norm_backward(x.copy(), x.copy(), mean, inv_std, mean[::-1].copy()),
    ):
        np.testing.assert_array_equal(one, other)


def test_the_same_bits_for_any_number_of_threads():
    x, grad = numbers((7, 2, 333), np.float32), numbers((7, 2, 333), np.float32, 1)

    def everything():
        mean, inv_std = statistics(x)
        out, scale = kernels.local_response_norm(x, 3, 1.0, 0.75, 1.0)
        back = kernels.local_response_norm_backward(grad, x, out, scale, 3, 1.0, 0.75)
        arrays = mean, inv_std, *kernels.batch_norm_backward(grad, x, mean, inv_std, mean), out, back
        return [a.tobytes() for a in arrays]

    many = everything()
    tc.set_num_threads(1)
    assert many == everything()


@pytest.mark.filterwarnings("error")
def test_gradients_too_large_for_float32_become_infinite_without_a_warning():
    x, bias = numbers((2, 3, 4), np.float32), tc.nn.Parameter(np.zeros(3, np.float32))
    F.batch_norm(tc.Tensor(x), None, None, None, bias).backward(np.full((2, 3, 4), 1e38, np.float32))
    assert np.isposinf(bias.grad).all()
