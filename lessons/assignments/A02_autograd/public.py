"""Public tests: graphs are given as programs, and expected gradients are those of tinycnn's own engine."""

import numpy as np

import tinycnn as tc
from tinycnn import functional as F
from tinycnn.assign.testing import beside

adapter = beside(__file__, "adapter.py")
DIAMOND = [("add", 0, 0), ("add", 1, 1), ("mul", 2, 1)]


def expected(program, leaves, times=1):
    """Return the right gradients of the leaves."""
    tensors = [tc.Tensor(np.asarray(leaf, float), requires_grad=True) for leaf in leaves]
    for _ in range(times):
        adapter.build(program, tensors, adapter.OPERATIONS | {"relu": F.relu})[-1].sum().backward()
    return [np.zeros(t.shape) if t.grad is None else t.grad for t in tensors]


def compare(student, check, kind, program, leaves, times=1):
    """Compare all gradients of one graph."""
    _, got = student.gradients(kind, program, leaves, times)
    for one, other in zip(got, expected(program, leaves, times), strict=True):
        check.close(one, other)


def slopes(student, rng, check):
    """The slope of each operation on numbers."""
    for operation in ("add", "mul", "square", "cube", "exp", "relu"):
        places = (0, 1) if operation in ("add", "mul") else (0,)
        with check.part():
            a, b, c = (float(n) for n in rng.uniform(0.5, 2, 3))
            program = [(operation, *places), ("mul", 3, 2)]  # so that the gradient that arrives is not 1
            compare(student, check, "Value", program, [a, b, c])
            if operation == "relu":
                compare(student, check, "Value", program, [0.0, b, c])


def diamond(student, rng, check):
    """A number that is used twice gets the sum of the gradients from its uses: b = a + a, c = b + b."""
    a = float(rng.uniform(1, 2))
    for program, share in ((DIAMOND[:2], 4), (DIAMOND, 8)):
        with check.part():
            _, got = student.gradients("Value", program, [a])
            right = expected(program, [a])[0]
            wrong = {
                "a gradient was overwritten: accumulate, +=": right / share,
                "a node sent its gradient back too early": right / 2,
            }
            check.close(got[0], right, wrong)


def order(student, rng, check):
    """In topological order every node comes once, after its inputs, and the last node last."""
    program = random_program(rng, 3, 12)
    got = student.order(program, [1.0, 2.0, 3.0])
    edges = dict(enumerate([(), (), (), *(places for _, *places in program)]))
    needed = {len(edges) - 1}
    for node in reversed(edges):  # a node's inputs have smaller numbers
        needed.update(edges[node] if node in needed else ())
    check.equal(sorted(got), sorted(needed), what="the nodes, sorted,")
    place = {node: at for at, node in enumerate(got)}
    check.true(got[-1] == len(edges) - 1, "the node itself must come last")
    late = any(place[source] > place[node] for node in got for source in edges[node])
    check.true(not late, "a node comes before one of its inputs", "outputs first: reversed, or in the order of a walk?")


def random_program(rng, leaves, length):
    """Return additions and products of random nodes; the last one depends on the newest."""
    program = []
    for count in range(leaves, leaves + length):
        program.append((str(rng.choice(["add", "mul"])), count - 1, int(rng.integers(count))))
    return program


def arrays(student, rng, check):
    """Gradients of arrays: sum, relu, sums and products of the same shape."""
    for program in ([("sum", 0)], [("relu", 0), ("sum", 2)], [("add", 0, 1), ("mul", 2, 0), ("sum", 3)]):
        with check.part():
            a, b = rng.normal(size=(2, 3, 4))
            a[0, 0] = 0.0
            compare(student, check, "Tensor", program, [a, b])


def broadcasting(student, rng, check):
    """Gradients of arrays that NumPy repeated: the sum over the copies."""
    for shape in ((4,), (3, 1), (1, 4)):
        with check.part():
            a, b = rng.normal(size=(3, 4)), rng.normal(size=shape)
            compare(student, check, "Tensor", [("add", 0, 1), ("mul", 2, 1), ("sum", 3)], [a, b])
