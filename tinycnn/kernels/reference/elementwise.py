"""Arithmetic on two arrays of one shape."""

import numpy as np


def add(a, b, out=None):
    return np.add(a, b, out=out)
