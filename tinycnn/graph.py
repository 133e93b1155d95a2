"""The graph behind a tensor, as text for Graphviz and as a picture that needs no Graphviz."""

from __future__ import annotations

from collections import defaultdict
from pathlib import Path
from typing import Any, NamedTuple

from tinycnn import arguments
from tinycnn.autograd import Function
from tinycnn.tensor import Tensor
from tinycnn.text import dot_quoted, plain


class Vertex(NamedTuple):
    """A node of the drawing: an operation, a leaf, or the tensor at the end."""

    label: str
    kind: str


def dot(tensor: Tensor, names: dict[str, Tensor] | None = None) -> str:
    """Return the graph in Graphviz's DOT language.

    Parameters
    ----------
    tensor : Tensor
        The end of the graph, before its backward pass (which frees it).
    names : dict of name to Tensor, optional
        Names for leaves, such as ``dict(model.named_parameters())``.

    Raises
    ------
    RuntimeError
        If a backward pass has freed the graph.

    Examples
    --------
    >>> a = Tensor([1.0], requires_grad=True)
    >>> print(dot(a + a, {"a": a}))
    digraph {
      0 [label="output (1,)", shape=box]
      1 [label="Add", shape=ellipse]
      2 [label="a (1,)", shape=box]
      1 -> 0
      2 -> 1
      2 -> 1
    }
    """
    vertices, arrows = _collect(tensor, names or {})
    shapes = {"operation": "ellipse", "leaf": "box", "output": "box"}
    lines = [f"  {i} [label={dot_quoted(v.label)}, shape={shapes[v.kind]}]" for i, v in enumerate(vertices)]
    return "\n".join(["digraph {", *lines, *(f"  {a} -> {b}" for a, b in arrows), "}"])


def draw(tensor: Tensor, path: str | Path | None = None, names: dict[str, Tensor] | None = None) -> Any:
    """Draw the graph with matplotlib: leaves on the left, the result on the right, one column for each step.

    Parameters
    ----------
    tensor, names
        As in :func:`dot`.
    path : str or Path, optional
        Save there; the suffix (.svg, .png, .pdf) is the format.

    Returns
    -------
    matplotlib.figure.Figure

    Raises
    ------
    RuntimeError
        If a backward pass has freed the graph.
    ValueError
        If the graph has more than 200 nodes: draw a part of it, or use :func:`dot`.
    """
    vertices, arrows = _collect(tensor, names or {})
    if len(vertices) > 200:
        raise ValueError(f"draw: the graph has {len(vertices)} nodes, expected at most 200; dot() has no limit")
    from tinycnn import plotting

    figure = _paint(vertices, arrows, _places(len(vertices), arrows))
    if path is not None:
        plotting.save(figure, path, bbox_inches="tight", dpi=100)
    return figure


def _collect(tensor: Tensor, names: dict[str, Tensor]) -> tuple[list[Vertex], list[tuple[int, int]]]:
    """Return all vertices, the output first, and the arrows from inputs to results."""
    arguments.instance("graph", "tensor", tensor, Tensor, "a Tensor")
    arguments.instance("graph", "names", names, dict, "a dict of tensors by name")
    if tensor.grad_fn is not None and tensor.grad_fn.freed:
        raise RuntimeError("the graph was freed by backward; draw it before, or call backward(retain_graph=True)")
    label_of = {id(t): name for name, t in names.items()}
    vertices = [Vertex(f"output {tensor.shape}", "output")]
    arrows: list[tuple[int, int]] = []
    number: dict[Function | Tensor, int] = {}
    stack: list[tuple[Function | Tensor, int]] = [(tensor.grad_fn or tensor, 0)]
    while stack:
        target, consumer = stack.pop()
        if target not in number:
            number[target] = len(vertices)
            vertices.append(_vertex(target, label_of))
            if isinstance(target, Function):
                stack.extend((edge.target, number[target]) for edge in target.edges if edge is not None)
        arrows.append((number[target], consumer))
    return vertices, arrows


def _vertex(target: Function | Tensor, label_of: dict[int, str]) -> Vertex:
    if isinstance(target, Function):
        return Vertex(type(target).__name__, "operation")
    return Vertex(f"{label_of.get(id(target), 'leaf')} {target.shape}", "leaf")


def _places(count: int, arrows: list[tuple[int, int]]) -> list[tuple[float, float]]:
    """Return positions: column by the longest way to the output, row by order of discovery, each column centred."""
    column = [0] * count
    consumers, waiting = defaultdict(list), [0] * count
    for source, consumer in arrows:
        consumers[source].append(consumer)
    inputs = defaultdict(list)
    for source, consumer in arrows:
        inputs[consumer].append(source)
        waiting[source] += 1
    ready = [i for i in range(count) if not waiting[i]]
    while ready:
        vertex = ready.pop()
        for source in inputs[vertex]:
            column[source] = max(column[source], column[vertex] + 1)
            waiting[source] -= 1
            if not waiting[source]:
                ready.append(source)
    rows: dict[int, list[int]] = defaultdict(list)
    for vertex in range(count):
        rows[column[vertex]].append(vertex)
    return [(-column[i], (len(rows[column[i]]) - 1) / 2 - rows[column[i]].index(i)) for i in range(count)]


def _in_lines(label: str) -> str:
    """Return a name with the shape below it."""
    name, bracket, shape = label.rpartition(" (")
    return f"{plain(name, 40)}\n({shape}" if bracket else plain(label, 40)


_COLOURS = {"operation": "#cfe3f5", "leaf": "#f7e1b5", "output": "#d8ecd0"}


def _paint(vertices: list[Vertex], arrows: list[tuple[int, int]], places: list[tuple[float, float]]) -> Any:
    from tinycnn.figure_text import TextFigure

    columns, rows = ({round(p[axis], 3) for p in places} for axis in (0, 1))
    figure = TextFigure(figsize=(1.9 * len(columns) + 0.5, 0.8 * max(len(rows), 2) + 0.4))
    figure.names = [vertex.label for vertex in vertices if vertex.kind == "leaf"]
    axes = figure.add_axes((0, 0, 1, 1))
    axes.set_axis_off()
    boxes = []
    for vertex, (x, y) in zip(vertices, places):
        shape = "round,pad=0.5" if vertex.kind == "operation" else "square,pad=0.45"
        box = {"boxstyle": shape, "facecolor": _COLOURS[vertex.kind], "edgecolor": "#555555"}
        text = axes.text(x, y, _in_lines(vertex.label), ha="center", va="center", fontsize=9, bbox=box)
        boxes.append(text.get_bbox_patch())
    for repeat, (source, consumer) in enumerate(arrows):
        bend = 0.25 if (source, consumer) in arrows[:repeat] else -0.08 * (places[source][1] != places[consumer][1])
        style = {"arrowstyle": "-|>", "color": "#555555", "shrinkA": 0, "shrinkB": 1}
        style |= {"patchA": boxes[source], "patchB": boxes[consumer], "connectionstyle": f"arc3,rad={bend}"}
        axes.annotate("", places[consumer], places[source], arrowprops=style)
    axes.set_xlim(min(x for x, _ in places) - 0.6, 0.6)
    axes.set_ylim(min(y for _, y in places) - 0.6, max(y for _, y in places) + 0.6)
    return figure
