"""Arrays of the host: NumPy's."""

import numpy as np

from tinycnn.kernels import on_host


def empty(shape, dtype):
    return np.empty(shape, dtype)


def as_array(value):
    return np.asanyarray(on_host(value))


def memory_of(array):
    while isinstance(array.base, np.ndarray):
        array = array.base
    return array


def sent_ahead(batches):
    return batches


def read_later(*arrays):
    return lambda: arrays
