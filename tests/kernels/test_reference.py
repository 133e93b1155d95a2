"""The reference kernels against definitions in loops, and the fast kernels against the reference.

The definitions here and in the other files of this folder share no code with the reference.
"""

import ast
import itertools
import math
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from tests.kernels.cases import CASES
from tests.kernels.test_algorithms import DIRECT, WINOGRAD, winograd_case
from tests.kernels.test_convolution import LARGE, MATRICES, SMALL, conv_shape, draw, four_sides, seven_loops
from tests.kernels.test_dropout import philox_reference
from tests.kernels.test_normalization import SHAPES, local_response_norm_reference
from tests.kernels.test_optimizer_kernels import SGD
from tests.kernels.test_pooling import GEOMETRIES, UNDILATED, images, max_pool_reference, pool_shape
from tests.kernels.test_softmax import softmax_reference
from tinycnn.kernels import KernelSet, reference
from tinycnn.kernels.protocol import FILE_OF, PROTOCOL

REFERENCE, FAST = KernelSet("reference"), KernelSet("cpu")
RNG = np.random.default_rng(0)
FILES = sorted(Path(reference.__file__).parent.glob("*.py"))


def normal(*shape):
    return RNG.normal(size=shape)


# -- the definitions ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("case", SMALL, ids=str)
def test_conv2d_is_its_definition(case):
    x, weight, bias, geometry = draw(case)
    out = REFERENCE.conv2d(x, weight, bias, conv_shape(x.shape, weight.shape, *geometry))
    np.testing.assert_allclose(out, seven_loops(x, weight, bias, *geometry), atol=1e-12)


@pytest.mark.parametrize("case", SMALL, ids=str)
def test_the_gradients_of_conv2d_are_its_adjoints(case):
    """<conv(x, w), g> = <x, backward_input(g, w)> = <w, backward_weight(g, x)>, for each unit vector x and w."""
    x, weight, _, geometry = draw(case)
    nothing = np.zeros(len(weight))
    grad = normal(*seven_loops(x, weight, nothing, *geometry).shape)
    shape = conv_shape(x.shape, weight.shape, *geometry)
    grad_x = REFERENCE.conv2d_backward_input(grad, weight, shape)
    grad_weight = REFERENCE.conv2d_backward_weight(grad, x, shape)
    for index in zip(*(RNG.integers(n, size=3) for n in x.shape)):
        unit = np.zeros_like(x)
        unit[index] = 1
        expected = (seven_loops(unit, weight, nothing, *geometry) * grad).sum()
        assert grad_x[index] == pytest.approx(expected, abs=1e-12)
    for index in zip(*(RNG.integers(n, size=3) for n in weight.shape)):
        unit = np.zeros_like(weight)
        unit[index] = 1
        assert grad_weight[index] == pytest.approx((seven_loops(x, unit, nothing, *geometry) * grad).sum(), abs=1e-12)
    np.testing.assert_allclose(REFERENCE.conv2d_backward_bias(grad), [g.sum() for g in grad.swapaxes(0, 1)])


@pytest.mark.parametrize("case", SMALL, ids=str)
def test_im2col_is_its_definition_and_col2im_its_adjoint(case):
    x, weight, bias, geometry = draw(case)
    stride, padding, dilation, _ = geometry
    shape, size = conv_shape(x.shape, weight.shape, *geometry), seven_loops(x, weight, bias, *geometry).shape[2:]
    columns, (kh, kw) = REFERENCE.im2col(x, shape), weight.shape[2:]
    top, _, left, _ = four_sides(padding)
    for n, c, i, j, y, z in np.ndindex(*x.shape[:2], kh, kw, *size):
        row = y * stride[0] - top + i * dilation[0]
        column = z * stride[1] - left + j * dilation[1]
        inside = 0 <= row < x.shape[2] and 0 <= column < x.shape[3]
        value = columns[n, (c * kh + i) * kw + j, y * size[1] + z]
        assert value == (x[n, c, row, column] if inside else 0)
    other = normal(*columns.shape)
    back = REFERENCE.col2im(other, shape)
    assert (columns * other).sum() == pytest.approx((x * back).sum(), abs=1e-10)


