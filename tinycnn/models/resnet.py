"""ResNet: each block learns what to add to its input, F(x) + x, and each net has a plain twin that does not.

He, Zhang, Ren and Sun, "Deep Residual Learning for Image Recognition" (2015), table 1 (224x224) and section 4.2 (CIFAR).

=================  ==========  ==============  ===================
net                block       blocks          parameters
=================  ==========  ==============  ===================
ResNet-18          basic       2, 2, 2, 2      11,689,512
ResNet-34          basic       3, 4, 6, 3      21,797,672
ResNet-50          bottleneck  3, 4, 6, 3      25,557,032
ResNet-101         bottleneck  3, 4, 23, 3     44,549,160
ResNet-152         bottleneck  3, 8, 36, 3     60,192,808
CIFAR 6n+2 = 20    basic       n, n, n = 3     269,722
CIFAR 1202         basic       n = 200         19,421,274
=================  ==========  ==============  ===================

Where a block changes the size, the shortcut of the 224x224 nets is a 1x1 convolution (option B), that of the CIFAR nets
takes every second pixel and pads with zero channels (option A), which costs no parameter.
"""

from __future__ import annotations

from typing import Any

from tinycnn import functional as F
from tinycnn import nn
from tinycnn.models._build import he_start, scale
from tinycnn.ops.shape import pad
from tinycnn.tensor import Tensor

IMAGENET = {18: (2, 2, 2, 2), 34: (3, 4, 6, 3), 50: (3, 4, 6, 3), 101: (3, 4, 23, 3), 152: (3, 8, 36, 3)}
CIFAR = (8, 14, 20, 32, 44, 56, 110, 1202)


class PadShortcut(nn.Module):
    """Option A: every ``stride``-th pixel, with zero channels added on both sides."""

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.stride, self.before = stride, (outputs - inputs) // 2
        self.after = outputs - inputs - self.before

    def forward(self, x: Tensor) -> Tensor:
        """Tensor of shape (N, outputs, H / stride, W / stride)."""
        return pad(x[:, :, :: self.stride, :: self.stride], (0, 0, 0, 0, self.before, self.after))


def _shortcut(inputs: int, outputs: int, stride: int, project: bool) -> nn.Module | None:
    """What x must go through to be added: nothing, a projection (option B) or padding (option A)."""
    if stride == 1 and inputs == outputs:
        return None
    if project:
        return nn.Sequential(nn.Conv2d(inputs, outputs, 1, stride, bias=False), nn.BatchNorm2d(outputs))
    return PadShortcut(inputs, outputs, stride)


