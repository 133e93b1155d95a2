"""Every operation beside PyTorch's: values and all gradients, in float64 and float32, under random cotangents.

``python -m benchmarks.accuracy operations`` prints the largest difference of each operation.
"""

from __future__ import annotations

from functools import partial

import numpy as np
import pytest

import tinycnn as tc
from tests.activations import ACTIVATIONS
from tinycnn import functional as F

torch = pytest.importorskip("torch")
TF = torch.nn.functional

LABELS = np.array([1, 0, 4, 2])
DENSE = np.array([[[0, 1, 2], [3, 4, -1]], [[2, -1, 0], [1, 1, 4]]])
WEIGHT = np.array([0.5, 2.0, 1.0, 0.1, 3.0])


def weights(like):
    return torch.tensor(WEIGHT, dtype=like.dtype)


# name: (ours, PyTorch's, shapes of the inputs). Inputs are standard normal; P marks inputs made positive.
P = "positive"
CASES = {
    "add, broadcast": (lambda a, b: a + b, lambda a, b: a + b, [(3, 1, 4), (2, 1)]),
    "add, number": (lambda a: 2 + a + 1.5, lambda a: 2 + a + 1.5, [(3, 4)]),
    "sub": (lambda a, b: a - b, lambda a, b: a - b, [(2, 3), (3,)]),
    "rsub": (lambda a: 1 - a, lambda a: 1 - a, [(2, 3)]),
    "mul": (lambda a, b: a * b, lambda a, b: a * b, [(1, 3), (4, 1)]),
    "mul, same tensor": (lambda a: a * a * a, lambda a: a * a * a, [(5,)]),
    "div": (lambda a, b: a / b, lambda a, b: a / b, [(2, 3), (2, 3), P]),
    "rdiv": (lambda a: 2 / a, lambda a: 2 / a, [(2, 3), P]),
    "pow, number": (lambda a: a**3, lambda a: a**3, [(2, 3)]),
    "pow, fraction": (lambda a: a**0.5, lambda a: a**0.5, [(2, 3), P]),
    "pow, zero": (lambda a: a**0, lambda a: a**0, [(2, 3)]),
    "pow, tensors": (lambda a, b: a**b, lambda a, b: a**b, [(2, 3), (3,), P]),
    "rpow": (lambda a: 2**a, lambda a: 2**a, [(2, 3)]),
    "neg": (lambda a: -a, lambda a: -a, [(2, 3)]),
    "exp": (lambda a: a.exp(), lambda a: a.exp(), [(2, 3)]),
    "log": (lambda a: a.log(), lambda a: a.log(), [(2, 3), P]),
    "sqrt": (lambda a: a.sqrt(), lambda a: a.sqrt(), [(2, 3), P]),
    "abs": (lambda a: abs(a), lambda a: abs(a), [(2, 3)]),
    "maximum": (tc.maximum, lambda a, b: torch.maximum(a, b), [(4, 3), (3,)]),
    "clip": (lambda a: a.clip(-0.5, 0.7), lambda a: a.clip(-0.5, 0.7), [(5, 6)]),
    "clip, one side": (lambda a: a.clip(min=0.1), lambda a: a.clip(min=0.1), [(5, 6)]),
    "where": (
        lambda a, b: tc.where(a > 0.2, a, b),
        lambda a, b: torch.where(a > 0.2, a, b),
        [(3, 4), (1, 4)],
    ),
    "sum": (lambda a: a.sum(), lambda a: a.sum(), [(2, 3, 4)]),
    "sum, dims": (lambda a: a.sum((0, -1), True), lambda a: a.sum((0, -1), True), [(2, 3, 4)]),
    "mean": (lambda a: a.mean(1), lambda a: a.mean(1), [(2, 3, 4)]),
    "var": (lambda a: a.var(), lambda a: a.var(), [(2, 3, 4)]),
    "var, dims": (lambda a: a.var((1, 2), 0, True), lambda a: a.var((1, 2), correction=0, keepdim=True), [(2, 3, 4)]),
    "max": (lambda a: a.max(), lambda a: a.max(), [(3, 4)]),
    "max, dim": (lambda a: a.max(1).values, lambda a: a.max(1).values, [(3, 4, 2)]),
    "max, keepdim": (lambda a: a.max(-1, True).values, lambda a: a.max(-1, True).values, [(3, 4)]),
    "reshape": (lambda a: a.reshape(4, -1), lambda a: a.reshape(4, -1), [(2, 3, 4)]),
    "flatten": (lambda a: a.flatten(1, 2), lambda a: a.flatten(1, 2), [(2, 3, 4, 5)]),
    "transpose": (lambda a: a.transpose(0, -1), lambda a: a.transpose(0, -1), [(2, 3, 4)]),
    "permute": (lambda a: a.permute(2, 0, 1), lambda a: a.permute(2, 0, 1), [(2, 3, 4)]),
    "T": (lambda a: a.T, lambda a: a.T, [(2, 3)]),
    "index, slices": (lambda a: a[1:, None, ::2, 0], lambda a: a[1:, None, ::2, 0], [(3, 5, 2)]),
    "index, repeated": (
        lambda a: a[np.array([0, 2, 0, 0])],
        lambda a: a[torch.tensor([0, 2, 0, 0])],
        [(3, 4)],
    ),
    "index, mask": (
        lambda a: a[np.arange(12).reshape(3, 4) % 3 == 0],
        lambda a: a[torch.arange(12).reshape(3, 4) % 3 == 0],
        [(3, 4)],
    ),
    "index, negative step": (lambda a: a[::-1], lambda a: a.flip(0), [(3, 4)]),
    "concatenate": (
        lambda a, b: tc.concatenate([a, b, a], dim=1),
        lambda a, b: torch.cat([a, b, a], dim=1),
        [(2, 3), (2, 1)],
    ),
    "stack": (lambda a, b: tc.stack([a, b], dim=-1), lambda a, b: torch.stack([a, b], dim=-1), [(2, 3), (2, 3)]),
    "pad": (lambda a: tc.pad(a, (1, 0, 2, 3), 0.5), lambda a: TF.pad(a, (1, 0, 2, 3), value=0.5), [(2, 3, 4)]),
    "broadcast_to": (lambda a: a.broadcast_to((4, 2, 3)), lambda a: a.broadcast_to((4, 2, 3)), [(2, 1)]),
    "matmul": (lambda a, b: a @ b, lambda a, b: a @ b, [(3, 4), (4, 5)]),
    "matmul, batched": (lambda a, b: a @ b, lambda a, b: a @ b, [(2, 1, 3, 4), (5, 4, 6)]),
    "matmul, vectors": (lambda a, b: a @ b, lambda a, b: a @ b, [(4,), (4,)]),
    "matmul, matrix and vector": (lambda a, b: a @ b, lambda a, b: a @ b, [(2, 3, 4), (4,)]),
    "matmul, vector and matrix": (lambda a, b: a @ b, lambda a, b: a @ b, [(4,), (4, 3)]),
    "linear": (F.linear, TF.linear, [(5, 4), (3, 4), (3,)]),
    "linear, three dims": (F.linear, TF.linear, [(2, 5, 4), (3, 4)]),
    "conv2d": (F.conv2d, TF.conv2d, [(2, 3, 7, 9), (4, 3, 3, 2), (4,)]),
    "conv2d, all options": (
        lambda x, w, b: F.conv2d(x, w, b, (2, 1), (1, 2), (1, 2), 2),
        lambda x, w, b: TF.conv2d(x, w, b, (2, 1), (1, 2), (1, 2), 2),
        [(2, 4, 9, 8), (6, 2, 3, 2), (6,)],
    ),
    "conv2d, same": (
        lambda x, w: F.conv2d(x, w, padding="same", dilation=2),
        lambda x, w: TF.conv2d(x, w, padding="same", dilation=2),
        [(1, 2, 5, 6), (3, 2, 3, 5)],
    ),
    "conv2d, depthwise": (
        lambda x, w: F.conv2d(x, w, padding=1, groups=5),
        lambda x, w: TF.conv2d(x, w, padding=1, groups=5),
        [(2, 5, 6, 4), (5, 1, 3, 3)],
    ),
    "max_pool2d": (lambda x: F.max_pool2d(x, 2), lambda x: TF.max_pool2d(x, 2), [(2, 3, 5, 7)]),
    "max_pool2d, all options": (
        lambda x: F.max_pool2d(x, (3, 2), (2, 1), (1, 1), (1, 2), True),
        lambda x: TF.max_pool2d(x, (3, 2), (2, 1), (1, 1), (1, 2), True),
        [(2, 3, 8, 9)],
    ),
    "avg_pool2d": (
        lambda x: F.avg_pool2d(x, (3, 2), 2, (1, 1), True),
        lambda x: TF.avg_pool2d(x, (3, 2), 2, (1, 1), True),
        [(2, 3, 8, 7)],
    ),
    "avg_pool2d, without padding": (
        lambda x: F.avg_pool2d(x, 3, 2, 1, False, False),
        lambda x: TF.avg_pool2d(x, 3, 2, 1, False, False),
        [(2, 3, 8, 7)],
    ),
    "adaptive_avg_pool2d": (
        lambda x: F.adaptive_avg_pool2d(x, (3, 5)),
        lambda x: TF.adaptive_avg_pool2d(x, (3, 5)),
        [(2, 3, 7, 4)],
    ),
    "global_avg_pool2d": (F.global_avg_pool2d, lambda x: x.mean((2, 3)), [(2, 3, 7, 4)]),
    **{
        name: (partial(getattr(F, name), **row.options), partial(getattr(TF, name), **row.options), [(3, 4)])
        for name, row in ACTIVATIONS.items()
    },
    "softmax": (lambda x: F.softmax(x, 1), lambda x: TF.softmax(x, 1), [(3, 4, 2)]),
    "log_softmax": (lambda x: F.log_softmax(x, -1), lambda x: TF.log_softmax(x, -1), [(3, 4)]),
    "batch_norm, training": (
        lambda x, w, b: F.batch_norm(x, None, None, w, b, training=True),
        lambda x, w, b: TF.batch_norm(x, None, None, w, b, training=True),
        [(4, 3, 5, 2), (3,), (3,)],
    ),
    "batch_norm, evaluation": (
        lambda x, w, b: F.batch_norm(x, np.arange(3.0), np.arange(1.0, 4.0), w, b),
        lambda x, w, b: TF.batch_norm(x, torch.arange(3).to(x.dtype), torch.arange(1, 4).to(x.dtype), w, b),
        [(4, 3, 5, 2), (3,), (3,)],
    ),
    "local_response_norm": (
        lambda x: F.local_response_norm(x, 4, 0.3, 0.75, 2.0),
        lambda x: TF.local_response_norm(x, 4, 0.3, 0.75, 2.0),
        [(2, 7, 3, 4)],
    ),
    "cross_entropy": (
        lambda x: F.cross_entropy(x, LABELS),
        lambda x: TF.cross_entropy(x, torch.tensor(LABELS)),
        [(4, 5)],
    ),
    "cross_entropy, all options": (
        lambda x: F.cross_entropy(x, LABELS, WEIGHT, 4, "mean", 0.1),
        lambda x: TF.cross_entropy(x, torch.tensor(LABELS), weights(x), ignore_index=4, label_smoothing=0.1),
        [(4, 5)],
    ),
    "cross_entropy, dense": (
        lambda x: F.cross_entropy(x, DENSE, ignore_index=-1, reduction="none"),
        lambda x: TF.cross_entropy(x, torch.tensor(DENSE), ignore_index=-1, reduction="none"),
        [(2, 5, 2, 3)],
    ),
    "cross_entropy, one sample": (
        lambda x: F.cross_entropy(x, 2, reduction="sum"),
        lambda x: TF.cross_entropy(x, torch.tensor(2), reduction="sum"),
        [(5,)],
    ),
    "nll_loss": (
        lambda x: F.nll_loss(x, LABELS, WEIGHT, ignore_index=0),
        lambda x: TF.nll_loss(x, torch.tensor(LABELS), weights(x), ignore_index=0),
        [(4, 5)],
    ),
    "nll_loss, dense": (
        lambda x: F.nll_loss(x, DENSE, ignore_index=-1, reduction="sum"),
        lambda x: TF.nll_loss(x, torch.tensor(DENSE), ignore_index=-1, reduction="sum"),
        [(2, 5, 2, 3)],
    ),
    "mse_loss": (F.mse_loss, TF.mse_loss, [(3, 4), (3, 4)]),
}


