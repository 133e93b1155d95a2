"""Squeeze ratio: what do Fire modules lose by squeezing harder? (Iandola et al. 2016, figure 3a.)"""

import sys

import tinycnn as tc
from tinycnn import nn, plotting
from tinycnn.cli import main
from tinycnn.lesson import fit, glyphs
from tinycnn.lesson.experiment import Experiment, Option
from tinycnn.models.squeezenet import Fire


def network(ratio, width):
    """A convolution, four Fire modules whose squeeze layer has ``ratio`` of the channels that they put out."""
    layers, inputs = [nn.Conv2d(1, width, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2)], width
    for number, expand in enumerate((width, width, 2 * width, 2 * width)):
        layers += [nn.MaxPool2d(2)] if number == 2 else []
        layers += [Fire(inputs, max(1, round(ratio * 2 * expand)), expand), nn.BatchNorm2d(2 * expand)]
        inputs = 2 * expand
    return nn.Sequential(*layers, nn.GlobalAvgPool2d(), nn.Linear(inputs, 10))


def measure(cell):
    """Train one net."""
    train, test = glyphs(cell["images"], 1000)
    tc.manual_seed(cell["seed"])
    net = network(cell["ratio"], cell["width"])
    trainer = fit(net, train, test, cell["epochs"], seed=cell["seed"], title=f"squeeze ratio {cell['ratio']}")
    adds = tc.summary(net, train.images.shape[1:]).multiply_adds
    test_error = 100 * (1 - trainer.history[-1]["test_accuracy"])
    return [{"parameters": sum(p.size for p in net.parameters()), "multiply_adds": adds, "test_error": test_error}]


def draw(rows):
    """Test error by squeeze ratio and by size."""
    ratios = sorted({row["ratio"] for row in rows})
    runs = [[row["test_error"] for row in rows if row["ratio"] == ratio] for ratio in ratios]
    sizes = [next(row["parameters"] for row in rows if row["ratio"] == ratio) / 1000 for ratio in ratios]
    figure, grid = plotting.panels(10, 3.6, 2)
    for axes, x, label in zip(grid, (ratios, sizes), ("squeeze ratio", "parameters (thousands)")):
        plotting.errors(axes, x, runs, "mean, deviation, runs")
        axes.set(xlabel=label, ylabel="test error (%)")
    grid[0].legend()
    return {"squeeze_ratio": figure}


EXPERIMENT = Experiment(
    about="nets of Fire modules with squeeze ratios from 1/16 to 1: size and test error",
    grid={
        "ratio": Option((0.0625, 0.125, 0.25, 0.5, 0.75, 1.0), (0.125, 1.0), "squeezed channels to expanded ones"),
        "seed": Option((0, 1, 2), (0, 1), "of weights and of the order of images"),
        "epochs": Option((6,), (1,), "times through the images"),
        "images": Option((2000,), (200,), "to train on"),
        "width": Option((16,), (8,), "channels of the first convolution"),
    },
    measure=measure,
    draw=draw,
    summary=("parameters", "multiply_adds", "test_error"),
)

if __name__ == "__main__":
    sys.exit(main(["experiment", "squeeze_ratio", *sys.argv[1:]]))
