"""ResNet: each block learns the residual F(x) that it adds to its input, and each net has a plain twin without
shortcuts.

He, Zhang, Ren and Sun, "Deep Residual Learning for Image Recognition" (2015), table 1 (224x224) and section
4.2 (CIFAR).

==============  ==========  =============================  ==========
net             block       blocks                         parameters
==============  ==========  =============================  ==========
ResNet-18       basic       2, 2, 2, 2                     11,689,512
ResNet-34       basic       3, 4, 6, 3                     21,797,672
ResNet-50       bottleneck  3, 4, 6, 3                     25,557,032
ResNet-101      bottleneck  3, 4, 23, 3                    44,549,160
ResNet-152      bottleneck  3, 8, 36, 3                    60,192,808
CIFAR 20        basic       n, n, n with 6n + 2 = 20       269,722
CIFAR 32        basic       5, 5, 5                        464,154
CIFAR 44        basic       7, 7, 7                        658,586
CIFAR 56        basic       9, 9, 9                        853,018
CIFAR 110       basic       18, 18, 18                     1,727,962
CIFAR 1202      basic       200, 200, 200                  19,421,274
==============  ==========  =============================  ==========

Where a block changes the size, the shortcut of the 224x224 nets is a 1x1 convolution (option B), that of the
CIFAR nets takes every second pixel and pads with zero channels (option A), which costs no parameter: there a
plain twin has exactly as many. CIFAR 8 and 14 are the same recipe with one and two blocks in a stage, for
quick experiments.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from tinycnn import arguments, nn
from tinycnn.models.common import kaiming_init, scale
from tinycnn.tensor import Tensor
from tinycnn.tensor_functions import pad

BLOCKS = {18: (2, 2, 2, 2), 34: (3, 4, 6, 3), 50: (3, 4, 6, 3), 101: (3, 4, 23, 3), 152: (3, 8, 36, 3)}


class PadShortcut(nn.Module):
    """Option A: every ``stride``-th pixel, with zero channels added on both sides."""

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.stride, self.before = stride, (outputs - inputs) // 2
        self.after = outputs - inputs - self.before

    def forward(self, x: Tensor) -> Tensor:
        """Return a tensor of shape (N, outputs, H / stride, W / stride), rounded up."""
        return pad(x[:, :, :: self.stride, :: self.stride], (0, 0, 0, 0, self.before, self.after))

    def extra_repr(self) -> str:
        """Return the stride and the zero channels."""
        return f"stride={self.stride}, zero channels={self.before}+{self.after}"


def _shortcut(inputs: int, outputs: int, stride: int, project: bool) -> nn.Module | None:
    """Return the shortcut of x: the identity, a projection (option B) or padding (option A)."""
    if stride == 1 and inputs == outputs:
        return None
    if project:
        return nn.Sequential(nn.Conv2d(inputs, outputs, 1, stride, bias=False), nn.BatchNorm2d(outputs))
    return PadShortcut(inputs, outputs, stride)


class Block(nn.Module):
    """relu(F(x) + shortcut(x)), or relu(F(x)) in a plain net. Subclasses define F.

    Parameters
    ----------
    inputs : int
        Input channels; there are ``width * expansion`` output channels.
    width : int
        Channels inside.
    stride : int
    residual : bool
        False: a plain block, without shortcut.
    project : bool
        A shortcut between different sizes is a 1x1 convolution if True, padding if False.
    """

    expansion: int

    def __init__(self, inputs: int, width: int, stride: int, residual: bool = True, project: bool = True) -> None:
        super().__init__()
        self.residual = residual
        self.layers(inputs, width, stride)
        self.relu = nn.ReLU()
        self.downsample = _shortcut(inputs, width * self.expansion, stride, project) if residual else None

    def layers(self, inputs: int, width: int, stride: int) -> None:
        """Make the layers of F."""
        raise NotImplementedError(f"{type(self).__name__}: layers is not defined")

    def transform(self, x: Tensor) -> Tensor:
        """Return F(x), the residual."""
        raise NotImplementedError(f"{type(self).__name__}: transform is not defined")

    def forward(self, x: Tensor) -> Tensor:
        """Return the block's output."""
        out = self.transform(x)
        if self.residual:
            out = out + (x if self.downsample is None else self.downsample(x))
        return self.relu(out)


