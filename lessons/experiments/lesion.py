"""Lesion: delete one block of a trained net and test it again (Veit, Wilber and Belongie 2016, figure 3)."""

import sys
from contextlib import contextmanager

import numpy as np

from tinycnn import nn, plotting
from tinycnn.cli import main
from tinycnn.data import DataLoader
from tinycnn.lesson import glyphs
from tinycnn.lesson.experiment import Experiment, Option
from tinycnn.lesson.training import trained
from tinycnn.training import evaluate


def blocks(net):
    """Return the blocks that keep the size of their input, each with its position: (stage, index in it)."""
    stages = [getattr(net, f"layer{number}") for number in range(1, net.stages + 1)]
    return [(stage, place) for number, stage in enumerate(stages) for place in range(bool(number), len(stage))]


@contextmanager
def deleted(chosen):
    """Replace some blocks by the identity inside a ``with`` block."""
    kept = [stage[place] for stage, place in chosen]
    for stage, place in chosen:
        stage[place] = nn.Identity()
    try:
        yield
    finally:
        for (stage, place), block in zip(chosen, kept):
            stage[place] = block


def error(net, loader):
    """Return the test error in per cent."""
    return 100 * (1 - evaluate(net, loader).accuracy)


def measure(cell):
    """Train, then test without each block, and without several at random; the intact net is number 0."""
    net = trained(*(cell[name] for name in ("net", "depth", "width", "seed", "images", "epochs", "lr")))
    loader, places = DataLoader(glyphs(cell["images"], 500)[1], 250), blocks(net)
    intact, rng = error(net, loader), np.random.default_rng(cell["seed"])
    rows = [{"deleted": 0, "block": 0, "test_error": intact}]
    for number, place in enumerate(places, 1):
        with deleted([place]):
            rows.append({"deleted": 1, "block": number, "test_error": error(net, loader)})
    for count in range(3, len(places) + 1, 2):
        with deleted([places[i] for i in rng.choice(len(places), count, replace=False)]):
            rows.append({"deleted": count, "block": 0, "test_error": error(net, loader)})
    one_gone = np.mean([row["test_error"] for row in rows if row["deleted"] == 1])
    return [row | {"blocks": len(places), "intact_error": intact, "one_gone_error": one_gone} for row in rows]


def draw(rows):
    """Draw test error by the deleted block and by the number of deleted ones, at the first depth; with one, by
    depth.
    """
    figure, (by_block, by_count, by_depth) = plotting.panels(11, 3.6, 3)
    for series, net in enumerate(dict.fromkeys(row["net"] for row in rows)):
        own = [row for row in rows if (row["net"], row["depth"]) == (net, rows[0]["depth"])]
        numbers = sorted({row["block"] for row in own})
        runs = [[r["test_error"] for r in own if r["block"] == n and r["deleted"] <= 1] for n in numbers]
        plotting.errors(by_block, numbers, runs, net, series)
        counts = sorted({row["deleted"] for row in own})
        firsts = [r | {"test_error": r["one_gone_error"]} if r["deleted"] == 1 else r for r in own if r["block"] <= 1]
        runs = [[r["test_error"] for r in firsts if r["deleted"] == n] for n in counts]
        plotting.errors(by_count, counts, runs, net, series)
        intact = [row for row in rows if row["net"] == net and row["deleted"] == 0]
        for lower, column in ((0, "one_gone_error"), (2, "intact_error")):
            depths = sorted({row["depth"] for row in intact})
            runs = [[row[column] for row in intact if row["depth"] == depth] for depth in depths]
            plotting.errors(by_depth, depths, runs, f"{net}, {'intact' if lower else 'one gone'}", series + lower)
    by_block.set(xlabel="deleted block (0: none)", ylabel="test error (%)")
    by_count.set(xlabel="blocks deleted at random")
    by_depth.set(xlabel="depth (layers)", xticks=sorted({row["depth"] for row in rows}), title="one block deleted")
    for axes in (by_block, by_count):
        axes.set_title(f"{rows[0]['depth']} layers")
        axes.xaxis.get_major_locator().set_params(integer=True)
    for axes in (by_block, by_count, by_depth):
        axes.axhline(90, color="black", linewidth=0.8)
        axes.set_ylim(0, 98)
    by_count.legend(loc="lower right")
    by_depth.legend(fontsize=8, loc="upper center", bbox_to_anchor=(0.5, -0.18), ncols=2)
    return {"lesion": figure}


EXPERIMENT = Experiment(
    about="test error of trained plain and residual nets with blocks deleted",
    grid={
        "depth": Option((20, 8, 14, 32), (14, 8), "layers, 6n + 2"),
        "net": Option(("plain", "residual"), ("plain", "residual"), "without and with shortcuts"),
        "seed": Option((0, 1, 2), (0,), "of weights, of the order of images, of the blocks deleted at random"),
        "epochs": Option((10,), (1,), "times through the images"),
        "images": Option((1000,), (200,), "to train on"),
        "width": Option((0.5,), (0.25,), "factor on 16, 32 and 64 channels"),
        "lr": Option((0.1,), (0.1,), "learning rate"),
    },
    measure=measure,
    draw=draw,
    summary=("intact_error", "one_gone_error"),
    cost=lambda cell: cell["depth"],
)

if __name__ == "__main__":
    sys.exit(main(["experiment", "lesion", *sys.argv[1:]]))
