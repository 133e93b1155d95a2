"""The engine writes only to arrays that it made, or that an operation declares to be new; declarations are true."""

import sys

import numpy as np
import pytest

import tinycnn as tc
from tests.activations import ACTIVATIONS
from tinycnn import functional as F
from tinycnn import ops
from tinycnn.autograd import Function, _owns_grad
from tinycnn.kernels.cpu.machine import scratch

# -- functions whose backward returns an array that something else holds -----------------------------------------------

KEPT_BY_MODULE = np.array([3.0, 1.0, 2.0])
LOG = []


class KeptByClass(Function):
    table = np.array([1.0, 2.0, 3.0])

    def forward(self, x):
        return x * 1.0

    def backward(self, grad):
        return self.table


def kept_by_closure():
    table = np.array([2.0, 5.0, 1.0])

    class KeptByClosure(KeptByClass):
        def backward(self, grad):
            return table

    return KeptByClosure, table


KeptByClosure, CLOSED_OVER = kept_by_closure()


class KeptByModule(KeptByClass):
    def backward(self, grad):
        return KEPT_BY_MODULE


class KeptByList(KeptByClass):
    def backward(self, grad):
        LOG.append(2 * grad)
        return LOG[-1]


class GradKeptByList(KeptByClass):
    def backward(self, grad):
        LOG.append(grad)
        return grad


class KeptBySelf(KeptByClass):
    def backward(self, grad):
        self.deep = {"kept": [3 * grad]}
        return self.deep["kept"][0]


class Saved(KeptByClass):
    def forward(self, x):
        self.save(x * 2)
        return x * 1.0

    def backward(self, grad):
        return self.saved[0]


class Input(KeptByClass):
    def forward(self, x):
        self.x = x
        return x * 1.0

    def backward(self, grad):
        return self.x


class ViewOfTable(KeptByClass):
    wide = np.arange(6.0)

    def backward(self, grad):
        return self.wide[::2]


class OneArrayTwice(Function):
    def forward(self, a, b):
        return a + b

    def backward(self, grad):
        both = 2 * grad
        return both, both


KEEPERS = [
    *(KeptByClass, KeptByClosure, KeptByModule, KeptByList, GradKeptByList),
    *(KeptBySelf, Saved, Input, ViewOfTable, OneArrayTwice),
]


def copying(keeper):
    """Return the same function, whose backward returns copies."""

    class Copying(keeper):
        def backward(self, grad):
            parts = super().backward(grad)
            return tuple(part.copy() for part in parts) if isinstance(parts, tuple) else parts.copy()

    return Copying


TWINS = {keeper: copying(keeper) for keeper in KEEPERS}


def gradients(seed, functions):
    """Return the leaves' gradients after each of three passes through a random graph of ``functions``."""
    rng = np.random.default_rng(seed)
    leaves = [tc.Tensor(rng.normal(size=3), requires_grad=True) for _ in range(2)]
    nodes = list(leaves)
    for _ in range(rng.integers(3, 8)):
        a, b = (nodes[i] for i in rng.integers(len(nodes), size=2))
        function = functions[rng.integers(len(functions))]
        kind = rng.integers(5)
        if kind < 3:
            nodes.append(function.apply(a, b) if issubclass(function, OneArrayTwice) else function.apply(a))
        else:
            nodes.append(a + b if kind == 3 else a * b)
    loss = sum((node * float(weight) for node, weight in zip(nodes, rng.integers(1, 9, len(nodes)))), nodes[-1]).sum()
    passes = []
    for _ in range(3):
        loss.backward(retain_graph=True)
        passes.append([leaf.grad.copy() for leaf in leaves])
    return passes


def test_arrays_that_something_else_holds_are_never_written_to():
    tables = [KeptByClass.table, CLOSED_OVER, KEPT_BY_MODULE, ViewOfTable.wide]
    before = [table.copy() for table in tables]
    for seed in range(1000):
        LOG.clear()
        kept = gradients(seed, KEEPERS)
        logged = [array.copy() for array in LOG]
        LOG.clear()
        np.testing.assert_array_equal(kept, gradients(seed, [TWINS[keeper] for keeper in KEEPERS]), str(seed))
        for array, twin in zip(logged, LOG):
            np.testing.assert_array_equal(array, twin, str(seed))
    for table, copy in zip(tables, before):
        np.testing.assert_array_equal(table, copy)


def test_a_view_of_a_gradient_is_as_new_as_the_gradient():
    """Three reshapes return a view of one gradient; adding the second in place would change the third."""
    x = tc.Tensor(np.ones((2, 3)), requires_grad=True)
    inner = x * 1
    (inner.reshape(6) + inner.reshape(6) + inner.reshape(6)).backward(np.arange(6.0))
    assert x.grad.reshape(-1).tolist() == [0, 3, 6, 9, 12, 15]


