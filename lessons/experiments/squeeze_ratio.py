"""Squeeze ratio and 3x3 share: the cost in accuracy of harder squeezing, or of fewer 3x3 kernels.

Iandola et al. 2016, figure 3, turned one dial at a time; here they are turned together.
"""

import sys

import numpy as np

import tinycnn as tc
from tinycnn import functional as F
from tinycnn import nn, plotting
from tinycnn.cli import main
from tinycnn.lesson import fit, glyphs
from tinycnn.lesson.experiment import Experiment, Option


class Fire(nn.Module):
    """A Fire module: squeeze to a ratio of the outputs; a share of these comes from 3x3 kernels, the rest from 1x1;
    batch norm.
    """

    def __init__(self, inputs, outputs, ratio, share):
        super().__init__()
        squeezed, threes = max(1, round(ratio * outputs)), round(share * outputs)
        self.squeeze = nn.Conv2d(inputs, squeezed, 1)
        self.ones = nn.Conv2d(squeezed, outputs - threes, 1) if threes < outputs else None
        self.threes = nn.Conv2d(squeezed, threes, 3, padding=1) if threes else None
        self.norm = nn.BatchNorm2d(outputs)

    def forward(self, x):
        """Return a map of as many channels as there are outputs."""
        squeezed = F.relu(self.squeeze(x))
        expanded = [layer(squeezed) for layer in (self.ones, self.threes) if layer is not None]
        return F.relu(self.norm(tc.concatenate(expanded, dim=1)))


def network(cell):
    """Return a convolution, four Fire modules, global average pooling, a linear layer."""
    inputs = cell["width"]
    layers = [nn.Conv2d(1, inputs, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2)]
    for number, outputs in enumerate((2 * inputs, 2 * inputs, 4 * inputs, 4 * inputs)):
        layers += [nn.MaxPool2d(2)] if number == 2 else []
        layers.append(Fire(inputs, outputs, cell["ratio"], cell["share"]))
        inputs = outputs
    return nn.Sequential(*layers, nn.GlobalAvgPool2d(), nn.Linear(inputs, 10))


def measure(cell):
    """Train one net."""
    train, test = glyphs(cell["images"], 1000)
    tc.manual_seed(cell["seed"])
    net = network(cell)
    title = f"ratio {cell['ratio']}, share {cell['share']}"
    trainer = fit(net, train, test, cell["epochs"], cell["lr"], seed=cell["seed"], title=title)
    table = tc.summary(net, train.images.shape[1:])
    errors = {f"{split}_error": 100 * (1 - trainer.history[-1][f"{split}_accuracy"]) for split in ("train", "test")}
    return [{"parameters": table.parameters, "multiply_adds": table.multiply_adds, **errors}]


def draw(rows):
    """Draw test error by one option, for some values of the other, and by size."""
    figure, grid = plotting.panels(11, 3.6, 3)
    dials = {"ratio": "squeeze ratio", "share": "share of 3x3"}
    values = {dial: sorted({row[dial] for row in rows}) for dial in dials}
    for axes, dial, other in zip(grid, dials, reversed(dials)):
        chosen = dict.fromkeys(values[other][place] for place in (0, len(values[other]) // 2, -1))
        for series, fixed in enumerate(chosen):
            runs = [[r["test_error"] for r in rows if (r[dial], r[other]) == (x, fixed)] for x in values[dial]]
            plotting.errors(axes, values[dial], runs, f"{dials[other]} {fixed:g}", series)
        axes.set(xlabel=dials[dial])
    for series, share in enumerate(values["share"]):
        own = [row for row in rows if row["share"] == share]
        sizes = sorted({row["parameters"] for row in own})
        means = [np.mean([row["test_error"] for row in own if row["parameters"] == size]) for size in sizes]
        colour, line, marker = plotting.SERIES[series % len(plotting.SERIES)]
        grid[2].plot(np.divide(sizes, 1000), means, line, marker=marker, color=colour, label=f"share of 3x3 {share:g}")
    grid[2].set(xlabel="parameters (thousands)", xscale="log")
    grid[2].xaxis.set_major_formatter("{x:g}")
    for axes in grid:
        axes.set(ylabel="test error (%)", ylim=(0, 125), yticks=range(0, 101, 20))
        axes.legend(fontsize=8)
    return {"squeeze_ratio": figure}


EXPERIMENT = Experiment(
    about="nets of Fire modules by squeeze ratio and by share of 3x3 kernels: size and test error",
    grid={
        "ratio": Option((0.0625, 0.125, 0.25, 0.5, 1.0), (0.125, 1.0), "squeezed channels to expanded ones"),
        "share": Option((0.0, 0.25, 0.5, 0.75, 1.0), (0.0, 0.5), "of 3x3 kernels among the expanding ones"),
        "seed": Option((0, 1, 2), (0, 1), "of weights and of the order of images"),
        "epochs": Option((6,), (1,), "times through the images"),
        "images": Option((1500,), (200,), "to train on"),
        "width": Option((16,), (8,), "channels of the first convolution"),
        "lr": Option((0.1,), (0.1,), "learning rate"),
    },
    measure=measure,
    draw=draw,
    summary=("parameters", "train_error", "test_error"),
)

if __name__ == "__main__":
    sys.exit(main(["experiment", "squeeze_ratio", *sys.argv[1:]]))
