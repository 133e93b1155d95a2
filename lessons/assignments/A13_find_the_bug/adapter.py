"""Generators of random numbers, which cannot be sent from the grader."""

import numpy as np


def weight(student, seed, shape):
    """Return a weight from ``he_normal``."""
    return student.he_normal(np.random.default_rng(seed), shape)


def epoch(student, seed, images, labels, size):
    """Return the batches of an epoch: images and labels."""
    return [(images, labels) for images, labels in student.batches(np.random.default_rng(seed), images, labels, size)]
