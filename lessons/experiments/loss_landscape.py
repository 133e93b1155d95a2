"""Loss landscape: the loss around a trained net, on a plane of two random directions (Li et al. 2018)."""

import sys

import numpy as np

import tinycnn as tc
from tinycnn import functional as F
from tinycnn import plotting
from tinycnn.cli import main
from tinycnn.lesson import glyphs
from tinycnn.lesson.experiment import Experiment, Option
from tinycnn.lesson.training import trained


def direction(net, rng):
    """Return a random direction, each filter of it as long as the net's own; biases and batch norm stay as they are."""
    steps = []
    for parameter in net.parameters():
        step = rng.normal(size=parameter.shape) * (parameter.ndim > 1)
        axes = tuple(range(1, parameter.ndim))
        lengths = [np.sqrt((array**2).sum(axes, keepdims=True)) for array in (parameter.data, step)] if axes else [0, 1]
        steps.append(step * lengths[0] / np.maximum(lengths[1], 1e-12))
    return steps


def measure(cell):
    """Train, then evaluate the plane; return a row for each point, with the loss on training images."""
    net = trained(*(cell[name] for name in ("net", "depth", "width", "seed", "images", "epochs", "lr")))
    images, labels = glyphs(cell["images"], 10)[0].batch(np.arange(min(128, cell["images"])), np.random.default_rng(0))
    rng, places = np.random.default_rng(cell["seed"]), np.linspace(-cell["reach"], cell["reach"], cell["points"])
    start = [parameter.data.copy() for parameter in net.parameters()]
    one, other, rows = direction(net, rng), direction(net, rng), []
    with tc.no_grad():
        for a in places:
            for b in places:
                for parameter, origin, u, v in zip(net.parameters(), start, one, other):
                    parameter.data[...] = origin + a * u + b * v
                rows.append({"a": a, "b": b, "loss": F.cross_entropy(net(tc.Tensor(images)), labels).item()})
    for parameter, origin in zip(net.parameters(), start):
        parameter.data[...] = origin
    low, near = min(r["loss"] for r in rows), [r["loss"] for r in rows if max(abs(r["a"]), abs(r["b"])) < 0.51]
    return [row | {"least": low, "median_within_half": float(np.median(near))} for row in rows]


def draw(rows):
    """Draw a contour map for each net of the first seed, all with the same levels."""
    deepest, seed = max(row["depth"] for row in rows), min(row["seed"] for row in rows)
    nets = list(dict.fromkeys(row["net"] for row in rows))
    figure, grid = plotting.panels(5 * len(nets), 4.2, len(nets))
    for axes, net in zip(np.atleast_1d(grid), nets):
        shown = [row for row in rows if (row["net"], row["depth"], row["seed"]) == (net, deepest, seed)]
        side = sorted({row["a"] for row in shown})
        loss = np.array([min(row["loss"], 1e3) for row in shown]).reshape(len(side), len(side))
        levels = np.arange(-2, 3.01, 0.25)
        surface = axes.contourf(side, side, np.log10(np.maximum(loss, 0.01)), levels, cmap="cividis", extend="both")
        lines = axes.contour(side, side, np.log10(np.maximum(loss, 0.01)), levels[::2], colors="white", linewidths=0.6)
        axes.clabel(lines, fontsize=7)
        axes.plot(0, 0, "+", color="white", markersize=10)
        axes.set(title=f"{net}, {deepest} layers", xlabel="step along one direction", ylabel="along the other")
        axes.locator_params(nbins=5)
        axes.set_aspect("equal")
    figure.colorbar(surface, ax=grid, label="loss (power of ten)", shrink=0.9)
    return {"landscape": figure}


EXPERIMENT = Experiment(
    about="the training loss on a plane through a trained net, plain and residual",
    grid={
        "net": Option(("plain", "residual"), ("plain", "residual"), "without and with shortcuts"),
        "depth": Option((20,), (8,), "layers, 6n + 2"),
        "seed": Option((0, 1), (0,), "of weights, images and directions"),
        "epochs": Option((10,), (1,), "times through the images"),
        "images": Option((1000,), (200,), "to train on"),
        "width": Option((0.5,), (0.25,), "factor on 16, 32 and 64 channels"),
        "lr": Option((0.1,), (0.1,), "learning rate"),
        "points": Option((17,), (5,), "along each side of the plane"),
        "reach": Option((1.0,), (1.0,), "from the middle: 1 is as long as the filters"),
    },
    measure=measure,
    draw=draw,
    summary=("least", "median_within_half"),
    cost=lambda cell: cell["depth"] * (cell["points"] ** 2 * 5 + cell["epochs"] * cell["images"]),
)

if __name__ == "__main__":
    sys.exit(main(["experiment", "loss_landscape", *sys.argv[1:]]))