def differences(name, dtype):
    """Return the largest difference of the output, and of all gradients, relative to the largest element of each
    array.
    """
    ours, theirs, shapes = CASES[name]
    positive = P in shapes
    rng = np.random.default_rng(sum(map(ord, name)))
    arrays = [rng.normal(size=shape) for shape in shapes if shape != P]
    arrays = [(np.abs(a) + 0.3 if positive else a).astype(dtype) for a in arrays]
    mine = [tc.Tensor(a, requires_grad=True) for a in arrays]
    reference = [torch.tensor(a, requires_grad=True) for a in arrays]
    out, expected = ours(*mine), theirs(*reference)
    assert out.shape == tuple(expected.shape) and out.dtype == dtype
    cotangent = rng.normal(size=out.shape).astype(dtype)
    out.backward(cotangent)
    expected.backward(torch.tensor(cotangent))
    pairs = []
    for tensor, other in zip(mine, reference):
        assert tensor.grad.dtype == dtype and tensor.grad.shape == tensor.shape
        pairs.append((tensor.grad, other.grad.numpy()))
    return relative(out.data, expected.detach().numpy()), max(relative(a, b) for a, b in pairs)


def relative(mine, reference):
    return float(np.abs(mine - reference).max() / max(np.abs(reference).max(), 1e-30))


