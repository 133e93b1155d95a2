"""Degradation: do deeper nets train worse, and does the shortcut help? (He et al. 2015, figures 1 and 6.)"""

import sys

import numpy as np

import tinycnn as tc
from tinycnn import plotting
from tinycnn.cli import main
from tinycnn.lesson import fit, glyphs
from tinycnn.lesson.experiment import Experiment, Option
from tinycnn.lesson.training import twin


def measure(cell):
    """Train one net; a row for each epoch, with the layers' gradients in it."""
    train, test = glyphs(cell["images"], 1000)
    net = twin(cell["net"], cell["depth"], cell["width"], cell["seed"])
    with tc.watch(net, every=5, kinds=(tc.nn.Conv2d,)) as record:
        trainer = fit(net, train, test, cell["epochs"], cell["lr"], seed=cell["seed"], title=f"depth {cell['depth']}")
    steps, _, sizes = record.table("weight_gradient")
    length = record.steps / cell["epochs"]
    rows = []
    for row in trainer.history:
        inside = sizes[[row["epoch"] - 1 <= step / length < row["epoch"] for step in steps]]
        typical = np.median(inside, axis=0)
        errors = {f"{split}_error": 100 * (1 - row[f"{split}_accuracy"]) for split in ("train", "test")}
        gradients = {"gradient_first": typical[0], "gradient_last": typical[-1], "gradient_least": typical.min()}
        rows.append({"epoch": row["epoch"], "train_loss": row["train_loss"], **errors, **gradients})
    return rows


def draw(rows):
    """Draw error by depth with error bars, and the least gradient of any layer."""
    last = [row for row in rows if row["epoch"] == max(r["epoch"] for r in rows)]
    depths = sorted({row["depth"] for row in rows})
    figure, grid = plotting.panels(10, 3.6, 3)
    titles = {
        "train_error": "training error (%)",
        "test_error": "test error (%)",
        "gradient_least": "least weight gradient of a layer",
    }
    for axes, (column, title) in zip(grid, titles.items()):
        for series, net in enumerate(dict.fromkeys(row["net"] for row in rows)):
            runs = [[r[column] for r in last if (r["depth"], r["net"]) == (depth, net)] for depth in depths]
            plotting.errors(axes, depths, runs, net, series)
        axes.set(xlabel="depth (layers)", ylabel=title, xticks=depths)
        axes.legend()
    grid[2].set_yscale("log")
    return {"depth": figure}


EXPERIMENT = Experiment(
    about="plain and residual nets of growing depth: training and test error, with gradients",
    grid={
        "depth": Option((8, 20, 32, 44, 56), (8, 20), "layers, 6n + 2"),
        "net": Option(("plain", "residual"), ("plain", "residual"), "without and with shortcuts"),
        "seed": Option((0, 1, 2), (0,), "of weights and of the order of images"),
        "epochs": Option((8,), (1,), "times through the images"),
        "images": Option((2000,), (200,), "to train on"),
        "width": Option((0.5,), (0.25,), "factor on 16, 32 and 64 channels"),
        "lr": Option((0.03,), (0.03,), "learning rate"),
    },
    measure=measure,
    draw=draw,
    summary=("train_error", "test_error", "gradient_least"),
    cost=lambda cell: cell["depth"],
)

if __name__ == "__main__":
    sys.exit(main(["experiment", "degradation", *sys.argv[1:]]))