@pytest.mark.parametrize("ceil_mode", [False, True])
@pytest.mark.parametrize("case", GEOMETRIES, ids=str)
def test_max_pool2d_is_its_definition(case, ceil_mode):
    size, *geometry = case
    shape = pool_shape((2, 2, *size), *geometry, ceil_mode)
    x = images((2, 2, *size)).round(1)  # rounded: many ties
    x[0, 0].flat[:: max(1, x[0, 0].size // 5)] = np.nan
    x[0, 1] = -np.inf
    out, taken = REFERENCE.max_pool2d(x, shape)
    expected, taps, places = max_pool_reference(x, *geometry, out.shape[2:])
    np.testing.assert_array_equal(out, expected)
    np.testing.assert_array_equal(taken, taps)
    grad = normal(*out.shape)
    scattered = np.zeros((2, 2, size[0] * size[1]))
    for n, c, y, z in np.ndindex(out.shape):
        scattered[n, c, places[n, c, y, z]] += grad[n, c, y, z]
    back = REFERENCE.max_pool2d_backward(grad, taken, shape)
    np.testing.assert_allclose(back, scattered.reshape(x.shape), atol=1e-14)


@pytest.mark.parametrize("count_include_pad", [False, True])
@pytest.mark.parametrize("ceil_mode", [False, True])
@pytest.mark.parametrize("case", UNDILATED, ids=str)
def test_avg_pool2d_is_its_definition(case, ceil_mode, count_include_pad):
    (height, width), kernel, stride, padding = case
    x = images((1, 2, height, width))
    shape = pool_shape(x.shape, kernel, stride, padding, (1, 1), ceil_mode)
    out = REFERENCE.avg_pool2d(x, shape, count_include_pad)
    top, bottom, left, right = four_sides(padding)
    grad, back = normal(*out.shape), np.zeros_like(x)
    for c, oy, ox in np.ndindex(out.shape[1:]):
        total, count, seen = 0.0, 0, []
        for i, j in np.ndindex(kernel):
            y, z = oy * stride[0] - top + i, ox * stride[1] - left + j
            inside = 0 <= y < height and 0 <= z < width
            if inside:
                total += x[0, c, y, z]
                seen.append((y, z))
            count += inside or (count_include_pad and y < height + bottom and z < width + right)
        assert out[0, c, oy, ox] == pytest.approx(total / max(count, 1), abs=1e-14)
        for y, z in seen:
            back[0, c, y, z] += grad[0, c, oy, ox] / count
    np.testing.assert_allclose(REFERENCE.avg_pool2d_backward(grad, shape, count_include_pad), back, atol=1e-14)


@pytest.mark.parametrize("size, output_size", [((5, 3), (2, 3)), ((2, 3), (3, 5)), ((4, 4), (1, 2)), ((7, 6), (3, 4))])
def test_adaptive_avg_pool2d_is_its_definition(size, output_size):
    x, grad, back = images((1, 2, *size)), normal(1, 2, *output_size), np.zeros((1, 2, *size))
    out = REFERENCE.adaptive_avg_pool2d(x, output_size)
    for c, y, z in np.ndindex(2, *output_size):
        rows, columns = (
            range(math.floor(i * n / m), math.ceil((i + 1) * n / m)) for i, n, m in zip((y, z), size, output_size)
        )
        window = list(itertools.product(rows, columns))
        assert out[0, c, y, z] == pytest.approx(sum(x[0, c, i, j] for i, j in window) / len(window), abs=1e-14)
        for i, j in window:
            back[0, c, i, j] += grad[0, c, y, z] / len(window)
    np.testing.assert_allclose(REFERENCE.adaptive_avg_pool2d_backward(grad, x.shape), back, atol=1e-14)


def test_activations_are_their_definitions():
    x, grad = [-3.0, -0.5, 0.0, 0.25, 2.0], np.array([1.0, -2.0, 3.0, 0.5, 4.0])
    sigmoid, tanh = np.array([1 / (1 + math.exp(-v)) for v in x]), np.array([math.tanh(v) for v in x])
    array = np.array(x)
    np.testing.assert_array_equal(REFERENCE.relu(array), [0, 0, 0, 0.25, 2])
    np.testing.assert_array_equal(REFERENCE.relu_backward(grad, np.array([0, 0, 0, 0.25, np.nan])), [0, 0, 0, 0.5, 4])
    np.testing.assert_array_equal(REFERENCE.leaky_relu(array, 0.5), [-1.5, -0.25, 0, 0.25, 2])
    np.testing.assert_array_equal(REFERENCE.leaky_relu_backward(grad, array, 0.5), [0.5, -1, 1.5, 0.5, 4])
    np.testing.assert_allclose(REFERENCE.sigmoid(array), sigmoid, rtol=1e-15)
    np.testing.assert_allclose(REFERENCE.tanh(array), tanh, rtol=1e-15)
    np.testing.assert_allclose(REFERENCE.sigmoid_backward(grad, sigmoid), grad * sigmoid * (1 - sigmoid), rtol=1e-15)
    np.testing.assert_allclose(REFERENCE.tanh_backward(grad, tanh), grad / np.cosh(x) ** 2, rtol=1e-13)
    np.testing.assert_array_equal(REFERENCE.sigmoid(np.array([-800.0, 800.0, np.nan])), [0, 1, np.nan])


def test_softmax_and_its_gradients_are_their_definitions():
    x, grad = normal(2, 3, 4), normal(2, 3, 4)
    p = softmax_reference(x, 1)
    jacobian = np.einsum("nci,cd->ncdi", p, np.eye(3)) - p[:, :, None] * p[:, None]  # (N, C, C, inner)
    np.testing.assert_allclose(REFERENCE.softmax(x, 1), p, rtol=1e-14)
    np.testing.assert_allclose(REFERENCE.log_softmax(x, 1), np.log(p), rtol=1e-13)
    expected = np.einsum("ncdi,nci->ndi", jacobian, grad)
    np.testing.assert_allclose(REFERENCE.softmax_backward(grad, p, 1), expected, atol=1e-14)
    expected = np.einsum("ncdi,nci->ndi", jacobian / p[:, :, None], grad)
    np.testing.assert_allclose(REFERENCE.log_softmax_backward(grad, np.log(p), 1), expected, atol=1e-13)


@pytest.mark.parametrize("smoothing", [0.0, 0.3])
@pytest.mark.parametrize("weight", [None, np.array([0.5, 2.0, 1.0])])
def test_cross_entropy_is_its_definition(weight, smoothing):
    logits, grad, target = normal(3, 3, 2), normal(3, 2), np.array([[0, 2], [1, -100], [2, 7]])
    losses, weights, log_p = REFERENCE.cross_entropy(logits, target, weight, -100, smoothing)
    back = REFERENCE.cross_entropy_backward(grad, log_p, target, weight, -100, smoothing)
    w = np.ones(3) if weight is None else weight
    for n, i in np.ndindex(3, 2):
        t, p = target[n, i], softmax_reference(logits[n, :, i], 0)
        if t in (-100, 7):
            nothing = 0 if t == -100 else np.nan
            np.testing.assert_array_equal([losses[n, i], weights[n, i], *back[n, :, i]], [nothing] * 5)
            continue
        share = smoothing / 3 * w
        loss = -(1 - smoothing) * w[t] * math.log(p[t]) - share @ np.log(p)
        slope = (1 - smoothing) * w[t] * (p - np.eye(3)[t]) + share.sum() * p - share
        assert (losses[n, i], weights[n, i]) == (pytest.approx(loss), w[t])
        np.testing.assert_allclose(back[n, :, i], grad[n, i] * slope, atol=1e-14)


def test_dropout_is_philox_of_seed_stream_and_index():
    for seed, stream, first, p in ((5, 7, 0, 0.5), (2**64 - 1, 2**63 + 9, 2**40 + 3, 0.25), (2**33, 0, 2**62, 0.9)):
        out = REFERENCE.dropout(np.ones((3, 5)), p, seed, stream, first)
        key, low, high = (seed % 2**32, seed >> 32), stream % 2**32, stream >> 32
        for number, value in enumerate(out.flat, first):
            counter = number // 4 % 2**32, number // 4 >> 32, low, high
            kept = philox_reference(counter, key)[number % 4] >= p * 2**32
            assert value == (1 / (1 - p) if kept else 0)


def test_normalisation_is_its_definition():
    x, grad, weight, bias = normal(2, 3, 4), normal(2, 3, 4), normal(3), normal(3)
    mean, var = REFERENCE.batch_norm_statistics(x)
    np.testing.assert_allclose(mean, [x[:, c].mean() for c in range(3)], rtol=1e-14)
    np.testing.assert_allclose(var, [x[:, c].var() for c in range(3)], rtol=1e-14)
    inv_std = REFERENCE.inverse_std(var, 0.1)
    out = REFERENCE.batch_norm(x, mean, inv_std, weight, bias)
    for c in range(3):
        normalised = (x[:, c] - mean[c]) / math.sqrt(var[c] + 0.1)
        np.testing.assert_allclose(out[:, c], normalised * weight[c] + bias[c], rtol=1e-12)
    running_mean, running_var = np.ones(3), np.full(3, 2.0)
    REFERENCE.track_statistics(running_mean, running_var, mean, var, 0.1, 8 / 7)
    np.testing.assert_allclose(running_mean, 0.9 + 0.1 * mean)
    np.testing.assert_allclose(running_var, 1.8 + 0.1 * var * 8 / 7)

    def loss(x):
        again = REFERENCE.batch_norm_statistics(x)
        return (REFERENCE.batch_norm(x, again[0], REFERENCE.inverse_std(again[1], 0.1), weight, bias) * grad).sum()

    grad_x, grad_weight, grad_bias = REFERENCE.batch_norm_backward(grad, x, mean, inv_std, weight)
    for index in np.ndindex(x.shape):
        step = np.zeros_like(x)
        step[index] = 1e-5
        assert grad_x[index] == pytest.approx((loss(x + step) - loss(x - step)) / 2e-5, abs=1e-8)
    z = (out - bias[:, None]) / weight[:, None]
    np.testing.assert_allclose([grad_weight, grad_bias], [(grad * z).sum((0, 2)), grad.sum((0, 2))], rtol=1e-10)


@pytest.mark.parametrize("size, beta", [(1, 0.5), (2, 0.6), (3, 0.75), (9, 0.75)])
def test_local_response_norm_is_its_definition(size, beta):
    x, grad = normal(2, 4, 3), normal(2, 4, 3)
    out, scale = REFERENCE.local_response_norm(x, size, 0.3, beta, 2.0)
    expected = local_response_norm_reference(x, size, 0.3, beta, 2.0)
    np.testing.assert_allclose([out, scale], expected, rtol=1e-13)
    back = REFERENCE.local_response_norm_backward(grad, x, out, scale, size, 0.3, beta)
    for index in np.ndindex(x.shape):
        step = np.zeros_like(x)
        step[index] = 1e-5
        up, down = (local_response_norm_reference(x + s, size, 0.3, beta, 2.0)[0] for s in (step, -step))
        assert back[index] == pytest.approx(((up - down) * grad).sum() / 2e-5, abs=1e-8)


@pytest.mark.parametrize("momentum, dampening, weight_decay, nesterov", SGD)
def test_sgd_is_its_formula(momentum, dampening, weight_decay, nesterov):
    weight = np.array([1.0, -2.0])
    expected, velocity, buffer = weight.copy(), np.zeros(2), np.full(2, np.nan) if momentum else None
    for step in range(3):
        grad = normal(2)
        decayed = grad + weight_decay * expected
        velocity = decayed if step == 0 else momentum * velocity + (1 - dampening) * decayed
        along = decayed + momentum * velocity if nesterov else velocity if momentum else decayed
        expected = expected - 0.1 * along
        REFERENCE.sgd_update(weight, grad, buffer, step == 0, 0.1, momentum, dampening, weight_decay, nesterov)
    np.testing.assert_allclose(weight, expected, rtol=1e-13)


@pytest.mark.parametrize("decoupled", [False, True])
def test_adam_is_its_formula(decoupled):
    weight, moments = np.array([1.0, -2.0]), (np.zeros(2), np.zeros(2))
    expected, m, v = weight.copy(), np.zeros(2), np.zeros(2)
    for step in range(1, 4):
        grad = normal(2)
        decayed = grad if decoupled else grad + 0.1 * expected
        expected = expected - decoupled * 0.01 * 0.1 * expected
        m, v = 0.8 * m + 0.2 * decayed, 0.95 * v + 0.05 * decayed**2
        expected = expected - 0.01 * (m / (1 - 0.8**step)) / (np.sqrt(v / (1 - 0.95**step)) + 1e-3)
        REFERENCE.adam_update(weight, grad, *moments, step, 0.01, 0.8, 0.95, 1e-3, 0.1, decoupled)
    np.testing.assert_allclose(weight, expected, rtol=1e-13)


def test_matrix_products_sums_and_copies_are_their_definitions():
    a, b = normal(3, 4), normal(4, 2)
    expected = [[sum(a[i, k] * b[k, j] for k in range(4)) for j in range(2)] for i in range(3)]
    np.testing.assert_allclose(REFERENCE.matmul(a, b), expected)
    out = np.empty((3, 4))
    assert REFERENCE.add(a, a, out=out) is out and (out == 2 * a).all()
    parts = [normal(1, c, 2, 2) for c in (1, 2)]
    joined = REFERENCE.join_channels(parts)
    assert all((joined[:, c] == part).all() for c, part in enumerate([parts[0][:, 0], parts[1][:, 0], parts[1][:, 1]]))
    REFERENCE.assign(out[1:], 7)
    assert (out[1:] == 7).all() and (out[0] == 2 * a[0]).all()
    assert REFERENCE.channels_last(parts[1]) is parts[1]
    view = a[1:, ::2]
    assert REFERENCE.storage_of(view) is REFERENCE.storage_of(a)
    assert REFERENCE.as_array(view) is view
    assert REFERENCE.empty((2, 3), np.float32).shape == (2, 3)
    assert REFERENCE.copy_to_host_async(a, b)() == (a, b) and REFERENCE.prefetch_to_device(parts) is parts


# -- the fast kernels --------------------------------------------------------------------------------------------------

EXACT = {"relu", "relu_backward", "dropout", "max_pool2d", "im2col", "add", "join_channels", "assign", "channels_last"}


def arrays_in(*values):
    for value in values:
        if isinstance(value, (tuple, list)):
            yield from arrays_in(*value)
        elif isinstance(value, np.ndarray):
            yield value


def copied(arguments):
    return [[*map(np.copy, a)] if isinstance(a, list) else a.copy() if hasattr(a, "copy") else a for a in arguments]


def assert_equal_to_the_reference(name, *arguments, tolerance=20):
    """Check results, and arguments afterwards, to ``tolerance`` units of the largest number's rounding."""
    own, right = copied(arguments), copied(arguments)
    found, expected = getattr(FAST, name)(*own), getattr(REFERENCE, name)(*right)
    pairs = list(zip(arrays_in(found, own), arrays_in(expected, right), strict=True))
    assert pairs
    for ours, theirs in pairs:
        assert ours.shape == theirs.shape and ours.dtype == theirs.dtype
        if name in EXACT or theirs.dtype.kind != "f":
            np.testing.assert_array_equal(ours, theirs)
            continue
        eps = max(np.finfo(a.dtype).eps for a in arrays_in(arguments) if a.dtype.kind == "f")
        scale = np.abs(theirs[np.isfinite(theirs)]).max(initial=1)
        np.testing.assert_allclose(ours, theirs, rtol=tolerance * eps, atol=tolerance * eps * scale)
    return expected


def test_every_kernel_has_cases():
    assert set(CASES) == set(FILE_OF) - set(PROTOCOL["memory"])


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("name", CASES)
def test_each_fast_kernel_equals_the_reference(name, dtype):
    for arguments in CASES[name](np.dtype(dtype)):
        assert_equal_to_the_reference(name, *arguments)


@pytest.mark.parametrize("name", CASES)
def test_the_reference_takes_any_strides(name):
    def strided(value):
        if isinstance(value, list):
            return [*map(strided, value)]
        if not isinstance(value, np.ndarray) or not value.ndim:
            return value
        wide = np.full((*value.shape, 2), 7, value.dtype)
        wide[..., 0] = value
        return wide[..., 0]

    for arguments in CASES[name](np.dtype(np.float32)):
        others = [strided(a) for a in copied(arguments)]
        arguments = copied(arguments)
        found, expected = getattr(REFERENCE, name)(*others), getattr(REFERENCE, name)(*arguments)
        for ours, theirs in zip(arrays_in(found, others), arrays_in(expected, arguments), strict=True):
            np.testing.assert_allclose(ours, theirs, rtol=1e-5, atol=1e-6)


CONVOLUTIONS = [
    *(
        conv_shape((n, c, h, w), (o, c // geometry[-1], *kernel), *geometry)
        for n, c, h, w, o, kernel, *geometry in SMALL + LARGE
    ),
    *map(winograd_case, WINOGRAD[:8]),
    *DIRECT,
]


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("shape", CONVOLUTIONS, ids=str)
def test_each_convolution_equals_the_reference(shape, dtype):
    sizes = shape.input, shape.weight, shape.weight[:1], shape.output
    x, weight, bias, grad = (normal(*size).astype(dtype) for size in sizes)
    tolerance = 200  # sums of up to 1,600 products; Winograd's rounding
    assert_equal_to_the_reference("conv2d", x, weight, bias, shape, tolerance=tolerance)
    assert_equal_to_the_reference("conv2d_backward_input", grad, weight, shape, tolerance=tolerance)
    assert_equal_to_the_reference("conv2d_backward_weight", grad, x, shape, tolerance=tolerance)
    assert_equal_to_the_reference("conv2d_backward_bias", grad, tolerance=tolerance)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("ceil_mode", [False, True])
@pytest.mark.parametrize("case", GEOMETRIES, ids=str)
def test_pooling_equals_the_reference(case, ceil_mode, dtype):
    size, kernel, stride, padding, dilation = case
    x = images((2, 3, *size), dtype).round(1)
    x[0, 0].flat[:: max(1, x[0, 0].size // 5)] = np.nan
    x[0, 1] = -np.inf
    shape = pool_shape(x.shape, kernel, stride, padding, dilation, ceil_mode)
    _, taken = assert_equal_to_the_reference("max_pool2d", x, shape)
    assert_equal_to_the_reference("max_pool2d_backward", normal(*shape.output).astype(dtype), taken, shape)
    if dilation == (1, 1):
        for counted in (False, True):
            grad = normal(*shape.output).astype(dtype)
            assert_equal_to_the_reference("avg_pool2d", images(x.shape, dtype), shape, counted)
            assert_equal_to_the_reference("avg_pool2d_backward", grad, shape, counted)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("shape", [*SHAPES, (4, 16, 900), (3, 5, 77), (64, 300, 4)], ids=str)
def test_normalisation_equals_the_reference(shape, dtype):
    x, grad = (normal(*shape).astype(dtype) for _ in range(2))
    weight, bias = (normal(shape[1]).astype(dtype) for _ in range(2))
    mean, var = assert_equal_to_the_reference("batch_norm_statistics", x + 3)
    inv_std = assert_equal_to_the_reference("inverse_std", var, 1e-5)
    assert_equal_to_the_reference("batch_norm", x, mean, inv_std, weight, bias)
    for name in ("batch_norm_backward", "batch_norm_eval_backward"):
        assert_equal_to_the_reference(name, grad, x, mean, inv_std, weight, tolerance=100)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("sizes", MATRICES, ids=str)
def test_matrix_products_equal_the_reference(sizes, dtype):
    m, k, n = sizes
    arrays = normal(m, k).astype(dtype), normal(k, n).astype(dtype)
    assert_equal_to_the_reference("matmul", *arrays, tolerance=20 + k)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_dropout_has_the_same_bits_for_every_seed_stream_and_element(dtype):
    rng = np.random.default_rng(1)
    for _ in range(200):
        x = normal(*rng.integers(1, 9, size=rng.integers(0, 5))).astype(dtype)
        seed, stream = (int(n) for n in rng.integers(2**64, size=2, dtype=np.uint64))
        first = int(rng.integers(2 ** rng.integers(1, 62)))
        p = float(rng.choice([0.0, 0.5, 1.0, rng.random()]))
        ours, theirs = (kernels.dropout(x, p, seed, stream, first) for kernels in (FAST, REFERENCE))
        assert ours.tobytes() == theirs.tobytes() and ours.dtype == theirs.dtype == dtype
    x = np.array([np.nan, np.inf, -np.inf, -0.0, -1.0, 1e-45] * 50, dtype)
    for seed in (-1, 2**64, 2**70 + 3):
        ours, theirs = (kernels.dropout(x, 0.5, seed, -seed) for kernels in (FAST, REFERENCE))
        np.testing.assert_array_equal(ours, theirs)


# -- the files ---------------------------------------------------------------------------------------------------------


def test_the_reference_is_read_in_one_go():
    assert sum(len(path.read_text(encoding="utf-8").splitlines()) for path in FILES) <= 450


def test_the_reference_needs_neither_numba_nor_the_fast_kernels():
    code = (
        "import sys; from tinycnn import kernels; from tinycnn.kernels.protocol import FILE_OF\n"
        "for name in FILE_OF: getattr(kernels.KernelSet('reference'), name)\n"
        "print([name for name in sys.modules if 'numba' in name or name.startswith('tinycnn.kernels.cpu.')])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert all(name.startswith("tinycnn.kernels.cpu.machine") for name in eval(done.stdout))  # of versions, threads
    for path in FILES:
        assert "kernels.cpu" not in path.read_text(encoding="utf-8").replace(":mod:`tinycnn.kernels.cpu`", "")


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_a_formula_has_at_most_fifteen_lines(path):
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.FunctionDef):
            assert node.end_lineno - node.lineno <= 15 + (ast.get_docstring(node) or "").count("\n") + 1
