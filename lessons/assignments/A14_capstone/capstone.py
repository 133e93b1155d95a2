"""Your own network: at most 10,000 parameters, 60 seconds, and glyphs of fonts that it has never seen."""

import numpy as np

import tinycnn as tc
from tinycnn import functional as F


def design():
    """Return the network, as a list of layers.

    The grader builds the net from this list (``build`` in adapter.py), and counts its parameters itself. Layers are

    ``("conv", channels, kernel, stride)``
        A convolution with odd kernel and padding kernel // 2, without bias.
    ``("norm",)``, ``("relu",)``
        Batch norm, with two parameters a channel; ReLU.
    ``("pool", size)``
        Max pooling.
    ``("dropout", p)``
    ``("residual", [layers])``
        The input is added to the layers' output, which has the same shape.
    ``("fire", squeeze, expand)``
        Squeeze by 1x1, expand by 1x1 and 3x3: 2 * expand channels come out.

    Global average pooling and a linear layer to the ten classes always follow. Images are (N, 1, 16, 16).
    """
    ### BEGIN SOLUTION
    layers = []
    for channels in (8, 12, 0, 16, 20):
        layers += [("conv", channels, 3, 1), ("norm",), ("relu",)] if channels else [("pool", 2)]
    return layers
    ### END SOLUTION


def train(net, images, labels, seed):
    """Train the net in place.

    Parameters
    ----------
    net : Module
        As ``design`` has it, new.
    images : ndarray of float32, shape (3000, 1, 16, 16)
        Their mean is 0 and their standard deviation 1.
    labels : ndarray of int, shape (3000,)
        Which class has which number is drawn anew for every student: what was learned elsewhere is of no use.
    seed : int
    """
    ### BEGIN SOLUTION
    rng, epochs, size = np.random.default_rng(seed), 14, 32
    optimizer = tc.optim.Adam(net.parameters(), lr=0.01)
    steps = epochs * (len(images) // size)
    schedule = tc.optim.CosineAnnealingLR(optimizer, steps)
    for _ in range(epochs):
        for batch in np.array_split(rng.permutation(len(images)), len(images) // size):
            optimizer.zero_grad()
            F.cross_entropy(net(tc.Tensor(images[batch])), labels[batch]).backward()
            optimizer.step()
            schedule.step()
    ### END SOLUTION
