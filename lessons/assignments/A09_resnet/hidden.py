"""Hidden tests."""

from tinycnn import models
from tinycnn.assign.modules import compare
from tinycnn.models.resnet import BasicBlock


def plain(student, rng, check):
    """The plain twin: the same parameters, no shortcut."""
    with check.part():
        right = BasicBlock(4, 8, 2, residual=False)
        compare(student, rng, check, right, "BasicBlock", (4, 8, 2, False), rng.normal(size=(2, 4, 8, 8)))
    with check.part():
        compare(student, rng, check, models.plain8(7), "ResNet", (1, 7, False), rng.normal(size=(2, 3, 8, 8)))


def deeper(student, rng, check):
    """ResNet-14 in training, with batch statistics."""
    compare(student, rng, check, models.resnet14(5), "ResNet", (2, 5), rng.normal(size=(3, 3, 8, 8)), training=True)


def arithmetic(student, rng, check):
    """Parameters of very deep nets, without making them; ResNet-1202 has 19,421,274."""
    check.equal(student.parameters(200), 19421274)
    n, classes = int(rng.integers(20, 100)), int(rng.integers(5, 50))
    slope = (19421274 - 269722) // 197  # each further n adds the same number
    check.equal(student.parameters(n, classes), 269722 + slope * (n - 3) + 65 * (classes - 10))


def factor(student, rng, check):
    """The factor of a gradient: f'**n against (1 + f')**n."""
    slope, blocks = float(rng.uniform(0.1, 0.6)), int(rng.integers(5, 30))
    check.close(student.gradient_factor(slope, blocks, False), slope**blocks)
    check.close(student.gradient_factor(slope, blocks), (1 + slope) ** blocks)
