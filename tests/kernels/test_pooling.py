"""Pooling kernels against loops written from the definition, and against PyTorch."""

import numpy as np
import pytest

import tinycnn as tc
from tests.kernels.test_convolution import four_sides
from tinycnn.kernels.cpu import pooling
from tinycnn.kernels.geometry import Axis, PoolShape

# (H, W), kernel, stride, padding, dilation
GEOMETRIES = [
    ((6, 8), (2, 2), (2, 2), (0, 0), (1, 1)),
    ((13, 9), (3, 3), (2, 2), (1, 1), (1, 1)),
    ((7, 10), (3, 2), (1, 3), (1, 0), (1, 1)),
    ((11, 12), (2, 3), (3, 2), (1, 1), (3, 2)),
    ((1, 1), (1, 1), (1, 1), (0, 0), (1, 1)),
    ((5, 40), (5, 7), (1, 1), (2, 3), (1, 1)),
    ((6, 5), (3, 4), (2, 3), (1, 0, 0, 2), (1, 1)),
]
SYMMETRIC = [g for g in GEOMETRIES if len(g[3]) == 2]  # PyTorch has no others
UNDILATED = [g[:4] for g in GEOMETRIES if g[4] == (1, 1)]
DTYPES = [np.float32, np.float64]


def pool_shape(x_shape, kernel, stride, padding, dilation, ceil_mode):
    return PoolShape(x_shape, kernel, stride, four_sides(padding), dilation, ceil_mode)


def images(shape, dtype=np.float64, seed=0):
    return np.random.default_rng(seed).standard_normal(shape).astype(dtype)


def max_pool_reference(x, kernel, stride, padding, dilation, out_size):
    """Return the first maximum in scan order of each window, its index in the window and its index in the plane."""
    n, c, height, width = x.shape
    out, taken, places = (np.empty((n, c, *out_size), kind) for kind in (x.dtype, np.int64, np.int64))
    top, _, left, _ = four_sides(padding)
    for at in np.ndindex(out.shape):
        best, tap, where = -np.inf, -1, -1
        for i, j in np.ndindex(kernel):
            h = at[2] * stride[0] - top + i * dilation[0]
            w = at[3] * stride[1] - left + j * dilation[1]
            if 0 <= h < height and 0 <= w < width:
                v = x[at[0], at[1], h, w]
                if v > best or np.isnan(v) or where < 0:
                    best, tap, where = v, i * kernel[1] + j, h * width + w
        out[at], taken[at], places[at] = best, tap, where
    return out, taken, places


@pytest.mark.nojit
def test_max_pool_matches_its_definition():
    size, *geometry = (5, 7), (3, 2), (2, 2), (1, 1), (1, 2)
    x = images((2, 1, *size)).round(0)
    shape = PoolShape.of(x.shape, *geometry)
    out, taken = pooling.max_pool2d(x, shape)
    expected, taps, where = max_pool_reference(x, *geometry, out.shape[2:])
    np.testing.assert_array_equal(out, expected)
    np.testing.assert_array_equal(taken, taps)
    grad = images(out.shape, seed=1)
    back = pooling.max_pool2d_backward(grad, taken, shape)
    scattered = np.zeros((2, 35))
    for p in range(2):
        np.add.at(scattered[p], where[p].ravel(), grad[p].ravel())
    np.testing.assert_allclose(back, scattered.reshape(x.shape), rtol=1e-14)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("ceil_mode", [False, True])
