"""Public tests: expected values are those of tinycnn's own convolution."""

import numpy as np

from tinycnn import Tensor
from tinycnn import functional as F


def conv2d(x, weight, bias=None, stride=(1, 1), padding=(0, 0)):
    """Return the right answer."""
    return F.conv2d(Tensor(x), Tensor(weight), None if bias is None else Tensor(bias), stride, padding).data


def arrays(rng, batch=2, inputs=3, outputs=4, size=(8, 7), kernel=(3, 2)):
    """Return images, a weight and a bias."""
    return (
        rng.normal(size=(batch, inputs, *size)),
        rng.normal(size=(outputs, inputs, *kernel)),
        rng.normal(size=outputs),
    )


def compare(check, got, x, weight, bias=None, stride=(1, 1), padding=(0, 0)):
    """Compare with the right answer and some typical wrong ones."""
    flipped = {"the kernel is flipped": lambda: conv2d(x, weight[:, :, ::-1, ::-1].copy(), bias, stride, padding)}
    check.close(got, conv2d(x, weight, bias, stride, padding), flipped)


def padding(student, rng, check):
    """Zeros around the images, a different number for rows and columns."""
    x = rng.normal(size=(2, 3, 4, 5))
    wrong = {"all zeros at one end": np.pad(x, ((0, 0), (0, 0), (2, 0), (4, 0)))}
    check.close(student.pad(x, (1, 2)), np.pad(x, ((0, 0), (0, 0), (1, 1), (2, 2))), wrong)


def loops(student, rng, check):
    """The convolution by its definition, with and without a bias."""
    x, weight, bias = arrays(rng)
    with check.part():
        compare(check, student.conv2d_loops(x, weight), x, weight)
    with check.part():
        compare(check, student.conv2d_loops(x, weight, bias), x, weight, bias)
    with check.part():
        square, kernel, bias = arrays(rng, size=(6, 6), kernel=(3, 3))
        compare(check, student.conv2d_loops(square, kernel, bias), square, kernel, bias)


def strides(student, rng, check):
    """The convolution by its definition, with strides and paddings that differ between rows and columns."""
    for stride, padding in (((2, 1), (0, 0)), ((1, 1), (1, 2)), ((2, 3), (2, 1))):
        x, weight, bias = arrays(rng, size=(9, 8))
        with check.part():
            compare(check, student.conv2d_loops(x, weight, bias, stride, padding), x, weight, bias, stride, padding)


def columns(student, rng, check):
    """im2col: each window is a column, channel by channel, row by row."""
    x, _, _ = arrays(rng)
    check.close(student.im2col(x, (3, 2)), columns_of(x, (3, 2)))


def columns_of(x, kernel, stride=(1, 1), padding=(0, 0)):
    """Compare a convolution with kernels that are each 1 in a single position."""
    size = x.shape[1] * kernel[0] * kernel[1]
    return conv2d(x, np.eye(size).reshape(size, x.shape[1], *kernel), None, stride, padding).reshape(len(x), size, -1)


def product(student, rng, check):
    """The convolution as a matrix product."""
    for stride, padding in (((1, 1), (0, 0)), ((2, 1), (1, 0))):
        x, weight, bias = arrays(rng)
        with check.part():
            compare(check, student.conv2d_columns(x, weight, bias, stride, padding), x, weight, bias, stride, padding)


def two_make_one(student, rng, check):
    """Two 3x3 kernels in a row are one 5x5."""
    first, second = rng.normal(size=(4, 3, 3, 3)), rng.normal(size=(2, 4, 3, 3))
    compare_merged(student, rng, check, first, second)


def compare_merged(student, rng, check, first, second):
    """Compare a merged kernel: its shape, and its result on an image."""
    x = rng.normal(size=(1, first.shape[1], 9, 10))
    merged = student.merge(first, second)
    inner = [a + b - 1 for a, b in zip(first.shape[2:], second.shape[2:])]
    check.equal(list(np.shape(merged)), [len(second), first.shape[1], *inner], what="the shape")
    check.close(
        conv2d(x, merged),
        conv2d(conv2d(x, first), second),
        {"one of the two kernels is flipped": lambda: conv2d(conv2d(x, first), second[:, :, ::-1, ::-1].copy())},
    )
