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
