"""Global average pooling, and maps of the evidence for a class.

``features`` are the maps (N, K, H, W) after the last convolution. The head averages each map and is linear:
logits = mean of features over places @ weight.T + bias, with weight (classes, K).
"""

import numpy as np


def head(features, weight, bias):
    """Return logits (N, classes): global average pooling, then the linear layer."""
    ### BEGIN SOLUTION
    return features.mean(axis=(2, 3)) @ weight.T + bias
    ### END SOLUTION


def head_backward(grad, features, weight):
    """Return the gradients of ``head``, given that of the logits.

    Returns
    -------
    (dfeatures, dweight, dbias)
    """
    ### BEGIN SOLUTION
    rows, columns = features.shape[2:]
    dmean = grad @ weight
    dfeatures = np.broadcast_to(dmean[:, :, None, None] / (rows * columns), features.shape)
    return dfeatures, grad.T @ features.mean(axis=(2, 3)), grad.sum(axis=0)
    ### END SOLUTION


def activation_map(features, weight, classes):
    """Return the class activation map (Zhou et al. 2016): each position's share in the logit of a class.

    Parameters
    ----------
    features : ndarray, shape (N, K, H, W)
    weight : ndarray, shape (classes, K)
    classes : ndarray of int, shape (N,)
        A class for each image.

    Returns
    -------
    ndarray, shape (N, H, W)
        The sum over k of weight[class, k] * features[k]. Its mean over places is the logit without the bias.
    """
    ### BEGIN SOLUTION
    return np.einsum("nk,nkhw->nhw", weight[classes], features)
    ### END SOLUTION


def grad_cam(features, gradient):
    """Return Grad-CAM without its ReLU (Selvaraju et al. 2017): each map weighed by the mean of its gradient.

    Parameters
    ----------
    features, gradient : ndarray, shape (N, K, H, W)
        The gradient of a class's logit with respect to features, for any head.

    Returns
    -------
    ndarray, shape (N, H, W)
    """
    ### BEGIN SOLUTION
    return (gradient.mean(axis=(2, 3), keepdims=True) * features).sum(axis=1)
    ### END SOLUTION


def ratio(height, width):
    """Return the number by which ``grad_cam`` of a net with this head must be multiplied to be ``activation_map``."""
    ### BEGIN SOLUTION
    return height * width
    ### END SOLUTION


def brightest(heat, size):
    """Return the position of each map's (N, H, W) maximum, in pixels of the image (size, size) that it came from.

    Returns
    -------
    ndarray of float, shape (N, 2)
        x and y of the centre of the largest element: element (row, column) covers size / H rows and size / W columns.
    """
    ### BEGIN SOLUTION
    _, height, width = heat.shape
    row, column = np.divmod(heat.reshape(len(heat), -1).argmax(axis=1), width)
    return np.stack([(column + 0.5) * size / width, (row + 0.5) * size / height], axis=1)
    ### END SOLUTION


def pointing_game(heat, boxes, size):
    """Return the share of maps whose brightest point is in the box (left, top, right, bottom), borders included."""
    ### BEGIN SOLUTION
    x, y = brightest(heat, size).T
    left, top, right, bottom = boxes.T
    return float(((left <= x) & (x <= right) & (top <= y) & (y <= bottom)).mean())
    ### END SOLUTION
