"""Public tests: expected values are those of tinycnn's own batch norm."""

import numpy as np

import tinycnn as tc
from tinycnn import functional as F


def case(rng, shape=(4, 3, 5, 2)):
    """Return images, gamma, beta, and running statistics."""
    x = rng.normal(3 * rng.normal(size=(shape[1], 1, 1)), 2, shape)
    gamma, beta, mean = rng.normal(size=(3, shape[1]))
    return x, gamma, beta, mean, rng.uniform(0.5, 2, shape[1])


def norm(x, gamma, beta, mean, var, training, momentum=0.1, eps=1e-5):
    """Return the right output, and the running statistics after it."""
    mean, var = mean.copy(), var.copy()
    out = F.batch_norm(tc.Tensor(x), mean, var, tc.Tensor(gamma), tc.Tensor(beta), training, momentum, eps)
    return out.data, mean, var


def compare_train(check, got, arguments, momentum=0.1, eps=1e-5):
    """Compare output and running statistics."""
    x, gamma, beta, mean, var = arguments
    unbiased = x.var(axis=(0, 2, 3), ddof=1)
    apart = (x - x.mean(axis=(0, 2, 3), keepdims=True)) * gamma[:, None, None]
    wrong = [
        {
            "normalised by the variance with division by n - 1": apart / np.sqrt(unbiased + eps)[:, None, None]
            + beta[:, None, None],
            "eps belongs under the root": apart / (x.std(axis=(0, 2, 3)) + eps)[:, None, None] + beta[:, None, None],
        },
        {"momentum weighs the batch, not what was": momentum * mean + (1 - momentum) * x.mean(axis=(0, 2, 3))},
        {
            "the running variance takes division by n - 1": (1 - momentum) * var + momentum * x.var(axis=(0, 2, 3)),
            "momentum weighs the batch, not what was": momentum * var + (1 - momentum) * unbiased,
        },
    ]
    check.equal(len(got), 3, what="the number of results")
    for one, other, typical in zip(got, norm(*arguments, True, momentum, eps), wrong):
        with check.part():
            check.close(one, other, typical)


def training(student, rng, check):
    """Training: the output, and both running statistics."""
    arguments = case(rng)
    compare_train(check, student.train(*arguments), arguments)


def evaluation(student, rng, check):
    """Evaluation: normalised by the statistics that are given."""
    arguments = case(rng)
    check.close(student.evaluate(*arguments), norm(*arguments, False)[0])


def gradients(grad, x, gamma, eps=1e-5):
    """Return the right gradients of x, gamma and beta."""
    leaves = [tc.Tensor(array, requires_grad=True) for array in (x, gamma, np.zeros_like(gamma))]
    F.batch_norm(leaves[0], None, None, leaves[1], leaves[2], True, eps=eps).backward(grad)
    return [leaf.grad for leaf in leaves]


def compare_backward(check, got, grad, x, gamma, eps=1e-5):
    """Compare the three gradients, each a part."""
    scale = (gamma / np.sqrt(x.var(axis=(0, 2, 3)) + eps))[:, None, None]
    constant = {
        "mean and variance are taken for constants": scale * grad,
        "the variance is taken for a constant": scale * (grad - grad.mean(axis=(0, 2, 3), keepdims=True)),
    }
    check.equal(len(got), 3, what="the number of results")
    for one, other, typical in zip(got, gradients(grad, x, gamma, eps), (constant, {}, {})):
        with check.part():
            check.close(one, other, typical)


def backward(student, rng, check):
    """The gradients of input, gamma and beta."""
    x, gamma, *_ = case(rng)
    grad = rng.normal(size=x.shape)
    compare_backward(check, student.backward(grad, x, gamma), grad, x, gamma)


def folded(student, rng, check):
    """A convolution with batch norm behind it is one convolution."""
    x, _, _, _, _ = case(rng)
    weight, bias = rng.normal(size=(4, 3, 3, 2)), rng.normal(size=4)
    _, *statistics = case(rng, (2, 4, 3, 3))
    compare_folded(student, check, x, weight, bias, statistics)


def compare_folded(student, check, x, weight, bias, statistics, eps=1e-5):
    """Compare the output of the folded convolution on images."""
    got = student.fold(weight, bias, *statistics, eps)
    check.equal([np.shape(array) for array in got], [weight.shape, bias.shape], what="the list of shapes")
    plain = F.conv2d(tc.Tensor(x), tc.Tensor(weight), tc.Tensor(bias)).data
    out = F.conv2d(tc.Tensor(x), tc.Tensor(got[0].astype(float)), tc.Tensor(got[1].astype(float))).data
    check.close(out, norm(plain, *statistics, False, eps=eps)[0])