class BasicBlock(nn.Module):
    """relu(F(x) + x) with two 3x3 convolutions in F; relu(F(x)) in a plain net."""

    expansion = 1

    def __init__(
        self, inputs: int, width: int, stride: int, residual: bool, project: bool, stride_in_1x1: bool = False
    ) -> None:
        super().__init__()
        self.residual = residual
        self.conv1 = nn.Conv2d(inputs, width, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.conv2 = nn.Conv2d(width, width, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(width)
        self.downsample = _shortcut(inputs, width, stride, project) if residual else None

    def forward(self, x: Tensor) -> Tensor:
        """The block's output."""
        out = self.bn2(self.conv2(F.relu(self.bn1(self.conv1(x)))))
        return _join(out, x, self)


class Bottleneck(nn.Module):
    """F is 1x1 to a quarter of the channels, 3x3 there, 1x1 back.

    The stride is in the 3x3 as in torchvision, or in the first 1x1 as in the paper (``stride_in_1x1``).
    """

    expansion = 4

    def __init__(
        self, inputs: int, width: int, stride: int, residual: bool, project: bool, stride_in_1x1: bool = False
    ) -> None:
        super().__init__()
        self.residual = residual
        first, second = (stride, 1) if stride_in_1x1 else (1, stride)
        self.conv1 = nn.Conv2d(inputs, width, 1, first, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.conv2 = nn.Conv2d(width, width, 3, second, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(width)
        self.conv3 = nn.Conv2d(width, 4 * width, 1, bias=False)
        self.bn3 = nn.BatchNorm2d(4 * width)
        self.downsample = _shortcut(inputs, 4 * width, stride, project) if residual else None

    def forward(self, x: Tensor) -> Tensor:
        """The block's output."""
        out = F.relu(self.bn1(self.conv1(x)))
        out = F.relu(self.bn2(self.conv2(out)))
        return _join(self.bn3(self.conv3(out)), x, self)


def _join(out: Tensor, x: Tensor, block: Any) -> Tensor:
    """relu(out + shortcut(x)), or relu(out) in a plain net."""
    if block.residual:
        out = out + (x if block.downsample is None else block.downsample(x))
    return F.relu(out)


class ResNet(nn.Module):
    """A stem, stages of blocks that halve the image and double the channels, global average pooling, one linear layer.

    Parameters
    ----------
    block : BasicBlock or Bottleneck
    blocks : ints
        Blocks in each stage.
    channels : int
        Of the first stage; each further stage has twice as many.
    num_classes, in_channels : int
    width : float
        Factor on channels.
    residual : bool
        False: the plain twin, without shortcuts.
    project : bool
        Shortcuts by 1x1 convolution (option B) rather than padding (option A).
    stem : "large" or "small"
        7x7 / 2 and a 3x3 / 2 max pool, or one 3x3 convolution.
    stride_in_1x1 : bool
        Of bottleneck blocks.
    """

    def __init__(
        self,
        block: type[BasicBlock] | type[Bottleneck],
        blocks: tuple[int, ...],
        channels: int,
        num_classes: int,
        in_channels: int = 3,
        width: float = 1.0,
        residual: bool = True,
        project: bool = True,
        stem: str = "large",
        stride_in_1x1: bool = False,
    ) -> None:
        super().__init__()
        inputs = scale(channels, width)
        kernel = (7, 2, 3) if stem == "large" else (3, 1, 1)
        self.conv1 = nn.Conv2d(in_channels, inputs, *kernel, bias=False)
        self.bn1 = nn.BatchNorm2d(inputs)
        self.maxpool = nn.MaxPool2d(3, 2, 1) if stem == "large" else None
        self.stages = len(blocks)
        for stage, count in enumerate(blocks):
            outputs = scale(channels * 2**stage, width)
            layers = []
            for number in range(count):
                stride = 2 if stage and not number else 1
                layers.append(block(inputs, outputs, stride, residual, project, stride_in_1x1))
                inputs = outputs * block.expansion
            setattr(self, f"layer{stage + 1}", nn.Sequential(*layers))
        self.avgpool = nn.GlobalAvgPool2d()
        self.fc = nn.Linear(inputs, num_classes)
        he_start(self)

    def forward(self, x: Tensor) -> Tensor:
        """Logits (N, num_classes) of images (N, C, H, W)."""
        x = F.relu(self.bn1(self.conv1(x)))
        if self.maxpool is not None:
            x = self.maxpool(x)
        for stage in range(self.stages):
            x = getattr(self, f"layer{stage + 1}")(x)
        return self.fc(self.avgpool(x))


def imagenet_resnet(
    depth: int, num_classes: int = 1000, *, small_input: bool = False, residual: bool = True, **options: Any
) -> ResNet:
    """The net of ``depth`` layers for 224x224; with ``small_input`` a 3x3 stem and no first pool."""
    block = BasicBlock if depth < 50 else Bottleneck
    stem = "small" if small_input else "large"
    return ResNet(block, IMAGENET[depth], 64, num_classes, residual=residual, stem=stem, **options)


def cifar_resnet(depth: int, num_classes: int = 10, *, small_input: bool = True, **options: Any) -> ResNet:
    """The net of 6n + 2 layers for 32x32: 16, 32 and 64 channels, n blocks each; always for small inputs."""
    if depth < 8 or (depth - 2) % 6:
        raise ValueError(f"cifar_resnet: depth is {depth}, expected 6n + 2: 8, 14, 20, ...")
    return ResNet(BasicBlock, ((depth - 2) // 6,) * 3, 16, num_classes, project=False, stem="small", **options)


def _named(depth: int, residual: bool) -> Any:
    """The function ``resnet18`` or ``plain20`` ..., for the table below."""
    family = imagenet_resnet if depth in IMAGENET else cifar_resnet
    classes = 1000 if depth in IMAGENET else 10

    def build(num_classes: int = classes, **options: Any) -> ResNet:
        return family(depth, num_classes, residual=residual, **options)

    build.__name__ = build.__qualname__ = f"{'resnet' if residual else 'plain'}{depth}"
    size = "224x224" if depth in IMAGENET else "32x32 (CIFAR)"
    build.__doc__ = f"{'ResNet' if residual else 'The plain twin of ResNet'}-{depth} for {size} images."
    return build


NETS = {net.__name__: net for net in (_named(d, r) for r in (True, False) for d in (*IMAGENET, *CIFAR))}
globals().update(NETS)
