"""The benchmarked networks in PyTorch, with torchvision's parameter names, so that weights can be copied across."""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional as F


def alexnet() -> nn.Module:
    """Torchvision's AlexNet, 224x224."""
    net = nn.Module()
    net.features = nn.Sequential(
        *(nn.Conv2d(3, 64, 11, 4, 2), nn.ReLU(), nn.MaxPool2d(3, 2)),
        *(nn.Conv2d(64, 192, 5, 1, 2), nn.ReLU(), nn.MaxPool2d(3, 2)),
        *(nn.Conv2d(192, 384, 3, 1, 1), nn.ReLU()),
        *(nn.Conv2d(384, 256, 3, 1, 1), nn.ReLU()),
        *(nn.Conv2d(256, 256, 3, 1, 1), nn.ReLU(), nn.MaxPool2d(3, 2)),
    )
    net.classifier = nn.Sequential(
        *(nn.Dropout(), nn.Linear(256 * 36, 4096), nn.ReLU()),
        *(nn.Dropout(), nn.Linear(4096, 4096), nn.ReLU(), nn.Linear(4096, 1000)),
    )
    net.forward = lambda x: net.classifier(F.adaptive_avg_pool2d(net.features(x), 6).flatten(1))
    return net


def vgg16() -> nn.Module:
    """VGG-16 without batch norm, 224x224."""
    layers: list[nn.Module] = []
    channels = 3
    for width, count in ((64, 2), (128, 2), (256, 3), (512, 3), (512, 3)):
        for _ in range(count):
            layers += [nn.Conv2d(channels, width, 3, padding=1), nn.ReLU()]
            channels = width
        layers.append(nn.MaxPool2d(2))
    net = nn.Module()
    net.features = nn.Sequential(*layers)
    net.classifier = nn.Sequential(
        *(nn.Linear(512 * 49, 4096), nn.ReLU(), nn.Dropout()),
        *(nn.Linear(4096, 4096), nn.ReLU(), nn.Dropout(), nn.Linear(4096, 1000)),
    )
    net.forward = lambda x: net.classifier(F.adaptive_avg_pool2d(net.features(x), 7).flatten(1))
    return net


class BasicBlock(nn.Module):
    """Two 3x3 convolutions and a shortcut: projected (ResNet-18) or padded with zero channels (CIFAR nets)."""

    def __init__(self, inputs: int, outputs: int, stride: int, project: bool) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(outputs)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(outputs)
        self.stride, self.added = stride, outputs - inputs
        if project and (stride > 1 or self.added):
            self.downsample = nn.Sequential(nn.Conv2d(inputs, outputs, 1, stride, bias=False), nn.BatchNorm2d(outputs))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """relu(F(x) + shortcut(x))."""
        out = self.bn2(self.conv2(F.relu(self.bn1(self.conv1(x)))))
        if hasattr(self, "downsample"):
            x = self.downsample(x)
        elif self.added:
            half = self.added // 2
            x = F.pad(x[:, :, :: self.stride, :: self.stride], (0, 0, 0, 0, half, self.added - half))
        return F.relu(out + x)


def _residual(net: nn.Module, widths: tuple[int, ...], count: int, project: bool) -> None:
    inputs = widths[0]
    for number, width in enumerate(widths, 1):
        blocks = [BasicBlock(inputs if i == 0 else width, width, 2 if number > 1 and i == 0 else 1, project)
                  for i in range(count)]  # fmt: skip
        setattr(net, f"layer{number}", nn.Sequential(*blocks))
        inputs = width


def resnet18() -> nn.Module:
    """ResNet-18, 224x224."""
    net = nn.Module()
    net.conv1, net.bn1 = nn.Conv2d(3, 64, 7, 2, 3, bias=False), nn.BatchNorm2d(64)
    _residual(net, (64, 128, 256, 512), 2, project=True)
    net.fc = nn.Linear(512, 1000)

    def forward(x: torch.Tensor) -> torch.Tensor:
        x = F.max_pool2d(F.relu(net.bn1(net.conv1(x))), 3, 2, 1)
        x = net.layer4(net.layer3(net.layer2(net.layer1(x))))
        return net.fc(x.mean((2, 3)))

    net.forward = forward
    return net


def resnet20() -> nn.Module:
    """The CIFAR ResNet-20 with parameter-free shortcuts, 32x32, 10 classes."""
    net = nn.Module()
    net.conv1, net.bn1 = nn.Conv2d(3, 16, 3, 1, 1, bias=False), nn.BatchNorm2d(16)
    _residual(net, (16, 32, 64), 3, project=False)
    net.fc = nn.Linear(64, 10)

    def forward(x: torch.Tensor) -> torch.Tensor:
        x = net.layer3(net.layer2(net.layer1(F.relu(net.bn1(net.conv1(x))))))
        return net.fc(x.mean((2, 3)))

    net.forward = forward
    return net


class Fire(nn.Module):
    """Squeeze with 1x1, expand with 1x1 and 3x3."""

    def __init__(self, inputs: int, squeeze: int, expand: int) -> None:
        super().__init__()
        self.squeeze = nn.Conv2d(inputs, squeeze, 1)
        self.expand1x1 = nn.Conv2d(squeeze, expand, 1)
        self.expand3x3 = nn.Conv2d(squeeze, expand, 3, padding=1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Both expansions side by side."""
        x = F.relu(self.squeeze(x))
        return torch.cat([F.relu(self.expand1x1(x)), F.relu(self.expand3x3(x))], 1)


def squeezenet1_1() -> nn.Module:
    """SqueezeNet 1.1, 224x224."""
    pool = [nn.MaxPool2d(3, 2, ceil_mode=True) for _ in range(3)]
    net = nn.Module()
    net.features = nn.Sequential(
        *(nn.Conv2d(3, 64, 3, 2), nn.ReLU(), pool[0], Fire(64, 16, 64), Fire(128, 16, 64)),
        *(pool[1], Fire(128, 32, 128), Fire(256, 32, 128), pool[2]),
        *(Fire(256, 48, 192), Fire(384, 48, 192), Fire(384, 64, 256), Fire(512, 64, 256)),
    )
    net.classifier = nn.Sequential(nn.Dropout(), nn.Conv2d(512, 1000, 1), nn.ReLU())
    net.forward = lambda x: net.classifier(net.features(x)).mean((2, 3))
    return net