@pytest.mark.parametrize(("dtype", "tolerance"), [(np.float64, 1e-12), (np.float32, 2e-5)], ids=["float64", "float32"])
@pytest.mark.parametrize("name", CASES)
def test_values_and_gradients_equal_pytorchs(name, dtype, tolerance):
    assert max(differences(name, dtype)) < tolerance


def test_running_statistics_equal_pytorchs():
    x = np.random.default_rng(0).normal(3, 2, size=(4, 3, 5, 2))
    ours, theirs = tc.nn.BatchNorm2d(3, momentum=0.3).to(np.float64), torch.nn.BatchNorm2d(3, momentum=0.3).double()
    for _ in range(3):
        ours(tc.Tensor(x))
        theirs(torch.tensor(x))
    np.testing.assert_allclose(ours.running_mean, theirs.running_mean.numpy(), rtol=1e-12)
    np.testing.assert_allclose(ours.running_var, theirs.running_var.numpy(), rtol=1e-12)
    assert ours.num_batches_tracked == 3


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, 0.0])
@pytest.mark.parametrize("name", [*ACTIVATIONS, "softmax", "log_softmax", "max_pool2d"])
def test_special_values_behave_as_pytorchs(name, value):
    ours, theirs, (shape, *_) = CASES[name]
    x = np.random.default_rng(1).normal(size=shape)
    x[(0,) * x.ndim] = value
    mine, reference = tc.Tensor(x, requires_grad=True), torch.tensor(x, requires_grad=True)
    out, expected = ours(mine), theirs(reference)
    np.testing.assert_allclose(out.data, expected.detach().numpy(), rtol=1e-12)
    out.sum().backward()
    expected.sum().backward()
    np.testing.assert_allclose(mine.grad, reference.grad.numpy(), rtol=1e-10, atol=1e-12)
