"""Hidden tests."""

from tinycnn.assign.testing import beside

public = beside(__file__, "public.py")


def any_numbers(student, rng, check):
    """Gradients of a graph of numbers drawn at random, in which nodes are shared."""
    for _ in range(2):
        program = [*public.random_program(rng, 3, 8), ("relu", 10), ("square", 11)]
        program += [("add", 12, 10), ("add", 13, 10), ("inverse", 14)]
        with check.part():
            public.compare(student, check, "Value", program, [float(n) for n in rng.uniform(0.3, 0.8, 3)])


def deep(student, rng, check):
    """A chain of ten thousand additions."""
    depth = int(rng.integers(9000, 11000))
    first, one = student.chain("Value", depth)
    check.close(first, 1.0)
    check.close(one, float(depth))


def again(student, rng, check):
    """A second backward pass adds to the gradients of leaves, and to nothing else."""
    a, b = (float(n) for n in rng.uniform(1, 2, 2))
    program = [("mul", 0, 1), ("square", 2), ("add", 3, 2)]
    once = public.expected(program, [a, b])
    _, got = student.gradients("Value", program, [a, b], 2)
    for one, other in zip(got, once, strict=True):
        check.close(one, 2 * other)


def two_layers(student, rng, check):
    """Gradients of a network with two layers: matmul, bias and relu."""
    x, first, bias, second = (rng.normal(size=s) for s in ((5, 3), (3, 4), (4,), (4, 1)))
    program = [("matmul", 0, 1), ("add", 4, 2), ("relu", 5), ("matmul", 6, 3), ("mul", 7, 7), ("sum", 8)]
    public.compare(student, check, "Tensor", program, [x, first, bias, second])


def odd_shapes(student, rng, check):
    """Gradients of arrays that were repeated along several axes, and of both in a product."""
    for one, other in (((2, 1, 4), (3, 1)), ((), (2, 3))):
        with check.part():
            leaves = [rng.normal(size=one), rng.normal(size=other)]
            public.compare(student, check, "Tensor", [("mul", 0, 1), ("add", 2, 0), ("sum", 3)], leaves)