def test_a_leaf_never_gets_the_table_itself():
    x = tc.Tensor(np.ones(3), requires_grad=True)
    KeptByClass.apply(x).sum().backward()
    assert not np.shares_memory(x.grad, KeptByClass.table)


class Doubled(Function):
    returns_new = True

    def forward(self, x):
        return 2 * x

    def backward(self, grad):
        return self.make(grad)

    def make(self, grad):
        return 2 * grad


class DoubledFromTable(Doubled):
    table = np.full(3, 2.0)

    def make(self, grad):
        return self.table


def test_a_subclass_does_not_inherit_the_promise():
    class WithBackward(Doubled):
        def backward(self, grad):
            return DoubledFromTable.table

    assert Doubled.returns_new and not DoubledFromTable.returns_new and not WithBackward.returns_new
    for function in (DoubledFromTable, WithBackward):
        for _ in range(2):
            x = tc.Tensor(np.ones(3), requires_grad=True)
            (function.apply(x) + function.apply(x)).sum().backward()
            assert x.grad.tolist() == [4, 4, 4]


def test_a_backward_that_replaces_the_declared_one_promises_nothing(monkeypatch):
    table = np.full(3, 2.0)
    monkeypatch.setattr(Doubled, "backward", lambda self, grad: table)
    for _ in range(2):
        x = tc.Tensor(np.ones(3), requires_grad=True)
        (Doubled.apply(x) + Doubled.apply(x)).sum().backward()
        assert x.grad.tolist() == [4, 4, 4]


# -- the declarations of all operations --------------------------------------------------------------------------------


def tensor(*shape, low=-1.0):
    return tc.Tensor(np.random.default_rng(len(shape)).uniform(low, 2, shape), requires_grad=True)


IMAGE = (2, 4, 6, 6)


def nhwc(*shape):
    n, c, h, w = shape
    return tc.Tensor(tensor(n, h, w, c).data, requires_grad=True).permute(0, 3, 1, 2)


def convolution(kernel, algorithm, **options):
    shapes = (2, 16, 6, 6), (16, 16, kernel, kernel)
    return lambda: F.conv2d(nhwc(*shapes[0]), tensor(*shapes[1]), tensor(16), algorithm=algorithm, **options)


def activation(name, options):
    function = getattr(F, name)
    return [lambda: function(tensor(4, 5), **options), lambda: function(nhwc(2, 16, 32, 32), **options)]


