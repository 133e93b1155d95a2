"""SqueezeNet: AlexNet's accuracy with 1/50 of its parameters.

Iandola et al., "SqueezeNet" (2016), table 1 and figure 2. A Fire module squeezes its input to few channels
with 1x1 convolutions, then expands with 1x1 and 3x3 convolutions side by side; pooling comes late, so that
feature maps stay large; the classifier is a 1x1 convolution and global average pooling, with no fully
connected layer at all.

=========  =================  =====================
Fire       squeeze, expand    parameters (1.0)
=========  =================  =====================
2, 3       16, 64 + 64        11,920; 12,432
4, 5       32, 128 + 128      45,344; 49,440
6, 7       48, 192 + 192      104,880; 111,024
8, 9       64, 256 + 256      188,992; 197,184
=========  =================  =====================

With the first convolution (14,208) and the last (513,000) that is 1,248,424. Version 1.1 has a smaller first
convolution and pools earlier: 1,235,496 parameters and 2.4 times less computation.
"""

from __future__ import annotations

from typing import Any

from tinycnn import nn
from tinycnn.models.common import check_size, scale
from tinycnn.nn import init
from tinycnn.tensor import Tensor
from tinycnn.tensor_functions import concatenate

STEMS = {"1_0": (96, 7, 2), "1_1": (64, 3, 2)}  # channels, kernel, stride
POOLS = {"1_0": (5, 9), "1_1": (4, 6)}  # the Fire modules that a pool stands before
FIRES = ((16, 64), (16, 64), (32, 128), (32, 128), (48, 192), (48, 192), (64, 256), (64, 256))
BYPASSES = ("none", "simple", "complex")


class Fire(nn.Module):
    """A Fire module: squeeze to ``squeeze`` channels, expand to ``2 * expand``.

    Parameters
    ----------
    inputs, squeeze, expand : int
    bypass : Module, optional
        The path by which the input is added to the output: an Identity or a 1x1 convolution.
    """

    def __init__(self, inputs: int, squeeze: int, expand: int, bypass: nn.Module | None = None) -> None:
        super().__init__()
        self.squeeze = nn.Conv2d(inputs, squeeze, 1)
        self.squeeze_activation = nn.ReLU()
        self.expand1x1 = nn.Conv2d(squeeze, expand, 1)
        self.expand1x1_activation = nn.ReLU()
        self.expand3x3 = nn.Conv2d(squeeze, expand, 3, padding=1)
        self.expand3x3_activation = nn.ReLU()
        self.bypass = bypass

    def forward(self, x: Tensor) -> Tensor:
        """Return a tensor of shape (N, 2 * expand, H, W)."""
        squeezed = self.squeeze_activation(self.squeeze(x))
        left = self.expand1x1_activation(self.expand1x1(squeezed))
        right = self.expand3x3_activation(self.expand3x3(squeezed))
        out = concatenate([left, right], dim=1)
        return out if self.bypass is None else out + self.bypass(x)


class SqueezeNet(nn.Module):
    """A convolution, Fire modules 2 to 9, a 1x1 convolution to the classes, global average pooling.

    Parameters
    ----------
    version : "1_0" or "1_1"
    num_classes, in_channels : int
    width : float
        Factor on channels.
    dropout : float
    bypass : "none", "simple" or "complex"
        Figure 2 of the paper: simple adds the input of Fire 3, 5, 7 and 9, where the sizes agree, to the
        output; complex also adds a 1x1 convolution of the input around the others.
    small_input : bool
        For images of 12 to about 95 pixels: the first convolution is 3x3 with stride 1. Without it they
        measure 29 pixels or more (version 1.1: 25).

    Notes
    -----
    Version 1.0 has a first convolution of 7x7 / 2 without padding as in torchvision, 109 pixels from 224; the
    paper's table says 111, which takes a padding of 2. Pools round their size up, as in Caffe.

    Examples
    --------
    >>> sum(p.size for p in squeezenet1_0(bypass="simple").parameters())
    1248424
    """

    def __init__(
        self,
        version: str,
        num_classes: int = 1000,
        in_channels: int = 3,
        width: float = 1.0,
        dropout: float = 0.5,
        bypass: str = "none",
        small_input: bool = False,
    ) -> None:
        super().__init__()
        if version not in STEMS:
            raise ValueError(f"squeezenet: version is {version!r}, expected one of {', '.join(STEMS)}")
        if bypass not in BYPASSES:
            raise ValueError(f"squeezenet: bypass is {bypass!r}, expected one of {', '.join(BYPASSES)}")
        self.version, self.small_input = version, small_input
        channels, kernel, stride = STEMS[version]
        inputs = scale(channels, width)
        first = (3, 1, 1) if small_input else (kernel, stride)
        layers = [nn.Conv2d(in_channels, inputs, *first), nn.ReLU(), _pool()]
        for number, (squeeze, expand) in enumerate(FIRES, start=2):
            if number in POOLS[version]:
                layers.append(_pool())
            squeeze, expand = scale(squeeze, width), scale(expand, width)
            layers.append(Fire(inputs, squeeze, expand, _bypass(bypass, inputs, 2 * expand)))
            inputs = 2 * expand
        self.features = nn.Sequential(*layers)
        self.classifier = nn.Sequential(nn.Dropout(dropout), nn.Conv2d(inputs, num_classes, 1), nn.ReLU())
        self.avgpool = nn.GlobalAvgPool2d()
        self._initialise()

    def _initialise(self) -> None:
        """Initialise convolutions He-uniform, the last one normal, all with zero bias."""
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                init.kaiming_uniform_(module.weight)
                init.zeros_(module.bias)
        init.normal_(self.classifier[1].weight, std=0.01)

    def forward(self, x: Tensor) -> Tensor:
        """Return logits (N, num_classes) of images (N, C, H, W)."""
        check_size(f"squeezenet{self.version}", x, 29 if self.version == "1_0" else 25, 12, self.small_input)
        return self.avgpool(self.classifier(self.features(x)))


def _pool() -> nn.Module:
    return nn.MaxPool2d(3, 2, ceil_mode=True)


def _bypass(kind: str, inputs: int, outputs: int) -> nn.Module | None:
    if kind == "none":
        return None
    if inputs == outputs:
        return nn.Identity()
    return nn.Conv2d(inputs, outputs, 1) if kind == "complex" else None


def squeezenet1_0(num_classes: int = 1000, **options: Any) -> SqueezeNet:
    """Return version 1.0, the paper's; ``bypass`` is "none", "simple" or "complex"."""
    return SqueezeNet("1_0", num_classes, **options)


def squeezenet1_1(num_classes: int = 1000, **options: Any) -> SqueezeNet:
    """Return version 1.1: the same accuracy at 2.4 times less computation; ``bypass`` as in 1.0."""
    return SqueezeNet("1_1", num_classes, **options)
