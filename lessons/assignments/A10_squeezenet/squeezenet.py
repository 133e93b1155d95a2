"""The Fire module, and SqueezeNet 1.0 with simple and complex bypass (Iandola et al. 2016, table 1 and figure 2)."""

from tinycnn import concatenate, nn
from tinycnn import functional as F

FIRES = ((16, 64), (16, 64), (32, 128), (32, 128), (48, 192), (48, 192), (64, 256), (64, 256))  # fire2 to fire9


class Fire(nn.Module):
    """A Fire module: squeeze by 1x1 convolutions, expand by 1x1 and 3x3 side by side; ReLU after each.

    Parameters
    ----------
    inputs, squeeze, expand : int
        Channels; there are ``expand`` of each kind, so 2 * expand come out, those of the 1x1 first.
    bypass : Module, optional
        The path by which the input is added to the output.
    """

    def __init__(self, inputs, squeeze, expand, bypass=None):
        super().__init__()
        # In this order: squeeze, 1x1, 3x3 (all with biases), bypass.
        ### BEGIN SOLUTION
        self.squeeze = nn.Conv2d(inputs, squeeze, 1)
        self.expand1 = nn.Conv2d(squeeze, expand, 1)
        self.expand3 = nn.Conv2d(squeeze, expand, 3, padding=1)
        self.bypass = bypass
        ### END SOLUTION

    def forward(self, x):
        """Return (N, 2 * expand, H, W) for (N, inputs, H, W)."""
        ### BEGIN SOLUTION
        squeezed = F.relu(self.squeeze(x))
        out = concatenate([F.relu(self.expand1(squeezed)), F.relu(self.expand3(squeezed))], dim=1)
        return out if self.bypass is None else out + self.bypass(x)
        ### END SOLUTION


class SqueezeNet(nn.Module):
    """Convolution 7x7 / 2 to 96 channels, fire2 to fire9, 1x1 convolution to the classes, global average pooling.

    ReLU after both convolutions. A max pool of 3x3 / 2 (``ceil_mode=True``) stands behind the first convolution, behind
    fire4 and behind fire8. No layer is fully connected. Dropout is left out here.

    Parameters
    ----------
    num_classes : int
    bypass : {"none", "simple", "complex"}
        Figure 2 of the paper. Simple: the input of fire3, fire5, fire7 and fire9, where as many channels come in as go
        out, is added to the output. Complex: in addition a 1x1 convolution (with bias) of the input is added to the
        output of fire2, fire4, fire6 and fire8.
    """

    def __init__(self, num_classes=1000, bypass="none"):
        super().__init__()
        ### BEGIN SOLUTION
        layers, inputs = [nn.Conv2d(3, 96, 7, stride=2), nn.ReLU(), nn.MaxPool2d(3, 2, ceil_mode=True)], 96
        for number, (squeeze, expand) in enumerate(FIRES, start=2):
            around = nn.Identity() if bypass != "none" and inputs == 2 * expand else None
            if bypass == "complex" and inputs != 2 * expand:
                around = nn.Conv2d(inputs, 2 * expand, 1)
            layers.append(Fire(inputs, squeeze, expand, around))
            inputs = 2 * expand
            if number in (4, 8):
                layers.append(nn.MaxPool2d(3, 2, ceil_mode=True))
        self.layers = nn.Sequential(*layers, nn.Conv2d(inputs, num_classes, 1), nn.ReLU(), nn.GlobalAvgPool2d())
        ### END SOLUTION

    def forward(self, x):
        """Return logits (N, num_classes) of images (N, 3, H, W)."""
        ### BEGIN SOLUTION
        return self.layers(x)
        ### END SOLUTION


def fire_ratio(inputs, squeeze, expand):
    """Return the parameters of a 3x3 convolution with the same inputs and outputs as a multiple of Fire's (both
    with biases).
    """
    ### BEGIN SOLUTION
    fire = (inputs + 1) * squeeze + (squeeze + 1) * expand + (9 * squeeze + 1) * expand
    return (9 * inputs + 1) * 2 * expand / fire
    ### END SOLUTION
