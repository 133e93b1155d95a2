"""Public tests: the right nets are tinycnn's own, with the same parameters."""

import numpy as np

from tinycnn import models
from tinycnn.assign.modules import compare
from tinycnn.models.resnet import BasicBlock


def block(student, rng, check):
    """A block that keeps its shape: its parameters, output and gradient."""
    check.equal(student.shapes("BasicBlock", (4, 4)), [(4, 4, 3, 3), (4,), (4,), (4, 4, 3, 3), (4,), (4,)])
    compare(student, rng, check, BasicBlock(4, 4, 1), "BasicBlock", (4, 4), rng.normal(size=(2, 4, 6, 5)))


def smaller_block(student, rng, check):
    """A block with stride 2 and twice the channels: option A."""
    right = BasicBlock(4, 8, 2, project=False)
    compare(student, rng, check, right, "BasicBlock", (4, 8, 2), rng.normal(size=(2, 4, 6, 8)))


def count(student, rng, check):
    """Parameters: ResNet-20 has 269,722, ResNet-56 853,018; made, and by arithmetic for other numbers of classes."""
    for n, expected in ((3, 269722), (9, 853018)):
        with check.part():
            check.equal(sum(int(np.prod(shape)) for shape in student.shapes("ResNet", (n,))), expected)
            classes = int(rng.integers(11, 99))
            check.equal(student.parameters(n, classes), expected + 65 * (classes - 10))


def network(student, rng, check):
    """ResNet-8: its output and gradient."""
    compare(student, rng, check, models.resnet8(10), "ResNet", (1,), rng.normal(size=(2, 3, 12, 12)))