OPERATIONS = {
    **{row.layer: activation(name, row.options) for name, row in ACTIVATIONS.items()},
    "Softmax": [lambda: F.softmax(tensor(4, 5), 1), lambda: F.softmax(tensor(4, 5, 3), 1)],
    "LogSoftmax": [lambda: F.log_softmax(tensor(4, 5), 1)],
    "Dropout": [lambda: F.dropout(tensor(4, 5), 0.5)],
    "Conv2d": [
        convolution(3, "im2col"),
        convolution(3, "direct"),
        convolution(3, "winograd", padding=1),
        convolution(1, "direct"),
        convolution(2, "direct", stride=2),
        lambda: F.conv2d(tensor(1, 1, 1, 1), tensor(1, 1, 1, 1), tensor(1)),
    ],
    "Add": [lambda: tensor(4, 5) + tensor(4, 5), lambda: tensor(4, 5) + 1],
    "Sub": [lambda: tensor(4, 5) - tensor(4, 5), lambda: tensor(4, 5) - 1],
    "Mul": [lambda: tensor(4, 5) * tensor(4, 5), lambda: tensor(4, 5) * tensor(5), lambda: tensor() * tensor()],
    "Div": [lambda: tensor(4, 5) / tensor(4, 5), lambda: tensor(4, 5) / 1.0],
    "Pow": [lambda: tensor(4, low=0.5) ** tensor(4), lambda: tensor(4) ** 1.0],
    "Neg": [lambda: -tensor(4)],
    "Exp": [lambda: tensor(4).exp()],
    "Log": [lambda: tensor(4, low=0.5).log()],
    "Sqrt": [lambda: tensor(4, low=0.5).sqrt()],
    "Abs": [lambda: abs(tensor(4))],
    "Maximum": [lambda: tc.maximum(tensor(4), tensor(4)), lambda: tc.maximum(tensor(4), 0.0)],
    "Clip": [lambda: tensor(4).clip(0, 1), lambda: tensor(4).clip(-9, 9)],
    "Where": [lambda: tc.where(tensor(4) > 0, tensor(4), tensor(4))],
    "AsType": [lambda: tensor(4).astype(np.float32)],
    "CrossEntropy": [lambda: F.cross_entropy(tensor(4, 3), [0, 1, 2, 0], weight=[1.0, 2.0, 3.0], reduction="none")],
    "MatMul": [lambda: tensor(4, 5) @ tensor(5, 3), lambda: tensor(2, 4, 5) @ tensor(5, 3)],
    "Linear": [lambda: F.linear(tensor(4, 5), tensor(3, 5), tensor(3))],
    "BatchNorm": [
        lambda: F.batch_norm(tensor(*IMAGE), None, None, tensor(4), tensor(4), training=True),
        lambda: F.batch_norm(nhwc(2, 16, 32, 32), None, None, tensor(16), tensor(16), training=True),
        lambda: F.batch_norm(tensor(*IMAGE), np.zeros(4), np.ones(4), tensor(4), tensor(4)),
    ],
    "LocalResponseNorm": [lambda: F.local_response_norm(tensor(*IMAGE), 3)],
    "MaxPool2d": [lambda: F.max_pool2d(tensor(*IMAGE), 2), lambda: F.max_pool2d(nhwc(*IMAGE), 3, 2, 1)],
    "AvgPool2d": [lambda: F.avg_pool2d(tensor(*IMAGE), 2), lambda: F.avg_pool2d(tensor(1, 1, 1, 1), 1)],
    "AdaptiveAvgPool2d": [lambda: F.adaptive_avg_pool2d(tensor(*IMAGE), 1), lambda: F.global_avg_pool2d(nhwc(*IMAGE))],
    "Sum": [lambda: tensor(4, 5).sum(1), lambda: tensor(4, 5).sum()],
    "Mean": [lambda: tensor(4, 5).mean(1)],
    "Var": [lambda: tensor(4, 5).var(1)],
    "MaxAll": [lambda: tensor(4, 5).max()],
    "MaxAlong": [lambda: tensor(4, 5).max(1).values],
    "Reshape": [lambda: tensor(4, 5).reshape(20), lambda: tensor(4, 5).T.reshape(20)],
    "Permute": [lambda: tensor(4, 5).T],
    "BroadcastTo": [lambda: tensor(1, 5).broadcast_to((4, 5)), lambda: tensor(4, 5).broadcast_to((4, 5))],
    "GetItem": [lambda: tensor(4, 5)[1:], lambda: tensor(4, 5)[[0, 0, 2]], lambda: nhwc(*IMAGE)[:, 1:]],
    "Concatenate": [lambda: tc.concatenate([tensor(*IMAGE), tensor(*IMAGE)], 1)],
    "Stack": [lambda: tc.stack([tensor(4), tensor(4)])],
    "Pad": [lambda: tc.pad(tensor(4, 5), (1, 1)), lambda: tc.pad(tensor(4, 5), (0, 0))],
    "Move": [lambda: ops.shape.Move.apply(tensor(4), device="cpu")],
}
CASES = [(name, make) for name, cases in OPERATIONS.items() for make in cases]


def operations(base=Function):
    for cls in base.__subclasses__():
        if cls.__module__.startswith("tinycnn.") and cls.backward is not Function.backward:  # comparisons have none
            yield cls
        yield from operations(cls)


def test_every_operation_is_in_the_table():
    assert {cls.__name__ for cls in operations()} == set(OPERATIONS)


def arrays_in(thing, depth=4):
    if isinstance(thing, np.ndarray):
        yield thing
    elif isinstance(thing, dict) and depth:
        for value in list(thing.values()):
            yield from arrays_in(value, depth - 1)
    elif isinstance(thing, (list, tuple, set)) and depth:
        for value in thing:
            yield from arrays_in(value, depth - 1)


def held_by_modules():
    for name, module in list(sys.modules.items()):
        if name.startswith("tinycnn."):
            yield from arrays_in(vars(module), 2)
    yield from arrays_in(vars(scratch._kept))


def backward(node, grad, owned):
    token = _owns_grad.set(owned)
    try:
        parts = node.backward(grad)
    finally:
        _owns_grad.reset(token)
    return [part for part in (parts if isinstance(parts, tuple) else (parts,)) if isinstance(part, np.ndarray)]


def recorded(name, make):
    """Return the node of an operation and the array that its forward pass returned."""
    seen = []
    original = Function.apply.__func__

    def apply(cls, *inputs, **options):
        result = original(cls, *inputs, **options)
        if cls.__name__ == name:
            seen.append((result.grad_fn, result.data))
        return result

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Function, "apply", classmethod(apply))
        make()
    (found,) = seen
    return found


