"""Convolution and pooling backward, and two ways to check a gradient.

``grad`` is always the gradient of the loss with respect to the output: of the output's shape. The functions return the
gradient with respect to each input. Images are (N, C, H, W).
"""

import numpy as np


def conv2d(x, weight, bias, stride=(1, 1), padding=(0, 0)):
    """Return the output of the forward pass, to start from."""
    padded = np.pad(x, ((0, 0), (0, 0), (padding[0],) * 2, (padding[1],) * 2))
    out = np.empty((len(x), len(weight), *places(padded, weight.shape[2:], stride)), x.dtype)
    for i, j, window in windows(padded, weight.shape[2:], stride):
        out[:, :, i, j] = np.tensordot(window, weight, ((1, 2, 3), (1, 2, 3))) + bias
    return out


def places(x, kernel, stride):
    """Return the number of positions of a window, in rows and columns."""
    return tuple((n - k) // s + 1 for n, k, s in zip(x.shape[2:], kernel, stride))


def windows(x, kernel, stride):
    """Yield each position (i, j) of a window, and the window there: a view, so writing to it changes x."""
    rows, columns = places(x, kernel, stride)
    for i in range(rows):
        for j in range(columns):
            top, left = i * stride[0], j * stride[1]
            yield i, j, x[:, :, top : top + kernel[0], left : left + kernel[1]]


def conv2d_backward(grad, x, weight, stride=(1, 1), padding=(0, 0)):
    """Return the gradients of a convolution.

    Every output is a sum of products of a weight and a pixel. So the gradient of a weight is the sum, over all places
    and images, of grad times the pixel it met; and the gradient of a pixel that of grad times the weight it met.

    Returns
    -------
    (dx, dweight, dbias)
        Of the shapes of x, of weight, and (O,).
    """
    ### BEGIN SOLUTION
    padded = np.pad(x, ((0, 0), (0, 0), (padding[0],) * 2, (padding[1],) * 2))
    dpadded, dweight = np.zeros_like(padded), np.zeros_like(weight)
    for i, j, window in windows(padded, weight.shape[2:], stride):
        dweight += np.tensordot(grad[:, :, i, j], window, (0, 0))
    for i, j, window in windows(dpadded, weight.shape[2:], stride):
        window += np.tensordot(grad[:, :, i, j], weight, 1)
    (height, width), (rows, columns) = x.shape[2:], padding
    dx = dpadded[:, :, rows : rows + height, columns : columns + width]
    return dx, dweight, grad.sum(axis=(0, 2, 3))
    ### END SOLUTION


def avg_pool2d_backward(grad, x, kernel, stride):
    """Return the gradient of average pooling: each pixel of a window had an equal share in its average."""
    ### BEGIN SOLUTION
    dx = np.zeros_like(x)
    for i, j, window in windows(dx, kernel, stride):
        window += grad[:, :, i, j, None, None] / (kernel[0] * kernel[1])
    return dx
    ### END SOLUTION


def max_pool2d_backward(grad, x, kernel, stride):
    """Return the gradient of max pooling: all of it goes to the pixel that won.

    Where several pixels are equal, the first one (row by row) has won. One that wins in several windows gets the sum.
    """
    ### BEGIN SOLUTION
    dx = np.zeros_like(x)
    places_of_x = windows(x, kernel, stride)
    for (i, j, window), (_, _, dwindow) in zip(places_of_x, windows(dx, kernel, stride)):
        winner = window.reshape(*x.shape[:2], -1).argmax(axis=2)
        here = winner[:, :, None] == np.arange(kernel[0] * kernel[1])
        dwindow += here.reshape(dwindow.shape) * grad[:, :, i, j, None, None]
    return dx
    ### END SOLUTION


def numeric_gradient(function, x, step=1e-5):
    """Return the gradient of ``function(x)``, a number, by central differences: (f(x + step) - f(x - step)) / (2 step).

    One element of x after the other; x itself is as before at the end.
    """
    ### BEGIN SOLUTION
    gradient = np.empty_like(x)
    for place in np.ndindex(*x.shape):
        moved = x.copy()
        moved[place] += step
        above = function(moved)
        moved[place] -= 2 * step
        gradient[place] = (above - function(moved)) / (2 * step)
    return gradient
    ### END SOLUTION


def adjoint_gap(forward, backward, x, y):
    """Return the distance of ``backward`` from the adjoint of the linear map ``forward``: 0 if it is the adjoint.

    For a linear map A, <A x, y> = <x, A^T y> for all x and y. The gap is the difference of the two numbers divided by
    the sum of their absolute values: a check of a whole backward pass in two calls, whatever the size of x.
    """
    ### BEGIN SOLUTION
    left, right = np.vdot(forward(x), y), np.vdot(x, backward(y))
    return abs(left - right) / (abs(left) + abs(right))
    ### END SOLUTION
