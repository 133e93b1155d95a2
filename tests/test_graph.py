"""Drawing the graph."""

import warnings
from xml.etree import ElementTree

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


def test_arrows_lead_from_inputs_to_results():
    loss, names = example()
    lines = graph.dot(loss, names).splitlines()
    number = {line.split('"')[1]: line.split()[0] for line in lines if "label" in line}
    arrows = sorted(line.strip() for line in lines if "->" in line)
    expected = [("a (2,)", "Mul"), ("b (2,)", "Mul"), ("a (2,)", "Add"), ("Mul", "Add"), ("Add", "Sum")]
    expected.append(("Sum", "output ()"))
    assert arrows == sorted(f"{number[source]} -> {number[target]}" for source, target in expected)


def test_columns_are_the_longest_ways_to_the_result():
    vertices, arrows = graph._collect(*example())
    places = graph._places(len(vertices), arrows)
    assert {vertex.label: x for vertex, (x, _) in zip(vertices, places)} == {
        "output ()": 0,
        "Sum": -1,
        "Add": -2,
        "Mul": -3,
        "a (2,)": -4,
        "b (2,)": -4,
    }


def test_two_hundred_nodes_are_drawn():
    y = tc.Tensor(np.ones(1), requires_grad=True)
    for _ in range(198):
        y = y * 1.0
    assert graph.draw(y) is not None  # 198 operations, a leaf and the output
    with pytest.raises(ValueError, match="has 201 nodes"):
        graph.draw(y * 1.0)


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


def test_names_are_data(tmp_path):
    names = ['a"]; evil [label="x', r"\foo", "$x$", "<b>&", "猫", "two\nlines", "x" * 5000]
    leaves = {name: tc.Tensor([1.0], requires_grad=True) for name in names}
    loss = sum(leaves.values(), tc.Tensor([0.0])).sum()
    lines = graph.dot(loss, leaves).splitlines()
    assert sum("label=" in line for line in lines) == 1 + 1 + 7 + 7, "output, Sum, Adds and leaves: a line each"
    assert any(r'[label="a\"]; evil [label=\"x (1,)", shape=box]' in line for line in lines)
    assert any(r'[label="\\foo (1,)", shape=box]' in line for line in lines)
    assert any(r'[label="two\nlines (1,)", shape=box]' in line for line in lines)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        graph.draw(loss, tmp_path / "graph.svg", leaves)
        graph.draw(loss, tmp_path / "graph.png", leaves)
    texts = " ".join(ElementTree.parse(tmp_path / "graph.svg").getroot().itertext())
    assert all(name in texts for name in names if "\n" not in name) and r"two\nlines" in texts
    assert (tmp_path / "graph.png").stat().st_size < 500_000
