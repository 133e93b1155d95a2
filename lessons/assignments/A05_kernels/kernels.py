"""Numba kernels: plain loops over arrays, compiled. Each writes its result into ``out``, and allocates nothing large.

Inputs are C-contiguous and of one float type, out is of the same type, and no input may change.
"""

import math

from numba import njit


@njit
def relu(x, out):
    """Write max(x, 0). x and out are flat. NaN stays NaN."""
    ### BEGIN SOLUTION
    for i in range(x.size):
        out[i] = 0 if x[i] <= 0 else x[i]
    ### END SOLUTION


@njit
def relu_backward(grad, x, out):
    """Write grad where x > 0, else 0. All are flat."""
    ### BEGIN SOLUTION
    for i in range(x.size):
        out[i] = grad[i] if x[i] > 0 else 0
    ### END SOLUTION


@njit
def dropout(x, noise, p, out):
    """Set to 0 where noise < p, and scale the rest by 1 / (1 - p), so that the mean stays.

    noise is uniform between 0 and 1, and of the shape of x; all are flat. Its backward pass is the same kernel, called
    with grad in the place of x and with the same noise.
    """
    ### BEGIN SOLUTION
    for i in range(x.size):
        out[i] = 0 if noise[i] < p else x[i] / (1 - p)
    ### END SOLUTION


@njit
def softmax(x, out):
    """Write each row of x (N, C) as probabilities: e**x / sum of e**x. Rows may hold 1000 or -1000: subtract the
    largest.
    """
    ### BEGIN SOLUTION
    for n in range(x.shape[0]):
        largest = x[n].max()
        total = 0.0
        for c in range(x.shape[1]):
            total += math.exp(x[n, c] - largest)
        for c in range(x.shape[1]):
            out[n, c] = math.exp(x[n, c] - largest) / total
    ### END SOLUTION


@njit
def cross_entropy(logits, labels):
    """Return the mean over rows of -log softmax(logits)[label].

    log of a softmax that has become 0 is minus infinity; log softmax(x) = x - largest - log(sum of e**(x - largest))
    is not.
    """
    ### BEGIN SOLUTION
    loss = 0.0
    for n in range(logits.shape[0]):
        largest = logits[n].max()
        total = 0.0
        for c in range(logits.shape[1]):
            total += math.exp(logits[n, c] - largest)
        loss += largest + math.log(total) - logits[n, labels[n]]
    return loss / logits.shape[0]
    ### END SOLUTION


@njit
def cross_entropy_backward(logits, labels, out):
    """Write the gradient of ``cross_entropy`` with respect to logits: (softmax - one-hot label) / N."""
    ### BEGIN SOLUTION
    softmax(logits, out)
    for n in range(logits.shape[0]):
        out[n, labels[n]] -= 1
        for c in range(logits.shape[1]):
            out[n, c] /= logits.shape[0]
    ### END SOLUTION
