"""Vanishing and exploding: activations and gradients by depth, activation, initialisation, normalisation and
shortcut.
"""

import sys

import numpy as np

import tinycnn as tc
from tinycnn import functional as F
from tinycnn import nn, plotting
from tinycnn.cli import main
from tinycnn.data import DataLoader
from tinycnn.lesson import glyphs
from tinycnn.lesson.experiment import Experiment, Option

ACTIVATIONS = {"relu": nn.ReLU, "tanh": nn.Tanh, "sigmoid": nn.Sigmoid}
STARTS = {"xavier": nn.init.xavier_normal_, "he": nn.init.kaiming_normal_}
EDGES = np.arange(-10, 6.5, 0.5)  # powers of ten


class Layer(nn.Module):
    """A layer act(norm(conv(x))), and x added to it if there is a shortcut."""

    def __init__(self, width, cell):
        super().__init__()
        self.conv = nn.Conv2d(width, width, 3, padding=1, bias=False)
        STARTS[cell["start"]](self.conv.weight)
        self.norm = nn.BatchNorm2d(width) if cell["norm"] == "batch" else nn.Identity()
        self.act, self.shortcut = ACTIVATIONS[cell["activation"]](), cell["shortcut"] == "yes"

    def forward(self, x):
        """Return a map of x's shape."""
        out = self.act(self.norm(self.conv(x)))
        return out + x if self.shortcut else out


def network(cell):
    """Return a stem, the layers of one width, global average pooling, a linear layer."""
    tc.manual_seed(cell["seed"])
    width = cell["width"]
    layers = [Layer(width, cell) for _ in range(cell["depth"])]
    return nn.Sequential(nn.Conv2d(1, width, 3, 2, 1), *layers, nn.GlobalAvgPool2d(), nn.Linear(width, 10))


def spread(array):
    """Return a histogram of the power of ten of an array's elements that are not 0, in per cent of all, as text."""
    sizes = np.log10(np.abs(array[array != 0]))
    counts = np.histogram(np.clip(sizes, EDGES[0], EDGES[-1] - 0.01), EDGES)[0]
    return ";".join(f"{100 * count / array.size:.3g}" for count in counts)


def spreads(net, layers, images, labels):
    """Return histograms of each layer's output and of its gradient, for one batch."""
    kept, hooks = {}, []

    def forward(module, _, output):
        kept[module] = {"values": spread(output.data)}
        output.register_hook(lambda grad: kept[module].update(gradients=spread(grad)))

    for layer in layers:
        hooks.append(layer.register_forward_hook(forward))
    F.cross_entropy(net(tc.Tensor(images)), labels).backward()
    for hook in hooks:
        hook.remove()
    return [kept[layer] for layer in layers]


