"""Construction of the net from a design, for the student's training and for the grader's judgement."""

import numpy as np

import tinycnn as tc
from tinycnn import nn


class Residual(nn.Module):
    """A residual connection: x + inner(x)."""

    def __init__(self, inner):
        super().__init__()
        self.inner = inner

    def forward(self, x):
        """Return the sum."""
        return x + self.inner(x)


class Fire(nn.Module):
    """A Fire module: squeeze, then expand by 1x1 and 3x3."""

    def __init__(self, inputs, squeeze, expand):
        super().__init__()
        self.squeeze = nn.Conv2d(inputs, squeeze, 1)
        self.one, self.three = nn.Conv2d(squeeze, expand, 1), nn.Conv2d(squeeze, expand, 3, padding=1)

    def forward(self, x):
        """Return both expansions side by side."""
        x = tc.functional.relu(self.squeeze(x))
        return tc.functional.relu(tc.concatenate([self.one(x), self.three(x)], dim=1))


def build(design):
    """Build the whole network."""
    layers, channels = _layers(design, 1)
    return nn.Sequential(*layers, nn.GlobalAvgPool2d(), nn.Linear(channels, 10))


def _layers(design, channels):
    layers = []
    for kind, *numbers in design:
        if kind == "conv":
            outputs, kernel, stride = numbers
            layers.append(nn.Conv2d(channels, outputs, kernel, stride, kernel // 2, bias=False))
            channels = outputs
        elif kind == "residual":
            inner, _ = _layers(numbers[0], channels)
            layers.append(Residual(nn.Sequential(*inner)))
        elif kind == "fire":
            layers.append(Fire(channels, *numbers))
            channels = 2 * numbers[1]
        else:
            simple = {"relu": nn.ReLU, "pool": nn.MaxPool2d, "dropout": nn.Dropout, "norm": nn.BatchNorm2d}
            layers.append(simple[kind](*(numbers if kind != "norm" else [channels])))
    return layers, channels


def trained(student, images, labels, seed):
    """Return the design, and all parameters and statistics after training."""
    design = student.design()
    tc.manual_seed(seed)
    net = build(design)
    student.train(net, images, labels, seed)
    return design, {name: np.asarray(array) for name, array in net.state_dict().items()}


def outline(student):
    """Return the design alone."""
    return student.design()
