"""Each CUDA kernel against the CPU's: the same results, and the same arguments afterwards."""

from importlib import import_module

import numpy as np
import pytest

from tests.cuda.cases import CASES
from tinycnn.kernels.protocol import FILE_OF

EXACT = {"relu", "relu_backward", "dropout", "max_pool2d"}


def kernel(device, name):
    return getattr(import_module(f"tinycnn.kernels.{device}.{FILE_OF[name]}"), name)


def contiguous(runtime, array):
    return runtime.from_host(array)


def strided(runtime, array):
    """The same numbers on the device, the first two dimensions swapped in memory and every element followed by a 7."""
    if not array.ndim:
        return runtime.from_host(array)
    wide = np.full((*array.shape, 2), 7, array.dtype)
    wide[..., 0] = array
    if array.ndim < 2:
        return runtime.from_host(wide)[..., 0]
    return runtime.from_host(wide.swapaxes(0, 1))[..., 0].swapaxes(0, 1)


def moved(runtime, place, value):
    """An argument as the device gets it; what is in a tuple or list likewise."""
    if isinstance(value, list):
        return [moved(runtime, place, v) for v in value]
    return place(runtime, value) if isinstance(value, np.ndarray) else value


def flat(*values):
    """All arrays among results and arguments."""
    for value in values:
        if isinstance(value, (tuple, list)):
            yield from flat(*value)
        elif hasattr(value, "dtype") and value is not None:
            yield value


def assert_equal_to_the_cpu(runtime, name, arguments, place):
    own = [a.copy() if isinstance(a, np.ndarray) else a for a in arguments]
    theirs = [moved(runtime, place, a) for a in arguments]
    with np.errstate(all="ignore"):
        expected = kernel("cpu", name)(*own)
    before = runtime.transfers.count
    found = kernel("cuda", name)(*theirs)
    assert runtime.transfers.count == before, "a hidden copy to the host"
    pairs = list(zip(flat(found, *theirs), flat(expected, *own), strict=True))
    assert pairs
    for ours, reference in pairs:
        assert isinstance(ours, runtime.DeviceArray)
        assert ours.shape == reference.shape
        assert ours.dtype == reference.dtype or name == "batch_norm_gradient_sums"
        scale = np.abs(reference[np.isfinite(reference)]).max(initial=1)
        tolerance = 0 if name in EXACT else 20 * np.finfo(own[0].dtype).eps
        np.testing.assert_allclose(runtime.to_host(ours), reference, rtol=tolerance, atol=tolerance * scale)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("name", CASES)
def test_equal_to_the_cpu(name, dtype, runtime):
    for arguments in CASES[name](np.dtype(dtype)):
        assert_equal_to_the_cpu(runtime, name, arguments, contiguous)


@pytest.mark.parametrize("name", CASES)
def test_any_strides(name, runtime):
    arguments = next(iter(CASES[name](np.dtype("float32"))))
    assert_equal_to_the_cpu(runtime, name, arguments, strided)