@pytest.mark.parametrize(("name", "make"), CASES, ids=[f"{name}-{i}" for i, (name, _) in enumerate(CASES)])
def test_declarations_of_ownership_are_true(name, make):
    node, output = recorded(name, make)
    inputs = [edge.target.data for edge in node.edges if edge is not None and isinstance(edge.target, tc.Tensor)]
    grad = np.random.default_rng(0).normal(size=output.shape).astype(output.dtype)
    parts = backward(node, grad, owned=False)
    again = backward(node, grad, owned=False)
    held = [*inputs, output, *node.saved, *arrays_in(vars(node)), *held_by_modules()]
    held = [array for array in held if isinstance(array, np.ndarray)]
    if node.returns_new:
        for i, part in enumerate(parts):
            assert part.flags.writeable
            assert not any(np.shares_memory(part, other) for other in [*held, grad, *again, *parts[i + 1 :]])
        lent = grad.copy(order="K")
        assert sum(np.shares_memory(part, lent) for part in backward(node, lent, owned=True)) <= 1
    elif node.returns_grad:
        (part,) = parts
        assert not any(np.shares_memory(part, other) for other in held)
        assert part.size <= 1 or 0 not in part.strides


# -- arrays in other clothes, and hooks that remove themselves ---------------------------------------------------------


class WithArray:
    def __init__(self, array):
        self.array = array

    def __array__(self, dtype=None, copy=None):
        return self.array


class Named(np.ndarray):
    pass


@pytest.mark.parametrize(
    "wrap",
    [tc.Tensor.wrap, memoryview, WithArray, lambda a: a.view(Named), lambda a: a.view(np.recarray)],
    ids=["tensor", "buffer", "protocol", "subclass", "recarray"],
)
def test_what_a_function_keeps_in_another_form_is_not_written_to(wrap):
    table = np.array([1.0, 2.0, 3.0])

    class Kept(KeptByClass):
        def backward(self, grad):
            return wrap(table)

    for _ in range(3):
        x = tc.Tensor(np.ones(3), requires_grad=True)
        h = x * 1.0
        (Kept.apply(h) + Kept.apply(h)).sum().backward()
        assert x.grad.tolist() == [2.0, 4.0, 6.0]
    assert table.tolist() == [1.0, 2.0, 3.0]


def test_what_a_hook_keeps_that_removes_itself_is_not_written_to():
    kept, x = [], tc.Tensor(-np.ones(4), requires_grad=True)
    y = F.relu(x)
    hook = y.register_hook(lambda grad: (hook.remove(), kept.append(grad))[1])
    (y * 3.0).sum().backward()
    assert kept[0].tolist() == [3.0] * 4
    assert x.grad.tolist() == [0.0] * 4


def test_a_leafs_grad_is_not_the_array_of_a_hook_that_removes_itself():
    table, x = np.full(4, 7.0), tc.Tensor(np.ones(4), requires_grad=True)
    hook = x.register_hook(lambda grad: (hook.remove(), table)[1])
    (x * 3.0).sum().backward()
    x.grad[0] = 0
    assert table.tolist() == [7.0] * 4


MATRIX = np.array([[1.0, 2.0], [3.0, 4.0]])


class ReturnsMatrices(Function):
    def forward(self, x):
        return np.asmatrix(x * 1.0)

    def backward(self, grad):
        return np.asmatrix(grad)


@pytest.mark.filterwarnings("ignore::PendingDeprecationWarning")
def test_arrays_of_a_subclass_are_taken_as_plain_arrays():
    x = tc.Tensor(MATRIX, requires_grad=True)
    x.data = np.asmatrix(MATRIX)
    h = x * np.asmatrix(MATRIX)
    h.register_hook(lambda grad: np.asmatrix(grad * 1.0))
    y = ReturnsMatrices.apply(h) * MATRIX
    y.sum(dim=0, keepdim=True).sum().backward()
    assert np.array_equal(y.data, MATRIX**3)
    assert np.array_equal(x.grad, MATRIX**2)
    x.grad = np.asmatrix(MATRIX)
    assert {type(array) for array in (x.data, x.grad, h.data, y.data)} == {np.ndarray}


@pytest.mark.parametrize(
    "use",
    [
        lambda a: tc.Tensor(a),
        lambda a: tc.Tensor(MATRIX) * a,
        lambda a: setattr(tc.Tensor(MATRIX), "data", a),
        lambda a: setattr(tc.Tensor(MATRIX), "grad", a),
    ],
)
def test_masked_elements_are_refused(use):
    with pytest.raises(TypeError, match=r"shape \(2, 2\) has masked elements"):
        use(np.ma.array(MATRIX, mask=[[False, True], [False, False]]))
    use(np.ma.array(MATRIX))
