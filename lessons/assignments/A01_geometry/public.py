"""Public tests: expected values are those of tinycnn's own layers, run on an empty image."""

import numpy as np

from tinycnn import Tensor, nn, summary
from tinycnn import functional as F

COLUMNS = ("channels", "size", "parameters", "multiply-adds", "field")


def size_after(size, kernel, stride=1, padding=0, dilation=1):
    """Return the size of a column of ``size`` pixels after a convolution."""
    column = Tensor(np.zeros((1, 1, size, 1), np.float32))
    weight = Tensor(np.zeros((1, 1, kernel, 1), np.float32))
    return F.conv2d(column, weight, None, (stride, 1), (padding, 0), (dilation, 1)).shape[2]


def rows_of(layers, channels, size):
    """Return the table as :func:`tinycnn.summary` has it."""
    net, inputs, flat = nn.Sequential(), channels, False
    for layer in layers:
        match layer:
            case ("conv", outputs, kernel, stride, padding, groups):
                net.append(nn.Conv2d(inputs, outputs, kernel, stride, padding, groups=groups))
                inputs = outputs
            case ("pool", kernel, stride):
                net.append(nn.MaxPool2d(kernel, stride))
            case ("linear", outputs):
                if not flat:
                    inputs *= summary(net, (channels, size, size)).rows[-1].output_shape[1] ** 2
                    net.append(nn.Flatten())
                net.append(nn.Linear(inputs, outputs))
                inputs, flat = outputs, True
    rows = [row for row in summary(net, (channels, size, size)).rows if row.kind != "Flatten"]
    sizes = [row.output_shape[1] if len(row.output_shape) > 1 else 1 for row in rows]
    return [
        (row.output_shape[0], n, row.parameters, row.multiply_adds, row.receptive_field) for row, n in zip(rows, sizes)
    ]


def sizes(student, rng, check):
    """Output sizes for strides and paddings, rounded down."""
    for padded, stride in ((False, 2), (False, 5), (True, 1), (True, 3)):
        kernel = int(rng.integers(3, 12))
        padding = stride if padded else 0
        size = odd_size(rng, kernel, stride, padding)
        with check.part():
            expected = size_after(size, kernel, stride, padding)
            wrong = {
                "rounded up rather than down": expected + 1,
                "padding is added at both ends": size_after(size + padding, kernel, stride),
                "padding is missing": size_after(size, kernel, stride),
            }
            check.equal(student.output_size(size, kernel, stride, padding), expected, wrong)


def odd_size(rng, window, stride, padding):
    """An image whose output size has to be rounded, where the stride allows."""
    return int(rng.integers(10, 60)) * stride + window - 2 * padding + (stride > 1)


def parameters(student, rng, check):
    """Weights and biases of a convolution, with kernels that are not square."""
    for bias in (True, False):
        inputs, outputs, height, width = (int(n) for n in rng.integers(3, 60, 4))
        with check.part():
            net = nn.Conv2d(inputs, outputs, (height, width), bias=bias)
            expected = sum(p.size for p in net.parameters())
            wrong = {"the biases are missing": expected - outputs, "bias=False has none": expected + outputs}
            check.equal(student.conv_parameters(inputs, outputs, (height, width), bias=bias), expected, wrong)


def multiply_adds(student, rng, check):
    """Multiply-adds of a convolution for one image."""
    inputs, outputs, height, width, size = (int(n) for n in rng.integers(3, 12, 5))
    row = summary(nn.Conv2d(inputs, outputs, (height, width)), (inputs, size + height, 2 * size + width)).rows[0]
    got = student.conv_multiply_adds(inputs, outputs, (height, width), row.output_shape[1:])
    wrong = {"biases are additions alone: they do not count": row.multiply_adds + int(np.prod(row.output_shape))}
    check.equal(got, row.multiply_adds, wrong)


def fields(student, rng, check):
    """The receptive field of a stack with strides."""
    for depth in (2, 4):
        layers = [(int(k), int(s), 1) for k, s in rng.integers(2, 5, (depth, 2))]
        with check.part():
            net = nn.Sequential(*(nn.Conv2d(1, 1, (kernel, 1), (stride, 1)) for kernel, stride, _ in layers))
            expected = summary(net, (1, 4**depth * 4, 1)).rows[-1].receptive_field[0]
            check.equal(student.receptive_field(layers), expected)


def alexnet(student, rng, check):
    """AlexNet's table from 224 pixels, row by row, with fewer channels."""
    c1, c2, c3, c4, c5, hidden = (2 * int(n) for n in rng.integers(2, 7, 6))
    layers = [
        *(("conv", c1, 11, 4, 2, 1), ("pool", 3, 2), ("conv", c2, 5, 1, 2, 2), ("pool", 3, 2)),
        *(("conv", c3, 3, 1, 1, 1), ("conv", c4, 3, 1, 1, 2), ("conv", c5, 3, 1, 1, 2), ("pool", 3, 2)),
        *(("linear", hidden), ("linear", 10)),
    ]
    got, expected = student.audit(layers, 3, 224), rows_of(layers, 3, 224)
    check.equal(len(got), len(expected), what="the number of rows")
    for column in range(5):
        with check.part():
            check.equal([row[column] for row in got], [row[column] for row in expected], what=COLUMNS[column])
