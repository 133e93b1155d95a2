"""Sends bytes as arrays, which is what travels between grader and child."""

import numpy as np


def encoded(student, weights, keep, count):
    """The bytes of a layer."""
    data = student.encode(weights, keep, count)
    if not isinstance(data, bytes):
        raise TypeError(f"encode returned a value of type {type(data).__name__}, expected bytes")
    return np.frombuffer(data, np.uint8).copy()


def decoded(student, data):
    """The layer in bytes."""
    return student.decode(data.tobytes())
