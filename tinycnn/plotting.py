"""Figures in one style, readable in print and by the colour-blind: no window, no global state.

Colours are Okabe and Ito's, some darkened; nothing is encoded by colour alone.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from tinycnn import arguments
from tinycnn.files.atomic import atomic_write
from tinycnn.text import legend, plain, printable

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

BLUE, ORANGE, GREEN, RED = "#0072b2", "#b87b00", "#007a58", "#c04f00"  # dark enough for text on white
PURPLE, GREY = "#8a4f7d", "#5a6370"
LONGEST = 28
"""Characters of a name that is drawn; longer ones are shortened."""
SERIES = (
    (BLUE, "-", "o"),
    (ORANGE, "--", "s"),
    (GREEN, "-.", "^"),
    (RED, ":", "D"),
    (PURPLE, "-", "v"),
    (GREY, "--", "x"),
)
"""Colour, line and marker of the first, second, ... curve in an axes: they differ in print without colour too."""


def new_figure(width: float, height: float) -> Figure:
    """Return an empty figure, in inches, with automatic layout."""
    from tinycnn.figure_text import TextFigure

    return TextFigure(figsize=(width, height), layout="constrained")


def _count_classes(owner: str, classes: Any) -> int:
    return len(arguments.instance(owner, "classes", classes, (list, tuple, str), "a list of names"))


def save(figure: Figure, path: str | Path, **options: Any) -> None:
    """Write a figure, atomically; the suffix is the format (without one, PNG). Options are those of ``savefig``."""
    with atomic_write(path) as file:
        figure.savefig(file, format=Path(path).suffix.lstrip(".").lower() or "png", **{"dpi": 150} | options)


def panels(width: float, height: float, columns: int = 1, rows: int = 1) -> tuple[Figure, Any]:
    """Return a figure (size in inches) and its axes, with a light grid: one, or an array of them."""
    figure = new_figure(width, height)
    grid = figure.subplots(rows, columns, squeeze=False)
    for axes in grid.flat:
        axes.grid(alpha=0.3)
        axes.set_axisbelow(True)
        axes.spines[["top", "right"]].set_visible(False)
    return figure, grid.squeeze() if grid.size > 1 else grid[0, 0]


def curve(axes: Axes, x: Any, y: Any, label: str, series: int = 0, marks: int = 12) -> None:
    """Draw a curve in the style of a series, with about ``marks`` marks on it."""
    colour, line, marker = SERIES[series]
    every = max(1, -(-len(x) // marks))
    axes.plot(x, y, line, color=colour, marker=marker, markevery=every, markersize=4.5, label=legend(label))


def bars(axes: Axes, names: Sequence[str], values: Sequence[float], form: str = "{:,.0f}", series: int = 0) -> None:
    """Draw horizontal bars, the first on top, each with its value at its end."""
    colour = SERIES[series][0]
    drawn = axes.barh(range(len(values)), values, color=colour, height=0.62)
    axes.bar_label(drawn, [form.format(value) for value in values], padding=4, fontsize=9)
    axes.set_yticks(range(len(names)), [plain(name, LONGEST) for name in names])
    axes.invert_yaxis()
    axes.margins(x=0.22)
    axes.grid(visible=False, axis="y")


def errors(axes: Axes, x: Any, runs: Sequence[Sequence[float]], label: str, series: int = 0) -> None:
    """Draw the mean of several runs at each x with a bar of one standard deviation, and each run as a faint mark."""
    colour, line, marker = SERIES[series]
    for place, values in zip(x, runs):
        axes.plot([place] * len(values), values, marker, color=colour, markersize=4, alpha=0.35)
    mean, deviation = [np.mean(values) for values in runs], [np.std(values) for values in runs]
    axes.errorbar(x, mean, deviation, None, marker + line, color=colour, markersize=6, capsize=4, label=legend(label))


def heat(axes: Axes, values: np.ndarray, label: str, **options: Any) -> None:
    """Draw a heat map with its colour bar, the first row on top; ``options`` are those of ``imshow``."""
    image = axes.imshow(values, **{"aspect": "auto", "cmap": "cividis", "interpolation": "nearest"} | options)
    axes.grid(visible=False)
    axes.figure.colorbar(image, ax=axes, label=plain(label))


def flow(values: np.ndarray, steps: Sequence[int], layers: Sequence[str], quantity: str) -> Figure:
    """Draw a quantity (steps, layers) over depth at the first, a middle and the last step, and as a heat map of all
    steps.

    The scale is logarithmic, unless all values are 0 or below; 0 and NaN are left blank.
    """
    figure, (left, right) = panels(10, 3.8, 2)
    logarithmic = bool((values > 0).any())
    shown = np.full(values.shape, np.nan)
    np.log10(values, out=shown, where=values > 0)
    depth = np.arange(1, len(layers) + 1)
    for series, index in enumerate(sorted({0, len(steps) // 2, len(steps) - 1})):
        curve(left, depth, values[index], f"step {steps[index]:,}", series)
    quantity = plain(quantity)
    left.set(xlabel="layer, from input to output", ylabel=quantity)
    if logarithmic:
        left.set_yscale("log")
    left.legend()
    edges = (steps[0], max(steps[-1], steps[0] + 1), len(layers) + 0.5, 0.5)
    label = f"{quantity}, power of ten" if logarithmic else quantity
    heat(right, shown.T if logarithmic else values.T, label, extent=edges)
    right.set(xlabel="step of training", ylabel="layer, from input to output")
    for axis in (left.xaxis, right.xaxis, right.yaxis):
        axis.get_major_locator().set_params(integer=True)
    return figure


def trade_off(
    curves: Mapping[str, Sequence[tuple[float, float]]], trained: float, final: tuple[float, float]
) -> Figure:
    """Draw accuracy over the compression ratio: curves of (ratio, accuracy), and the file that was written.

    A line marks the accuracy of the trained model, and a band one percentage point below it.
    """
    from matplotlib.ticker import LogLocator, NullFormatter

    figure, axes = panels(9, 3.6)
    axes.axhspan(100 * trained - 1, 100 * trained, color=GREY, alpha=0.15, label="within one point of it")
    axes.axhline(100 * trained, color=GREY, linewidth=1, label=f"trained: {100 * trained:.2f} %")
    for series, (label, points) in enumerate(curves.items()):
        if points:
            ratios, accuracies = np.array(sorted(points)).T
            curve(axes, ratios, 100 * accuracies, label, series)
    ratio, accuracy = final[0], 100 * final[1]
    axes.plot(ratio, accuracy, "*", color=RED, markersize=14, label=f"the file: 1/{ratio:.1f}, {accuracy:.2f} %")
    axes.set_xscale("log")
    axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axes.xaxis.set_major_formatter("{x:g}")
    axes.xaxis.set_minor_formatter(NullFormatter())
    axes.set(xlabel="how many times smaller than in float32", ylabel="test accuracy (%)", ylim=(0, 102))
    axes.legend(loc="center left", bbox_to_anchor=(1.01, 0.5))
    return figure


def learning_curves(history: Sequence[dict[str, float]]) -> Figure:
    """Draw loss and accuracy by epoch, for training and test; each curve is named at its end."""
    arguments.instance("learning_curves", "history", history, (list, tuple), "a list of dicts, one an epoch")
    for row in history:
        arguments.instance("learning_curves", "an entry of history", row, dict, "a dict with 'epoch'")
    figure = new_figure(9, 3.6)
    epochs = [row["epoch"] for row in history]
    for axes, quantity, unit in zip(figure.subplots(1, 2), ("loss", "accuracy"), ("", "%")):
        factor = 100 if unit == "%" else 1
        ends = []
        for split, colour, line in (("train", BLUE, "o-"), ("test", ORANGE, "s--")):
            key = f"{split}_{quantity}"
            if history and key in history[0]:
                values = [factor * row[key] for row in history]
                axes.plot(epochs, values, line, color=colour, markersize=5, markevery=1 + len(epochs) // 12)
                end = f"{values[-1]:.2f} %" if unit else f"{values[-1]:.3g}"
                ends.append((values[-1], f"{split} {end}", colour))
        axes.set_xlabel("epoch")
        axes.set_ylabel(f"{quantity} ({unit})" if unit else f"{quantity} (cross-entropy)")
        axes.set_xticks(epochs[:: 1 + len(epochs) // 12])
        axes.grid(alpha=0.3)
        axes.spines[["top", "right"]].set_visible(False)
        _name_ends(axes, ends)
    figure.suptitle("Learning curves: training while it learns, test after each epoch", fontsize=10)
    return figure


def _name_ends(axes: Axes, ends: Sequence[tuple[float, str, str]]) -> None:
    """Name curves to the right of their ends, at least a line of text apart."""
    low, high = axes.get_ylim()
    apart = 0.07
    place = -apart
    for value, text, colour in sorted(ends):
        place = max((value - low) / (high - low), place + apart)
        axes.text(1.02, place, text, color=colour, va="center", transform=axes.transAxes, fontweight="bold", fontsize=9)


def confusion_matrix(confusion: np.ndarray, classes: Sequence[str]) -> Figure:
    """Draw true class by row, predicted class by column, in per cent of the row; counts where there is room.

    The colour grows with the square root of the share, so that a few mistakes are visible beside many right answers.
    """
    from matplotlib.colors import PowerNorm

    from tinycnn.figure_text import drawn_length

    arguments.array("confusion_matrix", "confusion", confusion)
    count = _count_classes("confusion_matrix", classes)
    if confusion.shape != (count, count):
        raise ValueError(f"confusion_matrix: confusion has shape {confusion.shape}, expected {(count, count)}")
    longest = max((drawn_length(printable(name, LONGEST)) for name in classes), default=0)
    room = 0.08 * max(0, longest - 10)  # inches for long names
    figure = new_figure(min(11, 3 + 0.42 * count) + room, min(10, 2.2 + 0.4 * count) + room)
    figure.names = classes  # type: ignore[attr-defined]
    axes = figure.subplots()
    share = 100 * confusion / np.maximum(confusion.sum(axis=1, keepdims=True), 1)
    image = axes.imshow(share, cmap="Blues", norm=PowerNorm(0.5, 0, 100))
    bar = figure.colorbar(image, ax=axes, label="share of the true class (%)", shrink=0.8, ticks=(0, 1, 5, 20, 50, 100))
    bar.minorticks_off()
    if count <= 30:
        for i, j in zip(*np.nonzero(confusion)):
            shade = "white" if share[i, j] > 30 else "#222222"
            axes.text(
                j,
                i,
                str(confusion[i, j]),
                ha="center",
                va="center",
                color=shade,
                fontsize=8 if count <= 12 else 6,
            )
    ticks = range(count) if count <= 30 else range(0, count, count // 10)
    turned = 0 if longest <= 2 else 60
    names = [plain(classes[i], LONGEST) for i in ticks]
    axes.set_xticks(ticks, names, rotation=turned, ha="center" if not turned else "right")
    axes.set_yticks(ticks, names)
    if count <= 30:
        axes.set_xticks(np.arange(count - 1) + 0.5, minor=True)
        axes.set_yticks(np.arange(count - 1) + 0.5, minor=True)
        axes.grid(which="minor", color="#dddddd", linewidth=0.5)
        axes.tick_params(which="minor", length=0)
    axes.set_xlabel("predicted class")
    axes.set_ylabel("true class")
    accuracy = 100 * np.trace(confusion) / max(confusion.sum(), 1)
    axes.set_title(f"Confusion matrix: {accuracy:.2f} % of {confusion.sum():,} right", fontsize=10)
    return figure


def prediction_grid(
    images: np.ndarray, labels: np.ndarray, probabilities: np.ndarray, classes: Sequence[str], count: int = 40
) -> Figure:
    """Draw test images with predictions: mistakes first, the surest of each kind leading, then images that are
    right.
    """
    arguments.array("prediction_grid", "images", images, dimensions=4)
    arguments.array("prediction_grid", "labels", labels, "iu", dimensions=1)
    arguments.array("prediction_grid", "probabilities", probabilities, "f", dimensions=2)
    expected = len(images), _count_classes("prediction_grid", classes)
    if probabilities.shape != expected or len(labels) != len(images):
        raise ValueError(
            f"prediction_grid: {len(images)} images, {len(labels)} labels and probabilities of shape "
            f"{probabilities.shape} came, expected as many labels, and {expected}"
        )
    predicted, sure = probabilities.argmax(axis=1), probabilities.max(axis=1)
    wrong = predicted != labels
    mistakes = _varied(np.flatnonzero(wrong), labels, predicted, sure)[: count // 2]
    right = np.flatnonzero(~wrong)[: count - len(mistakes)]
    chosen = [*mistakes, *right]
    columns = 8
    rows = -(-len(chosen) // columns)
    size = 8 if max(map(len, classes)) <= 4 else 6.5
    figure = new_figure(9, 1.32 * rows + 0.5)
    figure.names = classes  # type: ignore[attr-defined]
    grid = figure.subplots(rows, columns, squeeze=False).reshape(-1)
    for axes in grid[len(chosen) :]:
        axes.set_axis_off()
    for axes, index in zip(grid, chosen):
        _show_image(axes, images[index])
        guess = f"{_short(classes[predicted[index]])}  {_percent(sure[index])}"
        text, colour, weight = f"✓ {guess}", GREEN, "normal"
        if wrong[index]:
            text, colour, weight = f"✗ {guess}\ntrue: {_short(classes[labels[index]])}", RED, "bold"
        axes.set_title(text, fontsize=size, color=colour, fontweight=weight, pad=3)
        for spine in axes.spines.values():
            spine.set(color=colour, linewidth=3 if wrong[index] else 0.8)
    shown = f"{len(mistakes)} of {wrong.sum():,} mistakes (✗), the surest of each kind first, then right ones (✓)"
    if len(mistakes) == wrong.sum():
        shown = f"all {len(mistakes)} mistakes (✗), then right ones (✓)" if len(mistakes) else "no mistake"
    figure.suptitle(f"Test images with the predicted class and its probability: {shown}", fontsize=9)
    return figure


def _varied(mistakes: np.ndarray, labels: np.ndarray, predicted: np.ndarray, sure: np.ndarray) -> np.ndarray:
    """Return mistakes in turns: the surest of each pair (true, predicted) first, then the second of each, and so on."""
    turn: dict[tuple[int, int], int] = {}
    order = []
    for index in mistakes[np.argsort(-sure[mistakes], kind="stable")]:
        pair = int(labels[index]), int(predicted[index])
        order.append((turn.setdefault(pair, 0), index))
        turn[pair] += 1
    return np.array([index for _, index in sorted(order, key=lambda entry: entry[0])], np.int64)


def _percent(probability: float) -> str:
    """Return a percentage, rounded down: only 1.0 prints as 100 %."""
    return f"{100 * probability:.0f} %" if probability < 0.995 else ">99 %"


def _show_image(axes: Axes, image: np.ndarray) -> None:
    """Draw an image (C, H, W): bytes as they are, floats from their smallest to their largest."""
    if image.dtype != np.uint8:
        image = (image - image.min()) / (np.ptp(image) or 1.0)
    picture = image.transpose(1, 2, 0) if len(image) == 3 else image[0]
    axes.imshow(picture, cmap="gray", vmin=0, vmax=255 if image.dtype == np.uint8 else 1, interpolation="nearest")
    axes.set_xticks([])
    axes.set_yticks([])


def _short(name: str) -> str:
    return plain(name, 9)


def filter_grid(weight: np.ndarray) -> Figure:
    """Draw the kernels of a first layer, (O, C, kH, kW): in colour for three channels, else each channel in grey."""
    arguments.array("filter_grid", "weight", weight, dimensions=4)
    kernels = weight if weight.shape[1] == 3 else weight.reshape(-1, 1, *weight.shape[2:])
    kernels = kernels[:96]
    columns = min(16, max(8, int(np.ceil(np.sqrt(len(kernels))))))
    rows = -(-len(kernels) // columns)
    figure = new_figure(max(0.6 * columns, 5.5), 0.62 * rows + 0.4)
    grid = figure.subplots(rows, columns, squeeze=False).reshape(-1)
    for axes in grid:
        axes.set_xticks([])
        axes.set_yticks([])
        axes.spines[:].set(color="#888888", linewidth=0.6)
    for axes in grid[len(kernels) :]:
        axes.set_axis_off()
    limit = np.abs(kernels).max() or 1.0
    for axes, kernel in zip(figure.axes, kernels):
        if kernel.shape[0] == 3:
            axes.imshow(0.5 + 0.5 * kernel.transpose(1, 2, 0) / limit)
        else:
            axes.imshow(kernel[0], cmap="PuOr", vmin=-limit, vmax=limit)
    scale = "grey is 0" if weight.shape[1] == 3 else f"white is 0, orange −{limit:.2f}, purple +{limit:.2f}"
    figure.suptitle(f"First-layer filters, {weight.shape[2]}x{weight.shape[3]} ({scale})", fontsize=9)
    return figure
