"""Lesion: delete one block of a trained net and test it again (Veit, Wilber and Belongie 2016, figure 3)."""

import sys
from contextlib import contextmanager

import numpy as np

from tinycnn import nn, plotting
from tinycnn.cli import main
from tinycnn.data import DataLoader
from tinycnn.lesson import fit, glyphs
from tinycnn.lesson.experiment import Experiment, Option
from tinycnn.lesson.training import twin
from tinycnn.training import evaluate


def blocks(net):
    """The blocks that keep the size of their input, with where each stands: (stage, place in it)."""
    stages = [getattr(net, f"layer{number}") for number in range(1, net.stages + 1)]
    return [(stage, place) for number, stage in enumerate(stages) for place in range(bool(number), len(stage))]


@contextmanager
def deleted(chosen):
    """Put nothing in the place of some blocks, for as long as the context lasts."""
    kept = [stage[place] for stage, place in chosen]
    for stage, place in chosen:
        stage._modules[str(place)] = nn.Identity()
    try:
        yield
    finally:
        for (stage, place), block in zip(chosen, kept):
            stage._modules[str(place)] = block


def error(net, loader):
    """Test error in per cent."""
    return 100 * (1 - evaluate(net, loader).accuracy)


def measure(cell):
    """Train, then test without each block, and without several at random; the intact net is number 0."""
    train, test = glyphs(cell["images"], 1000)
    net = twin(cell["net"], cell["depth"], cell["width"], cell["seed"])
    fit(net, train, test, cell["epochs"], cell["lr"], seed=cell["seed"], title=f"{cell['net']} {cell['depth']}")
    loader, places = DataLoader(test, 250), blocks(net)
    intact, rng = error(net, loader), np.random.default_rng(cell["seed"])
    rows = [{"deleted": 0, "block": 0, "test_error": intact}]
    for number, place in enumerate(places, 1):
        with deleted([place]):
            rows.append({"deleted": 1, "block": number, "test_error": error(net, loader)})
    for count in range(2, len(places) + 1):
        with deleted([places[i] for i in rng.choice(len(places), count, replace=False)]):
            rows.append({"deleted": count, "block": 0, "test_error": error(net, loader)})
    worst = np.mean([row["test_error"] for row in rows if row["deleted"] == 1]) - intact
    return [row | {"intact_error": intact, "mean_rise": worst} for row in rows]


def draw(rows):
    """Test error by the deleted block, and by how many are gone."""
    figure, (left, right) = plotting.panels(10, 3.6, 2)
    for series, net in enumerate(dict.fromkeys(row["net"] for row in rows)):
        own = [row for row in rows if row["net"] == net and row["depth"] == max(r["depth"] for r in rows)]
        for axes, column, part in (
            (left, "block", [row for row in own if row["deleted"] <= 1]),
            (right, "deleted", [row for row in own if row["deleted"] != 1 or row["block"] == 1]),
        ):
            places = sorted({row[column] for row in part})
            runs = [[row["test_error"] for row in part if row[column] == place] for place in places]
            plotting.errors(axes, places, runs, net, series)
    left.set(xlabel="deleted block (0: none)", ylabel="test error (%)")
    right.set(xlabel="blocks deleted at random", ylabel="test error (%)")
    for axes in (left, right):
        axes.axhline(90, color="black", linewidth=0.8)
        axes.text(0, 91, "guessing", fontsize=8)
        axes.set_ylim(0, 98)
        axes.xaxis.get_major_locator().set_params(integer=True)
    left.legend(loc="center right")
    return {"lesion": figure}


EXPERIMENT = Experiment(
    about="test error of trained plain and residual nets with blocks deleted",
    grid={
        "net": Option(("plain", "residual"), ("plain", "residual"), "without and with shortcuts"),
        "depth": Option((20,), (20,), "layers, 6n + 2"),
        "seed": Option((0, 1, 2), (0,), "of weights, of the order of images, of the blocks deleted at random"),
        "epochs": Option((8,), (1,), "times through the images"),
        "images": Option((2000,), (200,), "to train on"),
        "width": Option((0.5,), (0.25,), "factor on 16, 32 and 64 channels"),
        "lr": Option((0.03,), (0.03,), "learning rate"),
    },
    measure=measure,
    draw=draw,
    summary=("intact_error", "mean_rise"),
    cost=lambda cell: cell["depth"],
)

if __name__ == "__main__":
    sys.exit(main(["experiment", "lesion", *sys.argv[1:]]))
