"""Each CUDA kernel against the reference: the same results, and the same arguments afterwards."""

import numpy as np
import pytest

from tests.cuda.cases import CASES, EXPRESSIONS, numbers
from tinycnn.kernels import unchecked
from tinycnn.kernels.cuda.gemm import matmul_algorithm
from tinycnn.kernels.geometry import ConvShape
from tinycnn.kernels.protocol import FILE_OF

EXACT = {"relu", "relu_backward", "dropout", "max_pool2d", "im2col", "add", "join_channels"}
WIDER_IN_THE_REFERENCE = {"batch_norm_gradient_sums"}


def kernel(name):
    """Return a CUDA kernel, with its algorithm chosen if the name has one, or an expression."""
    if name in EXPRESSIONS:
        return EXPRESSIONS[name]
    name, _, algorithm = name.partition("/")
    function = unchecked("cuda", name)
    return matmul_algorithm(algorithm)(function) if algorithm else function


def reference_kernel(name):
    """Return the function that computes the expected value."""
    return EXPRESSIONS[name] if name in EXPRESSIONS else unchecked("reference", name.partition("/")[0])


def test_every_kernel_of_the_protocol_has_cases():
    about_memory = {name for name in FILE_OF if FILE_OF[name] == "memory"}
    assert set(FILE_OF) - about_memory <= set(CASES)


def contiguous(runtime, array):
    return runtime.from_host(array)


def strided(runtime, array):
    """Return the same numbers on the device, the first two dimensions swapped in memory and every element followed
    by a 7.
    """
    if not array.ndim:
        return runtime.from_host(array)
    wide = np.full((*array.shape, 2), 7, array.dtype)
    wide[..., 0] = array
    if array.ndim < 2:
        return runtime.from_host(wide)[..., 0]
    return runtime.from_host(wide.swapaxes(0, 1))[..., 0].swapaxes(0, 1)


def moved(runtime, place, value):
    """Return an argument as the device gets it; the elements of a tuple or list likewise."""
    if isinstance(value, list):
        return [moved(runtime, place, v) for v in value]
    return place(runtime, value) if isinstance(value, np.ndarray) else value


def flat(*values):
    """Return all arrays among results and arguments."""
    for value in values:
        if isinstance(value, (tuple, list)):
            yield from flat(*value)
        elif hasattr(value, "dtype") and value is not None:
            yield value


def assert_equal_to_the_reference(runtime, name, dtype, place, arguments):
    own = [a.copy("K") if isinstance(a, np.ndarray) else a for a in arguments]
    theirs = [moved(runtime, place, a) for a in arguments]
    with np.errstate(all="ignore"):
        expected = reference_kernel(name)(*own)
    before = runtime.transfers.count
    found = kernel(name)(*theirs)
    assert runtime.transfers.count == before, "a hidden copy to the host"
    pairs = list(zip(flat(found, *theirs), flat(expected, *own), strict=True))
    assert pairs
    for ours, right in pairs:
        assert isinstance(ours, runtime.DeviceArray)
        assert ours.shape == right.shape
        assert ours.dtype == right.dtype or name in WIDER_IN_THE_REFERENCE
        scale = np.abs(right[np.isfinite(right)]).max(initial=1)
        tolerance = 0 if name in EXACT else 20 * np.finfo(dtype).eps
        np.testing.assert_allclose(runtime.to_host(ours), right, rtol=tolerance, atol=tolerance * scale)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("name", CASES)
def test_equal_to_the_cpu(name, dtype, runtime):
    for arguments in CASES[name](np.dtype(dtype)):
        assert_equal_to_the_reference(runtime, name, dtype, contiguous, arguments)


@pytest.mark.parametrize("name", CASES)
def test_any_strides(name, runtime):
    arguments = next(CASES[name](np.dtype("float32")))
    assert_equal_to_the_reference(runtime, name, "float32", strided, arguments)


def test_a_weight_gradient_of_many_images_adds_the_sums_of_all(runtime):
    shape = ConvShape.of((16, 1, 3, 3), (1, 1, 2, 2))
    images, grad = numbers(np.float32, 16, 1, 3, 3), numbers(np.float32, *shape.output)
    name, arguments = "conv2d_backward_weight", (grad, images, shape, "auto")
    assert_equal_to_the_reference(runtime, name, np.float32, contiguous, arguments)


def test_a_target_outside_the_classes_gives_nan(runtime):
    log_p, grad = numbers(np.float32, 3, 2, 1), np.ones((3, 1), np.float32)
    arrays = [runtime.from_host(a) for a in (log_p, np.array([[0], [2**40], [-(2**40)]]), grad)]
    losses, weights, _ = kernel("cross_entropy")(*arrays[:2], None, -100, 0.0)
    assert (
        np.isnan(losses.to_host()[:, 0]).tolist() == np.isnan(weights.to_host()[:, 0]).tolist() == [False, True, True]
    )
    backward = kernel("cross_entropy_backward")(arrays[2], *arrays[:2], None, -100, 0.0)
    assert np.isnan(backward.to_host()[:, :, 0]).tolist() == [[False, False], [True, True], [True, True]]
