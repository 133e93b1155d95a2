"""AlexNet: five convolutions and three fully connected layers, ReLU, overlapping pooling, dropout.

Krizhevsky, Sutskever and Hinton, "ImageNet Classification with Deep Convolutional Neural Networks" (2012).
From 224x224 the feature maps measure 55, 27, 13, 13, 13 and 6 pixels: ``floor((224 + 2*2 - 11) / 4) + 1 =
55``; without the padding of 2, which the paper does not mention, 54.25.

====================  =======================  =========================  ========================
stage                 :func:`alexnet_article`  :func:`alexnet_2012`       :func:`alexnet`
====================  =======================  =========================  ========================
conv1 11x11 / 4       96                       96, LRN                    64
pool 3x3 / 2
conv2 5x5             256                      256 in 2 groups, LRN       192
pool 3x3 / 2
conv3 3x3             384                      384                        384
conv4 3x3             384                      384 in 2 groups            256
conv5 3x3             256                      256 in 2 groups            256
pool 3x3 / 2
fully connected       2048, 2048, classes      4096, 4096, classes        4096, 4096, classes
parameters (1000)     28,868,968               60,965,224                 61,100,840
====================  =======================  =========================  ========================
"""

from __future__ import annotations

from typing import Any

from tinycnn import nn
from tinycnn.models.common import check_size, scale
from tinycnn.tensor import Tensor


class AlexNet(nn.Module):
    """AlexNet: features, an average pool that fixes the grid, and a classifier.

    Parameters
    ----------
    channels : five ints
        Feature maps of the convolutions.
    hidden : int
        Size of the two hidden fully connected layers.
    num_classes, in_channels : int
    width : float
        Factor on channels and hidden size.
    dropout : float
        Probability before each hidden fully connected layer.
    two_gpus : bool
        The 2012 layout: conv2, conv4 and conv5 in two groups (each GPU saw its own half) and local response
        normalisation.
    small_input : bool
        For images of 15 to about 95 pixels: the first kernel is 5x5 with stride 1, and the grid 3x3 rather
        than 6x6. Without it they measure 63 pixels or more.

    Examples
    --------
    >>> import numpy as np
    >>> net = alexnet_2012(num_classes=10, width=0.125, small_input=True)
    >>> net(Tensor(np.zeros((1, 3, 32, 32), np.float32))).shape
    (1, 10)
    """

    def __init__(
        self,
        channels: tuple[int, int, int, int, int],
        hidden: int,
        num_classes: int = 1000,
        in_channels: int = 3,
        width: float = 1.0,
        dropout: float = 0.5,
        two_gpus: bool = False,
        small_input: bool = False,
    ) -> None:
        super().__init__()
        self.small_input = small_input
        groups = 2 if two_gpus else 1
        norm = _response_norm if two_gpus else list
        c1, c2, c3, c4, c5 = (scale(c, width, groups) for c in channels)
        hidden, grid = scale(hidden, width), 3 if small_input else 6
        first = (5, 1, 2) if small_input else (11, 4, 2)
        self.features = nn.Sequential(
            *(nn.Conv2d(in_channels, c1, *first), nn.ReLU(), *norm(), nn.MaxPool2d(3, 2)),
            *(nn.Conv2d(c1, c2, 5, 1, 2, groups=groups), nn.ReLU(), *norm(), nn.MaxPool2d(3, 2)),
            *(nn.Conv2d(c2, c3, 3, 1, 1), nn.ReLU()),
            *(nn.Conv2d(c3, c4, 3, 1, 1, groups=groups), nn.ReLU()),
            *(nn.Conv2d(c4, c5, 3, 1, 1, groups=groups), nn.ReLU(), nn.MaxPool2d(3, 2)),
        )
        self.avgpool = nn.AdaptiveAvgPool2d(grid)
        self.classifier = nn.Sequential(
            *(nn.Dropout(dropout), nn.Linear(c5 * grid * grid, hidden), nn.ReLU()),
            *(nn.Dropout(dropout), nn.Linear(hidden, hidden), nn.ReLU()),
            nn.Linear(hidden, num_classes),
        )

    def forward(self, x: Tensor) -> Tensor:
        """Return logits (N, num_classes) of images (N, C, H, W)."""
        check_size("alexnet", x, 63, 15, self.small_input)
        return self.classifier(self.avgpool(self.features(x)).flatten(1))


def _response_norm() -> list[nn.Module]:
    """Return section 3.3's layer: k = 2, n = 5, beta = 0.75; alpha = 1e-4 for a sum, 5e-4 for the mean that the layer
    takes.
    """
    return [nn.LocalResponseNorm(5, alpha=5e-4, beta=0.75, k=2.0)]


def alexnet(num_classes: int = 1000, **options: Any) -> AlexNet:
    """Return torchvision's AlexNet (Krizhevsky 2014, "One weird trick"), with its parameter names."""
    return AlexNet((64, 192, 384, 256, 256), 4096, num_classes, **options)


def alexnet_2012(num_classes: int = 1000, **options: Any) -> AlexNet:
    """Return the net of the 2012 paper, its two GPUs as two groups."""
    return AlexNet((96, 256, 384, 384, 256), 4096, num_classes, two_gpus=True, **options)


def alexnet_article(num_classes: int = 1000, **options: Any) -> AlexNet:
    """Return a single tower with the 2048 units in each hidden layer that one GPU of the paper held."""
    return AlexNet((96, 256, 384, 384, 256), 2048, num_classes, **options)
