"""Hidden tests."""

import numpy as np

from tinycnn import nn, summary
from tinycnn.assign.testing import beside

public = beside(__file__, "public.py")


def dilated_sizes(student, rng, check):
    """Output sizes with dilation, and a ValueError where the window does not fit."""
    for stride, padding in ((2, 2), (3, 3)):
        kernel, dilation = int(rng.integers(3, 6)), int(rng.integers(2, 5))
        size = public.odd_size(rng, dilation * (kernel - 1) + 1, stride, padding)
        with check.part():
            expected = public.size_after(size, kernel, stride, padding, dilation)
            wrong = {"dilation is ignored": public.size_after(size, kernel, stride, padding)}
            check.equal(student.output_size(size, kernel, stride, padding, dilation), expected, wrong)
            check.refuses(student.output_size, dilation * (kernel - 1) - 2 * padding, kernel, 1, padding, dilation)


def groups(student, rng, check):
    """Parameters and multiply-adds of a convolution in groups."""
    groups = int(rng.integers(2, 5))
    inputs, outputs = (groups * int(n) for n in rng.integers(2, 6, 2))
    kernel, size = (int(rng.integers(2, 5)), int(rng.integers(2, 5))), int(rng.integers(6, 12))
    row = summary(nn.Conv2d(inputs, outputs, kernel, groups=groups), (inputs, size, size + 3)).rows[0]
    ungrouped = {"groups are ignored": groups * (row.parameters - outputs) + outputs}
    with check.part():
        check.equal(student.conv_parameters(inputs, outputs, kernel, groups), row.parameters, ungrouped)
    with check.part():
        got = student.conv_multiply_adds(inputs, outputs, kernel, row.output_shape[1:], groups)
        check.equal(got, row.multiply_adds, {"groups are ignored": groups * row.multiply_adds})


def dilated_fields(student, rng, check):
    """The receptive field of a stack with strides and dilation."""
    layers = [(int(k), int(s), int(d)) for k, s, d in rng.integers(2, 4, (3, 3))]
    net = nn.Sequential(*(nn.Conv2d(1, 1, (k, 1), (s, 1), dilation=(d, 1)) for k, s, d in layers))
    rows = summary(net, (1, 200, 1)).rows
    undilated = 1 + sum((k - 1) * int(np.prod([s for _, s, _ in layers[:n]])) for n, (k, _, _) in enumerate(layers))
    wrong = {"dilation is ignored": undilated}
    check.equal(student.receptive_field(layers), rows[-1].receptive_field[0], wrong)


def any_network(student, rng, check):
    """The table of a network drawn at random."""
    layers = [
        ("conv", int(rng.integers(2, 5)) * 2, int(rng.integers(3, 6)), 2, 2, 1),
        ("pool", int(rng.integers(2, 4)), 2),
        ("conv", int(rng.integers(2, 5)) * 2, 3, 1, 1, 2),
        ("linear", int(rng.integers(5, 20))),
        ("linear", 10),
    ]
    size = int(rng.integers(30, 50))
    check.equal(student.audit(layers, 3, size), public.rows_of(layers, 3, size))
