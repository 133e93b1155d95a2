"""Drawing the graph."""

import numpy as np
import pytest

import tinycnn as tc
from tinycnn import graph


def example():
    a, b = (tc.Tensor([1.0, 2.0], requires_grad=True) for _ in range(2))
    return (a * b + a).sum(), {"a": a, "b": b}


def test_dot_lists_every_node_and_edge_once():
    loss, names = example()
    text = graph.dot(loss, names)
    assert text.count('"a (2,)"') == text.count('"b (2,)"') == text.count('"Mul"') == 1
    assert text.count("->") == 6


def test_draw_writes_svg_and_png_without_graphviz(tmp_path):
    loss, names = example()
    for name in ("graph.svg", "graph.png"):
        graph.draw(loss, tmp_path / name, names)
        assert (tmp_path / name).stat().st_size > 2000
    assert "<!-- Mul -->" in (tmp_path / "graph.svg").read_text(encoding="utf-8")


def test_a_graph_that_backward_freed_is_not_drawn_as_if_it_were_one_node():
    loss, names = example()
    loss.backward()
    with pytest.raises(RuntimeError, match="the graph was freed by backward; draw it before"):
        graph.dot(loss, names)


def test_a_huge_graph_is_refused_by_draw_but_not_by_dot():
    y = tc.Tensor(np.ones(1), requires_grad=True)
    for _ in range(1500):
        y = y * 1.0
    with pytest.raises(ValueError, match="expected at most 200"):
        graph.draw(y)
    assert graph.dot(y).count("Mul") == 1500
