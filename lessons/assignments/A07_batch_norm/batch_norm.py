"""Batch normalisation: forward in training and in evaluation, backward, and folded away.

Images are (N, C, H, W); all statistics are of a channel: over images and places. Ioffe and Szegedy (2015).
"""

import numpy as np


def train(x, gamma, beta, running_mean, running_var, momentum=0.1, eps=1e-5):
    """Normalise by the batch: gamma * (x - mean) / sqrt(var + eps) + beta.

    Returns
    -------
    (out, running_mean, running_var)
        New running statistics: (1 - momentum) * old + momentum * of this batch. The batch is normalised by the variance
        with division by the number of values; the running variance takes the one with division by that number less 1.
        The arrays that were given stay as they are.
    """
    ### BEGIN SOLUTION
    mean, var = x.mean(axis=(0, 2, 3)), x.var(axis=(0, 2, 3))
    count = x.size // x.shape[1]
    running_mean = (1 - momentum) * running_mean + momentum * mean
    running_var = (1 - momentum) * running_var + momentum * var * count / (count - 1)
    return evaluate(x, gamma, beta, mean, var, eps), running_mean, running_var
    ### END SOLUTION


def evaluate(x, gamma, beta, mean, var, eps=1e-5):
    """Normalise by given statistics."""
    ### BEGIN SOLUTION
    scale = gamma / np.sqrt(var + eps)
    return (x - mean[:, None, None]) * scale[:, None, None] + beta[:, None, None]
    ### END SOLUTION


def backward(grad, x, gamma, eps=1e-5):
    """Return the gradients of ``train``.

    Every value of a channel changes its mean and variance, so every output. With xhat = (x - mean) / sqrt(var + eps),
    dx = gamma / sqrt(var + eps) * (grad - mean of grad - xhat * mean of (grad * xhat)).

    Returns
    -------
    (dx, dgamma, dbeta)
    """
    ### BEGIN SOLUTION
    axes = (0, 2, 3)
    mean, var = x.mean(axis=axes, keepdims=True), x.var(axis=axes, keepdims=True)
    xhat = (x - mean) / np.sqrt(var + eps)
    inner = grad - grad.mean(axis=axes, keepdims=True) - xhat * (grad * xhat).mean(axis=axes, keepdims=True)
    dx = gamma[:, None, None] / np.sqrt(var + eps) * inner
    return dx, (grad * xhat).sum(axis=axes), grad.sum(axis=axes)
    ### END SOLUTION


def fold(weight, bias, gamma, beta, mean, var, eps=1e-5):
    """Return weight and bias of one convolution that replaces a convolution followed by ``evaluate``.

    Parameters
    ----------
    weight : ndarray, shape (O, C, kernel height, kernel width)
    bias : ndarray, shape (O,)
    """
    ### BEGIN SOLUTION
    scale = gamma / np.sqrt(var + eps)
    return weight * scale[:, None, None, None], (bias - mean) * scale + beta
    ### END SOLUTION