class BasicBlock(Block):
    """A block whose F is two 3x3 convolutions."""

    expansion = 1

    def layers(self, inputs: int, width: int, stride: int) -> None:
        """Make the layers of F."""
        self.conv1 = nn.Conv2d(inputs, width, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.conv2 = nn.Conv2d(width, width, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(width)

    def transform(self, x: Tensor) -> Tensor:
        """Return F(x), the residual."""
        out = self.relu(self.bn1(self.conv1(x)))
        return self.bn2(self.conv2(out))


class Bottleneck(Block):
    """A block whose F is 1x1 to a quarter of the channels, 3x3 there, 1x1 back.

    The stride is in the 3x3 as in torchvision; :class:`BottleneckOfPaper` has it in the first 1x1.
    """

    expansion = 4
    stride_in_1x1 = False

    def layers(self, inputs: int, width: int, stride: int) -> None:
        """Make the layers of F."""
        outputs = self.expansion * width
        first, second = (stride, 1) if self.stride_in_1x1 else (1, stride)
        self.conv1 = nn.Conv2d(inputs, width, 1, first, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.conv2 = nn.Conv2d(width, width, 3, second, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(width)
        self.conv3 = nn.Conv2d(width, outputs, 1, bias=False)
        self.bn3 = nn.BatchNorm2d(outputs)

    def transform(self, x: Tensor) -> Tensor:
        """Return F(x), the residual."""
        out = self.relu(self.bn1(self.conv1(x)))
        out = self.relu(self.bn2(self.conv2(out)))
        return self.bn3(self.conv3(out))


class BottleneckOfPaper(Bottleneck):
    """The bottleneck as published: fewer multiply-adds, but its 1x1 with stride 2 skips three pixels in four."""

    stride_in_1x1 = True


class ResNet(nn.Module):
    """A stem, stages that halve the image and double the channels, global average pooling, a linear layer.

    Parameters
    ----------
    block : BasicBlock, Bottleneck or BottleneckOfPaper
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
    small_input : bool
        The stem is one 3x3 convolution rather than 7x7 / 2 and a 3x3 / 2 max pool.

    Examples
    --------
    >>> import numpy as np
    >>> net = ResNet(BasicBlock, (1, 1, 1), channels=16, num_classes=10, small_input=True)
    >>> net(Tensor(np.zeros((2, 3, 32, 24), np.float32))).shape
    (2, 10)
    """

    def __init__(
        self,
        block: type[Block],
        blocks: tuple[int, ...],
        channels: int,
        num_classes: int,
        in_channels: int = 3,
        width: float = 1.0,
        residual: bool = True,
        project: bool = True,
        small_input: bool = False,
    ) -> None:
        super().__init__()
        self.small_input = small_input
        inputs = scale(channels, width)
        kernel = (3, 1, 1) if small_input else (7, 2, 3)
        self.conv1 = nn.Conv2d(in_channels, inputs, *kernel, bias=False)
        self.bn1 = nn.BatchNorm2d(inputs)
        self.relu = nn.ReLU()
        self.maxpool = None if small_input else nn.MaxPool2d(3, 2, 1)
        self.stages = len(blocks)
        for stage, count in enumerate(blocks):
            outputs = scale(channels * 2**stage, width)
            layers = []
            for number in range(count):
                stride = 2 if stage and not number else 1
                layers.append(block(inputs, outputs, stride, residual, project))
                inputs = outputs * block.expansion
            setattr(self, f"layer{stage + 1}", nn.Sequential(*layers))
        self.avgpool = nn.GlobalAvgPool2d()
        self.fc = nn.Linear(inputs, num_classes)
        kaiming_init(self)

    def forward(self, x: Tensor) -> Tensor:
        """Return logits (N, num_classes) of images (N, C, H, W)."""
        x = self.relu(self.bn1(self.conv1(x)))
        if self.maxpool is not None:
            x = self.maxpool(x)
        for stage in range(self.stages):
            x = getattr(self, f"layer{stage + 1}")(x)
        return self.fc(self.avgpool(x))


def imagenet_resnet(depth: int, num_classes: int = 1000, *, stride_in_1x1: bool = False, **options: Any) -> ResNet:
    """Return the net of 18, 34, 50, 101 or 152 layers for 224x224.

    Parameters
    ----------
    depth, num_classes : int
    stride_in_1x1 : bool
        Bottlenecks (50 layers and more) as published rather than as in torchvision.
    **options
        ``in_channels``, ``width``, ``residual``, ``small_input`` of :class:`ResNet`.

    Raises
    ------
    ValueError
        If there is no such depth, or no bottleneck to put the stride in.
    """
    if depth not in BLOCKS:
        raise ValueError(f"imagenet_resnet: depth is {depth}, expected one of {', '.join(map(str, BLOCKS))}")
    if stride_in_1x1 and depth < 50:
        raise ValueError(f"imagenet_resnet: stride_in_1x1 with depth {depth}, expected 50 or more: others have no 1x1")
    bottleneck = BottleneckOfPaper if stride_in_1x1 else Bottleneck
    return ResNet(BasicBlock if depth < 50 else bottleneck, BLOCKS[depth], 64, num_classes, **options)


def cifar_resnet(depth: int, num_classes: int = 10, *, small_input: bool = True, **options: Any) -> ResNet:
    """Return the net of 6n + 2 layers for 32x32: 16, 32 and 64 channels, n blocks each.

    Parameters
    ----------
    depth, num_classes : int
    small_input : bool
        Its stem is always the small one; the argument is there because every model takes it.
    **options
        ``in_channels``, ``width``, ``residual`` of :class:`ResNet`.

    Raises
    ------
    ValueError
        If depth is not 6n + 2.

    Examples
    --------
    >>> sum(p.size for p in cifar_resnet(20).parameters())
    269722
    """
    arguments.integer("cifar_resnet", "depth", depth, 1)
    if depth < 8 or (depth - 2) % 6:
        raise ValueError(f"cifar_resnet: depth is {depth}, expected 6n + 2: 8, 14, 20, ...")
    blocks = ((depth - 2) // 6,) * 3
    return ResNet(BasicBlock, blocks, 16, num_classes, project=False, small_input=True, **options)


def _twins(depth: int) -> tuple[Callable[..., ResNet], Callable[..., ResNet]]:
    """Return the functions ``resnet{depth}`` and ``plain{depth}``."""
    return _named(f"resnet{depth}", depth, True), _named(f"plain{depth}", depth, False)


def _named(name: str, depth: int, residual: bool) -> Callable[..., ResNet]:
    family, classes = (imagenet_resnet, 1000) if depth in BLOCKS else (cifar_resnet, 10)

    def build(num_classes: int = classes, **options: Any) -> ResNet:
        return family(depth, num_classes, residual=residual, **options)

    build.__name__ = build.__qualname__ = name
    kind = "ResNet" if residual else "The plain twin of ResNet"
    build.__doc__ = f"{kind}-{depth}; see :func:`{family.__name__}`."
    return build


resnet18, plain18 = _twins(18)
resnet34, plain34 = _twins(34)
resnet50, plain50 = _twins(50)
resnet101, plain101 = _twins(101)
resnet152, plain152 = _twins(152)

resnet8, plain8 = _twins(8)
resnet14, plain14 = _twins(14)
resnet20, plain20 = _twins(20)
resnet32, plain32 = _twins(32)
resnet44, plain44 = _twins(44)
resnet56, plain56 = _twins(56)
resnet110, plain110 = _twins(110)
resnet1202, plain1202 = _twins(1202)
