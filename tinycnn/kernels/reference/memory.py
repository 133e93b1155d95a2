"""Arrays of the host: NumPy's."""

import numpy as np

from tinycnn.kernels import on_host


def empty(shape, dtype):
    return np.empty(shape, dtype)


def as_array(value):
    return np.asanyarray(on_host(value))


def storage_of(array):
    while isinstance(array.base, np.ndarray):
        array = array.base
    return array


def prefetch_to_device(batches):
    return batches


def copy_to_host_async(*arrays):
    return lambda: arrays