@pytest.mark.parametrize("size, kernel, stride, padding, dilation", SYMMETRIC)
def test_max_pool_equals_pytorch(size, kernel, stride, padding, dilation, ceil_mode, dtype):
    torch = pytest.importorskip("torch")
    x = images((2, 3, *size), dtype).round(1)  # rounded: many ties
    x[0, 0].flat[:: max(1, x[0, 0].size // 5)] = np.nan
    x[0, 1] = -np.inf
    theirs = torch.from_numpy(x).requires_grad_()
    expected = torch.nn.functional.max_pool2d(theirs, kernel, stride, padding, dilation, ceil_mode)
    shape = pool_shape(x.shape, kernel, stride, padding, dilation, ceil_mode)
    out, taken = pooling.max_pool2d(x, shape)
    np.testing.assert_array_equal(out, expected.detach().numpy())
    assert out.dtype == dtype and taken.dtype == np.int16
    grad = images(out.shape, dtype, seed=1)
    expected.backward(torch.from_numpy(grad))
    back = pooling.max_pool2d_backward(grad, taken, shape)
    np.testing.assert_allclose(back, theirs.grad.numpy(), rtol=1e-6, atol=1e-6)


def test_a_window_of_padding_alone_takes_nothing():
    x = np.ones((1, 1, 2, 2))
    shape = PoolShape.of(x.shape, 2, 1, 1, 3)
    out, taken = pooling.max_pool2d(x, shape)
    assert out.item() == -np.inf and taken.item() == -1
    back = pooling.max_pool2d_backward(np.ones_like(out), taken, shape)
    np.testing.assert_array_equal(back, np.zeros_like(x))


@pytest.mark.nojit
def test_avg_pool_matches_its_definition():
    x = images((1, 2, 5, 6))
    padded = np.pad(x, ((0, 0), (0, 0), (1, 1), (1, 1)))
    shape = PoolShape.of(x.shape, (3, 2), (2, 3), 1)
    out = pooling.avg_pool2d(x, shape, True)
    expected = [[padded[..., 2 * i : 2 * i + 3, 3 * j : 3 * j + 2].mean((2, 3)) for j in range(3)] for i in range(3)]
    np.testing.assert_allclose(out, np.array(expected).transpose(2, 3, 0, 1), rtol=1e-14)
    back = pooling.avg_pool2d_backward(np.ones_like(out), shape, False)
    assert back.sum() == pytest.approx(out.size)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("ceil_mode", [False, True])
@pytest.mark.parametrize("count_include_pad", [False, True])
@pytest.mark.parametrize("size, kernel, stride, padding", [g[:4] for g in SYMMETRIC if g[4] == (1, 1)])
def test_avg_pool_equals_pytorch(size, kernel, stride, padding, ceil_mode, count_include_pad, dtype):
    torch = pytest.importorskip("torch")
    x = images((2, 3, *size), dtype)
    theirs = torch.from_numpy(x).requires_grad_()
    expected = torch.nn.functional.avg_pool2d(theirs, kernel, stride, padding, ceil_mode, count_include_pad)
    shape = pool_shape(x.shape, kernel, stride, padding, (1, 1), ceil_mode)
    out = pooling.avg_pool2d(x, shape, count_include_pad)
    tolerance = 8 * np.finfo(dtype).eps
    np.testing.assert_allclose(out, expected.detach().numpy(), rtol=0, atol=tolerance)
    grad = images(out.shape, dtype, seed=1)
    expected.backward(torch.from_numpy(grad))
    back = pooling.avg_pool2d_backward(grad, shape, count_include_pad)
    assert back.dtype == dtype
    np.testing.assert_allclose(back, theirs.grad.numpy(), rtol=0, atol=tolerance)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("size, output_size", [((13, 9), (6, 4)), ((7, 5), (1, 1)), ((3, 4), (5, 7)), ((8, 6), (4, 6))])
def test_adaptive_avg_pool_equals_pytorch(size, output_size, dtype):
    torch = pytest.importorskip("torch")
    x = images((2, 3, *size), dtype)
    theirs = torch.from_numpy(x).requires_grad_()
    expected = torch.nn.functional.adaptive_avg_pool2d(theirs, output_size)
    out = pooling.adaptive_avg_pool2d(x, output_size)
    tolerance = 8 * np.finfo(dtype).eps
    np.testing.assert_allclose(out, expected.detach().numpy(), rtol=0, atol=tolerance)
    grad = images(out.shape, dtype, seed=1)
    expected.backward(torch.from_numpy(grad))
    back = pooling.adaptive_avg_pool2d_backward(grad, x.shape)
    np.testing.assert_allclose(back, theirs.grad.numpy(), rtol=0, atol=tolerance)


@pytest.mark.nojit
def test_adaptive_avg_pool_of_whole_planes_is_the_mean():
    x = images((2, 3, 3, 5))
    np.testing.assert_allclose(pooling.adaptive_avg_pool2d(x, (1, 1)), x.mean((2, 3), keepdims=True), rtol=1e-14)


@pytest.mark.nojit
@pytest.mark.parametrize("ceil_mode", [False, True])
def test_pooled_size_counts_the_windows_that_may_start(ceil_mode):
    for size, kernel, stride, dilation in np.ndindex(9, 4, 4, 3):
        size, kernel, stride, dilation = size + 1, kernel + 1, stride + 1, dilation + 1
        for padding in range(kernel // 2 + 1):
            span = dilation * (kernel - 1) + 1
            if size + 2 * padding < span:
                continue
            starts = range(-padding, size + padding, stride)
            whole = sum(start + span <= size + padding for start in starts)
            # Ceil mode adds one, if something is left over and it starts before the padding on the right.
            left_over = (size + 2 * padding - span) % stride != 0
            one_more = ceil_mode and left_over and -padding + whole * stride < size
            count = Axis(size, kernel, stride, padding, padding, dilation).windows(ceil_mode)
            assert count == whole + one_more, (size, kernel, stride, padding, dilation)


@pytest.mark.parametrize("shape", [(0, 3, 5, 4), (2, 0, 5, 4)])
def test_empty_batches(shape):
    x = np.empty(shape, np.float32)
    pool = PoolShape.of(shape, 2)
    out, taken = pooling.max_pool2d(x, pool)
    assert out.shape == taken.shape == (*shape[:2], 2, 2)
    assert pooling.max_pool2d_backward(out, taken, pool).shape == shape
    assert pooling.avg_pool2d(x, pool, True).shape == out.shape
    assert pooling.avg_pool2d_backward(out, pool, True).shape == shape
    for size in (1, 1), (2, 3):
        out = pooling.adaptive_avg_pool2d(x, size)
        assert out.shape == (*shape[:2], *size)
        assert pooling.adaptive_avg_pool2d_backward(out, shape).shape == shape


def test_any_strides_and_read_only():
    x = images((4, 3, 9, 7))
    view = x.transpose(0, 1, 3, 2)[::2, :, ::-1]
    view.flags.writeable = False
    shape = PoolShape.of(view.shape, (3, 2), 2, 1)
    for one, other in zip(pooling.max_pool2d(view, shape), pooling.max_pool2d(view.copy(), shape)):
        np.testing.assert_array_equal(one, other)
    np.testing.assert_array_equal(pooling.avg_pool2d(view, shape, True), pooling.avg_pool2d(view.copy(), shape, True))


def test_the_same_bits_for_any_number_of_threads():
    x = images((3, 5, 31, 27), np.float32)
    shape = PoolShape.of(x.shape, 3, 2, 1)

    def everything():
        out, taken = pooling.max_pool2d(x, shape)
        yield out, taken, pooling.max_pool2d_backward(out, taken, shape)
        yield pooling.avg_pool2d(x, shape, True), pooling.adaptive_avg_pool2d(x, (4, 5))
        yield pooling.avg_pool2d_backward(out, shape, True)

    many = [a.tobytes() for group in everything() for a in group]
    tc.set_num_threads(1)
    assert many == [a.tobytes() for group in everything() for a in group]
