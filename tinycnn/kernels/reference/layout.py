"""Images in memory: here always as NumPy makes them."""

import numpy as np


def channels_last(images):
    return images


def join_channels(parts):
    return np.concatenate(parts, axis=1)  # (N, sum of C_i, H, W)


def assign(target, value):
    target[...] = value
