"""LeNet-5 as in Caffe, the net on which compression papers report: 431,080 parameters, nine tenths in one layer.

LeCun et al., "Gradient-Based Learning Applied to Document Recognition" (1998), is the original, of 60,000 parameters.
Caffe's has more channels, max pooling, and ReLU after the hidden fully connected layer alone. From 28x28 the feature
maps measure 24, 12, 8 and 4 pixels.

=====================  ==========
layer                  parameters
=====================  ==========
conv1 5x5, 20          520
conv2 5x5, 50          25,050
fully connected, 500   400,500
fully connected, 10    5,010
=====================  ==========
"""

from __future__ import annotations

from typing import Any

from tinycnn import nn
from tinycnn.models.common import check_size, scale
from tinycnn.tensor import Tensor

GRID = 4


class LeNet(nn.Module):
    """Two convolutions with max pooling, an average pool that fixes the grid to 4x4, two fully connected layers.

    Parameters
    ----------
    num_classes, in_channels : int
    width : float
        Factor on channels and hidden size.
    small_input : bool
        Has no effect: the net is for images of 16 pixels or more. At 28 pixels the average pool has none either.

    Examples
    --------
    >>> sum(p.size for p in lenet5().parameters())
    431080
    """

    def __init__(
        self, num_classes: int = 10, in_channels: int = 1, width: float = 1.0, small_input: bool = True
    ) -> None:
        super().__init__()
        c1, c2, hidden = (scale(channels, width) for channels in (20, 50, 500))
        self.features = nn.Sequential(
            *(nn.Conv2d(in_channels, c1, 5), nn.MaxPool2d(2)),
            *(nn.Conv2d(c1, c2, 5), nn.MaxPool2d(2)),
        )
        self.avgpool = nn.AdaptiveAvgPool2d(GRID)
        self.classifier = nn.Sequential(nn.Linear(c2 * GRID * GRID, hidden), nn.ReLU(), nn.Linear(hidden, num_classes))

    def forward(self, x: Tensor) -> Tensor:
        """Return logits (N, num_classes) of images (N, C, H, W)."""
        check_size("lenet5", x, 16, 16, True)
        return self.classifier(self.avgpool(self.features(x)).flatten(1))


def lenet5(num_classes: int = 10, **options: Any) -> LeNet:
    """Return Caffe's LeNet-5, by default for grey images of 28x28."""
    return LeNet(num_classes, **options)
