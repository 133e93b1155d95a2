"""Hidden tests."""

import numpy as np

from tinycnn.assign.modules import compare
from tinycnn.assign.testing import beside

public = beside(__file__, "public.py")


def large_outputs(student, rng, check):
    """The net for 224x224, narrow: its output and gradient in evaluation."""
    arguments = (5, 3, 1 / 24, False, 0.0)
    compare(
        student, rng, check, public.network(*arguments[:4]), "AlexNet", arguments, rng.normal(size=(1, 3, 224, 224))
    )


def dropout(student, rng, check):
    """Dropout in training, none in evaluation."""
    images = rng.normal(size=(2, 1, 32, 32)).astype(np.float32)
    training, evaluation = student.modes((4, 1, 1 / 16, True), images)
    check.close(evaluation[0], evaluation[1])
    check.true(
        np.abs(training[0] - training[1]).max() > 1e-6, "two passes in training give the same: there is no dropout"
    )
    check.equal(list(training[0].shape), [2, 4], what="the shape")
