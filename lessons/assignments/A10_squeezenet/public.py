"""Public tests: the right nets are tinycnn's own, with the same parameters."""

import numpy as np

from tinycnn import models
from tinycnn.assign.modules import compare
from tinycnn.models.squeezenet import Fire


def network(classes, bypass):
    """Return the right net."""
    return models.squeezenet1_0(classes, bypass=bypass, dropout=0.0)


def fire(student, rng, check):
    """A Fire module: its parameters, output and gradient."""
    inputs, squeeze, expand = (int(n) for n in rng.integers(2, 7, 3))
    shapes = [
        (squeeze, inputs, 1, 1),
        (squeeze,),
        (expand, squeeze, 1, 1),
        (expand,),
        (expand, squeeze, 3, 3),
        (expand,),
    ]
    check.equal(student.shapes("Fire", (inputs, squeeze, expand)), shapes)
    images = rng.normal(size=(2, inputs, 5, 6))
    compare(student, rng, check, Fire(inputs, squeeze, expand), "Fire", (inputs, squeeze, expand), images)


def count(student, rng, check):
    """Parameters: 1,248,424 for a thousand classes, and 513 for each other one less."""
    for classes in (1000, int(rng.integers(10, 99))):
        with check.part():
            total = sum(int(np.prod(shape)) for shape in student.shapes("SqueezeNet", (classes,)))
            check.equal(total, 1248424 - 513 * (1000 - classes), {"the biases are missing": 1248424 - 5 * classes})


def outputs(student, rng, check):
    """SqueezeNet: its output and gradient."""
    compare(student, rng, check, network(10, "none"), "SqueezeNet", (10,), rng.normal(size=(1, 3, 36, 40)))


def simple(student, rng, check):
    """SqueezeNet with simple bypass: not a parameter more, another output."""
    compare(student, rng, check, network(10, "simple"), "SqueezeNet", (10, "simple"), rng.normal(size=(1, 3, 36, 36)))


def ratio(student, rng, check):
    """A Fire module against a 3x3 convolution."""
    inputs, squeeze, expand = (int(n) for n in rng.integers(10, 60, 3))
    module = sum(p.size for p in Fire(inputs, squeeze, expand).parameters())
    check.close(student.fire_ratio(inputs, squeeze, expand), (9 * inputs + 1) * 2 * expand / module)
