"""Figures are drawn, not blank, and cope with few and many classes."""

import numpy as np
import pytest

from tinycnn import plotting

RNG = np.random.default_rng(0)
HISTORY = [
    {"epoch": e, "train_loss": 1 / e, "train_accuracy": 0.5, "test_loss": 2 / e, "test_accuracy": 0.4} for e in (1, 2)
]


def figures(classes, channels):
    names = [str(i) for i in range(classes)]
    images = RNG.integers(256, size=(50, channels, 9, 7), dtype=np.uint8)
    labels = np.arange(50) % classes
    probabilities = RNG.dirichlet(np.ones(classes), size=50)
    return {
        "curves": plotting.learning_curves(HISTORY),
        "confusion": plotting.confusion_matrix(RNG.integers(9, size=(classes, classes)), names),
        "grid": plotting.prediction_grid(images, labels, probabilities, names),
        "filters": plotting.filter_grid(RNG.normal(size=(20, channels, 5, 3))),
        "trade-off": plotting.trade_off({"one": [(1, 0.9), (30, 0.5)], "none": []}, 0.9, (40, 0.88)),
    }


@pytest.mark.parametrize(("classes", "channels"), [(2, 1), (10, 3), (100, 3)])
def test_figures_have_ink(tmp_path, classes, channels):
    from PIL import Image

    for name, figure in figures(classes, channels).items():
        path = tmp_path / f"{name}.png"
        plotting.save(figure, path)
        pixels = np.asarray(Image.open(path).convert("L"))
        assert min(pixels.shape) > 100 and 0.002 < (pixels < 200).mean() < 0.98


def test_all_right_and_zero_filters_are_no_trouble():
    probabilities = np.eye(3)[np.arange(6) % 3]
    images = np.zeros((6, 1, 5, 5), np.uint8)
    plotting.prediction_grid(images, np.arange(6) % 3, probabilities, "abc")
    plotting.filter_grid(np.zeros((4, 1, 3, 3)))


def test_curves_differ_without_colour():
    _, grid = plotting.panels(6, 3, columns=2)
    _, axes = plotting.panels(3, 3)
    assert grid.shape == (2,) and axes.get_title() == ""
    for series in range(len(plotting.SERIES)):
        plotting.curve(axes, range(30), range(30), f"curve {series}", series)
    looks = {(line.get_linestyle(), line.get_marker()) for line in axes.get_lines()}
    assert len(looks) == len(plotting.SERIES)
    assert all(0 < len(range(0, 30, line.get_markevery())) <= 12 for line in axes.get_lines())


def test_bars_say_their_values():
    _, axes = plotting.panels(4, 2)
    plotting.bars(axes, ["one", "two"], [1234.5, 20], "{:,.1f} MB")
    assert [text.get_text() for text in axes.texts] == ["1,234.5 MB", "20.0 MB"]
    assert [label.get_text() for label in axes.get_yticklabels()] == ["one", "two"]
