"""Residual blocks, and the family of 6n + 2 layers for 32x32 images (He et al. 2015, section 4.2)."""

from tinycnn import functional as F
from tinycnn import nn, pad


class BasicBlock(nn.Module):
    """relu(F(x) + shortcut(x)), where F is: 3x3 convolution, batch norm, ReLU, 3x3 convolution, batch norm.

    Convolutions have no bias: batch norm takes it out again. The first one has the stride. The shortcut is the
    identity; where the shape changes it is option A of the paper, without parameters: every stride-th pixel of every
    stride-th row, and the new channels are zeros, half of them before the old channels and half behind.

    Parameters
    ----------
    inputs, outputs : int
        Channels.
    stride : int
    residual : bool
        False: the plain twin, relu(F(x)).
    """

    def __init__(self, inputs, outputs, stride=1, residual=True):
        super().__init__()
        self.half, self.stride, self.residual = (outputs - inputs) // 2, stride, residual
        # Make the layers in the order in which they run; parameters are compared in the order in which they are made.
        ### BEGIN SOLUTION
        self.conv1 = nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(outputs)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(outputs)
        ### END SOLUTION

    def forward(self, x):
        """Return the block's output. ``tinycnn.pad(x, (0, 0, 0, 0, a, b))`` adds a channels before those of x and b
        behind.
        """
        ### BEGIN SOLUTION
        out = self.bn2(self.conv2(F.relu(self.bn1(self.conv1(x)))))
        if self.residual:
            shortcut = x[:, :, :: self.stride, :: self.stride]
            out = out + pad(shortcut, (0, 0, 0, 0, self.half, self.half))
        return F.relu(out)
        ### END SOLUTION


class ResNet(nn.Module):
    """A 3x3 convolution to 16 channels with batch norm and ReLU; three stages of n blocks; mean; linear layer.

    The stages have 16, 32 and 64 channels; the first block of the second and of the third has stride 2. Global average
    pooling and one linear layer (with bias) end the net. With n = 3 it is ResNet-20.

    Parameters
    ----------
    n, num_classes : int
    residual : bool
        False: the plain twin.
    """

    def __init__(self, n, num_classes=10, residual=True):
        super().__init__()
        ### BEGIN SOLUTION
        self.conv1 = nn.Conv2d(3, 16, 3, 1, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(16)
        blocks, inputs = [], 16
        for stage in range(3):
            for number in range(n):
                stride = 2 if stage > 0 and number == 0 else 1
                blocks.append(BasicBlock(inputs, 16 * 2**stage, stride, residual))
                inputs = 16 * 2**stage
        self.blocks = nn.Sequential(*blocks)
        self.fc = nn.Linear(64, num_classes)
        ### END SOLUTION

    def forward(self, x):
        """Return logits (N, num_classes) of images (N, 3, H, W)."""
        ### BEGIN SOLUTION
        out = self.blocks(F.relu(self.bn1(self.conv1(x))))
        return self.fc(F.global_avg_pool2d(out))
        ### END SOLUTION


def parameters(n, num_classes=10):
    """Return how many parameters ``ResNet(n)`` has, by arithmetic: without making the net, for n in the hundreds."""
    ### BEGIN SOLUTION
    total = 3 * 16 * 9 + 2 * 16 + 64 * num_classes + num_classes
    inputs = 16
    for outputs in (16, 32, 64):
        total += 9 * outputs * (inputs + (2 * n - 1) * outputs) + 2 * n * 2 * outputs
        inputs = outputs
    return total
    ### END SOLUTION


def gradient_factor(slope, blocks, residual=True):
    """Return the factor of a gradient on its way through so many blocks, each with F'(x) = slope."""
    ### BEGIN SOLUTION
    return ((1 if residual else 0) + slope) ** blocks
    ### END SOLUTION
