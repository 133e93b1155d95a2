"""Public tests: expected gradients are those of tinycnn's own operations."""

import numpy as np

import tinycnn as tc
from tinycnn import functional as F
from tinycnn.assign.testing import beside

adapter = beside(__file__, "adapter.py")


def conv_gradients(grad, x, weight, stride=(1, 1), padding=(0, 0)):
    """Return the right gradients of input, weight and bias."""
    bias = np.zeros(len(weight), x.dtype)
    leaves = [tc.Tensor(array, requires_grad=True) for array in (x, weight, bias)]
    F.conv2d(*leaves, stride, padding).backward(grad)
    return [leaf.grad for leaf in leaves]


def pool_gradient(pool, grad, x, kernel, stride):
    """Return the right gradient of a pooling's input."""
    leaf = tc.Tensor(x, requires_grad=True)
    pool(leaf, kernel, stride).backward(grad)
    return leaf.grad


def conv_case(rng, stride=(1, 1), padding=(0, 0), size=(7, 6), kernel=(3, 2)):
    """Return arguments of conv2d_backward."""
    x, weight = rng.normal(size=(3, 2, *size)), rng.normal(size=(4, 2, *kernel))
    out = [(n + 2 * p - k) // s + 1 for n, p, k, s in zip(size, padding, kernel, stride)]
    return rng.normal(size=(3, 4, *out)), x, weight, stride, padding


def pool_case(rng, kernel, stride, size=(7, 6)):
    """Return arguments of a pooling's backward."""
    out = [(n - k) // s + 1 for n, k, s in zip(size, kernel, stride)]
    return rng.normal(size=(2, 3, *out)), rng.normal(size=(2, 3, *size)), kernel, stride


def compare_conv(student, check, which, case):
    """Compare one of the three gradients of a convolution."""
    got = student.conv2d_backward(*case)
    check.equal(len(got), 3, what="the number of results")
    expected = conv_gradients(*case)[which]
    grad, x, weight, *_ = case
    wrong = {}
    if which == 0 and weight.shape[2] > 1:
        wrong["the kernel is flipped"] = lambda: conv_gradients(grad, x, weight[:, :, ::-1, ::-1].copy(), *case[3:])[0]
    check.close(got[which], expected, wrong)


def bias(student, rng, check):
    """The gradient of a convolution's bias."""
    compare_conv(student, check, 2, conv_case(rng))


def weight(student, rng, check):
    """The gradient of a convolution's weight."""
    for size, kernel in (((7, 6), (3, 2)), ((6, 6), (3, 3))):
        with check.part():
            compare_conv(student, check, 1, conv_case(rng, size=size, kernel=kernel))


def input(student, rng, check):  # noqa: A001 (the name of a part in task.toml)
    """The gradient of a convolution's input."""
    for size, kernel in (((7, 6), (3, 2)), ((6, 6), (3, 3))):
        with check.part():
            compare_conv(student, check, 0, conv_case(rng, size=size, kernel=kernel))


def average(student, rng, check):
    """The gradient of average pooling."""
    case = pool_case(rng, (2, 3), (2, 3))
    check.close(student.avg_pool2d_backward(*case), pool_gradient(F.avg_pool2d, *case))


def maximum(student, rng, check):
    """The gradient of max pooling, windows side by side."""
    case = pool_case(rng, (2, 3), (2, 3))
    check.close(student.max_pool2d_backward(*case), pool_gradient(F.max_pool2d, *case))


def differences(student, rng, check):
    """Central differences find the gradient of a function, and leave x as it was."""
    x = rng.normal(size=(2, 3))
    slope = np.zeros((2, 3))
    slope[0, 0], slope[-1, -1] = x[-1, -1], x[0, 0]
    for name, expected in (("cubes", 3 * x**2), ("one product", slope)):
        with check.part():
            got, untouched = student.numeric(name, x)
            check.close(got, expected, {"one-sided differences?": expected + 3 * x * 1e-5}, 1e-6)
            check.equal(untouched, True, what="x being as before")
