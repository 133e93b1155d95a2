"""Public tests: expected values are those of tinycnn's own operations and engine."""

import numpy as np

import tinycnn as tc
from tinycnn import functional as F


def case(rng, size=(4, 5)):
    """Return features, weight and bias of a head."""
    return rng.normal(size=(3, 6, *size)), rng.normal(size=(7, 6)), rng.normal(size=7)


def logits_of(features, weight, bias):
    """Return the logits by tinycnn, and the leaves."""
    leaves = [tc.Tensor(array, requires_grad=True) for array in (features, weight, bias)]
    return F.linear(F.global_avg_pool2d(leaves[0]), *leaves[1:]), leaves


def gradient_of(features, weight, bias, classes):
    """Return the gradient of a class's logit with respect to features."""
    logits, leaves = logits_of(features, weight, bias)
    logits[np.arange(len(classes)), classes].sum().backward()
    return leaves[0].grad


def forward(student, rng, check):
    """The head: average, then linear."""
    features, weight, bias = case(rng)
    expected = logits_of(features, weight, bias)[0].data
    wrong = {"a sum over places where a mean is wanted": 20 * (expected - bias) + bias}
    check.close(student.head(features, weight, bias), expected, wrong)


def backward(student, rng, check):
    """The gradients of features, weight and bias."""
    features, weight, bias = case(rng)
    grad = rng.normal(size=(3, 7))
    logits, leaves = logits_of(features, weight, bias)
    logits.backward(grad)
    got = student.head_backward(grad, features, weight)
    check.equal(len(got), 3, what="the number of results")
    for one, leaf in zip(got, leaves):
        with check.part():
            check.close(one, leaf.grad)


def activation_map(student, rng, check):
    """Class activation maps, each for its own class."""
    features, weight, _ = case(rng)
    classes = rng.permutation(7)[:3]
    expected = np.stack([np.tensordot(weight[c], f, 1) for c, f in zip(classes, features)])
    same = np.stack([np.tensordot(weight[classes[0]], f, 1) for f in features])
    check.close(student.activation_map(features, weight, classes), expected, {"one class for all images": same})


def grad_cam(student, rng, check):
    """Grad-CAM for gradients of any head."""
    features, gradient = rng.normal(size=(2, 3, 6, 4, 5))
    expected = np.stack([sum(g[k].mean() * f[k] for k in range(6)) for f, g in zip(features, gradient)])
    wrong = {"gradient and map are multiplied place by place": (features * gradient).sum(axis=1)}
    check.close(student.grad_cam(features, gradient), expected, wrong)


def pointing(student, rng, check):
    """The brightest point in pixels, and how often it is in the box."""
    heat = rng.normal(size=(40, 4, 4))
    points = centres(heat, 32)
    check.close(student.brightest(heat, 32), points, {"y before x": points[:, ::-1]})
    boxes = boxes_around(rng, points)
    check.close(student.pointing_game(heat, boxes, 32), inside(points, boxes))


def centres(heat, size):
    """Return the right points, found the slow way."""
    found = []
    for one in heat:
        row, column = np.argwhere(one == one.max())[0]
        found.append([(column + 0.5) * size / one.shape[1], (row + 0.5) * size / one.shape[0]])
    return np.array(found)


def boxes_around(rng, points):
    """Return boxes that hold about half of the points."""
    corner = points + rng.uniform(-8, 2, points.shape)
    return np.concatenate([corner, corner + rng.uniform(2, 8, points.shape)], axis=1)


def inside(points, boxes):
    """Return the share of points in their boxes."""
    return float(np.mean([b[0] <= p[0] <= b[2] and b[1] <= p[1] <= b[3] for p, b in zip(points, boxes)]))
