"""Bytes as arrays, which can be sent between grader and child."""

import numpy as np


def encoded(student, weights, keep, count):
    """Return the bytes of a layer."""
    data = student.encode(weights, keep, count)
    if not isinstance(data, bytes):
        raise TypeError(f"encode returned a value of type {type(data).__name__}, expected bytes")
    return np.frombuffer(data, np.uint8).copy()


def decoded(student, data):
    """Return the layer in bytes."""
    return student.decode(data.tobytes())
