"""AlexNet, and a training on glyphs."""

import numpy as np

import tinycnn as tc
from tinycnn import functional as F
from tinycnn import nn


class AlexNet(nn.Module):
    """Five convolutions and three fully connected layers, in one tower.

    ===========  ==========================================
    conv1        96 kernels 11x11, stride 4, padding 2
    pool         max, 3x3, stride 2 (windows overlap)
    conv2        256 kernels 5x5, padding 2
    pool         max, 3x3, stride 2
    conv3        384 kernels 3x3, padding 1
    conv4        384 kernels 3x3, padding 1
    conv5        256 kernels 3x3, padding 1
    pool         max, 3x3, stride 2
    flatten      256 maps of 6x6
    fc6          dropout, then 2048 units
    fc7          dropout, then 2048 units
    fc8          the classes
    ===========  ==========================================

    A ReLU follows each layer with weights but the last. All layers have biases.

    Parameters
    ----------
    num_classes, in_channels : int
    width : float
        Factor on all channels and hidden units: round(n * width).
    small : bool
        For images of 32x32: conv1 has 5x5 kernels, stride 1, padding 2, and the last maps are 3x3.
    dropout : float
        Probability.
    """

    def __init__(self, num_classes=1000, in_channels=3, width=1.0, small=False, dropout=0.5):
        super().__init__()
        ### BEGIN SOLUTION
        c1, c2, c3, c4, c5, hidden = (round(n * width) for n in (96, 256, 384, 384, 256, 2048))
        first, grid = ((5, 1, 2), 3) if small else ((11, 4, 2), 6)
        self.layers = nn.Sequential(
            *(nn.Conv2d(in_channels, c1, *first), nn.ReLU(), nn.MaxPool2d(3, 2)),
            *(nn.Conv2d(c1, c2, 5, padding=2), nn.ReLU(), nn.MaxPool2d(3, 2)),
            *(nn.Conv2d(c2, c3, 3, padding=1), nn.ReLU(), nn.Conv2d(c3, c4, 3, padding=1), nn.ReLU()),
            *(nn.Conv2d(c4, c5, 3, padding=1), nn.ReLU(), nn.MaxPool2d(3, 2), nn.Flatten()),
            *(nn.Dropout(dropout), nn.Linear(c5 * grid * grid, hidden), nn.ReLU()),
            *(nn.Dropout(dropout), nn.Linear(hidden, hidden), nn.ReLU(), nn.Linear(hidden, num_classes)),
        )
        ### END SOLUTION

    def forward(self, x):
        """Return logits (N, num_classes) of images: 224x224, or 32x32 if small."""
        ### BEGIN SOLUTION
        return self.layers(x)
        ### END SOLUTION


def train(images, labels, seed):
    """Train an ``AlexNet(10, 1, width=0.125, small=True)`` on glyphs, and return it.

    Parameters
    ----------
    images : ndarray of float32, shape (2000, 1, 32, 32)
        Their mean is 0 and their standard deviation 1.
    labels : ndarray of int, shape (2000,)
    seed : int
        ``tc.manual_seed(seed)`` first, so that your net starts the same again.

    Notes
    -----
    You have 60 seconds of one processor, compilation included; a good training takes 10. It is tested on glyphs of
    fonts that are not among these.
    """
    ### BEGIN SOLUTION
    tc.manual_seed(seed)
    rng = np.random.default_rng(seed)
    net = AlexNet(10, 1, width=0.125, small=True, dropout=0.2)
    optimizer = tc.optim.Adam(net.parameters(), lr=1e-3)
    for _ in range(5):
        for batch in np.array_split(rng.permutation(len(images)), len(images) // 32):
            optimizer.zero_grad()
            F.cross_entropy(net(tc.Tensor(images[batch])), labels[batch]).backward()
            optimizer.step()
    return net
    ### END SOLUTION
