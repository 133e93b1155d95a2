"""Tests of modules: the student's is filled with drawn parameters, and must agree with the right one."""

from __future__ import annotations

from typing import Any

import numpy as np

from tinycnn import Tensor, nn
from tinycnn.assign.testing import Check, Student


def compare(
    student: Student,
    rng: np.random.Generator,
    check: Check,
    net: nn.Module,
    kind: str,
    arguments: tuple[Any, ...],
    images: np.ndarray,
    training: bool = False,
) -> None:
    """Compare output and gradient in float64, with parameters that the grader draws. The adapter has
    ``output_and_gradient``.

    Parameters
    ----------
    student, rng, check
    net : Module
        The right one; its parameters are in the order in which the student's are.
    kind, arguments : str, tuple
        The student's class, and the arguments of its constructor.
    images : ndarray
    training : bool
    """
    for own in net.parameters():
        own.data[...] = rng.normal(scale=0.5 if own.ndim == 1 else (2 * len(own) / own.size) ** 0.5, size=own.shape)
    parameters = [own.data.astype(np.float64) for own in net.parameters()]
    net.to(np.float64).train(training)
    x = Tensor(images, requires_grad=True)
    out = net(x)
    (out * out).sum().backward()
    got = student.output_and_gradient(kind, arguments, parameters, images, training)
    check.close(got[0], out.data)
    check.close(got[1], x.grad)
