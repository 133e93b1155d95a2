"""Gradient flow: predict how gradients shrink or grow with depth, measure it, repair the net, explain.

Networks here are plain: h = activation(h @ weight.T) for each weight (O, I) in a list, without biases.
``activation`` is "linear" or "relu".
"""

import numpy as np


def first_zero(factor, dtype):
    """Return how often 1 must be multiplied by a factor below 0.5, in arithmetic of a dtype such as "float16", to
    become 0.
    """
    ### BEGIN SOLUTION
    value, count, factor = np.dtype(dtype).type(1), 0, np.dtype(dtype).type(factor)
    while value:
        value, count = value * factor, count + 1
    return count
    ### END SOLUTION


def predicted_slope(width, std, activation):
    """Return log10 of the factor by which the gradient's length changes with each layer, on its way back.

    Weights are (width, width) and normal with standard deviation ``std``. A product with such a matrix makes a vector
    std * sqrt(width) times as long, on average; and a ReLU lets half of the elements of a gradient pass.
    """
    ### BEGIN SOLUTION
    return np.log10(std * np.sqrt(width if activation == "linear" else width / 2))
    ### END SOLUTION


def gradient_lengths(weights, x, grad, activation):
    """Return the length of the gradient at the input of each layer, the first layer first.

    Parameters
    ----------
    weights : list of ndarray, shape (O, I)
    x : ndarray, shape (N, I)
    grad : ndarray, shape (N, O of the last layer)
        The gradient at the output of the last layer.

    Returns
    -------
    ndarray, shape (layers,)
        Euclidean lengths of the whole array (N, I of that layer).
    """
    ### BEGIN SOLUTION
    passed = []
    for weight in weights:
        x = x @ weight.T
        passed.append(x > 0 if activation == "relu" else np.ones_like(x))
        x = x * passed[-1]
    lengths = []
    for weight, mask in zip(weights[::-1], passed[::-1]):
        grad = (grad * mask) @ weight
        lengths.append(np.sqrt((grad**2).sum()))
    return np.array(lengths[::-1])
    ### END SOLUTION


def measured_slope(lengths):
    """Return the slope of the straight line that fits log10(lengths) best, against the number of layers still behind.

    ``lengths`` are those of ``gradient_lengths``: the last one has gone back through one layer, the first through all.
    """
    ### BEGIN SOLUTION
    return np.polyfit(np.arange(len(lengths), 0, -1), np.log10(lengths), 1)[0]
    ### END SOLUTION


def repair(weights, activation):
    """Return the same weights, each times a number, so that the predicted slope is 0: the net trains at any depth.

    Weights may have any standard deviation; take it from the array. For ReLU this is He's initialisation (2015).
    """
    ### BEGIN SOLUTION
    gain = 1 if activation == "linear" else 2
    return [weight / weight.std() * np.sqrt(gain / weight.shape[0]) for weight in weights]
    ### END SOLUTION


def explanation():
    """Return three sentences, marked by hand.

    Why does a net of 30 layers with weights a factor of 2 too small not learn? Why does a larger learning rate not
    help? Why does a shortcut around each layer?
    """
    ### BEGIN SOLUTION
    return (
        "Each layer halves the gradient, so after 30 layers it is 2**30 times too small for the first ones. A learning "
        "rate that is large enough for the first layers is far too large for the last ones. With a shortcut the factor "
        "of a block is 1 + f' rather than f': the gradient passes even where f' is small."
    )
    ### END SOLUTION
