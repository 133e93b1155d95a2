"""Figures are drawn, not blank, and show few and many classes."""

import warnings
from xml.etree import ElementTree

import numpy as np
import pytest

from tinycnn import plotting
from tinycnn.text import dot_quoted, plain, printable

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
    grid = plotting.prediction_grid(images, np.arange(6) % 3, probabilities, "abc")
    titles = [axes.get_title() for axes in grid.axes if axes.get_title()]
    assert titles == [f"✓ {name}  >99 %" for name in "abcabc"]
    assert grid.get_suptitle().endswith(": no mistake")
    filters = plotting.filter_grid(np.zeros((4, 1, 3, 3)))
    assert [axes.images[0].get_array().tolist() for axes in filters.axes if axes.images] == [[[0.0] * 3] * 3] * 4


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


def test_bars_begin_on_top_and_error_bars_are_deviations():
    _figure, axes = plotting.panels(4, 3)
    plotting.bars(axes, ["first", "second"], [1.0, 2.0])
    low, high = axes.get_ylim()
    assert low > high
    _, axes = plotting.panels(4, 3)
    plotting.errors(axes, [1], [[1.0, 3.0]], "runs")
    (segment,) = axes.containers[-1].lines[2][0].get_segments()
    np.testing.assert_allclose(segment, [[1, 1], [1, 3]])


def test_flow_leaves_what_is_not_positive_blank():
    values = np.array([[1.0, 0.0, -2.0], [10.0, np.nan, 100.0]])
    figure = plotting.flow(values, [0, 1], ["a", "b", "c"], "size")
    (image,) = (image for axes in figure.axes for image in axes.images)
    shown = np.ma.filled(np.ma.asarray(image.get_array(), float), np.nan)
    assert sorted(shown[np.isfinite(shown)].tolist()) == [0.0, 1.0, 2.0]


def test_options_of_savefig_win(tmp_path):
    figure, _ = plotting.panels(2, 1)
    sizes = []
    for options in ({}, {"dpi": 50}):
        plotting.save(figure, tmp_path / "figure.png", **options)
        sizes.append(int.from_bytes((tmp_path / "figure.png").read_bytes()[16:20]))
    assert sizes == [300, 100]


ODD = [
    "$20 bill",
    "A$^$",
    r"$\foo$",
    'say "hi"',
    "<b>&amp;</b> &",
    "new\nline",
    "a--b",
    "猫 cat",
    "😀",
    "caf\udce9",
    "x" * 300,
]


@pytest.fixture
def no_font(monkeypatch):
    """Pretend a machine without fonts for characters that the figure's own font lacks."""
    from tinycnn import figure_text

    monkeypatch.setattr(figure_text, "_font_with", lambda character: None)
    monkeypatch.setattr(figure_text, "_noted", [])


def test_names_are_data_in_png(tmp_path, no_font, capsys):
    confusion = np.eye(len(ODD), dtype=int)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        figure = plotting.confusion_matrix(confusion, ODD)
        plotting.save(figure, tmp_path / "a.png")
        plotting.save(plotting.trade_off({name: [(1, 0.9)] for name in ODD[:5]}, 0.9, (4, 0.8)), tmp_path / "b.png")
    assert capsys.readouterr().err.count("no installed font has") == 1
    labels = [label.get_text() for label in figure.axes[0].get_yticklabels()]
    assert labels[1] == r"A\$^\$" and labels[5] == r"new\nline" and labels[9] == r"caf\udce9" and len(labels[10]) == 28


def test_names_are_text_in_svg(tmp_path):
    count = len(ODD)
    probabilities = np.full((count, count), 1 / count)
    images = np.zeros((count, 1, 3, 3), np.uint8)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        plotting.save(plotting.confusion_matrix(np.eye(count, dtype=int), ODD), tmp_path / "a.svg")
        plotting.save(plotting.prediction_grid(images, np.arange(count), probabilities, ODD), tmp_path / "b.svg")
    for path in (tmp_path / "a.svg", tmp_path / "b.svg"):
        texts = [node.text for node in ElementTree.parse(path).iter() if node.text]
        for name in ODD:
            assert any(printable(name) in text for text in texts), name
        assert any(text.endswith("猫 cat") or text.startswith("猫 cat") for text in texts if len(text) < 30)


def test_a_font_that_has_the_glyphs_is_used():
    from matplotlib.font_manager import FontProperties

    from tinycnn import figure_text

    text, fonts = figure_text._drawable("a \U0001d4b3", FontProperties(family=["cmr10"]))
    assert text == "a \U0001d4b3" and len(fonts.get_family()) == 2, (
        "of matplotlib's own fonts, some have script letters"
    )


def test_escapes_without_a_font_stay_short(no_font):
    from matplotlib.font_manager import FontProperties

    from tinycnn import figure_text

    assert figure_text._drawable("猫x\U000e0062", FontProperties())[0] == r"\u732bx"
    assert len(figure_text._drawable("猫" * 100, FontProperties())[0]) == 44


@pytest.mark.parametrize(
    ("name", "drawn", "quoted"),
    [
        ("$a$", r"\$a\$", '"$a$"'),
        (r"\$", r"\\$", r'"\\$"'),
        ('a"]; b [label="x', 'a"]; b [label="x', r'"a\"]; b [label=\"x"'),
        ("a\nb", r"a\nb", r'"a\nb"'),
        ("\x1b[31m", r"\x1b[31m", r'"\\x1b[31m"'),
        ("&lt; & b", "&lt; & b", '"&amp;lt; & b"'),
        ("猫", "猫", '"猫"'),
    ],
)
def test_names_are_escaped_by_format(name, drawn, quoted):
    assert plain(name) == drawn and dot_quoted(name) == quoted


def test_negative_values_are_left_blank_on_a_logarithmic_scale_without_a_warning():
    values = np.array([[1.0, -2.0], [0.0, 3.0]])
    with warnings.catch_warnings():
        warnings.simplefilter("error", RuntimeWarning)
        figure = plotting.flow(values, [0, 1], ["a", "b"], "mean")
    shown = figure.axes[1].images[0].get_array()
    np.testing.assert_array_equal(np.isnan(shown.T), values <= 0)
