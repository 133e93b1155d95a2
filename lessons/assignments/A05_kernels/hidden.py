"""Hidden tests."""

import numpy as np

import tinycnn as tc
from tinycnn import functional as F
from tinycnn.assign.testing import beside

public = beside(__file__, "public.py")


def large_softmax(student, rng, check):
    """Softmax of logits of a thousand and more, of both signs."""
    x, _ = public.logits_of(rng, scale=800.0)
    check.close(student.fill("softmax", x), F.softmax(tc.Tensor(x)).data)
    check.close(student.fill("softmax", x - 2000), F.softmax(tc.Tensor(x - 2000)).data)


def large_loss(student, rng, check):
    """Cross-entropy where the label's probability is too small to be a number."""
    logits, labels = public.logits_of(rng, scale=800.0)
    check.close(student.number("cross_entropy", logits, labels), public.loss_and_gradient(logits, labels)[0])


def large_loss_backward(student, rng, check):
    """The gradient of cross-entropy for large logits."""
    logits, labels = public.logits_of(rng, scale=800.0)
    check.close(student.fill("cross_entropy_backward", logits, labels), public.loss_and_gradient(logits, labels)[1])


def single_precision(student, rng, check):
    """Softmax and dropout in float32, with another shape."""
    x, _ = public.logits_of(rng, 1, 7, 3.0, np.float32)
    with check.part():
        check.close(student.fill("softmax", x), F.softmax(tc.Tensor(x)).data)
    with check.part():
        flat, noise = x[0], rng.uniform(size=7).astype(np.float32)
        check.close(student.fill("dropout", flat, noise, 0.5), (noise >= 0.5) * flat * 2)
