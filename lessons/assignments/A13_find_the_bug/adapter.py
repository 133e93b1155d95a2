"""Makes the generator of random numbers, which cannot be sent from the grader."""

import numpy as np


def weight(student, seed, shape):
    """A weight from ``he_normal``."""
    return student.he_normal(np.random.default_rng(seed), shape)


def epoch(student, seed, images, labels, size):
    """The batches of an epoch: images and labels."""
    return [(images, labels) for images, labels in student.batches(np.random.default_rng(seed), images, labels, size)]
