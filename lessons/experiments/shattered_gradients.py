"""Shattered gradients: how alike are the gradients of neighbouring inputs? (Balduzzi et al. 2017, figures 1 and 2.)"""

import sys

import numpy as np

import tinycnn as tc
from tinycnn import nn, plotting
from tinycnn.cli import main
from tinycnn.lesson.experiment import Experiment, Option


class Layer(nn.Module):
    """A layer relu(x) through a linear layer, after batch norm over the inputs; x is added if there is a shortcut."""

    def __init__(self, width, kind):
        super().__init__()
        self.norm = nn.BatchNorm2d(width) if kind != "plain" else nn.Identity()
        self.relu, self.linear, self.shortcut = nn.ReLU(), nn.Conv2d(width, width, 1, bias=False), kind == "residual"
        nn.init.kaiming_normal_(self.linear.weight, nonlinearity="relu")

    def forward(self, x):
        """Return a tensor of x's shape (N, width, 1, 1)."""
        out = self.linear(self.relu(self.norm(x)))
        return out + x if self.shortcut else out


def measure(cell):
    """Return the gradient of a scalar net at points of a line, and its autocorrelation; a row for each point and
    lag.
    """
    tc.manual_seed(cell["seed"])
    width = cell["width"]
    first = nn.Conv2d(1, width, 1)
    nn.init.normal_(first.weight)
    nn.init.normal_(first.bias)
    layers = [Layer(width, cell["net"]) for _ in range(cell["depth"])]
    net = nn.Sequential(first, *layers, nn.ReLU(), nn.Conv2d(width, 1, 1, bias=False)).to(np.float64)
    x = tc.Tensor(np.linspace(-2, 2, cell["points"]).reshape(-1, 1, 1, 1), requires_grad=True)
    net(x).sum().backward()
    gradient = x.grad.ravel()
    centred = gradient - gradient.mean()
    power = centred @ centred or 1.0
    correlation = [centred[lag:] @ centred[: len(centred) - lag] / power for lag in range(len(centred))]
    scaled = gradient / (np.abs(gradient).max() or 1.0)
    neighbour = correlation[1]
    places = zip(x.data.ravel(), scaled, correlation)
    return [
        {"x": place, "gradient": g, "lag": lag, "correlation": c, "neighbour": neighbour}
        for lag, (place, g, c) in enumerate(places)
    ]


def draw(rows):
    """Draw the gradients themselves, and the autocorrelation."""
    nets = list(dict.fromkeys(row["net"] for row in rows))
    deepest, depths = max(row["depth"] for row in rows), sorted({row["depth"] for row in rows})
    seed = min(row["seed"] for row in rows)
    figure, grid = plotting.panels(10, 5.6, len(nets), 2)
    grid = grid.reshape(2, len(nets))
    for series, (net, above, below) in enumerate(zip(nets, *grid)):
        shown = [row for row in rows if (row["net"], row["depth"], row["seed"]) == (net, deepest, seed)]
        above.plot([r["x"] for r in shown], [r["gradient"] for r in shown], color=plotting.SERIES[series][0], lw=0.9)
        above.set(title=f"{net}, {deepest} layers", xlabel="input", ylabel="gradient, scaled", ylim=(-1.05, 1.05))
        for number, depth in enumerate(depths):
            runs = [r for r in rows if (r["net"], r["depth"]) == (net, depth) and r["lag"] < 16]
            means = [np.mean([r["correlation"] for r in runs if r["lag"] == lag]) for lag in range(16)]
            plotting.curve(below, range(16), means, f"{depth} layers", number)
        below.set(xlabel="distance (points)", ylabel="autocorrelation", ylim=(-0.2, 1.05))
    grid[1][0].legend(fontsize=8)
    return {"gradients": figure}


EXPERIMENT = Experiment(
    about="the gradient along a line of inputs in plain, batch-normalised and residual nets",
    grid={
        "net": Option(("plain", "batch norm", "residual"), ("plain", "batch norm", "residual"), "kind of net"),
        "depth": Option((2, 10, 24, 50), (2, 24), "hidden layers"),
        "seed": Option((0, 1, 2, 3, 4), (0,), "of weights"),
        "width": Option((200,), (50,), "units in a layer"),
        "points": Option((256,), (128,), "inputs between -2 and 2"),
    },
    measure=measure,
    draw=draw,
    summary=("neighbour",),
    cost=lambda cell: cell["depth"],
)

if __name__ == "__main__":
    sys.exit(main(["experiment", "shattered_gradients", *sys.argv[1:]]))