def measure(cell):
    """Train for some steps; return a row for each layer at each recorded step, with histograms from before the first.

    The slopes are the powers of ten by which the gradient grows in a layer on its way back, before and after training.
    """
    net = network(cell)
    layers = [module for module in net if isinstance(module, Layer)]
    data = glyphs(32 * cell["steps"], 10)[0]
    optimizer = tc.optim.SGD(net.parameters(), lr=cell["lr"])
    with np.errstate(over="ignore", invalid="ignore"):
        histograms = spreads(net, layers, *next(iter(DataLoader(data, 32))))
        with tc.watch(net, max(1, cell["steps"] // 8), (Layer,)) as record:
            for images, labels in DataLoader(data, 32, shuffle=True, seed=cell["seed"]):
                optimizer.zero_grad()
                F.cross_entropy(net(tc.Tensor(images)), labels).backward()
                tc.optim.clip_grad_norm_(net.parameters(), 1.0)
                optimizer.step()
    _, names, sizes = record.table("gradient", (Layer,))
    logs = np.log10(np.maximum(sizes, 1e-40))
    before, after = (-np.polyfit(range(len(names)), logs[place], 1)[0] for place in (0, -1))
    columns = ("step", "mean", "std", "zeros", "gradient")
    return [
        {
            "layer": 1 + (place := names.index(row["layer"])),
            "output": row["activation"],
            **{c: row[c] for c in columns},
            **histograms[place],
            "slope_before": before,
            "slope_after": after,
        }
        for row in record.rows
    ]


def draw(rows):
    """Draw gradients by layer for each kind of net, the histograms of the first, and its heat map over training."""
    depth, seed = max(row["depth"] for row in rows), min(row["seed"] for row in rows)
    nets = {}
    for row in rows:
        if (row["depth"], row["seed"]) == (depth, seed):
            nets.setdefault((row["shortcut"], row["norm"], row["activation"], row["start"]), []).append(row)
    kinds = sorted({key[:2] for key in nets})
    figure, grid = plotting.panels(10, 6.4, 2, 2)
    for axes, kind in zip(grid.flat, kinds):
        for series, (key, lines) in enumerate((key, lines) for key, lines in nets.items() if key[:2] == kind):
            sizes = [row["gradient"] for row in lines if row["step"] == 0]
            plotting.curve(axes, range(1, depth + 1), np.log10(np.maximum(sizes, 1e-40)), ", ".join(key[2:]), series)
        words = "shortcuts" if kind[0] == "yes" else "no shortcuts", "batch norm" if kind[1] == "batch" else "no norm"
        axes.set(title=", ".join(words), xlabel="layer, from input to output", ylabel="gradient (power of ten)")
    limits = np.array([axes.get_ylim() for axes in grid.flat[: len(kinds)]])
    for axes in grid.flat[: len(kinds)]:
        axes.set_ylim(limits[:, 0].min(), limits[:, 1].max())
    for axes in grid.flat[len(kinds) :]:
        axes.set_axis_off()
    grid[0, 0].legend(fontsize=8, loc="lower left", ncols=2)
    return {"gradients": figure} | {f"net_{'_'.join(key)}": course(lines) for key, lines in nets.items()}


def course(lines):
    """Draw one net: its histograms at the start, and gradients over training."""
    steps = sorted({row["step"] for row in lines})
    first = [row for row in lines if row["step"] == 0]
    figure, grid = plotting.panels(11, 3.4, 3)
    for axes, column in zip(grid, ("values", "gradients")):
        shares = np.array([[float(share) for share in row[column].split(";")] for row in first])
        box = (EDGES[0], EDGES[-1], len(first) + 0.5, 0.5)
        plotting.heat(axes, shares, "share of elements (%)", extent=box)
        axes.set(xlabel=f"size of {column} (power of ten)", ylabel="layer", title="before training")
    table = np.array([[row["gradient"] for row in lines if row["step"] == step] for step in steps]).T
    box = (steps[0], max(steps[-1], 1), len(first) + 0.5, 0.5)
    plotting.heat(grid[2], np.log10(np.maximum(table, 1e-40)), "gradient (power of ten)", extent=box)
    grid[2].set(xlabel="step", ylabel="layer", title="while it trains")
    return figure


EXPERIMENT = Experiment(
    about="activations and gradients layer by layer: depth, activation, start, normalisation, shortcut",
    grid={
        "depth": Option((10, 30), (6,), "layers between the first and the last"),
        "activation": Option(("relu", "tanh", "sigmoid"), ("relu", "tanh", "sigmoid"), "nonlinearity"),
        "start": Option(("xavier", "he"), ("xavier", "he"), "initial weights"),
        "norm": Option(("none", "batch"), ("none",), "batch normalisation before the nonlinearity"),
        "shortcut": Option(("no", "yes"), ("no", "yes"), "add the layer's input to its output"),
        "seed": Option((0, 1, 2), (0,), "of weights and images"),
        "steps": Option((24,), (2,), "of training, with gradients clipped to norm 1"),
        "width": Option((16,), (8,), "channels"),
        "lr": Option((0.05,), (0.05,), "learning rate"),
    },
    measure=measure,
    draw=draw,
    summary=("slope_before", "slope_after"),
    cost=lambda cell: cell["depth"] * cell["steps"],
)

if __name__ == "__main__":
    sys.exit(main(["experiment", "vanishing_gradients", *sys.argv[1:]]))
