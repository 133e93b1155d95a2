# %% [markdown] seconds=5
# # 01 · From a scalar to a tensor
#
# Training needs the derivative of one number, the loss, for each of a million parameters. It gets all of them by one
# walk backwards through what was computed. The engine that walks fits on a page, and one thing in it is easy to get
# wrong: the order. We write it for plain numbers, get it wrong, get it right, and then let tensors do the same.

# %%
from collections import Counter

import numpy as np

import tinycnn as tc
from tinycnn import graph, plotting
from tinycnn.lesson import FAST, check, show


class Number:
    """A number with edges to its sources: pairs of a source and the derivative with respect to it."""

    def __init__(self, value, edges=()):
        self.value, self.edges, self.grad = value, edges, 0.0

    def __add__(self, other):
        return Number(self.value + other.value, ((self, 1.0), (other, 1.0)))

    def __mul__(self, other):
        return Number(self.value * other.value, ((self, other.value), (other, self.value)))


# %% [markdown]
# An ordinary number forgets where it came from. A `Number` keeps its sources, and for each of them the derivative of
# the one step in between: 1 for a sum, the other factor for a product. The chain rule does the rest: the derivative of
# the end for a source is a sum over all paths between the two, and each path contributes the product of the
# derivatives along it.
#
# > `b = a + a; c = b + b`. How many paths lead from `c` back to `a`? What is the derivative of `c` for `a`?

# %%
a = tc.Tensor(3.0, requires_grad=True)
b = a + a
c = b + b
show(graph.draw(c, names={"a": a}), "The graph of b = a + a; c = b + b: two steps with two arrows each.")

# %% [markdown]
# ## Two engines that come to mind
#
# Both start at the end with a gradient of 1. Both add what arrives to `grad`, pass something on, and count visits.
#
# > Walk both through the four arrows with a pencil. One says 4, the other 6. Which is which? Then think of ResNet-110:
# > each of its 54 blocks $x + f(x)$ offers two ways. What is wrong with the engine that is right?


# %%
def every_path(node, part=1.0):
    """Pass on the part that arrived."""
    node.grad += part
    return 1 + sum(every_path(source, slope * part) for source, slope in node.edges)


def running_total(node, part=1.0):
    """Pass on the sum of all parts that have arrived so far."""
    node.grad += part
    return 1 + sum(running_total(source, slope * node.grad) for source, slope in node.edges)


# %% [markdown]
# ## The engine in one page
#
# A gradient may be passed on when it is complete: when everything that *used* the number has reported. So count the
# uses first, then visit only numbers with no report outstanding. That is a *topological order*. There is no recursion
# in it, so depth does no harm. tinycnn's own engine, in `tinycnn/autograd.py`, does the same with arrays.


# %%
def backward(end):
    """Add d(end)/d(node) to the grad of each node behind end, each visited once. Return the nodes in that order."""
    uses, waiting = Counter(), [end]
    while waiting:
        for source, _ in waiting.pop().edges:
            uses[source] += 1
            if uses[source] == 1:
                waiting.append(source)
    end.grad, ready, order = 1.0, [end], []
    while ready:
        order.append(ready.pop())
        for source, slope in order[-1].edges:
            source.grad += slope * order[-1].grad
            uses[source] -= 1
            if not uses[source]:
                ready.append(source)
    return order


def doublings(engine, count):
    start = end = Number(3.0)
    for _ in range(count):
        end = end + end
    return engine(end), start.grad


engines = {"in order": lambda end: len(backward(end)), "every path": every_path, "running total": running_total}
depths = range(1, 13 if FAST else 17)
found = {name: [doublings(engine, n) for n in depths] for name, engine in engines.items()}
for name, rows in found.items():
    for count, (visits, derivative) in ((2, rows[1]), (depths[-1], rows[-1])):
        print(f"{name:13} {count:3} doublings: derivative {derivative:<11.6g} in {visits:7,} visits")
print(f"54 doublings by every path, 100 million visits a second: {2**55 / 1e8 / 3600 / 24 / 365:.0f} years")

figure, grid = plotting.panels(9, 3.2, 2)
for axes, name, what in zip(grid, ("running total", "every path"), (1, 0)):
    for series, engine in enumerate(("in order", name)):
        plotting.curve(axes, depths, [row[what] for row in found[engine]], engine, series)
    axes.set(yscale="log", xlabel="doublings x + x, one after another", ylabel=("visits", "derivative for x")[what])
    axes.legend()
show(figure, "Left: one engine is wrong from the second doubling on. Right: the other is right, and soon useless.")

# %% [markdown]
# ## The same thing with tensors
#
# A layer, $x W + b$, for four images of three pixels and two outputs, and the sum of the squares of what comes out.
#
# > How many nodes has its graph in numbers, roughly? And in tensors? `b` has two elements, but is added to four rows:
# > what shape must its gradient have, and what is summed in it?

