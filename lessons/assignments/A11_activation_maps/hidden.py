"""Hidden tests."""

from tinycnn.assign.testing import beside

public = beside(__file__, "public.py")


def identity(student, rng, check):
    """For this head, Grad-CAM is the class activation map but for a factor: the number of places."""
    size = tuple(int(n) for n in rng.integers(3, 7, 2))
    features, weight, bias = public.case(rng, size)
    classes = rng.integers(7, size=3)
    gradient = public.gradient_of(features, weight, bias, classes)
    maps = student.activation_map(features, weight, classes)
    check.close(student.grad_cam(features, gradient) * student.ratio(*size), maps)
    check.close(student.ratio(*size), size[0] * size[1])


def share(student, rng, check):
    """The mean of an activation map is the logit without its bias."""
    features, weight, bias = public.case(rng, (3, 7))
    classes = rng.integers(7, size=3)
    logits = public.logits_of(features, weight, bias)[0].data
    maps = student.activation_map(features, weight, classes)
    check.close(maps.mean(axis=(1, 2)), (logits - bias)[range(3), classes])


def rectangular(student, rng, check):
    """The brightest point of maps that are not square."""
    heat = rng.normal(size=(20, 3, 5))
    points = public.centres(heat, 30)
    check.close(student.brightest(heat, 30), points, {"y before x": points[:, ::-1]})


def shares_of_hits(student, rng, check):
    """The pointing game where boxes touch the point."""
    heat = rng.normal(size=(30, 4, 4))
    points = public.centres(heat, 16)
    boxes = public.boxes_around(rng, points)
    boxes[:10, :2], boxes[:10, 2:] = points[:10], points[:10] + 1
    check.close(student.pointing_game(heat, boxes, 16), public.inside(points, boxes))
