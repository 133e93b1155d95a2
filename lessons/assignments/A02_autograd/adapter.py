"""Builds graphs that tests describe as programs: lists of ``(operation, node, ...)`` over numbered nodes."""

OPERATIONS = {
    "add": lambda a, b: a + b,
    "mul": lambda a, b: a * b,
    "square": lambda a: a**2,
    "cube": lambda a: a**3,
    "inverse": lambda a: a**-1,
    "exp": lambda a: a.exp(),
    "relu": lambda a: a.relu(),
    "matmul": lambda a, b: a @ b,
    "sum": lambda a: a.sum(),
}


def build(program, leaves, operations=OPERATIONS):
    """Return all nodes, the leaves first."""
    nodes = list(leaves)
    for operation, *places in program:
        nodes.append(operations[operation](*(nodes[place] for place in places)))
    return nodes


def gradients(student, kind, program, leaves, times=1):
    """Return the last node's value, and the leaves' gradients after ``times`` backward passes."""
    nodes = build(program, [getattr(student, kind)(leaf) for leaf in leaves])
    for _ in range(times):
        student.backward(nodes[-1])
    return nodes[-1].data, [node.grad for node in nodes[: len(leaves)]]


def order(student, program, leaves):
    """Return the numbers of the nodes in topological order."""
    nodes = build(program, [student.Value(leaf) for leaf in leaves])
    numbers = {id(node): number for number, node in enumerate(nodes)}
    return [numbers[id(node)] for node in student.topological(nodes[-1])]


def chain(student, kind, depth):
    """Return the gradients of a number and of the constant that is added to it ``depth`` times."""
    first, one = getattr(student, kind)(1.0), getattr(student, kind)(1.0)
    node = first
    for _ in range(depth):
        node = node + one
    student.backward(node)
    return first.grad, one.grad
