"""VGG: 11 to 19 layers of 3x3 convolutions, pooling and three fully connected layers.

Simonyan and Zisserman, "Very Deep Convolutional Networks for Large-Scale Image Recognition" (2014), table 1,
columns A, B, D and E. Two 3x3 convolutions see 5x5 pixels with 18 weights a channel pair in place of 25,
three see 7x7 with 27 in place of 49.

=======  ==================================================  =======================
net      channels (M: 2x2 max pooling)                       parameters (1000)
=======  ==================================================  =======================
VGG-11   64 M 128 M 256 x2 M 512 x2 M 512 x2 M               132,863,336
VGG-13   64 x2 M 128 x2 M 256 x2 M 512 x2 M 512 x2 M         133,047,848
VGG-16   64 x2 M 128 x2 M 256 x3 M 512 x3 M 512 x3 M         138,357,544
VGG-19   64 x2 M 128 x2 M 256 x4 M 512 x4 M 512 x4 M         143,667,240
=======  ==================================================  =======================
"""

from __future__ import annotations

from typing import Any

from tinycnn import nn
from tinycnn.models.common import check_size, kaiming_init, scale
from tinycnn.tensor import Tensor

CHANNELS = (64, 128, 256, 512, 512)
REPEATS = {11: (1, 1, 2, 2, 2), 13: (2, 2, 2, 2, 2), 16: (2, 2, 3, 3, 3), 19: (2, 2, 4, 4, 4)}


class VGG(nn.Module):
    """Stacks of 3x3 convolutions, each closed by a pool, then the classifier.

    Parameters
    ----------
    depth : 11, 13, 16 or 19
        Layers with weights.
    batch_norm : bool
        Normalise after each convolution (not in the paper; torchvision's ``_bn`` variants).
    num_classes, in_channels : int
    width : float
        Factor on channels and hidden size.
    dropout : float
    small_input : bool
        For images of 17 to about 95 pixels: pools round sizes up (28 goes to 14, 7, 4, 2, 1) and the
        classifier sees a 1x1 grid rather than 7x7. Without it they measure 32 pixels or more.

    Raises
    ------
    ValueError
        If there is no such depth.
    """

    def __init__(
        self,
        depth: int,
        batch_norm: bool = False,
        num_classes: int = 1000,
        in_channels: int = 3,
        width: float = 1.0,
        dropout: float = 0.5,
        small_input: bool = False,
    ) -> None:
        super().__init__()
        if depth not in REPEATS:
            raise ValueError(f"vgg: depth is {depth}, expected one of {', '.join(map(str, REPEATS))}")
        self.depth, self.small_input = depth, small_input
        layers: list[nn.Module] = []
        inputs = in_channels
        for channels, repeats in zip(CHANNELS, REPEATS[depth]):
            outputs = scale(channels, width)
            for _ in range(repeats):
                layers.append(nn.Conv2d(inputs, outputs, 3, padding=1))
                layers += [nn.BatchNorm2d(outputs), nn.ReLU()] if batch_norm else [nn.ReLU()]
                inputs = outputs
            layers.append(nn.MaxPool2d(2, ceil_mode=small_input))
        hidden, grid = scale(4096, width), 1 if small_input else 7
        self.features = nn.Sequential(*layers)
        self.avgpool = nn.AdaptiveAvgPool2d(grid)
        self.classifier = nn.Sequential(
            *(nn.Linear(inputs * grid * grid, hidden), nn.ReLU(), nn.Dropout(dropout)),
            *(nn.Linear(hidden, hidden), nn.ReLU(), nn.Dropout(dropout)),
            nn.Linear(hidden, num_classes),
        )
        narrow = small_input or width < 1  # the published 0.01 would let the signal vanish there
        kaiming_init(self, linear_std=None if narrow else 0.01)

    def forward(self, x: Tensor) -> Tensor:
        """Return logits (N, num_classes) of images (N, C, H, W)."""
        check_size(f"vgg{self.depth}", x, 32, 17, self.small_input)
        return self.classifier(self.avgpool(self.features(x)).flatten(1))


def vgg11(num_classes: int = 1000, **options: Any) -> VGG:
    """Return column A."""
    return VGG(11, False, num_classes, **options)


def vgg13(num_classes: int = 1000, **options: Any) -> VGG:
    """Return column B."""
    return VGG(13, False, num_classes, **options)


def vgg16(num_classes: int = 1000, **options: Any) -> VGG:
    """Return column D."""
    return VGG(16, False, num_classes, **options)


def vgg19(num_classes: int = 1000, **options: Any) -> VGG:
    """Return column E."""
    return VGG(19, False, num_classes, **options)


def vgg11_bn(num_classes: int = 1000, **options: Any) -> VGG:
    """Return column A with batch norm."""
    return VGG(11, True, num_classes, **options)


def vgg13_bn(num_classes: int = 1000, **options: Any) -> VGG:
    """Return column B with batch norm."""
    return VGG(13, True, num_classes, **options)


def vgg16_bn(num_classes: int = 1000, **options: Any) -> VGG:
    """Return column D with batch norm."""
    return VGG(16, True, num_classes, **options)


def vgg19_bn(num_classes: int = 1000, **options: Any) -> VGG:
    """Return column E with batch norm."""
    return VGG(19, True, num_classes, **options)
