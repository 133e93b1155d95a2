"""A network in NumPy with everything that training takes. It ran, and learned; then ten faults got into it, one in each
function. The docstrings are right. Find the faults.

Images are (N, C, H, W), labels whole numbers, ``grad`` the gradient with respect to a function's output.
"""

import numpy as np


def normalise(images, mean, std):
    """Return pixels as float32, (x - mean) / std, a mean and a standard deviation for each channel."""
    ### BEGIN SOLUTION
    return ((images - mean[:, None, None]) / std[:, None, None]).astype(np.float32)
    ### INSTEAD
    # return ((images - mean[:, None]) / std[:, None]).astype(np.float32)
    ### END SOLUTION


def he_normal(rng, shape):
    """Return a weight (O, ...) from a normal distribution with standard deviation sqrt(2 / fan-in); fan-in is what
    one output sees.
    """
    ### BEGIN SOLUTION
    return rng.normal(size=shape) * np.sqrt(2 / np.prod(shape[1:]))
    ### INSTEAD
    # return rng.normal(size=shape) * np.sqrt(2 / shape[0])
    ### END SOLUTION


def batches(rng, images, labels, size):
    """Return the data in random order, in batches; every image once, the last batch may be smaller."""
    order = rng.permutation(len(images))
    ### BEGIN SOLUTION
    return [(images[order[i : i + size]], labels[order[i : i + size]]) for i in range(0, len(order), size)]
    ### INSTEAD
    # return [(images[order[i : i + size]], labels[i : i + size]) for i in range(0, len(order), size)]
    ### END SOLUTION


def linear_backward(grad, x, weight):
    """Return the gradients of y = x @ weight.T + bias: of x, of weight and of bias."""
    ### BEGIN SOLUTION
    return grad @ weight, grad.T @ x, grad.sum(axis=0)
    ### INSTEAD
    # return grad @ weight, grad.T @ x, grad.mean(axis=0)
    ### END SOLUTION


def max_pool(x):
    """Return the largest of each 2x2 window, windows side by side; a last odd row or column is left out."""
    n, c, h, w = x.shape
    ### BEGIN SOLUTION
    windows = x[:, :, : h // 2 * 2, : w // 2 * 2].reshape(n, c, h // 2, 2, w // 2, 2)
    return windows.max(axis=(3, 5))
    ### INSTEAD
    # windows = x[:, :, : h // 2 * 2, : w // 2 * 2].reshape(n, c, 2, h // 2, 2, w // 2)
    # return windows.max(axis=(2, 4))
    ### END SOLUTION


def log_softmax(logits):
    """Return the logarithm of the softmax of each row, finite whatever the logits."""
    ### BEGIN SOLUTION
    shifted = logits - logits.max(axis=1, keepdims=True)
    return shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True))
    ### INSTEAD
    # shifted = logits - logits.max(axis=0, keepdims=True)
    # return shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True))
    ### END SOLUTION


def batch_norm(x, gamma, beta, running, training, momentum=0.1, eps=1e-5):
    """Normalise each channel: by the batch in training, by ``running`` (mean, var) in evaluation.

    Returns
    -------
    (out, running)
        In training, new running statistics (the variance with division by the number of values).
    """
    batch = x.mean(axis=(0, 2, 3)), x.var(axis=(0, 2, 3))
    ### BEGIN SOLUTION
    mean, var = batch if training else running
    if training:
        running = tuple((1 - momentum) * old + momentum * new for old, new in zip(running, batch))
    ### INSTEAD
    # mean, var = batch
    # if training:
    #     running = tuple((1 - momentum) * old + momentum * new for old, new in zip(running, batch))
    ### END SOLUTION
    out = (x - mean[:, None, None]) / np.sqrt(var[:, None, None] + eps)
    return out * gamma[:, None, None] + beta[:, None, None], running


def momentum_step(weight, grad, velocity, lr, momentum):
    """Take one step of gradient descent: velocity = momentum * velocity + grad, then weight - lr * velocity.

    Returns
    -------
    (weight, velocity)
    """
    ### BEGIN SOLUTION
    velocity = momentum * velocity + grad
    return weight - lr * velocity, velocity
    ### INSTEAD
    # velocity = momentum * velocity + lr * grad
    # return weight - lr * velocity, velocity
    ### END SOLUTION


def cosine_rate(step, steps, lr, warmup):
    """Return the learning rate: up along a straight line from lr / warmup, at step 0, to lr; then down a cosine to 0.

    For steps from ``warmup`` on it is lr * (1 + cos(pi * t)) / 2, where t is the share of the steps after the warm-up
    that lies behind.
    """
    if step < warmup:
        return lr * (step + 1) / warmup
    ### BEGIN SOLUTION
    return lr * (1 + np.cos(np.pi * (step - warmup) / (steps - warmup))) / 2
    ### INSTEAD
    # return lr * (1 + np.cos(np.pi * step / steps)) / 2
    ### END SOLUTION


def clip_by_norm(grads, most):
    """Return all gradients times one factor, so that together they are no longer than ``most``; shorter ones stay."""
    ### BEGIN SOLUTION
    length = np.sqrt(sum((grad**2).sum() for grad in grads))
    return [grad * min(1.0, most / length) for grad in grads]
    ### INSTEAD
    # return [grad * min(1.0, most / np.sqrt((grad**2).sum())) for grad in grads]
    ### END SOLUTION
