"""Public tests: the right net is tinycnn's own, with the same parameters; glyphs are each student's own."""

import numpy as np

import tinycnn as tc
from tinycnn import models
from tinycnn.assign.modules import compare
from tinycnn.data import Glyphs


def network(classes, channels, width, small):
    """Return the right net."""
    return models.alexnet_article(classes, in_channels=channels, width=width, small_input=small, dropout=0.0)


def layers(student, rng, check):
    """The shapes of all weights and biases, at a sixteenth of the width."""
    classes = int(rng.integers(5, 50))
    expected = [tuple(p.shape) for p in network(classes, 3, 1 / 16, False).parameters()]
    check.equal(student.shapes("AlexNet", (classes, 3, 1 / 16)), expected)


def count(student, rng, check):
    """At full width there are 28,868,968 parameters, most of them in the first fully connected layer."""
    classes = int(rng.integers(10, 99))
    shapes = student.shapes("AlexNet", (classes,))
    expected = 28868968 - 2049 * (1000 - classes)
    check.equal(
        sum(int(np.prod(shape)) for shape in shapes), expected, {"biases are missing": expected - 5472 - classes}
    )


def outputs(student, rng, check):
    """The small net: its output and gradient in evaluation."""
    arguments = (7, 2, 1 / 16, True, 0.0)
    compare(student, rng, check, network(*arguments[:4]), "AlexNet", arguments, rng.normal(size=(2, 2, 32, 32)))


def glyphs(student, rng, check):
    """Trained on your own glyphs, it knows 60, 80, 90 % of those of other fonts."""
    seed = int(rng.integers(2**31))
    train, test = (
        Glyphs(split, 32, count=n, seed=seed, difficulty=0.5) for split, n in (("train", 2000), ("test", 1000))
    )
    mean, std = train.images.mean(), train.images.std()
    images, unseen = (((data.images - mean) / std).astype(np.float32) for data in (train, test))
    net = network(10, 1, 0.125, True).eval()
    arrays = student.trained(images, train.labels, seed)
    shapes = [tuple(p.shape) for p in net.parameters()]
    check.equal([tuple(np.shape(array)) for array in arrays], shapes, what="the list of shapes")
    for own, array in zip(net.parameters(), arrays):
        own.data[...] = array
    with tc.no_grad():
        guesses = np.concatenate([net(tc.Tensor(part)).data.argmax(axis=1) for part in np.split(unseen, 4)])
    accuracy = float((guesses == test.labels).mean())
    check.rank("accuracy", accuracy)
    for least in (0.6, 0.8, 0.9):
        with check.part():
            check.true(
                accuracy >= least, f"{100 * accuracy:.1f} % of the test glyphs are known, expected {100 * least:.0f} %"
            )
