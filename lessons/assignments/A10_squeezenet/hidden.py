"""Hidden tests."""

import numpy as np

from tinycnn.assign.modules import compare
from tinycnn.assign.testing import beside

public = beside(__file__, "public.py")


def complex_count(student, rng, check):
    """Parameters with complex bypass."""
    classes = int(rng.integers(10, 99))
    expected = sum(p.size for p in public.network(classes, "complex").parameters())
    total = sum(int(np.prod(shape)) for shape in student.shapes("SqueezeNet", (classes, "complex")))
    check.equal(total, expected)


def complex_outputs(student, rng, check):
    """SqueezeNet with complex bypass: its output and gradient."""
    images = rng.normal(size=(1, 3, 36, 44))
    compare(student, rng, check, public.network(10, "complex"), "SqueezeNet", (10, "complex"), images)


def other_sizes(student, rng, check):
    """SqueezeNet with few classes and images whose maps have to be rounded up."""
    compare(student, rng, check, public.network(3, "none"), "SqueezeNet", (3,), rng.normal(size=(2, 3, 41, 53)))
