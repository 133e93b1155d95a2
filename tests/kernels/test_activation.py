"""Activation kernels against NumPy and PyTorch."""

import numpy as np
import pytest

import tinycnn as tc
from tinycnn.kernels.cpu import activation

SPECIAL = np.array([np.nan, np.inf, -np.inf, 0.0, -0.0, 1e-30, -1e-30, 800.0, -800.0, 100.0, -100.0, 0.3, -0.3])
DTYPES = [np.float32, np.float64]


def values(dtype, seed=0):
    x = np.random.default_rng(seed).standard_normal((7, 3, 11)) * 6
    x.flat[: SPECIAL.size] = SPECIAL
    return x.astype(dtype)


@pytest.mark.nojit
@pytest.mark.prange
def test_against_numpy():
    x = np.array([[-1.5, 0.0], [np.nan, 2.0]], np.float32)
    grad = np.array([[1.0, 2.0], [3.0, 4.0]], np.float32)
    s, t = activation.sigmoid(x), activation.tanh(x)
    np.testing.assert_array_equal(activation.relu(x), np.maximum(x, 0))
    np.testing.assert_array_equal(activation.relu_backward(grad, x), [[0, 0], [3, 4]])
    np.testing.assert_array_equal(activation.leaky_relu(x, 0.5), [[-0.75, 0], [np.nan, 2]])
    np.testing.assert_array_equal(activation.leaky_relu_backward(grad, x, 0.5), [[0.5, 1], [1.5, 4]])
    np.testing.assert_allclose(s, 1 / (1 + np.exp(-x)), rtol=3e-7)
    np.testing.assert_allclose(t, np.tanh(x), rtol=3e-7)
    np.testing.assert_allclose(activation.tanh(np.array([-5.0, 9.0])), np.tanh([-5.0, 9.0]), rtol=6e-16)
    np.testing.assert_allclose(activation.sigmoid_backward(grad, s), grad * s * (1 - s), rtol=3e-7)
    np.testing.assert_allclose(activation.tanh_backward(grad, t), grad * (1 - t * t), rtol=3e-6)


@pytest.mark.parametrize("dtype", DTYPES)
def test_equal_to_pytorch(dtype):
    torch = pytest.importorskip("torch")
    x, grad = values(dtype), np.random.default_rng(1).standard_normal((7, 3, 11)).astype(dtype)
    f = torch.nn.functional
    pairs = {
        "relu": (f.relu, activation.relu, activation.relu_backward, True),
        "leaky_relu": (
            lambda t: f.leaky_relu(t, 0.2),
            lambda a: activation.leaky_relu(a, 0.2),
            lambda g, a: activation.leaky_relu_backward(g, a, 0.2),
            True,
        ),
        "sigmoid": (torch.sigmoid, activation.sigmoid, activation.sigmoid_backward, False),
        "tanh": (torch.tanh, activation.tanh, activation.tanh_backward, False),
    }
    for name, (theirs, forward, backward, needs_input) in pairs.items():
        tensor = torch.from_numpy(x).requires_grad_()
        expected = theirs(tensor)
        expected.backward(torch.from_numpy(grad))
        out = forward(x)
        back = backward(grad, x if needs_input else out)
        assert out.dtype == back.dtype == dtype
        tolerance = 4 * np.finfo(dtype).eps
        np.testing.assert_allclose(out, expected.detach().numpy(), rtol=tolerance, atol=1e-38, err_msg=name)
        np.testing.assert_allclose(back, tensor.grad.numpy(), rtol=tolerance, atol=4 * tolerance, err_msg=name)


def test_sigmoid_and_tanh_to_the_last_places_of_float64():
    x = np.concatenate([np.linspace(-40, 40, 20001), np.geomspace(1e-300, 1, 500), -np.geomspace(1e-300, 1, 500)])
    np.testing.assert_allclose(activation.tanh(x), np.tanh(x), rtol=6e-16)
    wide = x.astype(np.longdouble)
    np.testing.assert_allclose(activation.sigmoid(x), (1 / (1 + np.exp(-wide))).astype(np.float64), rtol=6e-16)


@pytest.mark.nojit
def test_exponential_of_negative_numbers():
    x = -np.concatenate([np.linspace(0, 707, 300), [750, np.inf, np.nan]])
    with np.errstate(over="ignore"):
        ours = [activation.exp_of_negative(np.float64(v)) for v in x]
    np.testing.assert_allclose(ours, np.where(x < -708, 0, np.exp(x)), rtol=5e-16)


@pytest.mark.parametrize("shape", [(), (0,), (3, 0, 2), (1,)])
def test_any_shape(shape):
    x = np.ones(shape, np.float32)
    for out in (
        activation.relu(x),
        activation.relu_backward(x, x),
        activation.leaky_relu(x, 0.1),
        activation.leaky_relu_backward(x, x, 0.1),
        activation.sigmoid(x),
        activation.sigmoid_backward(x, x),
        activation.tanh(x),
        activation.tanh_backward(x, x),
    ):
        assert out.shape == shape and out.dtype == np.float32


def test_any_strides_and_read_only():
    x = values(np.float64)[::-2, :, ::3].T
    x.flags.writeable = False
    np.testing.assert_array_equal(activation.relu(x), np.maximum(x, 0))
    np.testing.assert_array_equal(activation.leaky_relu_backward(x, x, 0.5), np.where(x > 0, x, 0.5 * x))


def test_the_same_bits_for_any_number_of_threads():
    x = np.random.default_rng(0).standard_normal(10_007).astype(np.float32)
    functions = activation.relu, activation.sigmoid, activation.tanh
    many = [f(x).tobytes() for f in functions]
    tc.set_num_threads(1)
    assert many == [f(x).tobytes() for f in functions]


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_relu_passes_no_gradient_at_zero_in_any_layout(dtype):
    """C-ordered, NHWC, a slice of an NHWC array's channels (as joined channels give), and in place."""
    out = np.maximum(np.random.default_rng(0).normal(size=(2, 40, 40, 16)), 0).astype(dtype)
    out[:, ::3] = 0
    whole = np.random.default_rng(1).normal(size=(2, 40, 40, 48)).astype(dtype)
    expected = np.where(out > 0, whole[..., 16:32], 0).transpose(0, 3, 1, 2)
    nhwc, grad = out.transpose(0, 3, 1, 2), whole[..., 16:32].transpose(0, 3, 1, 2)
    np.testing.assert_array_equal(activation.relu_backward(grad, nhwc), expected)
    for layout in (np.ascontiguousarray, lambda a: a):
        given = layout(grad.copy())
        np.testing.assert_array_equal(activation.relu_backward(given, layout(nhwc)), expected)
        np.testing.assert_array_equal(activation.relu_backward(given, layout(nhwc), True), expected)