# %%
rng = np.random.default_rng(0)
x, W, b = tensors = [tc.Tensor(rng.normal(size=shape), requires_grad=True) for shape in ((4, 3), (3, 2), 2)]
squares = ((x @ W + b) ** 2).sum()
operations = graph.dot(squares).count("ellipse")
show(graph.draw(squares, names={"x": x, "W": W, "b": b}), "In tensors. At Add, b of shape (2,) meets a matrix (4, 2).")

pixels, weights, biases = [[[Number(v) for v in row] for row in np.atleast_2d(t.data)] for t in tensors]
loss = Number(0.0)
for row in pixels:
    for j, z in enumerate(biases[0]):
        for pixel, weight in zip(row, weights):
            z = z + pixel * weight[j]
        loss = loss + z * z
order = backward(loss)

leaves = [[number for row in rows for number in row] for rows in (pixels, weights, biases)]
level, place = {}, {}
for node in [*leaves[0], *leaves[1], *leaves[2], *order[::-1]]:  # sources first
    level[node] = 1 + max((level[source] for source, _ in node.edges), default=-1)
for depth in range(level[loss] + 1):
    members = [node for node in level if level[node] == depth]
    members.sort(key=lambda node: -np.mean([place[source][1] for source, _ in node.edges]) if depth else 0)
    place |= {node: (depth, -(i + 0.5) / len(members)) for i, node in enumerate(members)}
figure, axes = plotting.panels(9, 3.4)
for node in order:
    for source, _ in node.edges:
        colour = plotting.RED if source in leaves[2] else "0.7"
        axes.plot(*zip(place[node], place[source]), ".-", color=colour, mfc="0.4", mec="0.4", linewidth=0.7, zorder=1)
for group, label, series in zip(leaves, ("pixels x", "weights W", "biases b"), (0, 1, 3)):
    colour, _, marker = plotting.SERIES[series]
    axes.plot(*zip(*map(place.get, group)), marker, color=colour, label=label)
axes.legend(loc="upper right", frameon=False)
axes.set_axis_off()
show(figure, "The same in numbers: two outputs of four images make eight rows, so four lines leave each bias.")

squares.backward()
gaps = [np.abs(t.grad.ravel() - [n.grad for n in group]).max() for t, group in zip(tensors, leaves)]
print(f"{len(order)} numbers, or {operations} operations on tensors; their gradients differ by at most {max(gaps):.0e}")

# %% [markdown]
# ## Broadcasting, undone
#
# Where an element was repeated, its gradient is the sum over the repetitions. With numbers that happens by itself. With
# arrays it is a rule: sum over every dimension that was added or stretched.
#
# > A bias of shape (3, 1, 1) is added to images of shape (2, 3, 5, 5). Over which dimensions is its gradient summed?


# %%
def undo(grad, shape):
    """Sum a gradient over the dimensions along which an array of that shape was repeated."""
    grad = grad.sum(axis=tuple(range(grad.ndim - len(shape))))
    return grad.sum(axis=tuple(i for i, length in enumerate(shape) if length == 1), keepdims=True)


for shapes in (((4, 2), (2,)), ((3, 1), (1, 4)), ((2, 3, 5, 5), (3, 1, 1)), ((5,), ())):
    p, q = (tc.Tensor(rng.normal(size=shape), requires_grad=True) for shape in shapes)
    grad = rng.normal(size=np.broadcast_shapes(*shapes))
    (p * q).backward(grad)
    gaps += [np.abs(one.grad - undo(grad * other.data, one.shape)).max() for one, other in ((p, q), (q, p))]
    print(f"{shapes[0]} * {shapes[1]} = {grad.shape}; gradients of shape {p.grad.shape} and {q.grad.shape}")

# %%
check("two doublings make 4; running totals say 6", [rows[1][1] for rows in found.values()] == [4, 4, 6])
check("in order, n doublings take n + 1 visits", found["in order"] == [(n + 1, 2**n) for n in depths])
check("by every path, 2 ** (n + 1) - 1", found["every path"] == [(2 ** (n + 1) - 1, 2**n) for n in depths])
check("numbers and tensors find the same gradients, to 1e-12", max(gaps) < 1e-12)
check("four operations on tensors stand for 85 numbers", (operations, len(order)) == (4, 85))

# %% [markdown]
# ## Exercises
#
# 1. A third engine: `running_total`, but a node that was visited before passes on nothing. What is its result, and why?
# 2. Give `Number` a `relu`, put it between the layer and the squares, and compare with `tc.functional.relu`.
# 3. Call `backward(loss)` twice. Why does that more than double the gradients of `b`? What does tinycnn do about it?
